"""What the object under our key is, and what follows from it."""

from dataclasses import replace

import pytest

from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.spec import EncryptionType, Overwrite, ServerSideEncryption, VerificationMode
from multipartcopy.api.status import Claim, Destination, Intent, Phase, Reading
from multipartcopy.reconcile import decide as steps
from multipartcopy.reconcile import settle
from multipartcopy.reconcile.decide import Wait, Write, decide
from multipartcopy.reconcile.facts import Limits, format_time
from multipartcopy.reconcile.settle import Verdict
from multipartcopy.s3.control import ObjectInfo
from multipartcopy.s3.errors import Kind, S3Error
from tests.unit.facts import FULL, NOW, OWNER, SIZE, SPEC, UPLOAD, facts

LIMITS = Limits()
OTHER = ObjectInfo(size=SIZE, etag="b" * 32)
STAMP = f"{'a' * 32} {SIZE} {OWNER.uid}/1"
THEIRS = f"{'a' * 32} {SIZE} another/1"
INTENT = Intent(size=SIZE, etag="c" * 32 + "-20", crc64nvme="AAAAAAAAAAE=", if_none_match=True)
SETTLING = replace(FULL, completing=INTENT, source=replace(FULL.source, etag="a" * 32))
OURS = replace(OTHER, etag=INTENT.etag)
WRONG_CRC = "AAAAAAAAAAI="
READ_BACK = replace(SPEC, verification=VerificationMode.READ_BACK)
READING = replace(
    FULL,
    destination=Destination(INTENT.etag, SIZE),
    destination_reading=Reading(INTENT.etag, "1-20", "7"),
)


WITHDRAW = steps.Withdraw(Phase.ABORTING, steps.Reason.CHECKSUM_MISMATCH, "")


def error(kind: Kind, code: str = "Code") -> S3Error:
    return S3Error("destination", "s3://b/k", "Op", kind, code, "words")


@pytest.mark.parametrize(
    ("head", "answered", "verdict"),
    [
        (None, "", Verdict.OTHER),
        (OTHER, "", Verdict.OTHER),
        (OURS, "", Verdict.OURS),
        (replace(OURS, size=1), "", Verdict.OTHER),
        (replace(OTHER, crc64nvme=INTENT.crc64nvme), "", Verdict.OURS),
        (replace(OTHER, metadata={SOURCE_STAMP: STAMP}), "", Verdict.OURS),
        (replace(OTHER, metadata={SOURCE_STAMP: STAMP}, crc64nvme=WRONG_CRC), "", Verdict.DAMAGED),
        (replace(OTHER, metadata={SOURCE_STAMP: THEIRS}), "", Verdict.OTHER),
        (replace(OURS, crc64nvme=WRONG_CRC), "", Verdict.DAMAGED),
        (replace(OTHER, crc64nvme=WRONG_CRC), "", Verdict.OTHER),
        (OTHER, OTHER.etag, Verdict.OURS),
        (OTHER, OURS.etag, Verdict.OTHER),
        (replace(OTHER, crc64nvme=WRONG_CRC), OTHER.etag, Verdict.DAMAGED),
    ],
)
def test_the_object_is_judged_against_the_intent(head, answered, verdict):
    assert settle.judge(facts(SETTLING), head, answered) is verdict


@pytest.mark.parametrize(
    ("head", "answered"),
    [(OTHER, OTHER.etag), (replace(OURS, crc64nvme=WRONG_CRC), ""), (OTHER, "")],
)
def test_what_was_there_before_is_not_ours_by_an_answer_and_not_deleted(head, answered):
    before = replace(SETTLING, claim=Claim(format_time(NOW), (), head.etag))
    assert settle.judge(facts(before), head, answered) is Verdict.OTHER


def test_with_none_checksums_are_not_asked():
    none = replace(SPEC, verification=VerificationMode.NONE)
    wrong = replace(OURS, crc64nvme=WRONG_CRC)
    assert settle.judge(facts(SETTLING, none), wrong) is Verdict.OURS


def test_an_empty_object_is_what_it_is():
    empty = replace(SETTLING, completing=replace(INTENT, size=0))
    assert settle.judge(facts(empty), ObjectInfo(size=0, etag="any")) is Verdict.OURS


def test_somebody_elses_object_is_reported_and_not_claimed():
    result = settle.changed_under_us(facts(SETTLING), OTHER)
    assert result
    assert (result.reason, result.status.completing) == ("DestinationChanged", None)
    assert settle.changed_under_us(facts(SETTLING), None) is None


def test_on_a_store_that_tells_nothing_it_is_left_open_whose_object_it_is():
    """Not even that it is somebody else's."""
    silent = replace(SETTLING, upload=replace(UPLOAD, checksum=False))
    for head, reason in (
        (OTHER, "CompleteUnknown"),
        (replace(OTHER, size=1), "DestinationChanged"),
        (replace(OTHER, crc64nvme=WRONG_CRC), "DestinationChanged"),
        (replace(OTHER, metadata={SOURCE_STAMP: "another"}), "DestinationChanged"),
    ):
        result = settle.changed_under_us(facts(silent), head)
        assert result
        assert result.reason == reason


def test_never_says_that_it_exists():
    never = facts(SETTLING, replace(SPEC, overwrite=Overwrite.NEVER))
    result = settle.changed_under_us(never, OTHER)
    assert result
    assert result.reason == "DestinationExists"


@pytest.mark.parametrize(
    ("kind", "kept_intent", "reason"),
    [
        (Kind.RETRY, True, "DestinationUnavailable"),
        (Kind.NO_UPLOAD, False, "UploadLost"),
        (Kind.INVALID_PART, False, "PartsDisagree"),
        (Kind.PERMANENT, False, "RequestRefused"),
    ],
)
def test_a_refused_complete(kind, kept_intent, reason):
    result = settle.unsettled(facts(SETTLING), error(kind), LIMITS)
    assert result.reason == reason
    assert isinstance(result, Wait) is kept_intent
    if isinstance(result, Write):
        assert result.status.completing is None


def test_a_checksum_that_the_store_refuses_at_the_end_is_a_mismatch():
    bad = error(Kind.RETRY, "BadDigest")
    assert settle.unsettled(facts(SETTLING), bad, LIMITS).reason == "ChecksumMismatch"


def test_what_is_there_is_called_copied_with_its_proof():
    result = settle.settled(facts(SETTLING), OURS)
    assert (result.phase, result.reason) == (Phase.SUCCEEDED, "Copied")
    assert result.status.verification
    assert result.status.verification.result in result.message


def test_read_back_reads_the_object_before_it_is_called_copied():
    result = settle.settled(facts(replace(SETTLING, disagreements=3), READ_BACK), OURS)
    assert (result.phase, result.status.over) == (Phase.VERIFYING, False)
    assert result.status.destination_reading == Reading(OURS.etag)
    assert result.status.run == SETTLING.run + 1
    assert result.status.disagreements == 0


def test_a_part_read_otherwise_than_sent_is_read_again_a_few_times():
    """The damage may have been on the way back."""
    again = settle.reread(facts(READING, READ_BACK), LIMITS)
    assert again
    assert again.status.destination_reading == Reading(INTENT.etag, "1-6,8-20", "")
    assert again.status.disagreements == 1
    tired = replace(READING, disagreements=LIMITS.disagreements)
    assert settle.reread(facts(tired, READ_BACK), LIMITS) is None


def test_a_damaged_object_is_recorded_before_it_is_deleted():
    """So that the reason outlives whoever deletes it."""
    result = settle.damaged(facts(READING), OURS, "was read otherwise")
    assert result.status.failing
    assert result.status.failing.reason == "ChecksumMismatch"
    assert result.status.destination == Destination(OURS.etag, SIZE)
    assert isinstance(decide(facts(result.status)), steps.Withdraw)
    assert isinstance(decide(facts(result.status, deleted_at=NOW)), steps.Withdraw)


@pytest.mark.parametrize(
    ("there", "problem", "words"),
    [
        (None, "", "it was deleted"),
        (OTHER, "", "it was deleted"),  # and the version before it is current again
        (OTHER, "412", "somebody else has replaced it"),
        (OURS, "403", "could not be deleted (403): do not use it"),
        (OURS, "", "the store kept it"),
        (replace(OURS, version_id="2"), "", "it was deleted"),
    ],
)
def test_what_became_of_a_damaged_object_is_said(there, problem, words):
    found = settle.damaged(facts(READING), OURS, "was read otherwise").status
    result = settle.withdrawn(facts(found), WITHDRAW, there, problem)
    assert result.status.failing
    assert words in result.status.failing.message
    assert result.status.destination is None
    assert isinstance(decide(facts(result.status)), steps.Abort)


@pytest.mark.parametrize("seen", [{}, {"deleted_at": NOW}])
def test_a_damaged_object_that_cannot_be_deleted_is_named_before_the_abort(seen):
    found = settle.damaged(facts(READING), OURS, "was read otherwise").status
    seen = {**seen, "abort_failed_since": NOW}
    left = decide(facts(found, **seen), Limits(abort_grace_seconds=-1))
    assert isinstance(left, Write)
    assert "do not use it" in left.message
    assert left.status.destination is None
    assert isinstance(decide(facts(left.status, **seen)), steps.Abort)


@pytest.mark.parametrize("head", [None, OTHER])
def test_an_object_that_did_not_stay_is_not_claimed(head):
    result = settle.not_kept(facts(READING), head)
    assert (result.reason, result.status.destination) == ("DestinationChanged", None)


ENCRYPTED = replace(
    SPEC,
    destination=replace(
        SPEC.destination,
        s3=replace(
            SPEC.destination.s3,
            server_side_encryption=ServerSideEncryption(EncryptionType.KMS, "key"),
        ),
    ),
)


@pytest.mark.parametrize(
    ("head", "reason", "withdrawn"),
    [
        (replace(OURS, encryption="aws:kms"), "Copied", False),
        (replace(OURS, metadata={SOURCE_STAMP: STAMP}), "NotEncrypted", True),
        (replace(OURS, metadata={SOURCE_STAMP: STAMP}, encryption="AES256"), "NotEncrypted", True),
        (replace(OURS, metadata={SOURCE_STAMP: THEIRS}), "NotEncrypted", False),
    ],
)
def test_an_object_that_is_not_encrypted_is_taken_away_if_it_is_ours(head, reason, withdrawn):
    here = facts(SETTLING, ENCRYPTED)
    result = settle.settled(here, head)
    assert result.reason == reason
    then = decide(facts(result.status, ENCRYPTED), LIMITS)
    assert isinstance(then, steps.Withdraw) == withdrawn
