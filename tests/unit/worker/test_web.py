"""A worker that reads from a URL; faults that no real server shows on demand."""

import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from multipartcopy.api.location import AddressingStyle, HttpLocation, Reference, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.api.task import Read, Task, UrlSource, Validator
from multipartcopy.worker import framing
from multipartcopy.worker.answers import Part
from multipartcopy.worker.errors import Failure, Side
from multipartcopy.worker.http import Store
from multipartcopy.worker.pace import Pace, Window
from multipartcopy.worker.relay import Patience, Stream
from multipartcopy.worker.serial import Serial
from multipartcopy.worker.trailers import Trailers
from multipartcopy.worker.web import Site
from tests.unit.worker.scripted import (
    BODY,
    SIZE,
    Answer,
    Handler,
    Script,
    error,
    right_range,
)

PARTS = [Part(n + 1, n * 1_000_000, 1_000_000) for n in range(3)]
PART = Part(2, 1_000_000, 1_500_000)
TIME, STAMP = "Fri, 02 Jan 2026 03:04:05 GMT", "2026-01-02T03:04:05Z"
STRONG = UrlSource(HttpLocation(""), Validator.ETAG)
WEAK = UrlSource(HttpLocation(""), Validator.WEAK_ETAG, STAMP)
DATED = UrlSource(HttpLocation(""), Validator.LAST_MODIFIED, STAMP)
NOTHING = UrlSource(HttpLocation(""), Validator.SIZE)


def make_stream(
    script: Script,
    secrets: Path,
    source: UrlSource = STRONG,
    *,
    tries: int = 1,
    headers: bool = False,
    serial: bool = False,
    **fields: Any,
) -> Stream:
    endpoint = f"http://127.0.0.1:{script.server_port}"
    location = HttpLocation(f"{endpoint}/a%20b?c=d", Reference("h") if headers else None)
    url = replace(source, location=location, ranges=not serial)
    destination = S3Location(
        "b", "to", endpoint=endpoint, addressing_style=AddressingStyle.PATH, anonymous=True
    )
    task = Task(
        url=url,
        source_etag="" if source in (DATED, NOTHING) else "pinned",
        size=SIZE,
        destination=destination,
        upload_id="id",
        attempt=1,
        run=1,
        part_size=1_000_000,
        streams=1,
        checksum=False,
        parts="1-3",
        batch_size=3,
        **fields,
    )
    stop = threading.Event()
    return (Serial if serial else Stream)(
        task,
        Site(url, task.source_etag, secrets),
        Store(Side.DESTINATION, destination, secrets),
        Patience(tries=tries, grace=0, pause=0.001),
        stop,
        Trailers(),
        Pace(Window(1), stop),
    )


def test_the_request(script: Script, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/Authorization").write_text("Bearer abc\n")
    (tmp_path / "source/..data").mkdir()
    stream = make_stream(script, tmp_path, headers=True)
    stream.run(PART)
    get, put = script.requests
    assert get.path == "/a%20b?c=d"
    assert get.headers["Range"] == "bytes=1000000-2499999"
    assert get.headers["If-Match"] == '"pinned"'
    assert get.headers["Authorization"] == "Bearer abc"
    assert get.headers["User-Agent"] == "multipartcopy"
    assert get.headers.get_all("Accept-Encoding") == ["identity"]
    assert "X-Amz-Content-SHA256" not in get.headers
    assert "Authorization" not in put.headers
    (tmp_path / "source/Authorization").write_text("Bearer new")
    stream.run(PART)
    assert script.requests[2].headers["Authorization"] == "Bearer new"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("Host", "h", "Host must not"), ("A", "s3cr3t\nB: c", "A must be one line")],
)
def test_a_secret_that_cannot_be_sent(script, tmp_path, name, value, words) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / f"source/{name}").write_text(value)
    with pytest.raises(Failure) as caught:
        make_stream(script, tmp_path, headers=True).run(PART)
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert words in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert script.requests == []


@pytest.mark.parametrize(
    ("source", "answer", "reason", "permanent"),
    [
        (STRONG, right_range(), None, False),
        (STRONG, right_range(ETag='"other"'), "SourceChanged", True),
        (STRONG, right_range(ETag=""), "SourceChanged", True),
        (STRONG, right_range(ETag='W/"pinned"'), "SourceUnavailable", False),
        (STRONG, right_range(412), "SourceChanged", True),
        (STRONG, right_range(416), "SourceChanged", True),
        (STRONG, right_range(Content_Range=f"bytes 0-9/{SIZE}"), "RangeNotSupported", True),
        (STRONG, right_range(Content_Range="bytes 1000000-2499999/5"), "SourceChanged", True),
        (STRONG, right_range(Content_Encoding="gzip"), "RangeNotSupported", True),
        (STRONG, right_range(Transfer_Encoding="chunked"), "RangeNotSupported", True),
        (
            STRONG,
            right_range(200, BODY[:SIZE], Content_Length=str(SIZE)),
            "RangeNotSupported",
            True,
        ),
        (
            STRONG,
            right_range(200, b"busy", Content_Length="4", ETag=""),
            "SourceUnavailable",
            False,
        ),
        (NOTHING, right_range(200, b"busy", Content_Length="4"), "SourceUnavailable", False),
        (WEAK, right_range(ETag='W/"pinned"'), None, False),
        (WEAK, right_range(ETag='W/"other"'), "SourceChanged", True),
        (WEAK, right_range(ETag=""), "SourceChanged", True),
        (DATED, right_range(Last_Modified=TIME), None, False),
        (DATED, right_range(), "SourceChanged", True),
        (DATED, right_range(Last_Modified="Sat, 03 Jan 2026 03:04:05 GMT"), "SourceChanged", True),
        (NOTHING, right_range(ETag=""), None, False),
        (NOTHING, right_range(Content_Range="bytes 1000000-2499999/5"), "SourceChanged", True),
        (STRONG, error(302, "", Location="http://127.0.0.1:1/"), "RequestRefused", True),
        (STRONG, error(401, ""), "AccessDenied", False),
        (STRONG, error(403, ""), "AccessDenied", False),
        (STRONG, error(404, ""), "SourceUnavailable", False),
        (STRONG, error(410, ""), "SourceNotFound", True),
        (STRONG, error(400, ""), "RequestRefused", True),
        (STRONG, error(500, ""), "SourceUnavailable", False),
        (STRONG, error(501, ""), "RequestRefused", True),
        (STRONG, error(503, ""), "SourceUnavailable", False),
    ],
)
def test_an_answer_is_believed_or_not(script, tmp_path, source, answer, reason, permanent) -> None:
    script.gets = [answer]
    stream = make_stream(script, tmp_path, source)
    if reason is None:
        assert stream.run(PART).tries == 1
        assert script.bodies == [BODY[1_000_000:2_500_000]]
        return
    with pytest.raises(Failure) as caught:
        stream.run(PART)
    assert (caught.value.reason, caught.value.permanent) == (reason, permanent)
    assert script.bodies == []
    assert "c=d" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        (STRONG, {"If-Match": '"pinned"'}),
        (WEAK, {"If-Unmodified-Since": TIME}),
        (DATED, {"If-Unmodified-Since": TIME}),
        (NOTHING, {}),
    ],
)
@pytest.mark.parametrize("serial", [False, True])
def test_the_conditions(script, tmp_path, source, sent, serial) -> None:
    script.gets = [error(500, "")]
    with pytest.raises(Failure):
        make_stream(script, tmp_path, source, serial=serial).run(PARTS[0])
    (get,) = script.requests
    assert {n: v for n, v in get.headers.items() if n.startswith("If-")} == sent
    assert ("Range" in get.headers) is not serial


# In one stream.


def whole(status: int = 200, upto: int = SIZE, **changed: str) -> Answer:
    """All of it, or as much as comes before the connection breaks."""
    headers = {"ETag": '"pinned"', "Content-Length": str(SIZE)}
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}

    def answer(handler: Handler) -> None:
        try:
            handler.answer(status, headers, BODY[:upto])
        except OSError:
            return  # They have hung up.
        if upto < SIZE:
            handler.wfile.flush()
            handler.reset()

    return answer


def serial(script: Script, secrets: Path, source: UrlSource = STRONG, **more: Any) -> Serial:
    stream = make_stream(script, secrets, source, serial=True, **{"tries": 3} | more)
    assert isinstance(stream, Serial)
    return stream


def gets(script: Script) -> int:
    return sum(request.command == "GET" for request in script.requests)


def test_all_parts_come_out_of_one_answer(script: Script, tmp_path: Path) -> None:
    script.gets = [whole()]
    stream = serial(script, tmp_path)
    assert [stream.run(part).tries for part in PARTS] == [1, 1, 1]
    assert script.bodies == [BODY[p.offset : p.offset + p.length] for p in PARTS]
    assert gets(script) == 1
    assert stream.sent == SIZE


def test_what_is_stored_is_passed_over(script: Script, tmp_path: Path) -> None:
    script.gets = [whole()]
    stream = serial(script, tmp_path)
    stream.run(PARTS[0])
    stream.run(PARTS[2])
    assert script.bodies == [BODY[:1_000_000], BODY[2_000_000:SIZE]]
    assert (gets(script), stream.sent) == (1, 2_000_000)


def test_for_what_lies_behind_it_is_asked_again(script: Script, tmp_path: Path) -> None:
    script.gets = [whole(), whole()]
    stream = serial(script, tmp_path)
    stream.run(PARTS[1])
    stream.run(PARTS[0])
    assert script.bodies == [BODY[1_000_000:2_000_000], BODY[:1_000_000]]
    assert gets(script) == 2


@pytest.mark.parametrize("upto", [0, 500_000, 1_000_000, 1_700_000, 2_999_999])
def test_a_stream_that_breaks_begins_anew_and_sends_only_the_part_again(
    script: Script, tmp_path: Path, upto: int
) -> None:
    script.gets = [whole(upto=upto), whole()]
    stream = serial(script, tmp_path)
    for part in PARTS:
        stream.run(part)
    bodies = [body for body in script.bodies if len(body) == 1_000_000]
    assert bodies == [BODY[p.offset : p.offset + p.length] for p in PARTS]
    assert gets(script) == 2


def test_a_destination_that_fails_has_the_stream_begin_anew(script: Script, tmp_path: Path) -> None:
    script.gets = [whole(), whole()]
    stream = serial(script, tmp_path)
    stream.run(PARTS[0])
    script.puts = [error(500, "InternalError")]
    stream.run(PARTS[1])
    stream.run(PARTS[2])
    assert script.bodies == [BODY[p.offset : p.offset + p.length] for p in PARTS]
    assert gets(script) == 2


def test_it_is_read_again_in_one_stream_too(script: Script, tmp_path: Path) -> None:
    script.gets = [whole()]
    stream = serial(script, tmp_path, read=Read.SOURCE)
    read = [stream.run(part).crc for part in PARTS]
    by_ranges = make_stream(script, tmp_path, read=Read.SOURCE)
    assert read == [by_ranges.run(part).crc for part in PARTS]
    assert script.bodies == []


@pytest.mark.parametrize(
    ("source", "answer", "reason", "permanent"),
    [
        (STRONG, whole(ETag='"other"'), "SourceChanged", True),
        (STRONG, whole(ETag='W/"pinned"'), "SourceChanged", True),
        (STRONG, whole(ETag="", Last_Modified=TIME), "SourceChanged", True),
        (STRONG, whole(ETag=""), "SourceUnavailable", False),
        (STRONG, whole(Content_Encoding="gzip"), "RangeNotSupported", True),
        (STRONG, whole(Transfer_Encoding="chunked"), "RequestRefused", True),
        (STRONG, whole(206), "SourceUnavailable", False),
        (STRONG, error(412, ""), "SourceChanged", True),
        (NOTHING, whole(Content_Length="2999999"), "SourceChanged", True),
        (DATED, whole(Last_Modified="Sat, 03 Jan 2026 03:04:05 GMT"), "SourceChanged", True),
    ],
)
def test_another_answer_is_not_gone_on_with(
    script, tmp_path, source, answer, reason, permanent
) -> None:
    """Parts of two versions must not be put together, were it the second answer that is another."""
    right = whole(ETag="", Last_Modified=TIME) if source is DATED else whole()
    script.gets = [right, answer]
    stream = serial(script, tmp_path, source, tries=1)
    stream.run(PARTS[0])
    script.puts = [error(500, "")]
    with pytest.raises(Failure):
        stream.run(PARTS[1])
    with pytest.raises(Failure) as caught:
        stream.run(PARTS[1])
    assert (caught.value.reason, caught.value.permanent) == (reason, permanent)
    assert script.bodies == [BODY[:1_000_000]]


def test_memory_does_not_grow_with_the_part(script: Script, tmp_path: Path) -> None:
    """There is one buffer, whatever passes over it."""
    script.gets = [whole()]
    stream = serial(script, tmp_path)
    stream.run(PARTS[2])
    assert len(stream._buffer) == framing.HEAD + framing.CHUNK
    assert re.fullmatch("[0-9]+", str(stream._at))
    assert stream._at == SIZE
