"""The worker as a whole, in this process, against the scripted stores."""

import json
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from awscrt.checksums import crc64nvme

from dev.servers import LOOPBACK
from multipartcopy.api.location import AddressingStyle, Reference, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import Report, capacity, decode_report, unpack_crcs
from multipartcopy.api.task import VERSION, Read, Task, Work
from multipartcopy.reconcile.facts import failure_of
from multipartcopy.s3.guard import Guard
from multipartcopy.worker.main import Worker, main
from multipartcopy.worker.relay import Patience, Stream
from tests.unit.facts import pod
from tests.unit.worker.scripted import (
    BODY,
    SIZE,
    Handler,
    Script,
    error,
    listed,
    right,
    stored_as,
)

PART_SIZE = 100_000
Run = Callable[..., tuple[int, Report]]


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(script: Script, tmp_path: Path) -> Run:
    def run(
        *,
        index: int = 0,
        streams: int = 2,
        anonymous: bool = True,
        allow: str = LOOPBACK,
        patience: Patience = Patience(tries=2, grace=0, pause=0.001),  # noqa: B008 - frozen
        **fields: Any,
    ) -> tuple[int, Report]:
        """``fields`` are of the task."""
        location = S3Location(
            "b",
            "k",
            endpoint=f"http://127.0.0.1:{script.server_port}",
            addressing_style=AddressingStyle.PATH,
            anonymous=anonymous,
            secret_ref=None if anonymous else Reference("s"),
        )
        task = Task(
            source=location,
            source_etag="pinned",
            size=SIZE,
            destination=location,
            upload_id="id",
            attempt=1,
            run=1,
            part_size=PART_SIZE,
            streams=streams,
            **{"checksum": False, "parts": "1-30", "batch_size": 30} | fields,
        )
        environ = {
            "MULTIPARTCOPY_TASK": task.encode(),
            "JOB_COMPLETION_INDEX": str(index),
            "MULTIPARTCOPY_SECRETS": str(tmp_path),
            "MULTIPARTCOPY_REPORT": str(tmp_path / "report"),
            "MULTIPARTCOPY_ALLOW_ENDPOINTS": allow,
        }
        code = main(environ, patience)
        report = decode_report((tmp_path / "report").read_text())
        assert report
        return code, report

    return run


def refuse(script: Script, monkeypatch: pytest.MonkeyPatch, ranges: set[str]) -> None:
    """503 for GETs of these ranges."""

    def get(handler: Handler) -> None:
        script.requests.append(handler)
        refused = handler.headers.get("Range") in ranges
        (error(503, "ServiceUnavailable") if refused else right)(handler)

    monkeypatch.setattr(Handler, "do_GET", get)


class Crowd:
    """Lets the first four GETs meet, and answers all of them but one with SlowDown."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        """How many GETs were under way, each time that one came."""
        self._meeting = threading.Barrier(4)
        self._lock = threading.Lock()
        self._under_way = 0

    def get(self, handler: Handler) -> None:
        with self._lock:
            self._under_way += 1
            self.sizes.append(self._under_way)
            number = len(self.sizes)
        if number <= 4:
            self._meeting.wait(30)
        with self._lock:
            self._under_way -= 1
        throttle = error(503, "SlowDown", Retry_After="1")
        (throttle if 1 < number <= 4 else right)(handler)


def byte_range(part: int) -> str:
    return f"bytes={(part - 1) * PART_SIZE}-{part * PART_SIZE - 1}"


def test_all_parts(run: Run) -> None:
    code, report = run()
    assert (code, report.batch, report.parts, report.sent) == (0, 0, "1-30", SIZE)


def test_an_index_has_the_parts_of_one_batch_that_are_to_be_copied(run: Run) -> None:
    code, report = run(parts="5-6,20-30", batch_size=6, index=1)
    assert (code, report.batch, report.parts, report.sent) == (0, 3, "20-24", 5 * PART_SIZE)


def test_a_part_that_fails_does_not_lose_the_others(
    script: Script, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(script, monkeypatch, {byte_range(7)})
    code, report = run()
    assert (code, report.parts) == (1, "1-6,8-30")
    assert report.error
    assert (report.error.code, report.error.part) == (Reason.SOURCE_UNAVAILABLE, 7)


def test_it_leaves_when_part_after_part_fails(
    script: Script, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(script, monkeypatch, {byte_range(part) for part in range(1, 31)})
    code, report = run()
    assert (code, report.parts) == (1, "")
    assert len({request.headers["Range"] for request in script.requests}) <= 4


def test_a_permanent_error_stops_it(script: Script, run: Run) -> None:
    script.gets.append(error(404, "NoSuchKey"))
    code, report = run(streams=1)
    assert (code, report.parts) == (42, "")
    assert report.error
    assert (report.error.code, report.error.part) == (Reason.SOURCE_NOT_FOUND, 1)
    assert len(script.requests) == 1


def test_no_more_parts_than_the_report_has_room_for(script: Script, run: Run) -> None:
    etag = "e" * 150
    script.puts += [stored_as(ETag=etag)] * 30
    code, report = run()
    assert code == 0
    room = capacity(len(etag), packed=False)
    assert report.parts == f"1-{room}"
    assert room < 30


def test_a_listing_that_fails_is_done_without(script: Script, run: Run) -> None:
    script.gets += [error(500, "InternalError")] * 2
    code, report = run(checksum=True)
    assert (code, report.parts) == (0, "1-30")


def test_an_empty_listing_is_asked_for_once(script: Script, run: Run) -> None:
    assert run(checksum=True)[0] == 0
    assert sum("part-number-marker" in request.path for request in script.requests) == 1


def test_a_checksum_that_is_refused(script: Script, run: Run) -> None:
    script.puts += [error(400, "InvalidArgument")] * 2
    code, report = run(checksum=True)
    assert (code, report.parts) == (42, "")
    assert report.error
    assert report.error.code == Reason.CHECKSUM_REFUSED


@pytest.mark.parametrize("read", Read)
def test_reading_again(script: Script, run: Run, read: Read) -> None:
    code, report = run(read=read, read_etag="pinned", checksum=True, md5=True)
    assert (code, report.read, report.parts, report.etags) == (0, read, "1-30", ())
    assert (report.sent, report.error) == (0, None)
    starts = range(0, SIZE, PART_SIZE)
    crcs = [crc64nvme(BODY[start : start + PART_SIZE]) for start in starts]
    assert unpack_crcs(report.crc64nvme) == crcs
    assert len(script.requests) == 30
    assert all(request.headers["Range"] for request in script.requests)


def copies(handler: Handler) -> None:
    number = re.search(r"partNumber=(\d+)", handler.path)
    assert number
    assert handler.headers["x-amz-copy-source"] == "/b/k"
    body = f"<CopyPartResult><ETag>e{number[1]}</ETag></CopyPartResult>".encode()
    handler.answer(200, {}, body)


def test_the_store_copies_by_itself(script: Script, run: Run) -> None:
    script.puts += [copies] * 30
    code, report = run(server_side=True)
    assert (code, report.parts, report.sent, report.crc64nvme) == (0, "1-30", 0, "")
    assert report.etags == tuple(f"e{number}" for number in range(1, 31))
    assert all("partNumber" in r.path or "max-parts" in r.path for r in script.requests)


@pytest.mark.parametrize(("size", "puts"), [(PART_SIZE, 29), (PART_SIZE - 1, 30)])
def test_what_the_store_has_copied_before_is_not_asked_for_again(
    script: Script, run: Run, size: int, puts: int
) -> None:
    script.gets.append(listed(7, size, None))
    script.puts += [copies] * 30
    code, report = run(server_side=True)
    assert (code, report.parts) == (0, "1-30")
    assert sum(request.command == "PUT" for request in script.requests) == puts


def test_what_the_store_has_copied_is_read_as_anything_else(script: Script, run: Run) -> None:
    code, report = run(server_side=True, read=Read.SOURCE, read_etag="pinned")
    assert (code, report.parts, report.etags) == (0, "1-30", ())
    assert len(unpack_crcs(report.crc64nvme)) == 30


def test_no_credentials(run: Run) -> None:
    code, report = run(anonymous=False)
    assert code == 1
    assert report.error
    assert report.error.code == Reason.ACCESS_DENIED
    assert "AWS_ACCESS_KEY_ID" in report.error.message


def test_rotated_keys_are_read_again_within_a_part(
    run: Run, tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kubelet has replaced the files when the token has expired."""
    for side in ("source", "destination"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "AWS_ACCESS_KEY_ID").write_text("one")
        (tmp_path / side / "AWS_SECRET_ACCESS_KEY").write_text("s")
        (tmp_path / side / "AWS_SESSION_TOKEN").write_text("one")
    expired = []

    def get(handler: Handler) -> None:
        signed = handler.headers["Authorization"], handler.headers["X-Amz-Security-Token"]
        if "Credential=two/" in signed[0] and signed[1] == "two":
            return right(handler)
        expired.append(handler)
        (tmp_path / "source" / "AWS_ACCESS_KEY_ID").write_text("two")
        (tmp_path / "source" / "AWS_SESSION_TOKEN").write_text("two")
        return error(400, "ExpiredToken")(handler)

    monkeypatch.setattr(Handler, "do_GET", get)
    code, report = run(anonymous=False, streams=1)
    assert (code, report.parts, report.error) == (0, "1-30", None)
    assert len(expired) == 1


def test_a_task_of_another_version_is_told(tmp_path: Path) -> None:
    """What the report of another version looks like is not known either: plain words."""
    report = tmp_path / "report"
    environ = {
        "MULTIPARTCOPY_TASK": '{"version": 3}',
        "JOB_COMPLETION_INDEX": "0",
        "MULTIPARTCOPY_REPORT": str(report),
    }
    assert main(environ) == 1
    told = f"task version 3 is not {VERSION}: operator and worker image differ"
    assert report.read_text() == told
    failure = failure_of(pod(told, code=1, reason="Error"))
    assert failure
    assert failure.reason == Reason.WORKER_FAILED
    assert told in failure.message


def test_what_nobody_expected(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_part(stream: Stream, part: Any) -> None:
        raise ZeroDivisionError("never")

    monkeypatch.setattr(Stream, "run", run_part)
    code, report = run()
    assert code == 1
    assert report.error
    assert (report.error.code, report.error.message) == (
        Reason.WORKER_FAILED,
        "ZeroDivisionError: never",
    )


def test_throttling_slows_the_pod_down_for_a_while(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd = Crowd()
    monkeypatch.setattr(Handler, "do_GET", lambda handler: crowd.get(handler))
    code, report = run(streams=4)
    assert (code, report.parts, report.error) == (0, "1-30", None)
    assert crowd.sizes[:4] == [1, 2, 3, 4]
    assert max(crowd.sizes[4:7]) <= 2
    log = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    paces = [line["streams"] for line in log if line["message"] == "pace"]
    assert min(paces) < 4
    assert paces[-1] == 4


def test_a_pod_that_starves_leaves_the_other_parts_alone(
    script: Script, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.gets += [error(503, "SlowDown")] * 30
    patience = Patience(tries=2, grace=0, pause=0.001, throttled=0)
    code, report = run(streams=1, patience=patience)
    assert (code, report.parts) == (1, "")
    assert report.error
    assert "503 SlowDown" in report.error.message
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("fields", "streams"),
    [
        ({"streams": 8}, 8),
        ({"streams": 8, "adaptive": True}, 4),
        ({"streams": 2, "adaptive": True}, 2),
        ({"streams": 8, "bytes_per_second": 3 << 30}, 8),
        ({"streams": 8, "bytes_per_second": 3 << 20}, 3),
        ({"streams": 8, "bytes_per_second": 1}, 1),
        ({"streams": 8, "adaptive": True, "bytes_per_second": 2 << 20}, 2),
    ],
)
def test_streams_to_begin_with(fields: dict[str, Any], streams: int) -> None:
    """A share of the bandwidth leaves each a MiB per second, so that none is silent for long."""
    location = S3Location("b", "k", endpoint="http://127.0.0.1:1", anonymous=True)
    given = {"source": location, "destination": location, "parts": "1"} | fields
    rest = {"source_etag": "e", "size": 1, "upload_id": "id", "part_size": 1, "checksum": False}
    task = Task(attempt=1, run=1, batch_size=1, **given, **rest)
    assert Worker(task, Work(0, "1"), Mock(), Patience(), Guard())._pace.streams == streams


def test_auto_adds_streams(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """How many is a matter of rates; the first round always pays."""
    code, report = run(streams=16, adaptive=True)
    assert (code, report.parts) == (0, "1-30")
    log = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert log[0]["streams"] == 4
    assert max(line["streams"] for line in log if line["message"] == "pace") >= 5


@pytest.mark.parametrize("allow", ["", "10.0.0.0/8", "*"])
def test_a_worker_speaks_to_no_address_that_is_refused(
    run: Run, script: Script, allow: str
) -> None:
    code, report = run(allow=allow)
    assert code == 1  # it may be allowed some day
    assert report.error
    assert report.error.code == Reason.ENDPOINT_REFUSED
    assert "127.0.0.1 is a loopback address" in report.error.message
    assert script.requests == []


def test_a_worker_follows_no_redirect(run: Run, script: Script, monkeypatch: Any) -> None:
    """Whoever answers would else choose the address."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def get(handler: Handler) -> None:
            script.requests.append(handler)
            handler.send_response(307)
            handler.send_header("Location", f"http://127.0.0.1:{other.getsockname()[1]}/b/k")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        monkeypatch.setattr(Handler, "do_GET", get)
        code, report = run()
        other.settimeout(0)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert (code, report.error and report.error.code) == (1, Reason.SOURCE_UNAVAILABLE)
    assert script.requests
