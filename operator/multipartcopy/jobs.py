"""Pure: one run of an attempt to the manifest of its Indexed Job."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from multipartcopy.api import names
from multipartcopy.api.codec import to_json
from multipartcopy.api.location import AddressingStyle, HttpLocation, S3Location
from multipartcopy.api.quantity import parse_bytes
from multipartcopy.api.ranges import format_ranges
from multipartcopy.api.spec import Spec, Worker
from multipartcopy.api.status import Pin, Status, Way
from multipartcopy.api.task import Task, UrlSource, Validator, Work
from multipartcopy.plan import AUTO, auto_streams
from multipartcopy.s3.address import is_virtual

CONTAINER = "worker"
DEFAULT_MEMORY = "64Mi"


@dataclass(frozen=True)
class Owner:
    """The resource that a Job belongs to."""

    name: str
    namespace: str
    uid: str


@dataclass(frozen=True)
class Image:
    name: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What its environment says of HTTP proxies; may hold a password."""
    allow_endpoints: str = ""
    """As the operator's ``--allow-endpoints``."""


def image_of(pod: Mapping[str, Any], instead: str | None = None) -> Image:
    """What the operator's own pod runs, or another image ``instead``, pulled as its own is."""
    container = next(c for c in pod["spec"]["containers"] if c["name"] == "operator")
    secrets = tuple(s["name"] for s in pod["spec"].get("imagePullSecrets", []))
    return Image(instead or container["image"], container["imagePullPolicy"], secrets)


def proxies_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What the operator's environment says of HTTP proxies."""
    return {name: environ[name] for name in names.PROXY_VARIABLES if environ.get(name)}


def job_name(uid: str, attempt: int, run: int) -> str:
    """The same for the same run, whoever asks: a repeated creation is refused, not doubled.

    Short, because pod names append to it; resource names reach 253 characters, so a hash of the UID.
    """
    return f"mpc-{hashlib.sha256(uid.encode()).hexdigest()[:12]}-a{attempt}-r{run}"


def labels(owner: Owner, attempt: int, run: int) -> dict[str, str]:
    return {
        names.MANAGED_BY: names.MANAGER,
        names.LABEL_UID: owner.uid,
        names.LABEL_ATTEMPT: str(attempt),
        names.LABEL_RUN: str(run),
    }


def build_job(
    owner: Owner,
    spec: Spec,
    status: Status,
    work: Sequence[Work],
    image: Image,
    pods: int | None = None,
) -> dict[str, Any]:
    """A Job with one index for each batch in ``work``, and ``pods`` at the same time, by default as the spec says.

    It has no ``ttlSecondsAfterFinished`` (that deletes reports), no ``activeDeadlineSeconds`` (that
    counts the time in the queue) and no ``maxFailedIndexes`` (other batches go on). An exit status
    of 42 ends the whole Job; a disruption of a pod counts against nothing. Where the next run can have more
    memory, a batch whose pod was killed is left to it.
    """
    ours = labels(owner, status.attempt, status.run)
    wanted = spec.worker.labels or {}
    meta_annotations = {
        names.ANNOTATION_NAME: owner.name,
        names.ANNOTATION_WORKER: worker_spec(spec),
        names.ANNOTATION_BYTES_PER_SECOND: str(bytes_per_second(spec, status, len(work))),
        names.ANNOTATION_UPLOAD: status.upload.id if status.upload else "",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(owner.uid, status.attempt, status.run),
            "namespace": owner.namespace,
            "labels": {**wanted, **ours},
            "annotations": meta_annotations,
            "ownerReferences": [
                {
                    "apiVersion": f"{names.GROUP}/{names.VERSION}",
                    "kind": names.KIND,
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": len(work),
            "parallelism": min(pods or spec.parallelism, len(work)),
            "backoffLimitPerIndex": spec.backoff_limit_per_batch,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    _on_exit(names.EXIT_PERMANENT, "FailJob"),
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                    *([_on_exit(names.EXIT_KILLED, "FailIndex")] if may_grow(spec, status) else []),
                ]
            },
            "template": {
                "metadata": {
                    "labels": {**_without_kueue(wanted), **ours},
                    "annotations": {**(spec.worker.annotations or {}), **meta_annotations},
                },
                "spec": {
                    **placement(spec.worker, owner),
                    **_pod(spec, build_task(spec, status, work), memory_limit(spec, status), image),
                },
            },
        },
    }


def _on_exit(code: int, action: str) -> dict[str, Any]:
    codes = {"containerName": CONTAINER, "operator": "In", "values": [code]}
    return {"action": action, "onExitCodes": codes}


def _without_kueue(wanted: Mapping[str, str]) -> dict[str, str]:
    """Of the labels; with a queue's name on a pod Kueue might queue that as well."""
    return {name: value for name, value in wanted.items() if not name.startswith(names.KUEUE)}


def placement(worker: Worker, owner: Owner) -> dict[str, Any]:
    """What of a pod's spec says where it runs, as written; the pods that are spread are those of this copy."""
    wanted: dict[str, Any] = to_json(worker)
    fields = ("nodeSelector", "tolerations", "affinity", "priorityClassName", "runtimeClassName")
    pod = {name: wanted[name] for name in fields if name in wanted}
    if spread := wanted.get("topologySpreadConstraints"):
        ours = {"labelSelector": {"matchLabels": {names.LABEL_UID: owner.uid}}}
        pod["topologySpreadConstraints"] = [{**constraint, **ours} for constraint in spread]
    return pod


def worker_spec(spec: Spec) -> str:
    """What of the spec a Job cannot take up any more once it is made; kept on it to see a change."""
    return json.dumps(to_json(spec.worker), sort_keys=True)


def bytes_per_second(spec: Spec, status: Status, batches: int) -> int:
    """What each pod of a run over so many batches may move; 0: any number, or none, as the store copies by itself."""
    copied = status.server_side and status.stage is None
    if copied or spec.bandwidth_limit is None:
        return 0
    return max(1, parse_bytes(spec.bandwidth_limit) // min(spec.parallelism, batches))


def build_task(spec: Spec, status: Status, work: Sequence[Work]) -> Task:
    assert status.source is not None
    assert status.plan is not None
    assert status.upload is not None
    # What the limit was raised to is room for these streams, not for more.
    memory = parse_bytes(_own_memory(spec))
    streams = spec.worker.streams
    return Task(
        source=_addressed(spec.source.s3) if spec.source.s3 else None,
        url=_url(spec, status, status.source),
        source_etag=status.source.etag,
        size=status.source.size,
        destination=_addressed(spec.destination.s3.location),
        upload_id=status.upload.id,
        attempt=status.attempt,
        run=status.run,
        part_size=status.plan.part_size,
        streams=streams if isinstance(streams, int) else auto_streams(memory),
        checksum=status.upload.checksum,
        parts=format_ranges(number for batch in work for number in batch.numbers()),
        batch_size=status.plan.batch_size,
        md5=status.upload.md5,
        again=status.disagreements > 0,
        server_side=status.server_side,
        read=status.stage,
        read_etag=status.reading.etag if status.stage and status.reading else "",
        adaptive=streams == AUTO,
        bytes_per_second=bytes_per_second(spec, status, len(work)),
        encryption=spec.destination.s3.encryption,
    )


def _url(spec: Spec, status: Status, pin: Pin) -> UrlSource | None:
    if spec.source.http is None:
        return None
    ranges = status.mode is not Way.SERIAL
    return UrlSource(
        spec.source.http, pin.validator or Validator.SIZE, pin.last_modified, ranges=ranges
    )


def _addressed(location: S3Location) -> S3Location:
    """What ``Auto`` means is decided here, so that a worker need not know the stores."""
    style = AddressingStyle.VIRTUAL if is_virtual(location) else AddressingStyle.PATH
    return replace(location, addressing_style=style)


def _pod(spec: Spec, task: Task, memory: str, image: Image) -> dict[str, Any]:
    secrets = (*image.pull_secrets, *(ref.name for ref in spec.worker.image_pull_secrets or ()))
    volumes, mounts = [], []
    for side, location in (("source", spec.source.place), ("destination", spec.destination.s3)):
        for name, sources in _secrets(side, location).items():
            volumes.append({"name": name, "projected": {"defaultMode": 0o444, "sources": sources}})
            mounts.append(
                {"name": name, "mountPath": f"{names.SECRETS_DIRECTORY}/{name}", "readOnly": True}
            )
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "imagePullSecrets": [{"name": name} for name in dict.fromkeys(secrets)],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": image.name,
                "imagePullPolicy": image.pull_policy,
                "args": ["worker"],
                "env": [
                    {"name": names.TASK_VARIABLE, "value": task.encode()},
                    *({"name": name, "value": value} for name, value in _environment(image)),
                ],
                "resources": resources(spec.worker.resources, memory),
                "terminationMessagePolicy": "File",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }


def _environment(image: Image) -> Iterator[tuple[str, str]]:
    yield from image.proxies.items()
    if image.allow_endpoints:
        yield names.ALLOW_ENDPOINTS_VARIABLE, image.allow_endpoints


def resources(wanted: Mapping[str, Any], memory: str) -> dict[str, Any]:
    """Memory is requested as it is limited, so a node that took the pod can feed it to its limit."""
    limits = {**wanted.get("limits", {}), "memory": memory}
    requests = {**wanted.get("requests", {}), "memory": memory}
    return {"limits": limits, "requests": requests}


def memory_limit(spec: Spec, status: Status) -> str:
    """As the spec has it, or what workers were found to need, as far as the spec allows that now."""
    own, most, needed = _own_memory(spec), spec.worker.max_memory, status.worker_memory
    if most is None or needed is None:
        return own
    return max(own, min(needed, most, key=parse_bytes), key=parse_bytes)


def may_grow(spec: Spec, status: Status) -> bool:
    """Whether workers that are killed at their memory limit can have a larger one in the next run."""
    most = spec.worker.max_memory
    return most is not None and parse_bytes(memory_limit(spec, status)) < parse_bytes(most)


def _own_memory(spec: Spec) -> str:
    limit: str = spec.worker.resources.get("limits", {}).get("memory", DEFAULT_MEMORY)
    return limit


def _secrets(side: str, location: S3Location | HttpLocation) -> dict[str, list[dict[str, Any]]]:
    """Volume name -> projected sources: only the keys we know, whatever else is in the Secret.

    Of a Secret with headers every key is one.
    """
    volumes: dict[str, list[dict[str, Any]]] = {}
    if isinstance(location, HttpLocation):
        if location.headers_secret_ref:
            volumes[side] = [{"secret": {"name": location.headers_secret_ref.name}}]
    elif location.secret_ref:
        keys = [names.ACCESS_KEY_ID, names.SECRET_ACCESS_KEY]
        volumes[side] = [
            _projection(location.secret_ref.name, keys),
            _projection(location.secret_ref.name, [names.SESSION_TOKEN], optional=True),
        ]
    if location.ca_secret_ref:
        volumes[f"{side}-ca"] = [_projection(location.ca_secret_ref.name, [names.CA_CERTIFICATE])]
    if isinstance(location, S3Location) and location.sse_customer_key_secret_ref:
        key = _projection(location.sse_customer_key_secret_ref.name, [names.CUSTOMER_KEY])
        volumes[f"{side}-key"] = [key]
    return volumes


def _projection(secret: str, keys: list[str], *, optional: bool = False) -> dict[str, Any]:
    items = [{"key": key, "path": key} for key in keys]
    return {"secret": {"name": secret, "items": items, **({"optional": True} if optional else {})}}
