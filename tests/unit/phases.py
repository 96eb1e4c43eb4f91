"""The resource as it looks in every phase: as the API server shows it when the operator's own writer is through."""

from dataclasses import replace
from typing import Any

from multipartcopy.api import names
from multipartcopy.api.codec import to_json
from multipartcopy.api.reasons import Reason
from multipartcopy.api.status import Destination, Failing, Intent, Phase, Reading, Status
from multipartcopy.reconcile import writer
from multipartcopy.reconcile.facts import format_time
from tests.unit.facts import CLAIMED, FULL, NEW, NOW, UPLOADING
from tests.unit.test_races import FakeKube

ENDED = format_time(NOW)
_COMPLETING = replace(FULL, completing=Intent(1, "etag", "crc"))

STEPS: dict[Phase, tuple[Status, Reason, str]] = {
    Phase.PENDING: (NEW, Reason.SECRET_NOT_FOUND, "there is no Secret a in namespace default"),
    Phase.PREPARING: (CLAIMED, Reason.CLAIMED, "pinned 100.0 MiB with ETag abc"),
    Phase.COPYING: (UPLOADING, Reason.COPYING, "copying 20 parts of 5.0 MiB in 4 batches"),
    Phase.COMPLETING: (_COMPLETING, Reason.COMPLETING, "completing 20 parts"),
    Phase.VERIFYING: (
        replace(FULL, source_reading=Reading("abc")),
        Reason.VERIFYING,
        "reading the source again: 0 of 20 parts",
    ),
    Phase.SUCCEEDED: (
        replace(FULL, destination=Destination("etag", 1), completion_time=ENDED),
        Reason.COPIED,
        "copied 100.0 MiB",
    ),
    Phase.FAILED: (
        replace(CLAIMED, claim=None, completion_time=ENDED),
        Reason.SOURCE_CHANGED,
        "the source is not the object that was pinned",
    ),
    Phase.SUSPENDED: (
        replace(UPLOADING, start_time=None),
        Reason.SUSPENDED,
        "suspended; what has arrived is kept",
    ),
    Phase.ABORTING: (
        replace(UPLOADING, failing=Failing("SourceChanged", "it is another", ENDED)),
        Reason.SOURCE_CHANGED,
        "the source is not the object that was pinned",
    ),
}


def fresh() -> FakeKube:
    """Applied just now: the API server has put the definition's default of ``status`` into it."""
    kube = FakeKube(Status())
    assert kube.body
    kube.body |= {"apiVersion": f"{names.GROUP}/{names.VERSION}", "kind": names.KIND}
    kube.body["status"] = {"observedGeneration": -1}
    return kube


def written(phase: Phase, **metadata: Any) -> FakeKube:
    """``metadata`` is what has changed since the operator wrote."""
    status, reason, message = STEPS[phase]
    kube = fresh()
    assert kube.body
    kube.body["spec"]["suspend"] = phase is Phase.SUSPENDED
    kube.body["status"] |= {**to_json(status), "observedGeneration": -1}
    said = {"phase": phase, "reason": reason, "message": message, "now": NOW}
    assert writer.write(kube, kube.read(), status, **said)  # type: ignore[arg-type]
    kube.body["metadata"] |= metadata
    return kube


def edited(phase: Phase) -> FakeKube:
    """Somebody has changed the spec, and the operator has not looked yet."""
    return written(phase, generation=2)


def deleted(phase: Phase) -> FakeKube:
    return written(phase, deletionTimestamp=format_time(NOW))
