"""One UploadPartCopy, and everything that it can be answered."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from multipartcopy.api.location import AddressingStyle, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.api.task import Task
from multipartcopy.worker.answers import Part
from multipartcopy.worker.errors import Failure, Side
from multipartcopy.worker.http import Store
from multipartcopy.worker.pace import Pace, Window
from multipartcopy.worker.relay import Patience
from multipartcopy.worker.serverside import Copier
from multipartcopy.worker.trailers import Trailers
from tests.unit.worker.scripted import SIZE, Answer, Handler, Script, error

PART = Part(2, 1_000_000, 1_000_000)
RESULT = b'<CopyPartResult xmlns="http://s3"><ETag>&quot;copied&quot;</ETag></CopyPartResult>'


def result(body: bytes = RESULT) -> Answer:
    return lambda handler: handler.answer(200, {}, body)


def nagging(handler: Handler) -> None:
    """The head of the answer at once, a blank now and then, and then how it ended."""
    blanks = b" \n" * 20
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(blanks) + len(RESULT)))
    handler.end_headers()
    for start in range(0, len(blanks), 2):
        handler.wfile.write(blanks[start : start + 2])
        handler.wfile.flush()
        handler.server.over.wait(0.005)
    handler.wfile.write(RESULT)


def cut_off(body: bytes) -> Answer:
    """After so much of an answer that is as long as its connection lasts."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = True

    return answer


def make_copier(script: Script, secrets: Path, *, copy: float = 60, **fields: Any) -> Copier:
    location = S3Location(
        "b",
        "from",
        endpoint=f"{'https' if script.ca else 'http'}://127.0.0.1:{script.server_port}",
        addressing_style=AddressingStyle.PATH,
        anonymous=True,
    )
    plain = Task(
        source=replace(location, key="a b/ü%", version_id="v/1"),
        source_etag="pinned",
        size=SIZE,
        destination=replace(location, key="to"),
        upload_id="id",
        attempt=1,
        run=1,
        part_size=1_000_000,
        streams=1,
        checksum=False,
        server_side=True,
        parts="1-3",
        batch_size=3,
    )
    task = replace(plain, **fields)
    if script.ca:
        (secrets / "destination-ca").mkdir(parents=True)
        (secrets / "destination-ca/ca.crt").write_bytes(script.ca.read_bytes())
    stop = threading.Event()
    return Copier(
        task,
        Store(Side.SOURCE, task.source, secrets),
        Store(Side.DESTINATION, task.destination, secrets),
        Patience(tries=3, grace=0, pause=0.001, answer=0.001, silence=0.001, copy=copy),
        stop,
        Trailers(),
        Pace(Window(1), stop),
    )


@pytest.fixture
def copier(script: Script, tmp_path: Path) -> Copier:
    return make_copier(script, tmp_path)


def test_the_request(script: Script, copier: Copier) -> None:
    script.puts.append(result())
    done = copier.run(PART)
    assert (done.etag, done.crc, done.tries, copier.sent) == ("copied", None, 1, 0)
    (put,) = script.requests
    assert put.path == "/b/to?partNumber=2&uploadId=id"
    assert put.headers["x-amz-copy-source"] == "/b/a%20b/%C3%BC%25?versionId=v%2F1"
    assert put.headers["x-amz-copy-source-if-match"] == '"pinned"'
    assert put.headers["x-amz-copy-source-range"] == "bytes=1000000-1999999"
    assert put.headers["Content-Length"] == "0"


def test_the_whole_of_a_source_is_asked_for_without_a_range(script: Script, tmp_path: Path) -> None:
    script.puts.append(result())
    copier = make_copier(script, tmp_path, size=1_000)
    copier.run(Part(1, 0, 1_000))
    assert script.requests[0].headers["x-amz-copy-source-range"] is None
    assert script.requests[0].headers["x-amz-copy-source-if-match"] == '"pinned"'


def test_blanks_before_the_result(script: Script, copier: Copier) -> None:
    script.puts.append(nagging)
    assert copier.run(PART).etag == "copied"


def test_over_tls(tls_script: Script, tmp_path: Path) -> None:
    """Only the destination is asked, so only its CA is needed."""
    tls_script.puts += [nagging, error(503, "SlowDown"), result()]
    copier = make_copier(tls_script, tmp_path / "secrets")
    assert (copier.run(PART).tries, copier.run(PART).tries) == (1, 2)


@pytest.mark.parametrize(
    "answer",
    [
        error(200, "InternalError"),
        error(200, "SlowDown"),
        error(503, "SlowDown"),
        error(500, ""),
        error(404, ""),
        result(b"<html></html>"),
        result(b"no XML"),
        result(b" \n "),
        cut_off(b""),
        cut_off(b" \n "),
        cut_off(RESULT[:40]),
        lambda handler: handler.reset(),
    ],
    ids=[
        *("200 InternalError", "200 SlowDown", "503", "500", "404", "page", "text"),
        *("blanks", "cut off at once", "after blanks", "in the middle", "reset"),
    ],
)
def test_what_passes_is_tried_again(script: Script, copier: Copier, answer: Answer) -> None:
    script.puts += [answer, result()]
    assert (copier.run(PART).tries, len(script.requests)) == (2, 2)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(501, "NotImplemented"), Reason.SERVER_SIDE_REFUSED),
        (error(501, ""), Reason.SERVER_SIDE_REFUSED),
        (error(405, "MethodNotAllowed"), Reason.SERVER_SIDE_REFUSED),
        (error(400, "InvalidRequest"), Reason.SERVER_SIDE_REFUSED),
        (error(301, "PermanentRedirect"), Reason.SERVER_SIDE_REFUSED),
        (error(200, "NotImplemented"), Reason.SERVER_SIDE_REFUSED),
        (error(200, "InvalidRequest"), Reason.SERVER_SIDE_REFUSED),
        (result(b""), Reason.SERVER_SIDE_REFUSED),
        (result(b"<CopyPartResult></CopyPartResult>"), Reason.SERVER_SIDE_REFUSED),
        (error(412, "PreconditionFailed"), Reason.SOURCE_CHANGED),
        (error(412, ""), Reason.SOURCE_CHANGED),
        (error(200, "PreconditionFailed"), Reason.SOURCE_CHANGED),
        (error(403, "InvalidObjectState"), Reason.REQUEST_REFUSED),
        (error(200, "InvalidObjectState"), Reason.REQUEST_REFUSED),
        (error(404, "NoSuchUpload"), Reason.UPLOAD_LOST),
        (error(404, "NoSuchKey"), Reason.SOURCE_NOT_FOUND),
        (error(404, "NoSuchVersion"), Reason.SOURCE_NOT_FOUND),
        (error(404, "NoSuchBucket"), Reason.BUCKET_NOT_FOUND),
    ],
)
def test_what_is_final(script: Script, copier: Copier, answer: Answer, reason: Reason) -> None:
    script.puts.append(answer)
    with pytest.raises(Failure) as caught:
        copier.run(PART)
    assert (caught.value.reason, caught.value.permanent) == (reason, True)
    assert sum(request.command == "PUT" for request in script.requests) == 1


def test_a_missing_key_is_that_of_the_upload_where_the_store_says_so_of_both(
    script: Script, copier: Copier
) -> None:
    script.puts.append(error(404, "NoSuchKey"))
    script.gets.append(error(404, "NoSuchKey"))
    with pytest.raises(Failure) as caught:
        copier.run(PART)
    assert caught.value.reason is Reason.UPLOAD_LOST


@pytest.mark.parametrize("status", [403, 200])
def test_denied_is_not_final_at_once(script: Script, copier: Copier, status: int) -> None:
    script.puts += [error(status, "AccessDenied")] * 3
    with pytest.raises(Failure) as caught:
        copier.run(PART)
    assert (caught.value.reason, caught.value.permanent) == (Reason.ACCESS_DENIED, False)


def test_a_silent_store_is_waited_for_as_long_as_for_a_copy(script: Script, tmp_path: Path) -> None:
    assert Patience().copy >= 900

    def pondering(handler: Handler) -> None:
        handler.server.over.wait(0.3)
        result()(handler)

    script.puts.append(pondering)
    assert make_copier(script, tmp_path).run(PART).tries == 1
    script.puts += [pondering] * 3
    with pytest.raises(Failure, match="nothing came in"):
        make_copier(script, tmp_path, copy=0.01).run(PART)
