"""Faults that no real store shows on demand."""

import threading
from pathlib import Path

import pytest

from multipartcopy.api.reasons import Reason
from multipartcopy.api.spec import AddressingStyle, S3Location
from multipartcopy.api.task import Task, Work
from multipartcopy.worker import framing
from multipartcopy.worker.errors import Failure, Side
from multipartcopy.worker.http import Store
from multipartcopy.worker.relay import Part, Patience, Stream
from tests.unit.worker.scripted import (
    BODY,
    SIZE,
    Answer,
    Handler,
    Script,
    error,
    refused_early,
    reset_in_the_middle,
    right_range,
    stored_as,
)

PART = Part(2, 1_000_000, 1_500_000)


@pytest.fixture
def stream(script: Script, tmp_path: Path) -> Stream:
    return make_stream(script, tmp_path, checksum=False)


def make_stream(script: Script, secrets: Path, *, checksum: bool, tries: int = 3) -> Stream:
    endpoint = f"http://127.0.0.1:{script.server_port}"
    location = S3Location(
        "b", "k", endpoint=endpoint, addressing_style=AddressingStyle.PATH, anonymous=True
    )
    work = (Work(0, "1-3"),)
    task = Task(location, "pinned", SIZE, location, "id", 1, 1, 1_000_000, 1, checksum, work)
    return Stream(
        task,
        Store(Side.SOURCE, location, secrets),
        Store(Side.DESTINATION, location, secrets),
        Patience(tries=tries, grace=0, pause=0.001),
        threading.Event(),
    )


def test_the_requests(script: Script, stream: Stream) -> None:
    copied = stream.copy(PART)
    assert (copied.etag, copied.tries, stream.sent) == ("stored", 1, PART.length)
    get, put = script.requests
    assert get.headers["Range"] == "bytes=1000000-2499999"
    assert get.headers["If-Match"] == '"pinned"'
    assert get.headers["Accept-Encoding"] == "identity"
    assert put.path == "/b/k?partNumber=2&uploadId=id"
    assert put.headers["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"
    assert script.bodies == [BODY[1_000_000:2_500_000]]


def test_the_trailer(script: Script, tmp_path: Path) -> None:
    stream = make_stream(script, tmp_path, checksum=True)
    crc = stream.copy(PART).crc
    first, rest = BODY[1_000_000:2_048_576], BODY[2_048_576:2_500_000]
    assert script.bodies == [
        framing.head(len(first), first=True)
        + first
        + framing.head(len(rest), first=False)
        + rest
        + framing.tail(crc)
    ]
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
        "reset in body",
        "reset",
    ],
)
def test_a_source_worth_another_try(script: Script, stream: Stream, fault: Answer) -> None:
    script.gets.append(fault)
    assert stream.copy(PART).tries == 2
    assert script.bodies[-1] == BODY[1_000_000:2_500_000]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (right_range(status=200), Reason.RANGE_NOT_SUPPORTED),
        (right_range(Content_Range="bytes 0-1499999/3000000"), Reason.RANGE_NOT_SUPPORTED),
        (right_range(Content_Range="bytes 1000000-2499999/*"), Reason.RANGE_NOT_SUPPORTED),
        (right_range(Content_Range="bytes 1000000-2499999/3000001"), Reason.SOURCE_CHANGED),
        (right_range(ETag='"other"'), Reason.SOURCE_CHANGED),
        (error(412, "PreconditionFailed"), Reason.SOURCE_CHANGED),
        (error(404, "NoSuchKey"), Reason.SOURCE_NOT_FOUND),
    ],
)
def test_a_source_that_is_not_the_pinned_one(
    script: Script, stream: Stream, fault: Answer, reason: Reason
) -> None:
    script.gets.append(fault)
    with pytest.raises(Failure) as failure:
        stream.copy(PART)
    assert (failure.value.reason, failure.value.permanent) == (reason, True)
    assert [request.command for request in script.requests] == ["GET"]


@pytest.mark.parametrize(
    "fault",
    [
        stored_as(),
        stored_as(ETag='""'),
        stored_as(ETag='"e"', x_amz_checksum_crc64nvme="AAAAAAAAAAc="),
        error(503, "SlowDown"),
        refused_early,
        Handler.reset,
    ],
    ids=["no ETag", "empty ETag", "other checksum", "503", "early answer", "reset"],
)
def test_a_destination_worth_another_try(script: Script, stream: Stream, fault: Answer) -> None:
    script.puts.append(fault)
    assert stream.copy(PART).tries == 2
    assert script.bodies[-1] == BODY[1_000_000:2_500_000]


def test_a_checksum_that_stays_wrong_is_final(script: Script, stream: Stream) -> None:
    """Else the next pod would find the part in the list, with a checksum, and take it for proven."""
    wrong = stored_as(ETag='"e"', x_amz_checksum_crc64nvme="AAAAAAAAAAc=")
    script.puts.extend([wrong] * 20)
    with pytest.raises(Failure) as caught:
        stream.copy(PART)
    assert (caught.value.reason, caught.value.permanent) == (Reason.CHECKSUM_MISMATCH, True)


def test_retry_after_is_obeyed_up_to_its_limit(script: Script, tmp_path: Path) -> None:
    script.gets.append(error(503, "SlowDown", Retry_After="7200"))
    with pytest.raises(Failure, match=r"source: 503 SlowDown: In words\.") as failure:
        make_stream(script, tmp_path, checksum=False, tries=1).copy(PART)
    assert failure.value.retry_after == 60


def test_it_gives_up_with_the_last_failure(script: Script, stream: Stream) -> None:
    script.gets += [error(503, "SlowDown")] * 3
    with pytest.raises(Failure, match="503") as failure:
        stream.copy(PART)
    assert failure.value.reason is Reason.SOURCE_UNAVAILABLE
    assert len(script.requests) == 3


def test_a_connection_that_was_closed_while_idle_costs_no_try(
    script: Script, stream: Stream
) -> None:
    def closing(handler: Handler) -> None:
        right_range()(handler)
        handler.close_connection = True

    script.gets.append(closing)
    tries = [stream.copy(PART).tries, stream.copy(PART).tries]
    assert tries == [1, 1]


def test_delays_are_bounded() -> None:
    patience = Patience()
    assert all(0 <= patience.delay(tries) <= 0.5 * 2 ** (tries - 1) for tries in range(1, 6))
    assert all(patience.delay(tries) <= 20 for tries in range(1, 50))
