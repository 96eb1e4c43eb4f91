"""The worker as a process of its own, between real servers."""

import contextlib
import hashlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from awscrt.checksums import combine_crc64nvme, crc64nvme

from dev.servers import ACCESS_KEY, LOOPBACK, SECRET_KEY, Server
from multipartcopy.api.location import AddressingStyle, S3Location
from multipartcopy.api.ranges import parse_ranges
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import Report, decode_report, encode_crc, unpack_crcs
from multipartcopy.api.task import Read, Task, upload_hash

MiB = 1 << 20
OPERATOR = Path(__file__).parents[2] / "operator"
IMPATIENT = """
import os
from multipartcopy.worker.main import Patience, main
os._exit(main(os.environ, Patience(tries=2, grace=0, pause=0.01)))
"""
AS_SHIPPED = "import os; from multipartcopy.worker.main import run; run(os.environ)"


@dataclass
class Copy:
    """An object at the source, an upload at the destination, and the task between them."""

    task: Task
    source: Server
    destination: Server
    directory: Path
    sha256: str
    environment: dict[str, str] = field(default_factory=dict)
    """What the worker's pod has besides."""

    @property
    def parts(self) -> int:
        return -(-self.task.size // self.task.part_size)

    @property
    def report_file(self) -> Path:
        return self.directory / "report"

    def report(self) -> Report:
        text = self.report_file.read_text()
        report = decode_report(text)
        assert report is not None, text
        return report

    def secrets(self) -> Path:
        """As the pod has them mounted."""
        home = self.directory / "secrets"
        for side, server in (("source", self.source), ("destination", self.destination)):
            (home / side).mkdir(parents=True)
            (home / side / "AWS_ACCESS_KEY_ID").write_text(ACCESS_KEY + "\n")
            (home / side / "AWS_SECRET_ACCESS_KEY").write_text(SECRET_KEY)
            if server.ca:
                (home / f"{side}-ca").mkdir()
                (home / f"{side}-ca" / "ca.crt").write_bytes(server.ca.read_bytes())
        return home

    @contextlib.contextmanager
    def worker(self, program: str = IMPATIENT) -> Iterator["subprocess.Popen[str]"]:
        environment = self.environment | {
            "PYTHONPATH": str(OPERATOR),
            "MULTIPARTCOPY_TASK": self.task.encode(),
            "JOB_COMPLETION_INDEX": "0",
            "MULTIPARTCOPY_SECRETS": str(self.directory / "secrets"),
            "MULTIPARTCOPY_REPORT": str(self.report_file),
            "MULTIPARTCOPY_ALLOW_ENDPOINTS": LOOPBACK,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def run(self, program: str = IMPATIENT) -> tuple[int, list[dict[str, Any]]]:
        """Exit status and log."""
        with self.worker(program) as process:
            out, err = process.communicate(timeout=120)
        print(err)
        return process.returncode, [json.loads(line) for line in out.splitlines()]

    def complete(self) -> None:
        report, there = self.report(), self.task.destination
        crcs = unpack_crcs(report.crc64nvme)
        parts: list[dict[str, Any]] = [
            {"PartNumber": number, "ETag": etag}
            | ({"ChecksumCRC64NVME": encode_crc(crc)} if self.task.checksum else {})
            for number, etag, crc in zip(
                parse_ranges(report.parts), report.etags, crcs, strict=True
            )
        ]
        self.destination.client().complete_multipart_upload(
            Bucket=there.bucket,
            Key=there.key,
            UploadId=self.task.upload_id,
            MultipartUpload={"Parts": parts},
            **({"ChecksumType": "FULL_OBJECT"} if self.task.checksum else {}),
        )

    def reading(self, side: Read) -> None:
        """From now on the task is to read that side's object again, and knows nothing of the other."""
        here, server, other = {
            Read.SOURCE: (self.task.source, self.source, "destination"),
            Read.DESTINATION: (self.task.destination, self.destination, "source"),
        }[side]
        head = server.client().head_object(Bucket=here.bucket, Key=here.key)
        away = replace(getattr(self.task, other), endpoint="http://127.0.0.1:1")
        self.task = replace(
            self.task, read=side, read_etag=head["ETag"].strip('"'), **{other: away}
        )
        self.report_file.unlink(missing_ok=True)

    def stored_sha256(self) -> str:
        there = self.task.destination
        body = self.destination.client().get_object(Bucket=there.bucket, Key=there.key)["Body"]
        digest = hashlib.sha256()
        for piece in body.iter_chunks(MiB):
            digest.update(piece)
        return digest.hexdigest()


@pytest.fixture
def prepare(tmp_path: Path) -> Iterator[Any]:
    made: list[tuple[Server, str]] = []

    def prepare(
        source: Server,
        destination: Server,
        *,
        size: int = 11 * MiB + 7,
        part_size: int = 5 * MiB,
        checksum: bool = True,
        key: str = "dir/object",
        streams: int = 3,
        parts: str = "",
    ) -> Copy:
        body = random_bytes(size)
        bucket = f"b-{uuid.uuid4().hex[:12]}"
        here, there = source.client(), destination.client()
        here.create_bucket(Bucket=bucket)
        there.create_bucket(Bucket=f"{bucket}-to")
        made.extend([(source, bucket), (destination, f"{bucket}-to")])
        etag = here.put_object(Bucket=bucket, Key=key, Body=body)["ETag"].strip('"')
        options = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
        upload_id = there.create_multipart_upload(
            Bucket=f"{bucket}-to", Key=key, **(options if checksum else {})
        )["UploadId"]
        location = S3Location(
            bucket, key, endpoint=source.endpoint, addressing_style=AddressingStyle.PATH
        )
        task = Task(
            source=location,
            source_etag=etag,
            size=size,
            destination=replace(location, bucket=f"{bucket}-to", endpoint=destination.endpoint),
            upload_id=upload_id,
            attempt=1,
            run=2,
            part_size=part_size,
            streams=streams,
            checksum=checksum,
            parts=parts or f"1-{-(-size // part_size)}",
            batch_size=96,
        )
        copy = Copy(task, source, destination, tmp_path, hashlib.sha256(body).hexdigest())
        copy.secrets()
        return copy

    yield prepare
    for server, bucket in made:
        server.drop(bucket)


@pytest.fixture(params=["versitygw", "minio"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


def random_bytes(size: int) -> bytes:
    """The same for the same size."""
    generator = random.Random(size)
    pieces = (generator.randbytes(min(MiB, size - start)) for start in range(0, size, MiB))
    return b"".join(pieces)


def until(condition: Any, seconds: float = 30) -> Any:
    """The first true value of the condition."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.001)
    raise AssertionError(f"not within {seconds} s")


@pytest.mark.parametrize("source", ["versitygw", "minio", "closing_versitygw"])
@pytest.mark.parametrize("destination", ["versitygw", "minio", "closing_versitygw"])
@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "plain"])
def test_bytes_are_the_same(
    request: pytest.FixtureRequest, prepare: Any, source: str, destination: str, checksum: bool
) -> None:
    copy = prepare(
        request.getfixturevalue(source), request.getfixturevalue(destination), checksum=checksum
    )
    code, log = copy.run()
    assert code == 0
    report = copy.report()
    assert (report.upload, report.attempt, report.run, report.batch) == (
        upload_hash(copy.task.upload_id),
        1,
        2,
        0,
    )
    assert (report.parts, report.sent, report.error) == ("1-3", copy.task.size, None)
    assert sorted(line["part"] for line in log if line["message"] == "part") == [1, 2, 3]
    copy.complete()
    assert copy.stored_sha256() == copy.sha256


@pytest.mark.parametrize(
    ("size", "part_size"), [(1, 5 * MiB), (5 * MiB, 5 * MiB), (17 * MiB + 1, 8 * MiB + 3)]
)
@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "plain"])
def test_part_sizes(
    server: Server, prepare: Any, size: int, part_size: int, checksum: bool
) -> None:
    copy = prepare(server, server, size=size, part_size=part_size, checksum=checksum)
    assert copy.run()[0] == 0
    copy.complete()
    assert copy.stored_sha256() == copy.sha256


@pytest.mark.parametrize(
    "key", ["a b+c", "ünïcødé/Ω", "per%cent%20", "what?&=#x", "~tilde'(1)*!;:@,$"]
)
def test_keys(server: Server, prepare: Any, key: str) -> None:
    copy = prepare(server, server, size=1000, key=key)
    assert copy.run()[0] == 0
    copy.complete()
    assert copy.stored_sha256() == copy.sha256


def test_crcs_of_the_report_combine_to_that_of_the_object(server: Server, prepare: Any) -> None:
    size = 11 * MiB + 7
    copy = prepare(server, server, size=size)
    assert copy.run()[0] == 0
    first, *rest = unpack_crcs(copy.report().crc64nvme)
    for crc, length in zip(rest, [5 * MiB, MiB + 7], strict=True):
        first = combine_crc64nvme(first, crc, length)
    assert first == crc64nvme(random_bytes(size))


@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "plain"])
def test_etags_are_the_md5_sums_of_what_was_sent(
    server: Server, prepare: Any, checksum: bool
) -> None:
    copy = prepare(server, server, checksum=checksum)
    copy.task = replace(copy.task, md5=True)
    assert copy.run()[0] == 0
    body, size = random_bytes(copy.task.size), copy.task.part_size
    assert copy.report().etags == tuple(
        hashlib.md5(body[start : start + size], usedforsecurity=False).hexdigest()
        for start in range(0, len(body), size)
    )


@pytest.mark.parametrize("kind", ["versitygw", "minio", "closing_versitygw", "minio_tls"])
def test_reading_both_sides_again(request: pytest.FixtureRequest, prepare: Any, kind: str) -> None:
    server = request.getfixturevalue(kind)
    copy = prepare(server, server)
    assert copy.run()[0] == 0
    sent, task = copy.report(), copy.task
    copy.complete()
    for side in Read:
        copy.task = task
        copy.reading(side)
        assert copy.run()[0] == 0
        report = copy.report()
        assert (report.read, report.parts, report.etags) == (side, sent.parts, ())
        assert (report.crc64nvme, report.sent) == (sent.crc64nvme, 0)


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "overwritten"])
@pytest.mark.parametrize(
    ("side", "overwritten", "gone"),
    [
        (Read.SOURCE, Reason.SOURCE_CHANGED, Reason.SOURCE_NOT_FOUND),
        (Read.DESTINATION, Reason.DESTINATION_CHANGED, Reason.DESTINATION_CHANGED),
    ],
)
def test_changed_before_it_is_read_again(
    server: Server, prepare: Any, side: Read, overwritten: Reason, gone: Reason, removed: bool
) -> None:
    copy = prepare(server, server)
    assert copy.run()[0] == 0
    copy.complete()
    there = copy.task.source if side is Read.SOURCE else copy.task.destination
    copy.reading(side)
    if removed:
        server.client().delete_object(Bucket=there.bucket, Key=there.key)
    else:
        server.client().put_object(Bucket=there.bucket, Key=there.key, Body=b"o" * copy.task.size)
    assert copy.run()[0] == 42
    error = copy.report().error
    assert error
    assert error.code == (gone if removed else overwritten)


@pytest.mark.parametrize("kind", ["versitygw_tls", "minio_tls"])
def test_tls_with_a_ca_of_its_own(request: pytest.FixtureRequest, prepare: Any, kind: str) -> None:
    server = request.getfixturevalue(kind)
    copy = prepare(server, server)
    assert copy.run()[0] == 0
    copy.complete()
    assert copy.stored_sha256() == copy.sha256


def test_tls_without_the_ca_is_refused(minio_tls: Server, prepare: Any) -> None:
    copy = prepare(minio_tls, minio_tls, size=1000)
    (copy.directory / "secrets/source-ca/ca.crt").unlink()
    assert copy.run()[0] == 1
    error = copy.report().error
    assert error
    assert error.code == Reason.SOURCE_UNAVAILABLE
    assert "certificate verify failed" in error.message


def test_source_overwritten_after_the_pin(server: Server, prepare: Any) -> None:
    copy = prepare(server, server)
    here = copy.task.source
    server.client().put_object(Bucket=here.bucket, Key=here.key, Body=b"other" * 4_000_000)
    assert copy.run()[0] == 42
    error = copy.report().error
    assert error
    assert error.code == Reason.SOURCE_CHANGED
    assert error.part


def test_source_overwritten_in_the_middle(server: Server, prepare: Any) -> None:
    copy = prepare(server, server, size=200 * MiB, streams=1)
    here = copy.task.source
    with copy.worker() as process:
        until(lambda: copy.report_file.exists() and '"parts":"1' in copy.report_file.read_text())
        process.send_signal(signal.SIGSTOP)
        server.client().put_object(Bucket=here.bucket, Key=here.key, Body=b"other")
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 42
    report = copy.report()
    assert report.parts.startswith("1")
    assert report.error
    assert report.error.code == Reason.SOURCE_CHANGED


@pytest.mark.parametrize("side", ["source", "destination"])
def test_wrong_secret(server: Server, prepare: Any, side: str) -> None:
    copy = prepare(server, server)
    (copy.directory / "secrets" / side / "AWS_SECRET_ACCESS_KEY").write_text("wrong-secret")
    assert copy.run()[0] == 1
    error = copy.report().error
    assert error
    assert error.code == Reason.ACCESS_DENIED
    assert "SignatureDoesNotMatch" in error.message
    assert "wrong-secret" not in copy.report_file.read_text()


def test_a_secret_that_rotates_is_read_again(server: Server, prepare: Any) -> None:
    copy = prepare(server, server)
    secret = copy.directory / "secrets/source/AWS_SECRET_ACCESS_KEY"
    secret.write_text("wrong")
    with copy.worker(AS_SHIPPED) as process:
        until(copy.report_file.exists)
        timer = threading.Timer(1, secret.write_text, [SECRET_KEY])
        timer.start()
        assert process.wait(60) == 0
        timer.join()
    assert copy.report().parts == "1-3"


@pytest.mark.parametrize("checksum", [True, False], ids=["listing", "uploading"])
def test_upload_is_gone(server: Server, prepare: Any, checksum: bool) -> None:
    copy = prepare(server, server, checksum=checksum)
    there = copy.task.destination
    server.client().abort_multipart_upload(
        Bucket=there.bucket, Key=there.key, UploadId=copy.task.upload_id
    )
    assert copy.run()[0] == 42
    error = copy.report().error
    assert error
    assert error.code == Reason.UPLOAD_LOST


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("bucket", "no-such-bucket", Reason.BUCKET_NOT_FOUND),
        ("key", "none", Reason.SOURCE_NOT_FOUND),
    ],
)
def test_source_is_missing(
    server: Server, prepare: Any, field: str, value: str, reason: Reason
) -> None:
    copy = prepare(server, server)
    copy.task = replace(copy.task, source=replace(copy.task.source, **{field: value}))
    assert copy.run()[0] == 42
    error = copy.report().error
    assert error
    assert error.code == reason


def test_destination_bucket_is_missing(server: Server, prepare: Any) -> None:
    copy = prepare(server, server, checksum=False)
    missing = replace(copy.task.destination, bucket="no-such-bucket")
    copy.task = replace(copy.task, destination=missing)
    assert copy.run()[0] == 42
    error = copy.report().error
    assert error
    assert error.code in (Reason.BUCKET_NOT_FOUND, Reason.UPLOAD_LOST)


def test_killed_at_any_moment_the_next_one_goes_on(server: Server, prepare: Any) -> None:
    copy = prepare(server, server, size=200 * MiB, streams=2)
    with copy.worker() as process:
        until(lambda: copy.report_file.exists() and '"parts":"1' in copy.report_file.read_text())
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    before = parse_ranges(copy.report().parts)
    assert 0 < len(before) < copy.parts
    copy.report_file.unlink()
    assert copy.run()[0] == 0
    report = copy.report()
    assert len(parse_ranges(report.parts)) == copy.parts
    assert report.sent <= copy.task.size - len(before) * copy.task.part_size
    copy.complete()
    assert copy.stored_sha256() == copy.sha256


def test_sigterm(server: Server, prepare: Any) -> None:
    copy = prepare(server, server, size=200 * MiB, part_size=100 * MiB)
    with copy.worker(AS_SHIPPED) as process:
        assert process.stdout
        assert "start" in process.stdout.readline()
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
        assert time.monotonic() - start < 2
    error = copy.report().error
    assert error
    assert error.code == Reason.WORKER_TERMINATED


def test_only_the_work_of_this_index(server: Server, prepare: Any) -> None:
    copy = prepare(server, server, size=21 * MiB, parts="2,4-5")
    assert copy.run()[0] == 0
    assert copy.report().parts == "2,4-5"


@pytest.mark.parametrize("part_size", [5 * MiB, 128 * MiB], ids=["5Mi", "128Mi"])
def test_memory_does_not_grow_with_the_part_size(
    server: Server, prepare: Any, part_size: int
) -> None:
    copy = prepare(server, server, size=4 * part_size, part_size=part_size, streams=4)
    copy.task = replace(copy.task, md5=True)
    assert copy.run()[0] == 0
    sent = copy.report()
    assert 20 * MiB < sent.peak_rss < 48 * MiB
    copy.reading(Read.SOURCE)
    assert copy.run()[0] == 0
    read = copy.report()
    assert read.crc64nvme == sent.crc64nvme
    assert 20 * MiB < read.peak_rss < 48 * MiB
