"""A manifest and a status to make variations of."""

import copy
import uuid
from typing import Any

from multipartcopy.api.spec import Item
from multipartcopy.api.status import (
    Batch,
    Claim,
    Condition,
    Destination,
    Dropped,
    Failing,
    Intent,
    LastFailure,
    Leg,
    Phase,
    Pin,
    Plan,
    Progress,
    Reading,
    Result,
    Retry,
    SourceChanges,
    Status,
    Upload,
    Verification,
    Way,
)
from multipartcopy.api.task import Validator

ABSENT = object()
"""The value of a field that is to be left out."""

NOW = "2026-01-02T03:04:05Z"
MD5 = "0123456789abcdef0123456789abcdef"

MINIMAL: dict[str, Any] = {
    "apiVersion": "multipartcopy.dev/v1alpha1",
    "kind": "MultipartCopy",
    "metadata": {},
    "spec": {
        "source": {"s3": {"bucket": "origin", "key": "a/key", "secretRef": {"name": "in"}}},
        "destination": {"s3": {"bucket": "target", "key": "a/key", "secretRef": {"name": "out"}}},
    },
}

Changes = dict[str, Any]


def manifest(changes: Changes | None = None, **more: Any) -> dict[str, Any]:
    """The minimal resource under a new name; ``changes`` are of its spec, by dotted path."""
    made = copy.deepcopy(MINIMAL)
    made["metadata"]["name"] = f"copy-{uuid.uuid4().hex[:8]}"
    for path, value in {**(changes or {}), **more}.items():
        *parents, last = path.split(".")
        place = made["spec"]
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is ABSENT:
            del place[last]
        else:
            place[last] = value
    return made


FULL_STATUS = Status(
    observed_generation=1,
    phase=Phase.COPYING,
    conditions=tuple(
        Condition(kind, "False", "Copying", "copying 20 parts of 5.0 MiB", NOW, 1)
        for kind in ("Complete", "Failed", "Ready", "Reconciling", "Stalled")
    ),
    start_time=NOW,
    completion_time=NOW,
    attempt=1,
    run=2,
    source_changes=SourceChanges(1, MD5),
    lost_uploads=1,
    disagreements=1,
    source=Pin(
        *(MD5, 104857600, "a-version", NOW, "AAAAAAAAAAA=", 5242880),
        encrypted=True,
        expected_crc64nvme="AAAAAAAAAAA=",
        validator=Validator.WEAK_ETAG,
        url="https://example.com/a/file",
    ),
    mode=Way.RELAY,
    server_side_refused="destination: 501 NotImplemented",
    plan=Plan(5242880, 20, 5, 4),
    claim=Claim(NOW, ("another-upload",), MD5),
    upload=Upload("an-upload", checksum=True, md5=True, encrypted=True),
    dropped=(Dropped(Item.TAGS, "source s3://origin/a/key: GetObjectTagging: AccessDenied"),),
    batches={"0": Batch("1-2", (MD5, MD5), "AAAAAAAAAAAAAAAAAAAAAA==", 10485760)},
    without_checksum=True,
    source_reading=Reading(MD5, "1-7", "3", "AAAAAAAAAAA="),
    destination_reading=Reading(f"{MD5}-20", "1-7", "3"),
    completing=Intent(104857600, f"{MD5}-20", "AAAAAAAAAAA=", MD5, if_none_match=True),
    failing=Failing("SourceChanged", "the source is not the object that was pinned", NOW),
    handled_retry="2026-01-01",
    resuming=True,
    retry=Retry(1, NOW, memory="64Mi"),
    worker_memory="128Mi",
    progress=Progress(2, 20, 10485760, 104857600, 10, "2/20", "100.0 MiB", 5242880),
    last_failure=LastFailure("WorkerFailed", "it ended with status 1", 0, 3, 1, NOW),
    destination=Destination(f"{MD5}-20", 104857600, "a-version", "AAAAAAAAAAA="),
    verification=Verification(
        Result.VERIFIED,
        "the transfer is proven by CRC64NVME, the source by CompositeETag",
        Leg("CRC64NVME", "AAAAAAAAAAA=", "the destination's full-object CRC64NVME"),
        Leg("CompositeETag", f"{MD5}-20", "the source's ETag"),
    ),
)
"""Every field is set: what the definition does not know, the API server would drop in silence."""
