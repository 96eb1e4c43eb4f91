"""`suspend`, `resume`, `retry`, `cancel`: what changes a copy that is there."""

import argparse
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from multipartcopy.api.names import ANNOTATION_RETRY
from multipartcopy.cli import show
from multipartcopy.cli.cluster import Cluster
from multipartcopy.cli.errors import CliError, Exit, UnreachableError

_POLL_SECONDS = 0.5


def run(options: argparse.Namespace) -> int:
    cluster = Cluster(options.context, options.namespace)
    return COMMANDS[options.command](cluster, options)


def suspend(cluster: Cluster, options: argparse.Namespace) -> int:
    return _set_suspend(cluster, options.names, True)


def resume(cluster: Cluster, options: argparse.Namespace) -> int:
    return _set_suspend(cluster, options.names, False)


def _set_suspend(cluster: Cluster, names: list[str], value: bool) -> int:
    for resource in [cluster.get(name) for name in names]:
        name = resource["metadata"]["name"]
        already = bool(resource["spec"].get("suspend")) == value
        if show.outcome(resource.get("status", {})):
            raise CliError(Exit.REFUSED, f"{name} has ended: {show.phase(resource['status'])}")
        if not already:
            cluster.set_suspend(name, value)
        word = "suspended; what has arrived is kept" if value else "resumed"
        print(f"{name} is {'already ' if already else ''}{word}")
    return Exit.DONE


def retry(cluster: Cluster, options: argparse.Namespace) -> int:
    before = cluster.get(options.name)
    status = before.get("status", {})
    ended = show.outcome(status)
    if ended is None:
        message = f"{options.name} is under way ({show.phase(status)}), and goes on by itself"
        raise CliError(Exit.REFUSED, message)
    if ended[0] is not Exit.FAILED:
        raise CliError(Exit.REFUSED, f"{options.name} is complete: there is nothing to try again")
    # Of two who ask for it, one is enough.
    failure = status["completionTime"]
    if failure == status.get("handledRetry"):
        failure += "-again"
    cluster.annotate(options.name, ANNOTATION_RETRY, failure)
    with_what = "with the parts that were kept" if "failing" in status else "from the beginning"
    print(f"{options.name} is tried again, {with_what}", flush=True)
    if not options.wait:
        return Exit.DONE
    from multipartcopy.cli.watch import follow, key

    end = time.monotonic() + options.timeout
    _wait_begun(cluster, before, failure, end)
    return follow(cluster, [key(before)], end - time.monotonic())


def _wait_begun(cluster: Cluster, resource: Mapping[str, Any], value: str, end: float) -> None:
    """Until the operator has seen what it is asked, and the failure is not said any more. Raises CliError."""
    meta = resource["metadata"]
    while True:
        with contextlib.suppress(UnreachableError):
            status = cluster.get(meta["name"], meta["namespace"]).get("status", {})
            if status.get("handledRetry") == value:
                return
        if time.monotonic() > end:
            raise CliError(Exit.TIMEOUT, f"no operator has begun to try {meta['name']} again yet")
        time.sleep(_POLL_SECONDS)


def cancel(cluster: Cluster, options: argparse.Namespace) -> int:
    found = [cluster.get(name) for name in options.names]
    for resource in found:
        if ended := show.outcome(resource.get("status", {})):
            name = resource["metadata"]["name"]
            message = (
                f"{name} has ended ({ended[0].name.lower()}): to remove it, use kubectl delete"
            )
            raise CliError(Exit.REFUSED, message)
    names = ", ".join(_with_progress(resource) for resource in found)
    show.confirm(f"Cancel {names}? What has arrived is lost.", yes=options.yes)
    for resource in found:
        cluster.delete(resource)
    end = time.monotonic() + options.timeout
    for resource in found:
        wait_gone(cluster, resource, end - time.monotonic())
        print(f"{resource['metadata']['name']} is cancelled", flush=True)
    return Exit.DONE


def _with_progress(resource: Mapping[str, Any]) -> str:
    progress = resource.get("status", {}).get("progress") or {}
    done = f" ({progress['percent']}% of {progress['size']})" if progress else ""
    return f"{resource['metadata']['name']}{done}"


def wait_gone(cluster: Cluster, resource: Mapping[str, Any], seconds: float) -> None:
    """Until this very one is gone. Raises CliError when the time is over."""
    meta, end = resource["metadata"], time.monotonic() + seconds
    while True:
        try:
            there = cluster.find(meta["name"], meta["namespace"])
        except UnreachableError:
            if time.monotonic() > end:
                raise
        else:
            if there is None or there["metadata"]["uid"] != meta["uid"]:
                return
            if time.monotonic() > end:
                said = show.summary(there.get("status", {})).get("message", "")
                words = (
                    f"{meta['name']} is deleted, and goes when the operator has aborted its upload"
                )
                raise CliError(Exit.TIMEOUT, f"{words}: {said}".removesuffix(": "))
        time.sleep(_POLL_SECONDS)


COMMANDS: Mapping[str, Callable[[Cluster, argparse.Namespace], int]] = {
    "suspend": suspend,
    "resume": resume,
    "retry": retry,
    "cancel": cancel,
}
