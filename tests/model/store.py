"""A store as far as the operator and the workers can see it: objects, uploads, preconditions, checksums.

The stores that exist differ in what ``Habits`` names; see the tables of ``tests/s3``.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NoReturn

from awscrt.checksums import crc64nvme

from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.report import encode_crc
from multipartcopy.api.status import Dropped
from multipartcopy.s3.control import (
    CompletedPart,
    CreatedUpload,
    ListedUpload,
    ObjectInfo,
    Precondition,
    StoredPart,
)
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.properties import Wanted


class Conditions(StrEnum):
    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "answered with NotImplemented"


class Weather(StrEnum):
    FINE = "fine"
    DOWN = "down"
    DENIED = "denied"


@dataclass(frozen=True)
class Habits:
    """``repeats``: a Complete of an upload that is completed already answers 200 and its ETag.

    ``md5``: of the ETags; where they are none, ``encrypted`` says that the store names the key that makes them so.
    ``revives``: a part that arrives late brings its upload back, without its checksum, never to be completed.
    ``copies``: it copies parts by itself; ``pins``: it heeds the source's ETag in that.
    """

    checksum: bool = True
    repeats: bool = True
    conditions: Conditions = Conditions.HONOURED
    md5: bool = True
    encrypted: bool = False
    metadata: bool = True
    copies: bool = True
    pins: bool = True
    revives: bool = False


@dataclass(frozen=True)
class Object:
    data: bytes
    etag: str
    crc64nvme: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    """Made by a request of the operator."""


@dataclass
class Multipart:
    id: str
    key: str
    initiated: datetime
    ours: bool
    checksum: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)
    revived: bool = False


@dataclass
class Bucket:
    """One store with one bucket. ``now`` is its own clock; the others hear of what we do."""

    side: str
    now: Callable[[], datetime]
    published: Callable[[str, Object | None, Object], None]
    aborting: Callable[[Multipart], None]
    deleting: Callable[[Object], None]
    habits: Habits
    weather: Weather = Weather.FINE
    objects: dict[str, Object] = field(default_factory=dict)
    uploads: dict[str, Multipart] = field(default_factory=dict)
    completed: dict[str, str] = field(default_factory=dict)
    aborted: dict[str, Multipart] = field(default_factory=dict)
    _serial: int = 0

    # What the operator asks for.

    def head(self, key: str, if_match: str | None = None) -> ObjectInfo:
        self._let_in("HeadObject")
        there = self.objects.get(key)
        if there is None:
            self._refuse("HeadObject", Kind.NO_OBJECT, "NoSuchKey")
        if if_match and there.etag != if_match:
            self._refuse("HeadObject", Kind.PRECONDITION, "PreconditionFailed")
        return ObjectInfo(
            len(there.data),
            there.etag,
            crc64nvme=there.crc64nvme,
            encrypted_by_key=self._encrypted,
            metadata=there.metadata,
        )

    def list_uploads(self, key: str) -> tuple[list[ListedUpload], datetime]:
        self._let_in("ListMultipartUploads")
        here = [u for u in self.uploads.values() if u.key == key]
        return [ListedUpload(u.id, u.initiated) for u in here], self.now().replace(microsecond=0)

    def create_upload(
        self, key: str, stamp: str | None, *, ours: bool, checksum: bool = False
    ) -> CreatedUpload:
        self._let_in("CreateMultipartUpload")
        taken = checksum and self.habits.checksum
        metadata = {SOURCE_STAMP: stamp} if stamp and self.habits.metadata else {}
        upload = Multipart(self._name("upload"), key, self.now(), ours, taken, metadata)
        self.uploads[upload.id] = upload
        return CreatedUpload(upload.id, taken, self._encrypted)

    def list_parts(self, upload_id: str) -> tuple[list[StoredPart], bool]:
        upload = self._upload("ListParts", upload_id)
        parts = [
            StoredPart(number, etag, len(data), _crc(data) if upload.checksum else None)
            for number, (data, etag) in sorted(upload.parts.items())
        ]
        return parts, upload.checksum

    def upload_exists(self, upload_id: str) -> bool:
        self._let_in("ListParts")
        return upload_id in self.uploads

    def abort(self, upload_id: str) -> None:
        self._let_in("AbortMultipartUpload")
        if upload_id in self.uploads:
            self.aborting(self.uploads[upload_id])
            self.forget(upload_id)

    def forget(self, upload_id: str) -> None:
        self.aborted[upload_id] = self.uploads.pop(upload_id)

    def complete(
        self,
        upload_id: str,
        key: str,
        parts: list[CompletedPart],
        *,
        size: int,
        crc64nvme: str | None,
        precondition: Precondition,
    ) -> str:
        operation = "CompleteMultipartUpload"
        self._let_in(operation)
        if upload_id in self.completed and self.habits.repeats:
            return self.completed[upload_id]
        self._meet(operation, key, precondition)
        upload = self._upload(operation, upload_id)
        if upload.revived:
            self._refuse(operation, Kind.PERMANENT, "InvalidRequest")
        data = b""
        for part in parts:
            body, etag = upload.parts.get(part.number, (b"", ""))
            if etag != part.etag or (upload.checksum and part.crc64nvme != _crc(body)):
                self._refuse(operation, Kind.INVALID_PART, "InvalidPart")
            data += body
        if upload.checksum and (crc64nvme != _crc(data) or size != len(data)):
            self._refuse(operation, Kind.RETRY, "BadDigest")
        etag = self._composite([etag for _, etag in (upload.parts[p.number] for p in parts)])
        del self.uploads[upload_id]
        self.completed[upload_id] = etag
        crc = _crc(data) if upload.checksum else None
        self._put(key, Object(data, etag, crc, upload.metadata, ours=True))
        return etag

    def put_empty(self, key: str, stamp: str, precondition: Precondition) -> str:
        self._let_in("PutObject")
        self._meet("PutObject", key, precondition)
        metadata = {SOURCE_STAMP: stamp} if self.habits.metadata else {}
        made = Object(b"", self._etag(b""), self._whole_crc(b""), metadata, ours=True)
        self._put(key, made)
        return made.etag

    def delete(self, key: str, etag: str) -> None:
        """Of the object if it is this one; one that is not there is as good."""
        self._let_in("DeleteObject")
        there = self.objects.get(key)
        honoured = self.habits.conditions is Conditions.HONOURED
        if there and honoured and there.etag != etag:
            self._refuse("DeleteObject", Kind.PRECONDITION, "PreconditionFailed")
        if there:
            self.deleting(self.objects.pop(key))

    # What a worker asks for.

    def upload_part(self, upload_id: str, number: int, data: bytes) -> str:
        if self.habits.revives and upload_id in self.aborted and upload_id not in self.uploads:
            before = self.aborted[upload_id]
            again = Multipart(upload_id, before.key, self.now(), before.ours, revived=True)
            self.uploads[upload_id] = again
        upload = self._upload("UploadPart", upload_id)
        etag = self._etag(data)
        upload.parts[number] = (data, etag)
        return etag

    # What other people do; their requests always arrive.

    def write(self, key: str, data: bytes) -> None:
        self.objects[key] = Object(data, self._etag(data), self._whole_crc(data))

    def _put(self, key: str, made: Object) -> None:
        self.published(key, self.objects.get(key), made)
        self.objects[key] = made

    def _upload(self, operation: str, upload_id: str) -> Multipart:
        self._let_in(operation)
        if upload_id not in self.uploads:
            self._refuse(operation, Kind.NO_UPLOAD, "NoSuchUpload")
        return self.uploads[upload_id]

    def _meet(self, operation: str, key: str, condition: Precondition) -> None:
        if self.habits.conditions is Conditions.IGNORED or condition == Precondition():
            return
        if self.habits.conditions is Conditions.REFUSED:
            self._refuse(operation, Kind.UNSUPPORTED, "NotImplemented")
        there = self.objects.get(key)
        if condition.if_match and there is None:
            self._refuse(operation, Kind.NO_OBJECT, "NoSuchKey")
        other = condition.if_match and there and there.etag != condition.if_match
        if other or (condition.if_none_match and there):
            self._refuse(operation, Kind.PRECONDITION, "PreconditionFailed")

    def _let_in(self, operation: str) -> None:
        if self.weather is Weather.DOWN:
            self._refuse(operation, Kind.RETRY, "ConnectTimeoutError")
        if self.weather is Weather.DENIED:
            self._refuse(operation, Kind.DENIED, "AccessDenied")

    def _refuse(self, operation: str, kind: Kind, code: str) -> NoReturn:
        raise S3Error(self.side, "model", operation, kind, code, "said the model")

    @property
    def _encrypted(self) -> bool:
        return self.habits.encrypted and not self.habits.md5

    def _name(self, word: str) -> str:
        self._serial += 1
        return f"{word}-{self._serial}"

    def _etag(self, data: bytes) -> str:
        return _md5(data) if self.habits.md5 else self._name("opaque")

    def _composite(self, etags: list[str]) -> str:
        if not self.habits.md5:
            return self._name("opaque")
        return f"{_md5(b''.join(map(bytes.fromhex, etags)))}-{len(etags)}"

    def _whole_crc(self, data: bytes) -> str | None:
        return _crc(data) if self.habits.checksum else None


class Client:
    """In the place of ``s3.control.Store``: one location, by way of the wire of one process."""

    def __init__(self, bucket: Bucket, key: str, call: Callable[..., object]) -> None:
        self.side = bucket.side
        self._bucket = bucket
        self._key = key
        self._call = call

    def head(self, *, if_match: str | None = None) -> ObjectInfo:
        return self._call(self, "head", lambda: self._bucket.head(self._key, if_match))

    def head_or_none(self) -> ObjectInfo | None:
        try:
            return self.head()
        except S3Error as error:
            if error.kind is Kind.NO_OBJECT:
                return None
            raise

    def part_layout(self, info: ObjectInfo) -> int | None:
        return None

    def list_uploads(self) -> tuple[list[ListedUpload], datetime]:
        return self._call(self, "list_uploads", lambda: self._bucket.list_uploads(self._key))

    def create_upload(self, wanted: Wanted, stamp: str, *, checksum: bool) -> CreatedUpload:
        def serve() -> CreatedUpload:
            return self._bucket.create_upload(self._key, stamp, ours=True, checksum=checksum)

        return self._call(self, "create_upload", serve)

    def list_parts(self, upload_id: str) -> tuple[list[StoredPart], bool]:
        return self._call(self, "list_parts", lambda: self._bucket.list_parts(upload_id))

    def upload_exists(self, upload_id: str) -> bool:
        return self._call(self, "upload_exists", lambda: self._bucket.upload_exists(upload_id))

    def abort(self, upload_id: str) -> None:
        self._call(self, "abort", lambda: self._bucket.abort(upload_id))

    def complete(self, upload_id: str, parts: list[CompletedPart], **how: object) -> str:
        def serve() -> str:
            return self._bucket.complete(upload_id, self._key, parts, **how)

        return self._call(self, "complete", serve)

    def put_empty(
        self, wanted: Wanted, stamp: str, precondition: Precondition
    ) -> tuple[str, tuple[Dropped, ...]]:
        def serve() -> str:
            return self._bucket.put_empty(self._key, stamp, precondition)

        return self._call(self, "put_empty", serve), ()

    def delete(self, info: ObjectInfo) -> None:
        self._call(self, "delete", lambda: self._bucket.delete(self._key, info.etag))


def _crc(data: bytes) -> str:
    return encode_crc(crc64nvme(data))


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
