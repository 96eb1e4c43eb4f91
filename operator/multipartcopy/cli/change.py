"""`suspend`, `resume`, `retry`, `cancel`: what changes a copy that is there."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from multipartcopy.cli import manifest, show
from multipartcopy.cli.cluster import Cluster
from multipartcopy.cli.errors import CliError, Exit, UnreachableError

_POLL_SECONDS = 0.5
_RETRY_SECONDS = 300.0
"""A copy that has failed has nothing left to abort: its deletion takes a moment."""


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
    show.confirm(f"{ended[1]}\nDelete {options.name} and create it again?", yes=options.yes)
    again = manifest.again(before)
    cluster.delete(before)
    try:
        wait_gone(cluster, before, _RETRY_SECONDS)
        created = _create(cluster, again, before)
    except BaseException:
        # What it was made from must not be lost with it.
        print(show.document(again, "yaml"))
        print(f"{options.name} was deleted; above is its manifest", file=sys.stderr)
        raise
    print(f"{options.name} is created again", flush=True)
    if options.wait:
        from multipartcopy.cli.watch import follow, key

        return follow(cluster, [key(created)], options.timeout)
    return Exit.DONE


def _create(cluster: Cluster, again: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """A GitOps tool may have been quicker; then it is there all the same."""
    try:
        return cluster.create(again)
    except CliError:
        meta = before["metadata"]
        there = cluster.find(meta["name"], meta["namespace"])
        if there and there["metadata"]["uid"] != meta["uid"]:
            return there
        raise


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
                words = f"{meta['name']} is deleted and not gone yet, it goes on by itself: {said}"
                raise CliError(Exit.TIMEOUT, words.removesuffix(": "))
        time.sleep(_POLL_SECONDS)


COMMANDS: Mapping[str, Callable[[Cluster, argparse.Namespace], int]] = {
    "suspend": suspend,
    "resume": resume,
    "retry": retry,
    "cancel": cancel,
}
