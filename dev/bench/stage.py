"""Two stores with the object in one of them, and one run between them.

Both are MinIO, a process each. versitygw would be another program, but an unlike measure: over TLS it
sends records of 4 KiB, where MinIO and the large services fill theirs with 16 KiB, and each costs the
reader two syscalls; and it copies all parts when an upload is completed, a second a GiB, which would
be in a peer's time and not in ours, since we are measured without the completion.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from dev import servers
from dev.bench.contenders import Contender
from dev.bench.job import DESTINATION_BUCKET, KEY, SOURCE_BUCKET, Job
from dev.bench.measure import RunError, Usage, measure
from dev.cluster.console import PrerequisiteError

MiB = 1 << 20
GiB = 1 << 30
_LIMIT_BASE, _LIMIT_PER_GIB = 30.0, 60.0
"""Seconds that a run may take."""


@dataclass(frozen=True)
class Stage:
    source: servers.Server
    destination: servers.Server
    size: int
    sha256: str


@dataclass(frozen=True)
class Sample:
    """One run: what it used, or why there is nothing to show."""

    usage: Usage | None
    sha256_ok: bool = False
    error: str = ""


@contextmanager
def stage(scheme: str, size: int) -> Iterator[Stage]:
    tls = scheme == "https"
    with servers.minio(tls=tls) as source, servers.minio(tls=tls) as destination:
        yield _filled(source, destination, size)


@contextmanager
def within(size: int) -> Iterator[Stage]:
    """One store for both ends, plain HTTP."""
    with servers.minio() as store:
        yield _filled(store, store, size)


def _filled(source: servers.Server, destination: servers.Server, size: int) -> Stage:
    source.client().create_bucket(Bucket=SOURCE_BUCKET)
    destination.client().create_bucket(Bucket=DESTINATION_BUCKET)
    content = RandomContent(size)
    config = TransferConfig(multipart_chunksize=16 * MiB, use_threads=False)
    source.client().upload_fileobj(content, SOURCE_BUCKET, KEY, Config=config)
    return Stage(source, destination, size, content.digest.hexdigest())


def run_once(contender: Contender, stage: Stage, part_size: int) -> Sample:
    limit = _LIMIT_BASE + _LIMIT_PER_GIB * stage.size / GiB
    with tempfile.TemporaryDirectory(prefix="multipartcopy-bench-") as home:
        job = Job(stage.source, stage.destination, stage.size, part_size, Path(home))
        try:
            with contender.commands(job) as commands:
                usage = measure(commands, limit)
            return Sample(usage, _stored_sha256(stage) == stage.sha256)
        except (RunError, BotoCoreError, ClientError) as error:
            return Sample(None, error=str(error))
        finally:
            _clean(stage)


def check_memory(size: int, part_size: int) -> None:
    """The stores keep the object twice, and a peer holds four parts, and at times each twice."""
    needed = 2 * size + 2 * min(size, 4 * part_size) + GiB
    (available,) = re.findall(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    free = int(available) << 10
    if free < needed:
        raise PrerequisiteError(
            f"{free / GiB:.1f} GiB of memory are free, and {needed / GiB:.1f} are needed;"
            " a smaller --size will do"
        )


def _stored_sha256(stage: Stage) -> str:
    body = stage.destination.client().get_object(Bucket=DESTINATION_BUCKET, Key=KEY)["Body"]
    digest = hashlib.sha256()
    for piece in body.iter_chunks(MiB):
        digest.update(piece)
    return digest.hexdigest()


def _clean(stage: Stage) -> None:
    client: Any = stage.destination.client()
    uploads = client.list_multipart_uploads(Bucket=DESTINATION_BUCKET, Prefix=KEY)
    for upload in uploads.get("Uploads", []):
        client.abort_multipart_upload(
            Bucket=DESTINATION_BUCKET, Key=KEY, UploadId=upload["UploadId"]
        )
    client.delete_object(Bucket=DESTINATION_BUCKET, Key=KEY)
    stage.destination.empty_trash()


class RandomContent:
    """A file of random bytes that knows the SHA-256 of what was read of it."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = os.urandom(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        self.digest.update(data)
        return data
