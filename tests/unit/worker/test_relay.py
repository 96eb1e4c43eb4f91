"""Faults that no real store shows on demand."""

import hashlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from awscrt.checksums import crc64nvme

from multipartcopy.api.location import AddressingStyle, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import ERROR_MESSAGE_LIMIT, encode_crc
from multipartcopy.api.task import Read, Task
from multipartcopy.worker import framing
from multipartcopy.worker.answers import Part
from multipartcopy.worker.errors import Failure, Side
from multipartcopy.worker.http import Store
from multipartcopy.worker.pace import Pace, Window
from multipartcopy.worker.relay import Patience, Stream
from multipartcopy.worker.trailers import Trailers
from tests.unit.worker.scripted import (
    BODY,
    SIZE,
    Answer,
    Handler,
    Script,
    deaf,
    error,
    listed,
    pondering,
    refused_early,
    reset_in_the_middle,
    right_range,
    sipping,
    stored_as,
    trickling,
)

PART = Part(2, 1_000_000, 1_500_000)
BYTES = BODY[1_000_000:2_500_000]
MD5 = hashlib.md5(BYTES, usedforsecurity=False).hexdigest()
CRC = encode_crc(crc64nvme(BYTES))
OTHER_MD5 = "0" * 32
OTHER_CRC = "AAAAAAAAAAc="


@pytest.fixture
def stream(script: Script, tmp_path: Path) -> Stream:
    return make_stream(script, tmp_path)


def make_stream(
    script: Script,
    secrets: Path,
    *,
    tries: int = 3,
    source: str = "",
    answer: float = 60,
    chunk: float = 60,
    throttled: float = 600,
    **fields: Any,
) -> Stream:
    """``source`` is an endpoint, unless it is the script as well; ``fields`` are of the task."""
    endpoint = f"{'https' if script.ca else 'http'}://127.0.0.1:{script.server_port}"
    location = S3Location(
        "b", "from", endpoint=endpoint, addressing_style=AddressingStyle.PATH, anonymous=True
    )
    task = Task(
        source=replace(location, endpoint=source or endpoint, version_id="v/1"),
        size=SIZE,
        destination=replace(location, key="to"),
        upload_id="id",
        attempt=1,
        run=1,
        part_size=1_000_000,
        streams=1,
        parts="1-3",
        batch_size=3,
        **{"source_etag": "pinned", "checksum": False} | fields,
    )
    if script.ca:
        for side in Side:
            (secrets / f"{side}-ca").mkdir(parents=True)
            (secrets / f"{side}-ca/ca.crt").write_bytes(script.ca.read_bytes())
    stop = threading.Event()
    return Stream(
        task,
        Store(Side.SOURCE, task.source, secrets),
        Store(Side.DESTINATION, task.destination, secrets),
        Patience(
            tries=tries, grace=0, pause=0.001, answer=answer, chunk=chunk, throttled=throttled
        ),
        stop,
        Trailers(),
        Pace(Window(1), stop),
    )


def test_the_requests(script: Script, stream: Stream) -> None:
    done = stream.run(PART)
    assert (done.etag, done.tries, stream.sent) == ("stored", 1, PART.length)
    get, put = script.requests
    assert get.path == "/b/from?versionId=v%2F1"
    assert get.headers["Range"] == "bytes=1000000-2499999"
    assert get.headers["If-Match"] == '"pinned"'
    assert get.headers["Accept-Encoding"] == "identity"
    assert put.path == "/b/to?partNumber=2&uploadId=id"
    assert put.headers["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"
    assert script.bodies == [BYTES]


def test_the_trailer(script: Script, tmp_path: Path) -> None:
    stream = make_stream(script, tmp_path, checksum=True)
    crc = stream.run(PART).crc
    body, sent = BODY[1_000_000:2_500_000], b""
    for start in range(0, len(body), framing.CHUNK):
        chunk = body[start : start + framing.CHUNK]
        sent += framing.head(len(chunk), first=start == 0) + chunk
    assert script.bodies == [sent + framing.tail(crc)]
    assert [request.command for request in script.requests] == ["GET", "PUT"]
    put = script.requests[1].headers
    assert put["x-amz-trailer"] == "x-amz-checksum-crc64nvme"
    assert put["x-amz-decoded-content-length"] == "1500000"
    assert put["Content-Encoding"] == "aws-chunked"


@pytest.mark.parametrize(
    "fault",
    [
        error(503, "SlowDown", Retry_After="0"),
        error(500, "InternalError"),
        lambda handler: handler.answer(404, {}, b"<html>no backend"),
        right_range(status=200, ETag='"of-a-page"'),
        error(416, ""),
        right_range(body=BODY[1_000_000:1_700_000]),
        right_range(Content_Length="1499999", body=b"x" * 1_499_999),
        right_range(Content_Length="2000", body=b"z" * 2000, Content_Encoding="gzip"),
        right_range(ETag='W/"pinned"'),
        error(307, "TemporaryRedirect", Location="http://127.0.0.1:1/"),
        reset_in_the_middle,
        Handler.reset,
    ],
    ids=[
        "503",
        "500",
        "404 of a proxy",
        "200 of a proxy",
        "416 of a proxy",
        "short body",
        "other length",
        "gzip",
        "weak ETag",
        "redirect",
        "reset in body",
        "reset",
    ],
)
def test_a_source_worth_another_try(script: Script, stream: Stream, fault: Answer) -> None:
    script.gets.append(fault)
    assert stream.run(PART).tries == 2
    assert script.bodies[-1] == BYTES


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (right_range(status=200), Reason.RANGE_NOT_SUPPORTED),
        (right_range(Content_Range="bytes 0-1499999/3000000"), Reason.RANGE_NOT_SUPPORTED),
        (right_range(Content_Range="bytes 1000000-2499999/*"), Reason.RANGE_NOT_SUPPORTED),
        (right_range(Content_Range="bytes 1000000-2499999/3000001"), Reason.SOURCE_CHANGED),
        (right_range(ETag='"other"'), Reason.SOURCE_CHANGED),
        (right_range(Transfer_Encoding="chunked"), Reason.RANGE_NOT_SUPPORTED),
        (error(301, "PermanentRedirect"), Reason.REQUEST_REFUSED),
        (error(412, "PreconditionFailed"), Reason.SOURCE_CHANGED),
        (error(404, "NoSuchKey"), Reason.SOURCE_NOT_FOUND),
    ],
)
def test_a_source_that_is_not_the_pinned_one(
    script: Script, stream: Stream, fault: Answer, reason: Reason
) -> None:
    script.gets.append(fault)
    with pytest.raises(Failure) as failure:
        stream.run(PART)
    assert (failure.value.reason, failure.value.permanent) == (reason, True)
    assert [request.command for request in script.requests] == ["GET"]


@pytest.mark.parametrize(
    "fault",
    [
        stored_as(),
        stored_as(ETag='""'),
        stored_as(ETag='"e"', x_amz_checksum_crc64nvme=OTHER_CRC),
        stored_as(b"<Error><Code>InternalError</Code></Error>", ETag='"e"'),
        error(503, "SlowDown"),
        refused_early,
        Handler.reset,
    ],
    ids=[
        "no ETag",
        "empty ETag",
        "other checksum",
        "200 with an error",
        "503",
        "early answer",
        "reset",
    ],
)
def test_a_destination_worth_another_try(script: Script, stream: Stream, fault: Answer) -> None:
    script.puts.append(fault)
    assert stream.run(PART).tries == 2
    assert script.bodies[-1] == BYTES


def test_a_checksum_that_stays_wrong_is_final(script: Script, stream: Stream) -> None:
    """Else the next pod would find the part in the list, with a checksum, and take it for proven."""
    wrong = stored_as(ETag='"e"', x_amz_checksum_crc64nvme=OTHER_CRC)
    script.puts.extend([wrong] * 20)
    with pytest.raises(Failure) as caught:
        stream.run(PART)
    assert (caught.value.reason, caught.value.permanent) == (Reason.CHECKSUM_MISMATCH, True)


def test_a_weak_etag_of_a_part_is_its_etag(script: Script, stream: Stream) -> None:
    script.puts.append(stored_as(ETag='W/"e"'))
    assert stream.run(PART).etag == "e"


def test_an_upload_that_is_lost_is_so_with_a_200_too(script: Script, stream: Stream) -> None:
    script.puts.append(stored_as(b"<Error><Code>NoSuchUpload</Code></Error>", ETag='"e"'))
    with pytest.raises(Failure) as caught:
        stream.run(PART)
    assert (caught.value.reason, caught.value.permanent) == (Reason.UPLOAD_LOST, True)


def test_an_etag_that_is_the_md5_of_what_was_sent(script: Script, tmp_path: Path) -> None:
    script.puts.append(stored_as(ETag=f'"{MD5}"'))
    assert make_stream(script, tmp_path, md5=True).run(PART)[::2] == (MD5, 1)


@pytest.mark.parametrize(
    "headers", [{}, {"x_amz_server_side_encryption": "AES256"}], ids=["plain", "SSE-S3"]
)
@pytest.mark.parametrize("checksum", [True, False])
def test_an_etag_that_is_the_md5_of_other_bytes(
    script: Script, tmp_path: Path, headers: dict[str, str], checksum: bool
) -> None:
    echo = {"x_amz_checksum_crc64nvme": CRC} if checksum else {}
    wrong = stored_as(ETag=f'"{OTHER_MD5}"', **headers, **echo)
    stream = make_stream(script, tmp_path, md5=True, checksum=checksum)
    script.puts.append(wrong)
    assert stream.run(PART).tries == 2
    script.puts += [wrong] * 3
    with pytest.raises(Failure, match=f"{OTHER_MD5}.*{MD5}.*verification: None") as caught:
        stream.run(PART)
    assert (caught.value.reason, caught.value.permanent) == (Reason.CHECKSUM_MISMATCH, True)
    assert len(str(caught.value)) < ERROR_MESSAGE_LIMIT


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": f'"{OTHER_MD5}-1"'},
        {"ETag": f'"{"A" * 32}"'},
        {"ETag": f'"{OTHER_MD5}"', "x_amz_server_side_encryption": "aws:kms"},
        {"ETag": f'"{OTHER_MD5}"', "x_amz_server_side_encryption": "aws:kms:dsse"},
        {"ETag": f'"{OTHER_MD5}"', "x_amz_server_side_encryption_customer_algorithm": "AES256"},
    ],
    ids=["composite", "upper case", "KMS", "DSSE", "SSE-C"],
)
def test_an_etag_that_may_be_no_md5(
    script: Script, tmp_path: Path, headers: dict[str, str]
) -> None:
    script.puts.append(stored_as(**headers))
    assert make_stream(script, tmp_path, md5=True).run(PART).tries == 1


def test_no_md5_is_compared_unless_asked_for(script: Script, stream: Stream) -> None:
    script.puts.append(stored_as(ETag=f'"{OTHER_MD5}"'))
    assert stream.run(PART)[::2] == (OTHER_MD5, 1)


def test_reading_the_source(script: Script, tmp_path: Path) -> None:
    stream = make_stream(script, tmp_path, read=Read.SOURCE, read_etag="pinned")
    done = stream.run(PART)
    assert (done.etag, encode_crc(done.crc), stream.sent) == ("", CRC, 0)
    (get,) = script.requests
    assert get.path == "/b/from?versionId=v%2F1"
    assert (get.headers["Range"], get.headers["If-Match"]) == ("bytes=1000000-2499999", '"pinned"')


def test_reading_the_destination_asks_nothing_of_the_source(script: Script, tmp_path: Path) -> None:
    stream = make_stream(
        script,
        tmp_path,
        source="http://127.0.0.1:1",
        source_etag="other",
        read=Read.DESTINATION,
        read_etag="pinned",
    )
    script.gets.append(right_range(body=BYTES[:1000]))
    done = stream.run(PART)
    assert (done.etag, encode_crc(done.crc), done.tries, stream.sent) == ("", CRC, 2, 0)
    assert {(get.path, get.headers["If-Match"]) for get in script.requests} == {
        ("/b/to", '"pinned"')
    }


@pytest.mark.parametrize("read", Read)
@pytest.mark.parametrize(
    "fault",
    [
        error(412, "PreconditionFailed"),
        error(416, "InvalidRange"),
        right_range(ETag='"other"'),
        right_range(Content_Range="bytes 1000000-2499999/3000001"),
    ],
)
def test_an_object_that_changes_while_it_is_read_again(
    script: Script, tmp_path: Path, read: Read, fault: Answer
) -> None:
    script.gets.append(fault)
    with pytest.raises(Failure) as caught:
        make_stream(script, tmp_path, read=read, read_etag="pinned").run(PART)
    changed = Reason.SOURCE_CHANGED if read is Read.SOURCE else Reason.DESTINATION_CHANGED
    assert (caught.value.reason, caught.value.permanent) == (changed, True)


@pytest.mark.parametrize(
    "fault",
    [
        error(400, "InvalidArgument"),
        error(400, "XAmzContentSHA256Mismatch"),
        error(411, "MissingContentLength"),
        error(501, "NotImplemented"),
        error(501, ""),
    ],
)
@pytest.mark.parametrize(
    ("checksum", "reason"), [(True, Reason.CHECKSUM_REFUSED), (False, Reason.REQUEST_REFUSED)]
)
def test_a_part_that_is_refused(
    script: Script, tmp_path: Path, fault: Answer, checksum: bool, reason: Reason
) -> None:
    script.puts.append(lambda handler: (handler.read_body(), fault(handler))[1])
    with pytest.raises(Failure) as caught:
        make_stream(script, tmp_path, checksum=checksum).run(PART)
    assert (caught.value.reason, caught.value.permanent) == (reason, True)


@pytest.mark.parametrize(
    ("gets", "puts", "reason"),
    [
        ([], [error(404, "NoSuchUpload")], Reason.UPLOAD_LOST),
        ([], [error(404, "NoSuchBucket")], Reason.BUCKET_NOT_FOUND),
        ([error(403, "InvalidObjectState")], [], Reason.REQUEST_REFUSED),
    ],
)
def test_what_is_not_about_the_trailer(
    script: Script, tmp_path: Path, gets: list[Answer], puts: list[Answer], reason: Reason
) -> None:
    script.gets, script.puts = gets[:], puts[:]
    with pytest.raises(Failure) as caught:
        make_stream(script, tmp_path, checksum=True).run(PART)
    assert (caught.value.reason, caught.value.permanent) == (reason, True)


def test_a_trailer_that_does_not_fit_is_no_refusal(script: Script, tmp_path: Path) -> None:
    script.puts.append(error(400, "BadDigest"))
    assert make_stream(script, tmp_path, checksum=True).run(PART).tries == 2


def test_a_store_that_lists_the_checksum_is_asked_once(script: Script, tmp_path: Path) -> None:
    script.puts += [stored_as(ETag='"e"')] * 2
    script.gets += [right_range(), listed(2, PART.length, CRC)]
    stream = make_stream(script, tmp_path, checksum=True)
    assert [stream.run(PART).tries, stream.run(PART).tries] == [1, 1]
    assert [request.command for request in script.requests] == ["GET", "PUT", "GET", "GET", "PUT"]
    assert script.requests[2].path == "/b/to?uploadId=id&part-number-marker=1&max-parts=1"


@pytest.mark.parametrize(
    "listing",
    [
        listed(2, framing.encoded_length(PART.length), None),
        listed(2, framing.encoded_length(PART.length), OTHER_CRC),
        listed(2, PART.length, None),
    ],
    ids=["the framing is content", "and is checksummed", "no checksum"],
)
@pytest.mark.parametrize("md5", [True, False], ids=["MD5", ""])
def test_a_store_that_does_not_understand_trailers(
    script: Script, tmp_path: Path, listing: Answer, md5: bool
) -> None:
    script.puts.append(stored_as(ETag=f'"{OTHER_MD5}"'))
    script.gets += [right_range(), listing]
    with pytest.raises(Failure) as caught:
        make_stream(script, tmp_path, checksum=True, md5=md5).run(PART)
    assert (caught.value.reason, caught.value.permanent) == (Reason.CHECKSUM_REFUSED, True)


@pytest.mark.parametrize(
    "listing",
    [
        listed(2, PART.length, OTHER_CRC),
        listed(3, PART.length, CRC),
        lambda handler: handler.answer(200, {}, b"<Error><Code>InternalError</Code></Error>"),
        error(503, "SlowDown"),
    ],
    ids=["other checksum", "not listed", "200 with an error", "503"],
)
def test_a_listing_that_decides_nothing(script: Script, tmp_path: Path, listing: Answer) -> None:
    script.puts.append(stored_as(ETag='"e"'))
    script.gets += [right_range(), listing]
    assert make_stream(script, tmp_path, checksum=True).run(PART).tries == 2


@pytest.fixture(params=["script", "tls_script"])
def either(request: pytest.FixtureRequest) -> Script:
    return request.getfixturevalue(request.param)


def test_a_source_that_trickles(either: Script, tmp_path: Path) -> None:
    either.gets.append(trickling)
    assert make_stream(either, tmp_path / "a", chunk=0.5).run(PART).tries == 2
    either.gets.append(trickling)
    with pytest.raises(Failure, match=r"source: .*only \d+ bytes came in 0\.5 s") as caught:
        make_stream(either, tmp_path / "b", tries=1, chunk=0.5).run(PART)
    assert (caught.value.reason, caught.value.permanent) == (Reason.SOURCE_UNAVAILABLE, False)


def test_a_destination_that_sips(either: Script, tmp_path: Path) -> None:
    either.puts.append(sipping)
    with pytest.raises(
        Failure, match=r"destination: .*less than \d+ bytes were taken in 0\.5 s"
    ) as caught:
        make_stream(either, tmp_path, tries=1, chunk=0.5).run(PART)
    assert (caught.value.reason, caught.value.permanent) == (Reason.DESTINATION_UNAVAILABLE, False)


def test_a_destination_that_has_answered_and_reads_no_further(
    either: Script, tmp_path: Path
) -> None:
    either.puts.append(deaf(error(503, "ServiceUnavailable")))
    with pytest.raises(Failure, match="503 ServiceUnavailable"):
        make_stream(either, tmp_path, tries=1, chunk=0.5).run(PART)


def test_a_store_may_ponder_over_a_part(either: Script, tmp_path: Path) -> None:
    either.puts.append(pondering(1.5))
    assert make_stream(either, tmp_path, chunk=0.5).run(PART).tries == 1


def test_but_not_for_ever(script: Script, tmp_path: Path) -> None:
    script.puts.append(pondering(60))
    assert make_stream(script, tmp_path, answer=0.5).run(PART).tries == 2


def test_retry_after_is_obeyed_up_to_its_limit(script: Script, tmp_path: Path) -> None:
    script.gets.append(error(503, "SlowDown", Retry_After="7200"))
    with pytest.raises(Failure, match=r"source: 503 SlowDown: In words\.") as failure:
        make_stream(script, tmp_path, throttled=0).run(PART)
    assert (failure.value.retry_after, failure.value.side) == (60, Side.SOURCE)


def test_it_gives_up_with_the_last_failure(script: Script, stream: Stream) -> None:
    script.gets += [error(503, "ServiceUnavailable")] * 3
    with pytest.raises(Failure, match="503") as failure:
        stream.run(PART)
    assert failure.value.reason is Reason.SOURCE_UNAVAILABLE
    assert len(script.requests) == 3


def test_a_connection_that_was_closed_while_idle_costs_no_try(
    script: Script, stream: Stream
) -> None:
    def closing(handler: Handler) -> None:
        right_range()(handler)
        handler.close_connection = True

    script.gets.append(closing)
    tries = [stream.run(PART).tries, stream.run(PART).tries]
    assert tries == [1, 1]


def test_delays_are_bounded() -> None:
    patience = Patience()
    assert all(0 <= patience.delay(tries) <= 0.5 * 2 ** (tries - 1) for tries in range(1, 6))
    assert all(patience.delay(tries) <= 20 for tries in range(1, 50))


@pytest.mark.parametrize("kind", ["gets", "puts"])
@pytest.mark.parametrize("fault", [error(503, "SlowDown"), error(429, ""), error(429, "SlowDown")])
def test_throttling_uses_up_no_tries(
    script: Script, tmp_path: Path, kind: str, fault: Answer
) -> None:
    stream = make_stream(script, tmp_path, tries=2)
    getattr(script, kind).extend([fault] * 9)
    assert stream.run(PART).tries == 10
    getattr(script, kind).extend([fault] * 5 + [error(500, "InternalError")] + [fault] * 5)
    assert stream.run(PART).tries == 12
    getattr(script, kind).extend([fault, error(500, "InternalError")] * 2)
    with pytest.raises(Failure, match="500") as caught:
        stream.run(PART)
    assert not caught.value.throttled


def test_a_pod_that_only_starves_says_so(script: Script, tmp_path: Path) -> None:
    script.puts.append(error(503, "SlowDown"))
    with pytest.raises(Failure, match="destination: 503 SlowDown") as caught:
        make_stream(script, tmp_path, throttled=0).run(PART)
    assert (caught.value.throttled, caught.value.permanent) == (True, False)
    assert caught.value.reason is Reason.DESTINATION_UNAVAILABLE


def test_connections_are_kept(either: Script, tmp_path: Path) -> None:
    """One to each side, for any number of parts."""
    stream = make_stream(either, tmp_path, checksum=True)
    for _ in range(4):
        assert stream.run(PART).tries == 1
    assert len(either.requests) == 8
    assert len({request.client_address for request in either.requests}) == 2


def test_a_budget_is_asked_for_every_byte(script: Script, tmp_path: Path) -> None:
    taken: list[int] = []
    stream = make_stream(script, tmp_path)
    stream._budget = Mock(take=taken.append)
    stream.run(PART)
    full, rest = divmod(PART.length, framing.CHUNK)
    assert taken == [framing.CHUNK] * full + [rest]


def test_the_silences_that_are_borne() -> None:
    """A store hashes a part of 5 GiB before it answers; without a byte the source is not at work."""
    assert Patience().answer >= 300
    assert 30 <= Patience().silence < Patience().answer


def test_a_change_is_said_in_words(script: Script, stream: Stream) -> None:
    script.gets.append(error(412, "PreconditionFailed"))
    with pytest.raises(Failure) as failure:
        stream.run(PART)
    assert str(failure.value) == (
        "source: it is no longer the object that was pinned (412 PreconditionFailed: In words.)"
    )
