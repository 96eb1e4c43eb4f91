"""Pure: what the object under our key is, once a completion may have been sent, and what follows from it.

The store's answer to a completion may be lost, or be that to a repeat of it: only what a HEAD shows
against the written intent decides.
"""

from dataclasses import replace
from enum import Enum

from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.quantity import format_bytes
from multipartcopy.api.ranges import parse_ranges
from multipartcopy.api.reasons import Reason
from multipartcopy.api.spec import Overwrite, VerificationMode
from multipartcopy.api.status import Phase, Reading, Status
from multipartcopy.reconcile import keeping, ledger, proof
from multipartcopy.reconcile.decide import Action, Wait, Write, give_up
from multipartcopy.reconcile.facts import Facts, Limits
from multipartcopy.reconcile.outcome import (
    found_at,
    new_attempt,
    replace_status,
    stamp,
    succeed,
)
from multipartcopy.s3.control import ObjectInfo
from multipartcopy.s3.errors import Kind, S3Error


class Verdict(Enum):
    """What the object under our key is."""

    OURS = "the one intended"
    DAMAGED = "ours by its ETag, and not what was sent"
    OTHER = "not known to be ours"


def judge(facts: Facts, head: ObjectInfo | None, answered: str = "") -> Verdict:
    """By evidence: its checksum of the full object; the ETag foretold from the parts; the ETag that the
    store has just ``answered`` to our completion; our stamp, which no other object has.
    """
    intent = facts.status.completing
    assert intent is not None
    if head is None or head.size != intent.size:
        return Verdict.OTHER
    # With None, checksums are not asked: it is for stores that mistake them.
    crc = None if facts.spec.verification is VerificationMode.NONE else head.crc64nvme
    if head.size == 0 or (crc is not None and crc == intent.crc64nvme):
        return Verdict.OURS
    made = is_new(facts, head) and bool(answered) and head.etag == answered
    made = made or head.metadata.get(SOURCE_STAMP) == stamp(facts)
    if made or (intent.etag and head.etag == intent.etag):
        if crc is None or not intent.crc64nvme:
            return Verdict.OURS
        return Verdict.DAMAGED if made or is_new(facts, head) else Verdict.OTHER
    return Verdict.OTHER


def settled(facts: Facts, head: ObjectInfo) -> Write:
    """The object is there and is ours: what is proven of it, or what has to be read again first."""
    if wrong := keeping.unencrypted(facts.spec, head):
        return _not_encrypted(facts, head, wrong)
    mode, status = facts.spec.verification, facts.status
    made = replace(status, destination=found_at(head), completing=None, disagreements=0)
    both = proof.must_read_both(status, head, mode)
    if both or (mode is VerificationMode.READ_BACK and head.size):
        reading = replace(
            made, destination_reading=Reading(head.etag), run=made.run + 1, retry=None
        )
        if both:
            assert status.source is not None
            reading = replace(reading, source_reading=Reading(status.source.etag))
        what = "it and the source" if both else "it"
        message = f"the object is complete; reading {what} again before it is called so"
        return Write(Phase.VERIFYING, Reason.VERIFYING, message, reading)
    return _proven(facts, made, head)


def concluded(facts: Facts, head: ObjectInfo) -> Write:
    """The object has been read again and is as it was sent, or as the source was read."""
    if problem := proof.contradiction(facts.status, facts.spec.verification):
        return damaged(facts, head, f"is as the source was read, and yet {problem}")
    return _proven(facts, facts.status, head)


def _proven(facts: Facts, status: Status, head: ObjectInfo) -> Write:
    verification = proof.conclude(status, head, facts.spec.verification)
    assert status.source is not None
    where, size = facts.spec.destination.s3, format_bytes(status.source.size)
    by = f" by {status.mode}" if status.mode else ""
    message = f"copied {size} to {where}{by}; {verification.result}: {verification.detail}"
    message += keeping.sentence(status.dropped)
    status = replace(status, verification=verification)
    return succeed(facts, status, Reason.COPIED, message)


def damaged(
    facts: Facts, head: ObjectInfo, found: str, reason: Reason = Reason.CHECKSUM_MISMATCH
) -> Write:
    """The object that we made is not what it should be: recorded first, then it is taken away."""
    message = f"{facts.spec.destination.s3} with ETag {head.etag} {found}"
    made = found_at(head)
    ours = replace_status(facts, completing=None, destination=made, destination_reading=None)
    return give_up(ours, reason, message)


def _not_encrypted(facts: Facts, head: ObjectInfo, wrong: str) -> Write:
    """Taken away where it is certainly ours: an equal object of somebody else's counts as copied, and is not ours."""
    if head.metadata.get(SOURCE_STAMP) == stamp(facts):
        return damaged(facts, head, wrong, Reason.NOT_ENCRYPTED)
    message = f"{facts.spec.destination.s3} with ETag {head.etag} {wrong}; it was left as it is"
    return give_up(replace_status(facts, completing=None), Reason.NOT_ENCRYPTED, message)


def withdrawn(
    facts: Facts, action: Action, there: ObjectInfo | None, problem: str, spared: str = ""
) -> Write:
    """What became of a damaged object; ``there`` is what is under its key now. ``spared``: why it was not deleted."""
    status, failing = facts.status, facts.status.failing
    if spared:
        fate = f"it was not deleted, since {spared}"
    elif there and is_made(facts, there):
        fate = f"it could not be deleted ({problem or 'the store kept it'}): do not use it"
    elif there and problem:
        fate = "somebody else has replaced it"
    else:
        fate = "it was deleted"
    if failing:
        failing = replace(failing, message=f"{failing.message[:600]}; {fate}")
    message = failing.message if failing else f"{action.message}; {fate}"
    status = replace(status, destination=None, failing=failing)
    return Write(action.phase, action.reason, message, status)


def is_made(facts: Facts, head: ObjectInfo) -> bool:
    """Whether it is the object, and the version, that the status says we made."""
    made = facts.status.destination
    return made is not None and (head.etag, head.version_id) == (made.etag, made.version_id)


def reread(facts: Facts, limits: Limits) -> Write | None:
    """What was read otherwise than sent is read once more, since this way may have damaged it; None: enough of it.

    Of a server-side copy, on both sides.
    """
    reading, count = facts.status.destination_reading, facts.status.disagreements + 1
    assert reading is not None
    if count > limits.disagreements:
        return None
    wrong, source = set(parse_ranges(reading.wrong)), facts.status.source_reading
    if source and facts.status.server_side:
        source = ledger.unread_again(source, wrong)
    status = replace(
        facts.status,
        source_reading=source,
        destination_reading=ledger.unread_again(reading, wrong),
        disagreements=count,
        run=facts.status.run + 1,
    )
    message = f"part {reading.wrong} of the destination was read otherwise than sent; reading again"
    return Write(Phase.VERIFYING, Reason.PARTS_DISAGREE, message, status)


def is_new(facts: Facts, head: ObjectInfo | None) -> bool:
    """Whether the object under our key is another than at the claim."""
    assert facts.status.claim is not None
    return head is not None and head.etag != facts.status.claim.destination_etag


def is_fresh(facts: Facts, head: ObjectInfo | None) -> bool:
    """Whether it was written since the claim: its ETag tells, or our stamp, where an equal object was there before."""
    stamped = head is not None and head.metadata.get(SOURCE_STAMP) == stamp(facts)
    return stamped or is_new(facts, head)


def changed_under_us(facts: Facts, head: ObjectInfo | None) -> Write | None:
    """Somebody else has written (or removed) the destination since the claim."""
    assert facts.status.claim is not None
    seen, now = facts.status.claim.destination_etag, head.etag if head else None
    if seen == now:
        return None
    if head and _may_be_ours(facts, head):
        message = (
            f"an object of the expected size is at {facts.spec.destination.s3}, and nothing tells"
            " whether it is ours or somebody else's; it was left as it is"
        )
        return give_up(replace_status(facts, completing=None), Reason.COMPLETE_UNKNOWN, message)
    never = facts.spec.overwrite is Overwrite.NEVER
    what = "was removed" if head is None else "was written by somebody else"
    message = f"{facts.spec.destination.s3} {what} during the copy; it was left as it is"
    reason = Reason.DESTINATION_EXISTS if never else Reason.DESTINATION_CHANGED
    return give_up(replace_status(facts, completing=None), reason, message)


def vanished(facts: Facts) -> Write:
    """The store repeats that it has completed the upload, and the object is not there."""
    message = f"{facts.spec.destination.s3} was completed, and removed before it could be seen"
    failing = replace_status(facts, completing=None)
    return give_up(failing, Reason.DESTINATION_CHANGED, message)


def not_kept(facts: Facts, head: ObjectInfo | None) -> Write:
    """The object that we made is no longer there, before it was read again."""
    what = "was removed" if head is None else "was written by somebody else"
    message = f"{facts.spec.destination.s3} {what} before it could be verified"
    status = replace_status(facts, destination=None, destination_reading=None)
    return give_up(status, Reason.DESTINATION_CHANGED, message)


def _may_be_ours(facts: Facts, head: ObjectInfo) -> bool:
    """On a store that shows nothing of ours: no checksum, no stamp, an ETag that cannot be foretold."""
    intent, upload = facts.status.completing, facts.status.upload
    silent = head.crc64nvme is None and SOURCE_STAMP not in head.metadata
    known = upload is not None and upload.checksum
    return bool(intent and head.size == intent.size and silent and not known)


def unsettled(facts: Facts, error: S3Error, limits: Limits) -> Write | Wait:
    """A Complete was refused and the destination is as it was at the claim."""
    if error.code in ("BadDigest", "XAmzContentChecksumMismatch"):
        return give_up(replace_status(facts, completing=None), Reason.CHECKSUM_MISMATCH, str(error))
    match error.kind:
        case Kind.RETRY:
            return Wait(Phase.COMPLETING, error.reason, str(error), 5.0)
        case Kind.NO_UPLOAD:
            return new_attempt(facts, limits)
        case Kind.INVALID_PART:
            # Which part, the store does not say; the cross-check that follows does.
            count = facts.status.disagreements + 1
            if count > limits.disagreements:
                return give_up(
                    replace_status(facts, completing=None), Reason.PARTS_DISAGREE, str(error)
                )
            status = replace(facts.status, completing=None, disagreements=count)
            return Write(Phase.COMPLETING, Reason.PARTS_DISAGREE, str(error), status)
        case _:
            return give_up(replace_status(facts, completing=None), error.reason, str(error))
