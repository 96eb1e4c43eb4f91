"""The worker as its pods run it, and the floor under it; the upload around them is made here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dev.bench.job import DESTINATION_BUCKET, KEY, SOURCE_BUCKET, STREAMS, Job
from dev.bench.measure import Command
from dev.servers import ACCESS_KEY, LOOPBACK, SECRET_KEY
from multipartcopy.api import names
from multipartcopy.api.location import S3Location
from multipartcopy.api.ranges import parse_ranges
from multipartcopy.api.report import decode_report, encode_crc, unpack_crcs
from multipartcopy.api.task import Task
from multipartcopy.plan import MAX_BATCH_SIZE
from multipartcopy.s3.address import Address, object_address
from multipartcopy.worker.http import encode_query
from multipartcopy.worker.main import REPORT_VARIABLE, SECRETS_VARIABLE
from multipartcopy.worker.signing import UNSIGNED_PAYLOAD, Credentials, sign

_SPLICE = Path(__file__).with_name("splice.py")


@contextmanager
def worker(job: Job, image: Path, *, server_side: bool = False) -> Iterator[Sequence[Command]]:
    """As few pods as the reports have room for, one after the other; ``image`` is the root of the image.

    ``server_side``: source and destination are one store, which copies by itself, without a checksum.
    """
    full = {} if server_side else {"ChecksumType": "FULL_OBJECT"}
    upload = _create(job, **full, **({} if server_side else {"ChecksumAlgorithm": "CRC64NVME"}))
    source = job.source.client().head_object(Bucket=SOURCE_BUCKET, Key=KEY)
    task = worker_task(job, source["ETag"].strip('"'), upload)
    task = replace(task, server_side=server_side, checksum=not server_side)
    with home_in(image) as home:
        _write_secrets(job, home)
        indexes = range(len(task.work))
        yield [worker_command(task, index, image, home) for index in indexes]
        parts = [part for index in indexes for part in _reported(_report(home, index))]
    _complete(job, upload, parts, **full)


@contextmanager
def home_in(image: Path) -> Iterator[Path]:
    """A directory for one run, that the program in the image sees as well."""
    with TemporaryDirectory(dir=image / "tmp") as home:
        yield Path(home)


def _report(home: Path, index: int) -> Path:
    return home / f"report-{index}"


def worker_task(job: Job, etag: str, upload: str) -> Task:
    return Task(
        source=S3Location(SOURCE_BUCKET, KEY, job.source.endpoint),
        source_etag=etag,
        size=job.size,
        destination=S3Location(DESTINATION_BUCKET, KEY, job.destination.endpoint),
        upload_id=upload,
        attempt=1,
        run=1,
        part_size=job.part_size,
        streams=STREAMS,
        checksum=True,
        parts=f"1-{job.parts}",
        batch_size=MAX_BATCH_SIZE,
    )


def worker_command(task: Task, index: int, image: Path, home: Path) -> Command:
    """In the image, as root of it: the interpreter and the libraries that the pods have."""
    inside = Path("/") / home.relative_to(image)
    return Command(
        ["/usr/sbin/chroot", str(image), "/opt/venv/bin/python3", "-m", "multipartcopy", "worker"],
        {
            "PATH": os.defpath,
            "HOME": str(inside),
            "PYTHONPATH": "/opt/multipartcopy",
            "PYTHONUNBUFFERED": "1",
            names.TASK_VARIABLE: task.encode(),
            names.INDEX_VARIABLE: str(index),
            names.ALLOW_ENDPOINTS_VARIABLE: LOOPBACK,
            SECRETS_VARIABLE: str(inside),
            REPORT_VARIABLE: str(_report(inside, index)),
        },
    )


@contextmanager
def splice(job: Job) -> Iterator[Sequence[Command]]:
    """See splice.py. The heads of its requests are made here, so that it need not know how to sign."""
    upload = _create(job)
    source = object_address(S3Location(SOURCE_BUCKET, KEY, job.source.endpoint))
    destination = object_address(S3Location(DESTINATION_BUCKET, KEY, job.destination.endpoint))
    parts = []
    for number in range(1, job.parts + 1):
        offset, length = (number - 1) * job.part_size, job.length(number)
        query = encode_query({"partNumber": str(number), "uploadId": upload})
        parts.append(
            {
                "length": length,
                "get": _head("GET", source, "", {"Range": f"bytes={offset}-{offset + length - 1}"}),
                "put": _head("PUT", destination, query, {"Content-Length": str(length)}),
            }
        )
    etags, plan = job.home / "etags", job.home / "plan"
    plan.write_text(
        json.dumps(
            {
                "source": [source.host, source.port],
                "destination": [destination.host, destination.port],
                "streams": STREAMS,
                "parts": parts,
                "etags": str(etags),
            }
        )
    )
    yield [Command([sys.executable, "-I", "-S", str(_SPLICE), str(plan)])]
    found = enumerate(json.loads(etags.read_text()), start=1)
    _complete(job, upload, [{"PartNumber": number, "ETag": etag} for number, etag in found])


def _head(method: str, address: Address, query: str, headers: dict[str, str]) -> str:
    """Of a signed request, as it goes on the wire."""
    signed = sign(
        method,
        address.path + query,
        {"Host": address.authority, **headers},
        UNSIGNED_PAYLOAD,
        "us-east-1",
        Credentials(ACCESS_KEY, SECRET_KEY),
    )
    lines = [f"{method} {address.path}{query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in signed.items()]
    return "\r\n".join([*lines, "", ""])


def _create(job: Job, **checksum: str) -> str:
    client = job.destination.client()
    answer = client.create_multipart_upload(Bucket=DESTINATION_BUCKET, Key=KEY, **checksum)
    return str(answer["UploadId"])


def _complete(job: Job, upload: str, parts: list[dict[str, Any]], **checksum: str) -> None:
    job.destination.client().complete_multipart_upload(
        Bucket=DESTINATION_BUCKET,
        Key=KEY,
        UploadId=upload,
        MultipartUpload={"Parts": parts},
        **checksum,
    )


def _reported(file: Path) -> list[dict[str, Any]]:
    text = file.read_text()
    report = decode_report(text)
    assert report is not None, text
    parts: list[dict[str, Any]] = [
        {"PartNumber": number, "ETag": etag}
        for number, etag in zip(parse_ranges(report.parts), report.etags, strict=True)
    ]
    if report.crc64nvme:
        for part, crc in zip(parts, unpack_crcs(report.crc64nvme), strict=True):
            part["ChecksumCRC64NVME"] = encode_crc(crc)
    return parts


def _write_secrets(job: Job, home: Path) -> None:
    """As a pod has them mounted."""
    for side, server in (("source", job.source), ("destination", job.destination)):
        (home / side).mkdir()
        (home / side / names.ACCESS_KEY_ID).write_text(ACCESS_KEY)
        (home / side / names.SECRET_ACCESS_KEY).write_text(SECRET_KEY)
        if server.ca:
            (home / f"{side}-ca").mkdir()
            (home / f"{side}-ca" / names.CA_CERTIFICATE).write_bytes(server.ca.read_bytes())
