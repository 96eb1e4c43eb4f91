"""Completing, and judging what came of it, against two real servers.

The cluster is a stub that knows one Secret: what is tried here is between the operator and the store.
"""

import hashlib
import http.client
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import pytest
from awscrt.checksums import crc64nvme
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from dev.servers import ACCESS_KEY, LOOPBACK, SECRET_KEY, Server
from multipartcopy.api.location import Reference, S3Location
from multipartcopy.api.report import encode_crc
from multipartcopy.api.spec import Overwrite, S3Destination, Source, Spec, Target, VerificationMode
from multipartcopy.api.status import Phase, Pin, Plan, Upload
from multipartcopy.jobs import Image
from multipartcopy.reconcile import ledger, outcome
from multipartcopy.reconcile.act import Effects, Memory
from multipartcopy.reconcile.decide import (
    Abort,
    AbortStrays,
    Conclude,
    CreateUpload,
    DoWithoutChecksum,
    Settle,
    Wait,
    Withdraw,
    Write,
)
from multipartcopy.reconcile.facts import Facts, Limits
from multipartcopy.s3.control import (
    Access,
    Credentials,
    Precondition,
    Store,
    StoredPart,
)
from multipartcopy.s3.guard import parse_guard
from multipartcopy.s3.properties import Properties, Wanted
from tests.unit.facts import CLAIMED, facts

PART = 5 << 20
SETTLE = Settle(Phase.COMPLETING, outcome.Reason.COMPLETING, "")
CREATE = CreateUpload(Phase.PREPARING, outcome.Reason.CLAIMED, "")
CONCLUDE = Conclude(Phase.VERIFYING, outcome.Reason.VERIFYING, "")
STRAYS = AbortStrays(Phase.PREPARING, outcome.Reason.UPLOAD_LOST, "")
WITHOUT = DoWithoutChecksum(Phase.PREPARING, outcome.Reason.CHECKSUM_REFUSED, "refused")
WITHDRAW = Withdraw(Phase.ABORTING, outcome.Reason.CHECKSUM_MISMATCH, "")
ABORT = Abort(Phase.ABORTING, outcome.Reason.ABORTING, "")


class StubKube:
    def get_secret(self, namespace: str, name: str, wanted_type: str | None) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


@dataclass
class Copy:
    """One copy whose parts are all uploaded and recorded, and whose intent is written."""

    server: Server
    bucket: str
    data: bytes
    store: Store
    effects: Effects
    facts: Facts

    def do(self, action: object) -> Write | Wait:
        result = self.effects._effect(action, self.facts, Memory())  # type: ignore[arg-type]
        assert result
        return result

    def with_status(self, **changes: object) -> None:
        self.facts = outcome.replace_status(self.facts, **changes)

    def put(self, key: str, data: bytes, **more: object) -> None:
        self.server.client().put_object(Bucket=self.bucket, Key=key, Body=data, **more)

    def stored(self) -> bytes:
        return self.server.client().get_object(Bucket=self.bucket, Key="to")["Body"].read()


@pytest.fixture(params=["versitygw", "minio"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


def begin(server: Server, overwrite: Overwrite, there: bytes | None = None) -> Copy:
    """Claimed, with ``there`` under the destination's key; nothing uploaded yet."""
    bucket = f"settle-{secrets.token_hex(4)}"
    server.client().create_bucket(Bucket=bucket)
    data = secrets.token_bytes(PART + 1000)
    secret = Reference("s")
    side = S3Location(bucket, "from", server.endpoint, secret_ref=secret)
    to = S3Destination(bucket, "to", server.endpoint, secret_ref=secret)
    spec = Spec(Source(side), Target(to), overwrite=overwrite)
    store = Store("destination", to, Access(Credentials(ACCESS_KEY, SECRET_KEY)))
    effects = Effects(
        StubKube(),  # type: ignore[arg-type]
        Image("i"),
        None,
        Limits(),
        guard=parse_guard(LOOPBACK),
    )
    copy = Copy(server, bucket, data, store, effects, facts(CLAIMED, spec))
    copy.put("from", data)
    if there is not None:
        copy.put("to", there)
    seen = store.head_or_none()
    uploads, now = store.list_uploads()
    claimed = outcome._claim(now, uploads, seen.etag if seen else None)
    source = Store("source", side, Access(Credentials(ACCESS_KEY, SECRET_KEY))).head()
    plan = Plan(PART, 2, 64, 1)
    copy.with_status(claim=claimed, source=Pin(source.etag, source.size), plan=plan)
    return copy


def ready(server: Server, overwrite: Overwrite, there: bytes | None = None) -> Copy:
    copy = begin(server, overwrite, there)
    created = copy.do(CREATE)
    assert isinstance(created, Write)
    assert created.status.upload
    upload = created.status.upload.id
    parts = {}
    for number, piece in ((1, copy.data[:PART]), (2, copy.data[PART:])):
        server.client().upload_part(
            Bucket=copy.bucket,
            Key="to",
            UploadId=upload,
            PartNumber=number,
            Body=piece,
            ChecksumAlgorithm="CRC64NVME",
        )
        md5 = hashlib.md5(piece, usedforsecurity=False).hexdigest()
        parts[number] = ledger.Part(md5, crc64nvme(piece))
    assert copy.facts.status.plan
    batches = ledger.write_parts(copy.facts.status.plan, len(copy.data), parts)
    copy.facts = replace(copy.facts, resource=replace(copy.facts.resource, status=created.status))
    copy.with_status(batches=batches)
    listed, _ = copy.store.list_parts(upload)
    intended = outcome.intend(copy.facts, listed, Limits())
    assert intended.status.completing
    copy.facts = replace(copy.facts, resource=replace(copy.facts.resource, status=intended.status))
    return copy


def test_it_is_completed_and_recognized(server: Server):
    copy = ready(server, Overwrite.NEVER)
    result = copy.do(SETTLE)
    assert (result.phase, result.reason) == (Phase.SUCCEEDED, "Copied")
    assert copy.stored() == copy.data


def test_a_lost_answer_is_settled_by_what_is_there(server: Server):
    copy = ready(server, Overwrite.NEVER)
    copy.do(SETTLE)
    again = copy.do(SETTLE)
    assert (again.phase, again.reason) == (Phase.SUCCEEDED, "Copied")


def test_a_strangers_overwrite_after_a_lost_answer_is_not_claimed(server: Server):
    """versitygw answers such a repeat with 200 and our ETag."""
    copy = ready(server, Overwrite.IF_DIFFERENT)
    copy.do(SETTLE)
    copy.put("to", b"theirs")
    result = copy.do(SETTLE)
    assert result.reason == "DestinationChanged"
    assert copy.stored() == b"theirs"


@pytest.mark.parametrize("overwrite", [Overwrite.NEVER, Overwrite.IF_DIFFERENT])
def test_a_strangers_object_is_not_overwritten(server: Server, overwrite: Overwrite):
    copy = ready(server, overwrite)
    copy.put("to", b"theirs")
    result = copy.do(SETTLE)
    assert isinstance(result, Write)
    assert result.status.failing
    assert copy.stored() == b"theirs"


def test_always_means_always_and_leaves_no_upload(server: Server):
    copy = ready(server, Overwrite.ALWAYS)
    copy.put("to", copy.data)
    head = copy.store.head()
    assert copy.facts.status.claim
    copy.with_status(claim=replace(copy.facts.status.claim, destination_etag=head.etag))
    result = copy.do(SETTLE)
    assert result.phase is Phase.SUCCEEDED
    assert copy.store.head().etag.endswith("-2")
    assert copy.store.list_uploads()[0] == []


def test_an_equal_object_of_somebody_else_is_success_and_leaves_no_upload(server: Server):
    copy = ready(server, Overwrite.IF_DIFFERENT)
    copy.put("to", copy.data, ChecksumAlgorithm="CRC64NVME")
    result = copy.do(SETTLE)
    assert result.phase is Phase.SUCCEEDED
    assert copy.store.list_uploads()[0] == []


def test_an_upload_aborted_by_a_stranger_is_a_new_attempt(server: Server):
    copy = ready(server, Overwrite.NEVER)
    assert copy.facts.status.upload
    copy.store.abort(copy.facts.status.upload.id)
    result = copy.do(SETTLE)
    assert isinstance(result, Write)
    assert result.reason == "UploadLost"
    assert (result.status.attempt, result.status.upload) == (CLAIMED.attempt + 1, None)


def test_a_wrong_checksum_is_never_a_success(server: Server):
    copy = ready(server, Overwrite.NEVER)
    assert copy.facts.status.completing
    wrong = replace(copy.facts.status.completing, crc64nvme="AAAAAAAAAAA=")
    copy.with_status(completing=wrong)
    result = copy.do(SETTLE)
    assert result.reason == "ChecksumMismatch"
    assert copy.store.head_or_none() is None


def read_back(copy: Copy, **reading: str) -> None:
    """Completed, and read again."""
    copy.facts = replace(
        copy.facts,
        resource=replace(
            copy.facts.resource,
            spec=replace(copy.facts.spec, verification=VerificationMode.READ_BACK),
        ),
    )
    done = copy.do(SETTLE)
    assert isinstance(done, Write)
    assert (done.phase, done.status.verification) == (Phase.VERIFYING, None)
    copy.facts = replace(copy.facts, resource=replace(copy.facts.resource, status=done.status))
    assert done.status.destination_reading
    copy.with_status(destination_reading=replace(done.status.destination_reading, **reading))


def test_what_was_read_back_as_sent_is_copied(server: Server):
    copy = ready(server, Overwrite.NEVER)
    read_back(copy, parts="1-2")
    result = copy.do(CONCLUDE)
    assert isinstance(result, Write)
    assert result.reason == "Copied"
    assert result.status.verification
    assert result.status.verification.transfer
    assert result.status.verification.transfer.method == "ReadBack"


def test_what_was_read_back_otherwise_is_read_again_and_in_the_end_deleted(server: Server):
    copy = ready(server, Overwrite.NEVER)
    read_back(copy, parts="1-2", wrong="2")
    for _ in range(Limits().disagreements):
        again = copy.do(CONCLUDE)
        assert isinstance(again, Write)
        assert again.status.destination_reading
        assert again.status.destination_reading.parts == "1"
        assert copy.stored() == copy.data
        copy.with_status(disagreements=again.status.disagreements)
    found = copy.do(CONCLUDE)
    assert isinstance(found, Write)
    assert found.reason == "ChecksumMismatch"
    copy.facts = replace(copy.facts, resource=replace(copy.facts.resource, status=found.status))
    result = copy.do(WITHDRAW)
    assert "deleted" in result.message
    assert copy.store.head_or_none() is None
    assert "deleted" in copy.do(WITHDRAW).message


def test_what_was_put_in_place_of_a_damaged_object_stays(server: Server):
    copy = ready(server, Overwrite.NEVER)
    read_back(copy, parts="1-2", wrong="2")
    copy.with_status(disagreements=Limits().disagreements)
    found = copy.do(CONCLUDE)
    assert isinstance(found, Write)
    copy.facts = replace(copy.facts, resource=replace(copy.facts.resource, status=found.status))
    copy.put("to", b"theirs")
    assert isinstance(copy.do(WITHDRAW), Write)
    assert copy.stored() == b"theirs"


def test_what_may_be_the_source_itself_is_never_deleted(server: Server):
    """Two names of one server: nothing in the spec tells that the object has replaced its own source."""
    copy = ready(server, Overwrite.ALWAYS)
    read_back(copy, parts="1-2", wrong="2")
    copy.with_status(disagreements=Limits().disagreements)
    found = copy.do(CONCLUDE)
    assert isinstance(found, Write)
    alias = server.endpoint.replace("127.0.0.1", "localhost")
    itself = S3Location(copy.bucket, "to", alias, secret_ref=Reference("s"))
    head = copy.store.head()
    for etag in (head.etag, "0" * 32):  # As it was pinned, or changed by the copy.
        status = replace(found.status, source=Pin(etag, head.size))
        spec = replace(copy.facts.spec, source=Source(itself))
        copy.facts = replace(
            copy.facts, resource=replace(copy.facts.resource, spec=spec, status=status)
        )
        message = copy.do(WITHDRAW).message
        assert "it was not deleted, since" in message
        assert copy.stored() == copy.data


def test_a_strangers_object_in_place_of_the_one_read_back_is_left_alone(server: Server):
    copy = ready(server, Overwrite.NEVER)
    read_back(copy, parts="1-2", wrong="2")
    copy.put("to", b"theirs")
    assert copy.do(CONCLUDE).reason == "DestinationChanged"
    assert copy.stored() == b"theirs"


def test_an_upload_that_an_edited_status_does_not_name_is_aborted(server: Server):
    copy = ready(server, Overwrite.NEVER)
    assert copy.facts.status.upload
    copy.facts = replace(copy.facts, strays=(copy.facts.status.upload.id,))
    memory = Memory()
    assert copy.effects._effect(STRAYS, copy.facts, memory) is None
    assert copy.store.list_uploads()[0] == []
    assert memory.ended_uploads == set(copy.facts.strays)


def test_the_store_that_refused_checksums_is_asked_without(server: Server):
    copy = ready(server, Overwrite.NEVER)
    copy.with_status(completing=None)
    result = copy.do(WITHOUT)
    assert isinstance(result, Write)
    assert (result.reason, result.status.attempt) == ("ChecksumRefused", CLAIMED.attempt + 1)
    assert copy.store.list_uploads()[0] == []
    copy.facts = replace(copy.facts, resource=replace(copy.facts.resource, status=result.status))
    created = copy.do(CREATE)
    assert isinstance(created, Write)
    assert created.status.upload
    assert (created.status.upload.checksum, created.status.upload.md5) == (False, True)


def test_an_upload_that_could_not_be_recorded_is_taken_up(server: Server):
    copy = begin(server, Overwrite.NEVER)
    first, second = copy.do(CREATE), copy.do(CREATE)
    assert isinstance(first, Write)
    assert isinstance(second, Write)
    assert first.status.upload == second.status.upload
    assert first.status.upload
    assert first.status.upload.checksum


def test_an_unrecorded_upload_is_aborted_and_a_strangers_is_not(server: Server):
    copy = begin(server, Overwrite.NEVER)
    copy.do(CREATE)
    assert len(copy.store.list_uploads()[0]) == 1
    copy.do(ABORT)
    assert copy.store.list_uploads()[0] == []
    like = Wanted()
    theirs = copy.store.create_upload(like, "theirs", checksum=False).id
    assert copy.facts.status.claim
    earlier = "2020-01-01T00:00:00Z"
    copy.with_status(claim=replace(copy.facts.status.claim, time=earlier))
    copy.do(ABORT)
    assert [u.id for u in copy.store.list_uploads()[0]] == [theirs]
    renewed = copy.do(CREATE)
    assert isinstance(renewed, Write)
    assert renewed.status.upload is None
    assert renewed.status.claim
    assert renewed.status.claim.uploads == (theirs,)


def test_metadata_that_is_not_ascii_is_kept(server: Server):
    copy = begin(server, Overwrite.NEVER)
    like = Wanted(kept=Properties(metadata={"who": "café"}))
    copy.store.put_empty(like, "stamp", Precondition(if_none_match=True))
    assert copy.store.head().metadata["who"] in (
        "café",
        "=?utf-8?b?Y2Fmw6k=?=",
        "=?utf-8?q?caf=C3=A9?=",
    )


def test_the_cross_check_wants_every_part(server: Server):
    copy = ready(server, Overwrite.NEVER)
    assert copy.facts.status.upload == Upload(copy.facts.status.upload.id, checksum=True)
    listed, _ = copy.store.list_parts(copy.facts.status.upload.id)
    assert [type(p) for p in listed] == [StoredPart, StoredPart]
    result = outcome.intend(copy.facts, listed[:1], Limits())
    assert result.reason == "PartsDisagree"


def send_while(copy: Copy, upload: str, number: int, body: bytes, meanwhile: Callable[[], object]):
    """A part of which all but the last byte is at the store when something else happens."""
    place = f"/{copy.bucket}/to?partNumber={number}&uploadId={upload}"
    request = AWSRequest(
        "PUT", copy.server.endpoint + place, {"Content-Length": str(len(body))}, body
    )
    request.headers["x-amz-checksum-crc64nvme"] = encode_crc(crc64nvme(body))
    S3SigV4Auth(BotoCredentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
    host = urlsplit(copy.server.endpoint).netloc
    with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        connection.putrequest("PUT", place)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(body[:-1])
        meanwhile()
        connection.send(body[-1:])
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()


def test_an_upload_that_a_part_has_brought_back_is_replaced(versitygw: Server):
    """By a part that the store was taking in when somebody aborted the upload."""
    copy = ready(versitygw, Overwrite.NEVER)
    assert copy.facts.status.upload
    upload = copy.facts.status.upload.id
    first, second = copy.data[:PART], copy.data[PART:]
    send_while(copy, upload, 1, first, lambda: copy.store.abort(upload))
    client = versitygw.client()
    client.upload_part(Bucket=copy.bucket, Key="to", UploadId=upload, PartNumber=2, Body=second)
    parts, checksum = copy.store.list_parts(upload)
    assert ([part.number for part in parts], checksum) == ([1, 2], False)
    result = copy.do(SETTLE)
    assert isinstance(result, Write)
    assert (result.reason, result.status.attempt) == ("UploadLost", CLAIMED.attempt + 1)
    assert "was not as it was created" in result.message
    assert (result.status.upload, result.status.completing) == (None, None)
    assert not copy.store.upload_exists(upload)
    assert copy.store.head_or_none() is None
