"""One copy from end to end: two real servers, a proxy before each, the real operator and worker between."""

import contextlib
import random
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.servers import ACCESS_KEY, SECRET_KEY, Server
from multipartcopy.reconcile.facts import Limits
from tests.proxy_client import Proxy, proxy
from tests.s3.local_cluster import IMPATIENT, NAMESPACE, Cluster, Operator

MiB = 1 << 20
PART = 5 * MiB
SIZE = 3 * PART + MiB + 7
"""Four parts, in two batches."""
_DATA = random.Random(1).randbytes(SIZE)
_FRAMES = 8192
"""More than the framing of all parts takes."""

GET_PART_2 = {"match": r"^GET /[^?]+$", "header": rf"^Range: bytes={PART}-"}
PUT_PART_2 = {"match": r"^PUT .*[?&]partNumber=2&"}
COPY_PART_2 = {**PUT_PART_2, "header": "^x-amz-copy-source:"}
COPY_PARTS = {"match": r"^PUT .*[?&]partNumber=", "header": "^x-amz-copy-source:"}
HEAD = {"match": "^HEAD "}
LIST_UPLOADS = {"match": r"^GET .*[?&]uploads"}
CREATE = {"match": r"^POST .*\?uploads"}
LIST_PARTS = {"match": r"^GET .*[?&]uploadId="}
OPERATOR_LISTS = {"match": r"^GET .*[?&]uploadId=[^&]*&part-number-marker=[0-9]+$"}
WORKER_LISTS = {"match": r"^GET .*[?&]uploadId=.*&max-parts="}
COMPLETE = {"match": r"^POST .*[?&]uploadId="}
ABORT = {"match": r"^DELETE .*[?&]uploadId="}


@dataclass
class Pair:
    """Source and destination, each behind a proxy of its own."""

    server: Server
    source: Proxy
    destination: Proxy

    def reset(self) -> None:
        for door in (self.source, self.destination):
            door.up()
            door.open("drop")
            door.clear()


@contextlib.contextmanager
def pair(server: Server) -> Iterator[Pair]:
    at, ca = server.endpoint, server.ca
    with proxy(at, ca) as source, proxy(at, ca) as destination:
        yield Pair(server, source, destination)


@dataclass
class Copy:
    """A resource ``copy`` in a cluster with one operator; ``key`` ``from`` is copied to ``to``."""

    pair: Pair
    cluster: Cluster
    bucket: str
    data: bytes
    operator: Operator | None = None
    limits: Limits = IMPATIENT
    name: str = "copy"
    uid: str = ""
    source_key: str = "from"
    source_version: str = ""
    anonymous_source: bool = False
    source_more: dict[str, Any] = field(default_factory=dict)
    destination_more: dict[str, Any] = field(default_factory=dict)
    """What ``s3`` of a side says besides."""

    def start(self, *, within: bool = False, **spec: Any) -> None:
        """Create the resource; with an operator, where there is none.

        ``within`` one store: both sides are behind the destination's proxy.
        """
        source = self.pair.destination if within else self.pair.source

        def side(door: Proxy, key: str) -> dict[str, Any]:
            place = {"bucket": self.bucket, "key": key, "endpoint": door.endpoint}
            return {"s3": {**place, "secretRef": {"name": "s3"}}}

        sides = {
            "source": side(source, self.source_key),
            "destination": side(self.pair.destination, "to"),
        }
        if self.anonymous_source:
            del sides["source"]["s3"]["secretRef"]
            sides["source"]["s3"]["anonymous"] = True
        if self.source_version:
            sides["source"]["s3"]["versionId"] = self.source_version
        if self.pair.server.ca:
            self.cluster.secrets["ca"] = {"ca.crt": self.pair.server.ca.read_text()}
            for end in sides.values():
                end["s3"]["caSecretRef"] = {"name": "ca"}
        sides["source"]["s3"] |= self.source_more
        sides["destination"]["s3"] |= self.destination_more
        worker = {"streams": 2}
        self.uid = self.cluster.create(
            self.name,
            {
                **sides,
                "partSize": "5Mi",
                "parallelism": 2,
                "worker": worker,
                "backoffLimitPerBatch": 1,
                **spec,
            },
        )
        if self.operator is None:
            self.operator = Operator(self.cluster, self.limits)

    def restart(self) -> None:
        """The operator dies, and another one begins with an empty memory."""
        assert self.operator
        self.operator.kill()
        self.operator = Operator(self.cluster, self.limits)

    @property
    def status(self) -> dict[str, Any]:
        return self.cluster.status(self.name)

    @property
    def reason(self) -> str:
        return str(self.cluster.condition(self.name).get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.cluster.condition(self.name).get("message", ""))

    def until(self, condition: Callable[[], Any], seconds: float = 60) -> Any:
        """The first true value. What the resource says is in the error."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.01)
        said = self.cluster.condition(self.name) if self.name in self.cluster.copies else "gone"
        raise AssertionError(f"not within {seconds} s; the resource says {said}")

    def until_told(self, reason: str, seconds: float = 60) -> None:
        """Until an Event of this reason was written."""
        self.until(lambda: reason in self.cluster.told(), seconds)

    def end(self, seconds: float = 90) -> str:
        """Wait until it is over and cleaned up; the reason that the resource gives."""
        self.until(lambda: self.status.get("phase") in ("Succeeded", "Failed"), seconds)
        self.until(lambda: not self.finalizers and not self.cluster.jobs, 30)
        return self.reason

    @property
    def finalizers(self) -> list[str]:
        body = self.cluster.get_copy(NAMESPACE, self.name)
        return list(body["metadata"].get("finalizers", []))

    def delete(self) -> None:
        self.cluster.delete_copy(NAMESPACE, self.name)

    # What is there.

    def client(self) -> Any:
        """Past the proxies."""
        return self.pair.server.client()

    def put(self, key: str, body: bytes) -> None:
        self.client().put_object(Bucket=self.bucket, Key=key, Body=body)

    def stored(self) -> bytes | None:
        client = self.client()
        try:
            return bytes(client.get_object(Bucket=self.bucket, Key="to")["Body"].read())
        except client.exceptions.NoSuchKey:
            return None

    def uploads(self) -> list[str]:
        """Multipart uploads of our key that are in progress."""
        listed = self.client().list_multipart_uploads(Bucket=self.bucket, Prefix="to")
        return [upload["UploadId"] for upload in listed.get("Uploads", [])]

    def parts(self) -> list[int]:
        """Of the upload in progress, the parts it holds."""
        upload = self.uploads()[0]
        listed = self.client().list_parts(Bucket=self.bucket, Key="to", UploadId=upload)
        return [part["PartNumber"] for part in listed.get("Parts", [])]

    def recorded(self) -> int:
        """How many parts the ledger holds."""
        return int((self.status.get("progress") or {}).get("partsDone", 0))

    def bytes_through_us(self) -> int:
        """Bytes of objects that came to the workers or went from them."""
        doors = self.pair.source, self.pair.destination
        return sum(door.bytes_got() + door.bytes_put() for door in doors)

    def sent_again(self) -> int:
        """Bytes of parts that went to the destination beyond the object's own."""
        return max(0, self.pair.destination.bytes_put() - len(self.data) - _FRAMES)

    def close(self) -> None:
        self.pair.reset()
        if self.operator:
            self.operator.kill()
        self.cluster.close()


@contextlib.contextmanager
def copying(pair: Pair, directory: Path, data: bytes = _DATA, **source: Any) -> Iterator[Copy]:
    """A copy that has not begun; ``source`` are further arguments of the source's PutObject."""
    pair.reset()
    bucket = f"copy-{uuid.uuid4().hex[:10]}"
    cluster = Cluster(directory)
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    cluster.secrets["s3"] = keys
    copy = Copy(pair, cluster, bucket, data)
    client = copy.client()
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="from", Body=data, **source)
    try:
        yield copy
    finally:
        copy.close()
        pair.server.drop(bucket)
