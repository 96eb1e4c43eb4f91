"""kopf: its settings, and the routing of what it watches. No decision is made here."""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import kopf

from multipartcopy.api.names import GROUP, MANAGED_BY, MANAGER, PLURAL, VERSION
from multipartcopy.jobs import Image, image_of, proxies_of
from multipartcopy.kube import KubeError, connect
from multipartcopy.metrics import Metrics
from multipartcopy.reconcile.act import Effects
from multipartcopy.reconcile.controller import Controller
from multipartcopy.reconcile.facts import Limits
from multipartcopy.s3.guard import parse_guard

logger = logging.getLogger("multipartcopy.operator")

_STOP_SECONDS = 15.0
"""Of the 30 that the pod has; a Complete that takes longer is settled by the next operator."""


@dataclass(frozen=True)
class Options:
    """The operator's flags. Without ``worker_image`` the workers run the operator's own.

    ``metrics`` is the address and port to be scraped at; None: none. ``namespaces`` are those to work in; none: all.
    """

    worker_image: str | None = None
    namespaces: tuple[str, ...] = ()
    liveness: str = "http://0.0.0.0:8080/healthz"
    metrics: tuple[str, int] | None = ("0.0.0.0", 8081)  # noqa: S104 - in a pod
    denied_grace_seconds: float = 300
    abort_grace_seconds: float = 1800
    max_active_copies: int = 0
    max_pods: int = 0
    allow_endpoints: str = ""
    require_secret_opt_in: bool = False


def run(options: Options) -> int:
    """Be the operator until SIGTERM. Returns the exit status.

    Raises KubeError where no cluster answers, ListenError where the metrics cannot be served.
    """
    metrics = Metrics()
    if options.metrics:
        metrics.serve(*options.metrics)
    kube = connect(options.namespaces, secrets_opt_in=options.require_secret_opt_in)
    kube.check_namespaces()
    namespace = os.environ.get("POD_NAMESPACE", "default")
    pod = os.environ.get("POD_NAME")
    if pod:
        image = image_of(kube.get_pod(namespace, pod), options.worker_image)
    elif options.worker_image:
        image = Image(options.worker_image)
    else:
        raise KubeError(0, "outside of a pod, --worker-image must say what the workers run")
    allowed = options.allow_endpoints
    image = replace(image, proxies=proxies_of(os.environ), allow_endpoints=allowed)
    limits = Limits(
        denied_grace_seconds=options.denied_grace_seconds,
        abort_grace_seconds=options.abort_grace_seconds,
        max_active_copies=options.max_active_copies,
        max_pods=options.max_pods,
    )
    logger.info("the workers run %s", image.name)
    own = (namespace, pod) if pod else None
    controller = Controller(kube, Effects(kube, image, own, limits, metrics, parse_guard(allowed)))
    asyncio.run(
        kopf.operator(
            registry=registry(controller),
            settings=settings(options.namespaces),
            clusterwide=not options.namespaces,
            namespaces=options.namespaces,
            standalone=True,
            liveness_endpoint=options.liveness,
        )
    )
    return 0


def settings(namespaces: tuple[str, ...] = ()) -> kopf.OperatorSettings:
    chosen = kopf.OperatorSettings()
    # Else it would look for definitions and namespaces to come, which takes rights in the whole cluster.
    chosen.scanning.disabled = bool(namespaces)
    # Only what is ours comes over the wire, however many Jobs and pods the cluster has.
    ours = f"{MANAGED_BY}={MANAGER}"
    chosen.watching.label_selectors["batch/v1", "jobs"] = ours
    chosen.watching.label_selectors["v1", "pods"] = ours
    # A restarted operator is shown all copies at once, and a ledger can be half a megabyte.
    chosen.watching.chunk_size = 10
    # An API server that was away for 90 s is found again within 10.
    chosen.networking.error_backoffs = [1, 2, 3, 5, 8] + [10] * 60
    chosen.networking.request_timeout = 30
    chosen.posting.enabled = False
    # The success of a handler for every event of every pod, and of every health check, is no news.
    for noisy in ("kopf.objects", "kopf.activities.probe", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return chosen


def registry(controller: Controller) -> kopf.OperatorRegistry:
    """``on.event`` alone: it keeps no annotations, adds no finalizer, and misses no object after a restart."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**kwargs: Any) -> Any:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def resource(event: Mapping[str, Any], **_: Any) -> None:
        controller.notice(event["object"])
        _drop_bulk(event["object"])

    @kopf.on.event("batch", "v1", "jobs", labels={MANAGED_BY: MANAGER}, registry=handlers)
    async def job(event: Mapping[str, Any], **_: Any) -> None:
        controller.notice_child(event["object"], pod=False)
        _drop_bulk(event["object"])

    @kopf.on.event("", "v1", "pods", labels={MANAGED_BY: MANAGER}, registry=handlers)
    async def pod(event: Mapping[str, Any], **_: Any) -> None:
        controller.notice_child(event["object"], pod=True)
        _drop_bulk(event["object"])

    @kopf.on.probe(id="copies", registry=handlers)
    async def copies(**_: Any) -> int:
        return controller.live

    @kopf.on.cleanup(registry=handlers)
    async def stop(**_: Any) -> None:
        await controller.stop(_STOP_SECONDS)

    return handlers


def _drop_bulk(body: dict[str, Any]) -> None:
    """Of what was seen: kopf keeps it for seconds, and then in a cycle until the garbage collector comes by."""
    for bulk in ("spec", "status"):
        body.pop(bulk, None)
