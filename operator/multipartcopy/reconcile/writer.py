"""The one place that writes status: the difference, under an optimistic lock, with conditions and an Event."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from multipartcopy.api import names
from multipartcopy.api.codec import to_json
from multipartcopy.api.conditions import summarize, summary
from multipartcopy.api.reasons import Reason, reason_of
from multipartcopy.api.status import Phase, Status
from multipartcopy.kube import ConflictError, Kube, KubeError
from multipartcopy.reconcile.facts import Resource, format_time, read_resource

logger = logging.getLogger("multipartcopy.status")

_NORMAL = {
    Reason.INSPECTING,
    Reason.CLAIMED,
    Reason.UPLOAD_CREATED,
    Reason.COPYING,
    Reason.COMPLETING,
    Reason.VERIFYING,
    Reason.ABORTING,
    Reason.SUSPENDED,
    Reason.JOB_SUSPENDED,
    Reason.QUEUED_BY_OPERATOR,
    Reason.COPIED,
    Reason.ALREADY_EQUAL,
}


_EVENT_LIMIT = 8192
"""Characters; a v1 Event has no limit of its own. An upload left behind is named in full: an ID of 2,048, a key of
1,024, an endpoint of 512."""


class LostRaceError(Exception):
    """Somebody else has written the status since it was read: what was decided on it does not hold."""


def write(
    kube: Kube,
    resource: Resource,
    status: Status,
    *,
    phase: Phase,
    reason: Reason,
    message: str,
    now: datetime,
) -> bool:
    """Make ``status`` so, with phase and conditions; False where it was so already.

    A conflict caused by a change of metadata or spec is met by reading again and writing again; one
    caused by another writer of status raises LostRaceError. Raises KubeError, TooLargeError.
    """
    wanted = replace(
        status,
        phase=phase,
        observed_generation=resource.generation,
        conditions=summarize(
            phase,
            reason,
            message,
            generation=resource.generation,
            now=format_time(now),
            before=resource.status.conditions,
        ),
    )
    operations = difference(resource.stored_status, to_json(wanted))
    if not operations:
        return False
    namespace, name = resource.owner.namespace, resource.owner.name
    current = resource
    for _ in range(5):
        test = {
            "op": "test",
            "path": "/metadata/resourceVersion",
            "value": current.resource_version,
        }
        try:
            kube.patch_copy_status(namespace, name, [test, *operations])
            break
        except ConflictError:
            current = read_resource(kube.get_copy(namespace, name))
            if current.owner.uid == resource.owner.uid and current.status == wanted:
                break  # It was our own write, of which no answer came.
            if current.owner.uid != resource.owner.uid or current.status != resource.status:
                raise LostRaceError(f"{namespace}/{name}") from None
    else:
        raise LostRaceError(f"{namespace}/{name}")
    before = summary(resource.status.conditions)
    keeps = wanted.kept and not resource.status.kept
    if keeps or before is None or before.reason != reason:
        logger.info("%s/%s: %s: %s: %s", namespace, name, phase, reason, message)
        released = wanted.over and resource.finalizer and not keeps
        if not released:  # Else it comes with the release: announce_end.
            emit(kube, resource, reason, message, now)
    return True


def announce_end(kube: Kube, resource: Resource, now: datetime) -> None:
    """The Event of how it ended, before the resource is released: whoever dies in between, it is written, once."""
    said, ended = summary(resource.status.conditions), resource.status.completion_time
    if said and ended and resource.status.over:
        name = f"end-{re.sub('[^0-9]', '', ended)}"
        emit(kube, resource, reason_of(said.reason), said.message, now, name)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """JSON-patch from one status to the other: a batch is one operation, so that a large ledger is not sent whole."""
    operations: list[dict[str, Any]] = []

    def compare(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        for key in sorted(before.keys() | after.keys()):
            here = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in after:
                operations.append({"op": "remove", "path": here})
            elif key not in before:
                operations.append({"op": "add", "path": here, "value": after[key]})
            elif before[key] != after[key]:
                if here == "/status/batches":
                    compare(here, before[key], after[key])
                else:
                    operations.append({"op": "replace", "path": here, "value": after[key]})

    compare("/status", old, new)
    return operations


def emit(
    kube: Kube, resource: Resource, reason: Reason, message: str, now: datetime, name: str = ""
) -> None:
    """A Kubernetes Event about the resource; one with a ``name`` is written only once."""
    owner = resource.owner
    involved = {
        "apiVersion": f"{names.GROUP}/{names.VERSION}",
        "kind": names.KIND,
        "name": owner.name,
        "namespace": owner.namespace,
        "uid": owner.uid,
    }
    post(kube, involved, reason, message, now, f"{owner.uid}-{name}" if name else "")


def post(
    kube: Kube,
    involved: Mapping[str, str],
    reason: Reason,
    message: str,
    now: datetime,
    name: str = "",
) -> None:
    """An Event is news, not record: a failure to write it is only logged.

    With a ``name`` it is written once; an API server that does not answer is then asked again: KubeError.
    """
    at, moment = involved["namespace"], format_time(now)
    named = {"name": name} if name else {"generateName": f"{involved['name'][:200]}."}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {**named, "namespace": at},
        "involvedObject": involved,
        "type": "Normal" if reason in _NORMAL else "Warning",
        "reason": str(reason),
        "message": message[:_EVENT_LIMIT],
        "source": {"component": names.MANAGER},
        "reportingComponent": names.MANAGER,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
    try:
        kube.create_event(at, event)
    except ConflictError:
        pass  # It has its name, so it was written before.
    except KubeError as error:
        if name and (error.status == 0 or error.status >= 500):
            raise
        logger.warning("no Event %s for %s/%s: %s", reason, at, involved["name"], error)


def stored_size(body: Mapping[str, Any]) -> int:
    """Bytes of the status as JSON, roughly what each write costs; 0 for a small one, which need not be measured."""
    status = body.get("status", {})
    return len(json.dumps(status)) if len(status.get("batches", {})) > 16 else 0
