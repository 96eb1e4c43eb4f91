"""Pure: from what an effect found out to the status that records it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from multipartcopy.api.conditions import summary
from multipartcopy.api.location import S3Location
from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.quantity import format_bytes, format_quantity, number_of, parse_bytes
from multipartcopy.api.ranges import parse_ranges
from multipartcopy.api.reasons import CANNOT_BEGIN, Reason
from multipartcopy.api.report import decode_crc
from multipartcopy.api.spec import Mode, Overwrite, Spec, VerificationMode
from multipartcopy.api.status import (
    Claim,
    Destination,
    Dropped,
    Intent,
    Phase,
    Pin,
    Plan,
    Progress,
    Reading,
    Retry,
    Status,
    Upload,
    Way,
)
from multipartcopy.api.task import Validator
from multipartcopy.jobs import may_grow, memory_limit
from multipartcopy.plan import AUTO, PlanError
from multipartcopy.reconcile import expected, keeping, ledger, proof
from multipartcopy.reconcile.decide import (
    WRITE_AUTO,
    Action,
    Wait,
    Write,
    begun_anew,
    fold,
    give_up,
    is_news,
)
from multipartcopy.reconcile.facts import (
    Facts,
    Limits,
    Pod,
    Resource,
    failure_of,
    format_time,
    out_of_memory,
    parse_time,
)
from multipartcopy.reconcile.ledger import ListedPart
from multipartcopy.s3.address import endpoint_parts, endpoint_url, same_endpoint
from multipartcopy.s3.control import ListedUpload, ObjectInfo, StoredPart
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.profiles import plan_at, store_of

_UPLOADS_KEPT = 100
"""Of those at the claim, the newest; an older one is known for a stranger's by its age."""
_CLAIM_LASTS = timedelta(seconds=60)
_SERIAL = "the URL serves no ranges: one pod reads it in one stream, and from its first byte after a failure"
_REASON_LIMIT = 512
_EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"


@dataclass(frozen=True)
class Inspection:
    """Of both ends, before the claim. ``layout`` is the source's own part size in bytes.

    ``unreadable``: why the source cannot be read with the destination's credentials, where that was tried.
    """

    source: ObjectInfo
    layout: int | None
    destination: ObjectInfo | None
    uploads: tuple[ListedUpload, ...]
    time: datetime
    unreadable: str | None = None


def stamp(facts: Facts) -> str:
    """What the destination's metadata says it is: a copy of which source, made by which attempt of which resource."""
    pin = facts.status.source
    assert pin is not None
    return f"{pin.etag or '-'} {pin.size} {facts.resource.owner.uid}/{facts.status.attempt}"


def names_source(stamped: str | None, pin: Pin) -> bool:
    """Whether a stamp, whoever's, is that of a copy of this source. Of two URLs the ETags may be equal by chance."""
    if pin.validator is not None:
        return False
    return stamped is not None and stamped.split(" ")[:2] == [pin.etag, str(pin.size)]


def place(location: S3Location) -> tuple[object, ...]:
    """Two locations with equal places are one object."""
    return *endpoint_parts(location), location.bucket, location.key


def is_same_object(spec: Spec, pin: Pin, destination: ObjectInfo | None) -> bool:
    """Whether the copy would replace its own source, but for an older version of it: that can be brought back.

    The definition compares the endpoints as they are written.
    """
    source = spec.source.s3
    if source is None or place(source) != place(spec.destination.s3):
        return False
    # In a bucket without versions "null" is the one there is.
    if source.version_id in (None, "null"):
        return True
    return destination is not None and destination.version_id == pin.version_id


def is_named_alike(spec: Spec) -> bool:
    """Whether bucket and key are the same, so that it hangs on the endpoints whether the objects are.

    A version that is named may be an older one of the same object.
    """
    source, destination = spec.source.s3, spec.destination.s3
    if source is None or source.version_id not in (None, "null"):
        return False
    return (source.bucket, source.key) == (destination.bucket, destination.key)


def onto_itself(facts: Facts, upload: Upload) -> Write:
    """The source's store has the upload that was made at the destination: it is to be aborted."""
    made = replace_status(facts, upload=upload)
    return give_up(made, Reason.REQUEST_REFUSED, _onto_itself(facts.spec))


def _onto_itself(spec: Spec) -> str:
    name = spec.destination.s3
    return f"{name} is the source itself, by another name: it cannot be copied onto itself"


def relay_because(spec: Spec) -> str | None:
    """Why the store cannot be asked to copy by itself, as far as the spec tells; None where it can be tried."""
    if spec.source.s3 is None:
        return "the source is a URL"
    if spec.mode is Mode.RELAY:
        return "spec.mode is Relay"
    if not same_endpoint(spec.source.s3, spec.destination.s3):
        return "source and destination have different endpoints"
    if spec.verification is VerificationMode.PART_MD5:
        return "spec.verification is PartMD5"
    if why := _customer_keys(spec):
        return why
    if (store := store_of(spec.destination.s3)).part_copy is False:
        return f"{store.title} does not copy parts by itself"
    return None


def _customer_keys(spec: Spec) -> str | None:
    """Two keys in one request to copy are more than is worth telling apart."""
    for side, location in (("source", spec.source.s3), ("destination", spec.destination.s3)):
        if location and location.sse_customer_key_secret_ref:
            return f"spec.{side}.s3.sseCustomerKeySecretRef is set"
    return None


def claim(facts: Facts, seen: Inspection) -> Write:
    """Pin, plan and claim, or the reason why there is nothing to copy."""
    spec, source = facts.spec, seen.source
    pin = Pin(
        source.etag,
        source.size,
        source.version_id,
        source.last_modified,
        source.crc64nvme,
        seen.layout,
        source.encrypted_by_key,
        expected.checksum(spec.source.expect),
        source.validator,
        str(spec.source.http) if spec.source.http else None,
    )
    if problem := expected.unmet(spec.source.expect, pin):
        return give_up(facts, Reason.SOURCE_UNEXPECTED, problem)
    if is_same_object(spec, pin, seen.destination):
        return give_up(facts, Reason.REQUEST_REFUSED, _onto_itself(spec))
    strong = bool(pin.etag) and not pin.etag.startswith("W/")
    if pin.validator is None and not strong:
        return give_up(facts, Reason.REQUEST_REFUSED, "the source has no strong ETag to pin it by")
    if seen.destination and spec.overwrite is Overwrite.NEVER:
        return give_up(
            facts,
            Reason.DESTINATION_EXISTS,
            f"{spec.destination.s3} exists and spec.overwrite is Never",
        )
    if seen.destination and spec.overwrite is Overwrite.IF_DIFFERENT:
        # A stamp tells whose copy it is, and not whether it was found to be damaged later.
        named = names_source(seen.destination.metadata.get(SOURCE_STAMP), pin)
        unproven = spec.verification is VerificationMode.NONE
        verification = proof.equality(source, seen.destination, stamped=named and unproven)
        if verification and expected.is_met_by(pin, seen.destination):
            status = replace(
                facts.status,
                source=pin,
                destination=found_at(seen.destination),
                verification=verification,
            )
            message = f"the destination is equal already: {verification.detail}"
            if is_named_alike(spec) and source.last_modified == seen.destination.last_modified:
                message += (
                    "; it has the bucket, the key and the time of the source as well, so see that"
                    " the two endpoints are not one store"
                )
            if others := keeping.differences(spec, source, seen.destination):
                message += f"; its {' and '.join(others)} differ, and were left as they are"
            return succeed(facts, status, Reason.ALREADY_EQUAL, message)
    found = seen.destination.etag if seen.destination else None
    first = facts.status.source_changes
    if first and first.destination_etag != found and spec.overwrite is not Overwrite.ALWAYS:
        what = "written by somebody else" if found else "removed"
        message = f"{spec.destination.s3} was {what} during the copy; it was left as it is"
        return give_up(facts, Reason.DESTINATION_CHANGED, message)
    why = relay_because(spec) or seen.unreadable
    if not why and expected.is_open(pin):
        why = "spec.source.expect.checksum can only be compared with bytes that pass"
    if why and pin.size and spec.mode is Mode.SERVER_SIDE:
        return give_up(facts, Reason.SERVER_SIDE_REFUSED, f"{why}; {WRITE_AUTO}")
    mode = Way.RELAY if why else Way.SERVER_SIDE
    if not source.ranges:
        mode, why = Way.SERIAL, _SERIAL
    refused = why if pin.size and why == _customer_keys(spec) else None
    try:
        plan = _plan(spec, pin, mode)
    except PlanError as error:
        return give_up(facts, error.reason, str(error))
    status = replace(
        facts.status,
        source=pin,
        mode=mode if pin.size else None,
        server_side_refused=seen.unreadable or refused,
        plan=plan,
        attempt=facts.status.attempt + 1,
        claim=_claim(seen.time, seen.uploads, found),
        start_time=facts.status.start_time or format_time(facts.now),
    )
    message = f"pinned {format_bytes(pin.size)} {pinned_by(pin)}"
    if pin.size:
        message += f"; the mode is {mode}" + (f", since {why}" if why else "")
    store = store_of(spec.destination.s3)
    if spec.overwrite is not Overwrite.ALWAYS and store.conditional_writes is False:
        message += (
            f"; {store.title} takes no preconditions, so an object that somebody else writes in the"
            " moment of the completion is not seen"
        )
    return Write(Phase.PREPARING, Reason.CLAIMED, message, measure(status, facts.now))


def pinned_by(pin: Pin) -> str:
    """By what a change of the source will be seen, or not."""
    match pin.validator:
        case Validator.WEAK_ETAG:
            return f"with the weak ETag {pin.etag}, which need not show every change"
        case Validator.LAST_MODIFIED:
            return f"by its time {pin.last_modified}, which does not show two changes in a second"
        case Validator.SIZE:
            return (
                "by its size alone, since its server tells neither an ETag nor a time:"
                " a change meanwhile is not seen"
            )
        case _:
            return f"with ETag {pin.etag}"


def _plan(spec: Spec, pin: Pin, mode: Way) -> Plan:
    """Raises PlanError."""
    layout, server_side = pin.part_size, mode is Way.SERVER_SIDE
    if server_side and ledger.is_md5_etag(pin.etag) and "-" not in pin.etag and not pin.encrypted:
        layout = pin.size
    return plan_at(
        store_of(spec.destination.s3),
        pin.size,
        part_size=spec.part_size,
        source_layout=layout if spec.part_size == AUTO else None,
        parallelism=spec.parallelism,
        streams=spec.worker.streams,
        server_side=server_side,
        serial=mode is Way.SERIAL,
    )


def _claim(time: datetime, uploads: Iterable[ListedUpload], destination_etag: str | None) -> Claim:
    newest = sorted(uploads, key=lambda upload: upload.initiated, reverse=True)
    ids = tuple(upload.id for upload in newest[:_UPLOADS_KEPT])
    return Claim(format_time(time), ids, destination_etag)


def is_stale(claimed: Claim, now: datetime) -> bool:
    """An upload is created only under a fresh claim; ``now`` is the store's time as the claim's is."""
    return now - parse_time(claimed.time) > _CLAIM_LASTS


def reclaim(facts: Facts, uploads: Iterable[ListedUpload], now: datetime) -> Write:
    """The claim anew, with the uploads there are by now; what the destination was stays."""
    assert facts.status.claim is not None
    claimed = _claim(now, uploads, facts.status.claim.destination_etag)
    message = "about to create the multipart upload"
    return Write(Phase.PREPARING, Reason.CLAIMED, message, replace(facts.status, claim=claimed))


def our_uploads(claimed: Claim, listed: Iterable[ListedUpload]) -> list[str]:
    """Upload IDs that a predecessor of ours made: on exactly our key, in the time that the claim lasts.

    Twice that time, for a request that took long. A stranger's of just then is the case that is left.
    """
    since = parse_time(claimed.time)
    until = since + 2 * _CLAIM_LASTS
    known = set(claimed.uploads)
    return [u.id for u in listed if u.id not in known and since <= u.initiated <= until]


def goes_first(other: Resource, ours: Resource) -> bool:
    """Of two live resources with one destination: the one that has claimed it, else the older.

    One that cannot or shall not begin holds up nobody.
    """
    if other.owner.uid == ours.owner.uid or other.status.completion_time:
        return False
    if place(other.spec.destination.s3) != place(ours.spec.destination.s3):
        return False
    if other.status.claim and not other.status.resuming:
        return True
    condition = summary(other.status.conditions)
    waits = condition is not None and condition.reason in CANNOT_BEGIN
    older = (other.created, other.owner.uid) < (ours.created, ours.owner.uid)
    return older and not (waits or other.spec.suspend)


def wants_checksum(facts: Facts) -> bool:
    """Whether the upload is to be made with CRC64NVME; some stores copy no part into such a one."""
    mode = facts.spec.verification
    without = mode in (VerificationMode.PART_MD5, VerificationMode.NONE)
    refused = store_of(facts.spec.destination.s3).checksums is False
    return not (without or refused or facts.status.without_checksum or facts.status.server_side)


def uploading(facts: Facts, upload: Upload) -> Write:
    """Where no CRC64NVME guards the parts on their way, their MD5 does, unless nothing shall, or none passes us."""
    checksum = upload.checksum and not facts.status.server_side
    relayed = not (checksum or facts.status.server_side)
    # Not every store says so before the first part.
    encrypted = upload.encrypted or facts.spec.destination.s3.opaque
    comparable = not encrypted and store_of(facts.spec.destination.s3).part_md5 is not False
    md5 = relayed and comparable and facts.spec.verification is not VerificationMode.NONE
    upload = replace(upload, checksum=checksum, md5=md5, encrypted=encrypted)
    status = replace(facts.status, upload=upload, run=1)
    assert status.plan is not None
    message = f"created the multipart upload for {number_of(status.plan.part_count, 'part')}"
    message += keeping.sentence(status.dropped)
    return Write(Phase.COPYING, Reason.UPLOAD_CREATED, message, status)


def dropping(facts: Facts, dropped: Iterable[Dropped]) -> Facts:
    """The facts, with what of the source the object is not made with; the reasons are stores' words."""
    short = tuple(replace(d, reason=d.reason[:_REASON_LIMIT]) for d in dropped)
    return replace_status(facts, dropped=short)


def new_attempt(facts: Facts, limits: Limits, refusal: S3Error | None = None) -> Write:
    """The upload is gone and was not completed by us: make another, a few times.

    The pin stays, and so does what the destination was at the claim. ``refusal``: why it was of no use any more.
    """
    lost = facts.status.lost_uploads + 1
    if lost >= limits.attempts:
        message = f"the multipart upload vanished {lost} times; is a lifecycle rule aborting it?"
        message += f" The last was not as it was created: {refusal}" if refusal else ""
        return give_up(replace_status(facts, completing=None), Reason.UPLOAD_LOST, message)
    message = f"the multipart upload of attempt {facts.status.attempt} is gone; beginning a new one"
    message += f", since it was not as it was created: {refusal}" if refusal else ""
    status = replace(_anew(facts.status), lost_uploads=lost)
    return Write(Phase.PREPARING, Reason.UPLOAD_LOST, message, status)


def without_checksum(facts: Facts, action: Action) -> Write:
    """The store does not take CRC64NVME with the parts after all: a new attempt does without."""
    status = replace(_anew(facts.status), without_checksum=True)
    return Write(Phase.PREPARING, Reason.CHECKSUM_REFUSED, action.message, status)


def relayed(facts: Facts, action: Action) -> Write:
    """The store does not copy by itself after all: a new attempt, with a plan for workers that do."""
    pin = facts.status.source
    assert pin is not None
    try:
        plan = _plan(facts.spec, pin, Way.RELAY)
    except PlanError as error:
        return give_up(facts, error.reason, str(error))
    status = replace(
        _anew(facts.status), mode=Way.RELAY, server_side_refused=action.message, plan=plan
    )
    return Write(Phase.PREPARING, Reason.SERVER_SIDE_REFUSED, action.message, status)


def _anew(status: Status) -> Status:
    return replace(
        status,
        attempt=status.attempt + 1,
        upload=None,
        dropped=(),
        batches={},
        run=0,
        retry=None,
        source_reading=None,
        completing=None,
        disagreements=0,
        progress=None,
    )


def listed(facts: Facts, action: Action, parts: list[StoredPart]) -> Write | Wait:
    """Progress between the reports, what the reports tell, and what the store's checksums prove."""
    listing = _listing(parts)
    status = ledger.recover(fold(facts), listing)
    status = measure(status, facts.now, ledger.received_bytes(status, listing))
    if not is_news(facts, status):
        return Wait(action.phase, action.reason, action.message, 5.0)
    return Write(action.phase, action.reason, action.message, status)


def end_run(
    facts: Facts,
    action: Action,
    progressed: bool,
    folded: Status,
    parts: list[StoredPart],
    limits: Limits,
) -> Write:
    """The next run, later the more runs in a row have recorded nothing new."""
    status = ledger.recover(folded, _listing(parts))
    if not ledger.missing(status):
        return Write(action.phase, action.reason, "every part is recorded", status)
    if raised := _with_more_memory(facts, action, status):
        return raised
    before = facts.status.retry or Retry()
    gained = progressed or len(status.batches) > len(facts.status.batches)
    failures = 0 if gained else before.failures + 1
    delay = limits.retry_seconds[min(failures, len(limits.retry_seconds)) - 1] if failures else 0
    due = format_time(facts.now + timedelta(seconds=delay)) if delay else None
    denied, killed, memory = 0, 0, None
    if failures and _failed_by(facts, Reason.ACCESS_DENIED):
        denied = before.denied + 1
    if failures and (pods := _failed_by(facts, Reason.OOM_KILLED)):
        memory = pods[0].memory_limit
        killed = before.killed + 1 if memory == before.memory else 1
    retry = Retry(failures, due, denied, killed, memory)
    status = replace(status, run=status.run + 1, retry=retry)
    return Write(action.phase, action.reason, action.message, status)


def _with_more_memory(facts: Facts, action: Action, status: Status) -> Write | None:
    """The next run at once, with twice the memory, where a worker was killed at its limit and may have more."""
    now, most = parse_bytes(memory_limit(facts.spec, facts.status)), facts.spec.worker.max_memory
    killed = [pod for pod in facts.run_pods() if _failed_for(pod, Reason.OOM_KILLED)]
    # A limit that is another by now, somebody has changed meanwhile.
    at_limit = any(pod.memory_bytes == now for pod in killed)
    if most is None or not may_grow(facts.spec, facts.status) or not at_limit:
        return None
    needed = format_quantity(min(2 * now, parse_bytes(most)))
    latest = max(killed, key=lambda pod: pod.terminated.finished_at)  # type: ignore[union-attr]
    message = f"{out_of_memory(latest)}; the next run has {needed}"
    failure = failure_of(latest)
    assert failure is not None
    status = replace(
        status,
        run=status.run + 1,
        retry=None,
        worker_memory=needed,
        last_failure=replace(failure, message=message),
    )
    return Write(action.phase, Reason.OOM_KILLED, message, status)


def _failed_for(pod: Pod, reason: Reason) -> bool:
    failure = failure_of(pod)
    return failure is not None and failure.reason == reason


def _failed_by(facts: Facts, reason: Reason) -> list[Pod]:
    """The pods of the run that failed, if all of them did for this reason; else none."""
    failed = [pod for pod in facts.run_pods() if facts.failure_in(pod)]
    return failed if all(_failed_for(pod, reason) for pod in failed) else []


def intend(facts: Facts, parts: list[StoredPart], limits: Limits) -> Write:
    """The intent, if the store lists every part as the ledger has it; else those parts are sent again."""
    status = facts.status
    assert status.source is not None
    assert status.claim is not None
    wrong = ledger.disagreements(status, _listing(parts))
    if wrong:
        return disagreement(facts, wrong, "the store does not have as recorded", limits)
    if status.source_reading and status.source_reading.wrong:
        misread = parse_ranges(status.source_reading.wrong)
        return disagreement(facts, misread, "the source has otherwise than received", limits)
    mode = facts.spec.verification
    if proof.must_read_source(status, mode):
        return _read_source(facts)
    if problem := proof.contradiction(status, mode):
        if expected.is_open(status.source):
            return give_up(facts, Reason.SOURCE_UNEXPECTED, problem)
        message = f"{problem}, twice: the source is not what its store says"
        return give_up(facts, Reason.CHECKSUM_MISMATCH, message)
    recorded = ledger.parts_of(status.batches)
    etag = ledger.composite_etag(recorded) if recorded else _EMPTY_MD5
    seen = status.claim.destination_etag
    taken = store_of(facts.spec.destination.s3).conditional_writes is not False
    conditional = taken and facts.spec.overwrite is not Overwrite.ALWAYS
    intent = Intent(
        size=status.source.size,
        etag=etag or "",
        crc64nvme=ledger.intended_crc(status) or "",
        if_match=seen if conditional else None,
        if_none_match=conditional and seen is None,
    )
    message = f"completing {number_of(len(recorded), 'part')}"
    return Write(Phase.COMPLETING, Reason.COMPLETING, message, replace(status, completing=intent))


def _read_source(facts: Facts) -> Write:
    status = facts.status
    assert status.source is not None
    why = proof.doubt(status) if facts.spec.verification is not VerificationMode.READ_BACK else None
    message = "reading the source again" + (f": {why}" if why else "")
    reading = Reading(status.source.etag)
    begun = replace(status, source_reading=reading, run=status.run + 1, retry=None)
    return Write(Phase.VERIFYING, Reason.VERIFYING, message, begun)


def disagreement(facts: Facts, numbers: list[int], how: str, limits: Limits) -> Write:
    """Forget the parts that are not as recorded; they are sent again, a bounded number of times."""
    count = facts.status.disagreements + 1
    some = ", ".join(map(str, numbers[:5])) + ("…" if len(numbers) > 5 else "")
    if count > limits.disagreements:
        message = f"part {some} is what {how}, {count} times"
        return give_up(replace_status(facts, completing=None), Reason.PARTS_DISAGREE, message)
    status = replace(
        ledger.without(facts.status, numbers),
        completing=None,
        disagreements=count,
        run=facts.status.run + 1,
        progress=None,
    )
    message = f"part {some} is what {how}; sending again"
    return Write(Phase.COPYING, Reason.PARTS_DISAGREE, message, status)


def replace_status(facts: Facts, **changes: object) -> Facts:
    status = replace(facts.status, **changes)  # type: ignore[arg-type]
    return replace(facts, resource=replace(facts.resource, status=status))


def aborted(facts: Facts, action: Action) -> Write:
    """Nothing of the attempt is left at the store; how far it was is kept for people."""
    status = replace(facts.status, claim=None, upload=None, batches={})
    if facts.status.kept:
        status = replace(status, failing=None)
    return Write(action.phase, action.reason, action.message, status)


def kept(facts: Facts, action: Action) -> Write:
    """It has failed; upload and ledger stay for another try."""
    upload = facts.status.upload
    assert upload is not None
    message = f"{action.message[:600]}; {_named(facts, [upload.id])} is kept for another try"
    status = replace(measure(fold(facts), facts.now), completion_time=format_time(facts.now))
    return Write(Phase.FAILED, action.reason, message, status)


def resumed(
    facts: Facts, found: ObjectInfo | None, uploads: Iterable[ListedUpload], time: datetime
) -> Write:
    """The upload that was kept goes on, under a claim of what is at the destination now."""
    if found and facts.spec.overwrite is Overwrite.NEVER:
        message = f"{facts.spec.destination.s3} exists and spec.overwrite is Never"
        return give_up(facts, Reason.DESTINATION_EXISTS, message)
    done = facts.status.progress
    status = replace(
        facts.status,
        claim=_claim(time, uploads, found.etag if found else None),
        resuming=False,
        run=facts.status.run + 1,
        start_time=format_time(facts.now),
        progress=done and replace(done, bytes_resumed=done.bytes_done),
    )
    message = f"taking up the multipart upload of attempt {status.attempt} again"
    return Write(Phase.COPYING, Reason.CLAIMED, message, status)


def afresh(facts: Facts) -> Write:
    """Of the upload that was kept nothing could be used, and it is gone."""
    message = "the upload that was kept is of no use any more; beginning anew"
    return Write(Phase.PENDING, Reason.INSPECTING, message, begun_anew(facts.status))


def left_behind(facts: Facts, action: Action) -> tuple[Write, list[str]]:
    """The abort is given up. The upload IDs that it was for, which the status keeps and names for people."""
    known = [facts.status.upload.id] if facts.status.upload else []
    uploads = list(dict.fromkeys([*known, *facts.strays])) or ["unknown"]
    failing = facts.status.failing
    if failing:
        message = f"{failing.message[:300]}; {left_behind_sentence(facts, uploads)}"
        failing = replace(failing, message=message)
    status = replace(facts.status, claim=None, failing=failing)
    return Write(action.phase, action.reason, action.message, status), uploads


def left_behind_sentence(facts: Facts, uploads: Iterable[str]) -> str:
    return f"{_named(facts, uploads)} was left behind"


def _named(facts: Facts, uploads: Iterable[str]) -> str:
    location = facts.spec.destination.s3
    which = ", ".join(uploads)
    return f"multipart upload {which} of {location} at {endpoint_url(location)}"


def doubtful(facts: Facts, upload_id: str) -> str:
    """The sentence that names an upload which may be ours and may be not."""
    location = facts.spec.destination.s3
    return (
        f"multipart upload {upload_id} of {location} at {endpoint_url(location)} was begun when ours"
        " was and has no parts; if nobody else writes this object, abort it"
    )


def refused(
    facts: Facts, action: Action, error: S3Error, limits: Limits, denied_since: datetime | None
) -> Write | Wait:
    """What an error of a store means for the copy: a wait, a new attempt, or the end."""
    if action.phase is Phase.ABORTING or facts.status.over:
        message = f"{action.message}; {error}"
        return Wait(action.phase, action.reason, message, 10.0, quiet=facts.status.over)
    if error.kind in (Kind.RETRY, Kind.REFUSED):
        return Wait(action.phase, error.reason, str(error), 5.0)
    if error.kind is Kind.DENIED:
        patience = timedelta(seconds=limits.denied_grace_seconds)
        since = denied_since or facts.now
        if facts.now - since < patience:
            message = f"{error}; to be mended by {format_time(since + patience)}"
            return Wait(action.phase, error.reason, message, 10.0)
    if error.kind is Kind.NO_UPLOAD:
        return new_attempt(facts, limits)
    return give_up(replace_status(facts, completing=None), error.reason, str(error))


def measure(status: Status, now: datetime, received: int | None = None) -> Status:
    """The status with its progress. ``received`` bytes are shown, though only the ledger counts as done."""
    if status.plan is None or status.source is None:
        return status
    size, plan = status.source.size, status.plan
    recorded = ledger.parts_of(status.batches)
    before = status.progress.bytes_done if status.progress else 0
    done = max(sum(batch.bytes for batch in status.batches.values()), received or 0, before)
    resumed_at = status.progress.bytes_resumed if status.progress else 0
    seconds = (now - parse_time(status.start_time)).total_seconds() if status.start_time else 0.0
    progress = Progress(
        parts_done=len(recorded),
        parts_total=plan.part_count,
        bytes_done=done,
        bytes_total=size,
        percent=done * 100 // size if size else 0,
        parts=f"{len(recorded)}/{plan.part_count}",
        size=format_bytes(size),
        bytes_per_second=int((done - resumed_at) / seconds) if seconds > 1 else 0,
        bytes_resumed=resumed_at,
    )
    return replace(status, progress=progress)


def succeed(facts: Facts, status: Status, reason: Reason, message: str) -> Write:
    status = replace(status, completion_time=format_time(facts.now), retry=None)
    status = measure(status, facts.now)
    if status.progress:
        status = replace(status, progress=replace(status.progress, percent=100))
    return Write(Phase.SUCCEEDED, reason, message, status)


def found_at(head: ObjectInfo) -> Destination:
    """What the status says of the object that a HEAD has shown."""
    return Destination(head.etag, head.size, head.version_id, head.crc64nvme)


def _listing(parts: Iterable[StoredPart]) -> list[ListedPart]:
    return [
        ListedPart(p.number, p.etag, p.size, decode_crc(p.crc64nvme) if p.crc64nvme else None)
        for p in parts
    ]
