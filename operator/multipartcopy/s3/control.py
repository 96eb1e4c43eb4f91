"""The control calls on one object of one store: everything but moving bytes.

Every method raises S3Error. https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

import boto3
import botocore.session
import urllib3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.handlers import add_expect_header
from botocore.parsers import ResponseParserError

from multipartcopy.api.location import CUSTOMER, S3Location
from multipartcopy.api.status import Dropped
from multipartcopy.api.task import Validator
from multipartcopy.s3.address import endpoint_url, is_virtual, object_address
from multipartcopy.s3.connections import AnswerError, check_markup, watch
from multipartcopy.s3.customer import CustomerKey
from multipartcopy.s3.errors import Kind, S3Error, translate
from multipartcopy.s3.guard import EndpointRefusedError, Guard, is_proxied
from multipartcopy.s3.properties import (
    CONTENT_HEADERS,
    REFUSALS,
    Properties,
    Wanted,
    named,
    refused,
    retreats,
)

CRC64NVME = "CRC64NVME"

_CALM_SECONDS = 120.0
"""For one whole answer of a cheap call."""
_ONCE_SECONDS = 1800.0
"""A completion may be twice as long under way as it may be silent."""
_UPLOADS_A_PAGE = 1000
"""MinIO answers 10,000 where it is not asked for fewer, which may be more than is read of one answer."""
_LISTING_SECONDS = 600.0
_LISTED_UPLOADS = 10_000
"""Of one key."""
_LISTED_PARTS = 10_000
_LONGEST_WORD = 1024
"""Of what is kept of a list: S3's upload IDs and ETags are far below."""


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Access:
    """How to reach a location: who we are there (None: anonymous), whose CA we trust (PEM; None: the system's),
    and with which key of ours the object is encrypted.
    """

    credentials: Credentials | None = None
    ca: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Names and values that the server of a URL wants to see."""
    customer_key: CustomerKey | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ObjectInfo:
    """Of a HEAD. ``etag`` without quotes; ``crc64nvme`` base64, only where it covers the full object.

    ``headers`` and ``metadata`` are what a copy keeps, in boto's names. Of what is at a URL: its
    ``validator``, and whether it is served in ``ranges``.
    """

    size: int
    etag: str
    last_modified: str | None = None
    version_id: str | None = None
    crc64nvme: str | None = None
    encrypted_by_key: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    storage_class: str | None = None
    encryption: str | None = None
    """As in ``x-amz-server-side-encryption``."""
    validator: Validator | None = None
    ranges: bool = True

    @property
    def properties(self) -> Properties:
        """But for the tags, of which a HEAD tells nothing."""
        return Properties(self.headers, self.metadata, storage_class=self.storage_class)


@dataclass(frozen=True)
class Precondition:
    if_match: str | None = None
    if_none_match: bool = False

    def arguments(self) -> dict[str, str]:
        if self.if_none_match:
            return {"IfNoneMatch": "*"}
        return {"IfMatch": f'"{self.if_match}"'} if self.if_match else {}


@dataclass(frozen=True)
class ListedUpload:
    id: str
    initiated: datetime


@dataclass(frozen=True)
class KeyedUpload(ListedUpload):
    """With the key that it is for."""

    key: str


@dataclass(frozen=True)
class CreatedUpload:
    """``checksum``: the store took CRC64NVME for it; ``encrypted``: with a key, so ETags are no MD5s.

    ``dropped``: what the store refused to make it with.
    """

    id: str
    checksum: bool
    encrypted: bool
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True)
class StoredPart:
    """``crc64nvme`` is base64, None where the store keeps none."""

    number: int
    etag: str
    size: int
    crc64nvme: str | None = None


@dataclass(frozen=True)
class CompletedPart:
    number: int
    etag: str
    crc64nvme: str | None = None


P = ParamSpec("P")
T = TypeVar("T")


def _understood(
    method: Callable[Concatenate["Store", P], T],
) -> Callable[Concatenate["Store", P], T]:
    """Raises S3Error where the answer lacks what every S3 answer has: some proxy may have spoken."""

    @functools.wraps(method)
    def asked(store: "Store", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(store, *args, **kwargs)
        except (KeyError, TypeError, ValueError) as error:
            words = f"the answer is not S3's: {type(error).__name__}: {error}"[:200]
            raise S3Error(
                store.side,
                store.place,
                method.__name__.strip("_"),
                Kind.RETRY,
                "InvalidResponse",
                words,
            ) from error

    return asked


Listener = Callable[[str, int | None], None]
"""Hears of every request that was sent: its operation, and the HTTP status of the answer, None for none."""


class Store:
    """One location. Cheap calls repeat themselves on a passing error; Create, Complete and Put never do."""

    def __init__(
        self,
        side: str,
        location: S3Location,
        access: Access,
        listener: Listener | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Without a ``guard``, every endpoint is spoken to."""
        self.side = side
        self._location = location
        self._guard = guard
        try:
            self._calm = _client(
                location, access, listener, guard, attempts=3, timeouts=(60, _CALM_SECONDS)
            )
            self._once = _client(
                location, access, listener, guard, attempts=1, timeouts=(900, _ONCE_SECONDS)
            )
        except (BotoCoreError, OSError, ValueError) as error:
            # botocore takes less for a region, or a host, than the definition does.
            raise translate(error, side, str(location), "Connect") from error
        self._object = {"Bucket": location.bucket, "Key": location.key}
        self._customer = access.customer_key.arguments() if access.customer_key else {}

    @_understood
    def head(self, *, if_match: str | None = None, with_key: bool = True) -> ObjectInfo:
        """HeadObject with its stored checksum. With ``if_match`` of the object that has this ETag, and of no other.

        With the customer's key, if there is one.
        """
        conditions = {"IfMatch": f'"{if_match}"'} if if_match else {}
        try:
            answer = self._do(
                "HeadObject",
                self._calm.head_object,
                **self._version,
                **conditions,
                **(self._customer if with_key else {}),
                ChecksumMode="ENABLED",
            )
        except S3Error as error:
            if self._customer and with_key and self.side == "destination" and error.code == "400":
                return self.head(if_match=if_match, with_key=False)  # It has another encryption.
            if error.kind in (Kind.DENIED, Kind.NO_OBJECT) or error.code in ("301", "400"):
                self._ask_why(error)
            raise
        full = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
        tag = answer.get("ETag", "")
        if if_match and _etag(tag) != if_match:
            words = f"asked for the ETag {if_match}, and it is {_etag(tag) or 'missing'}"
            place = str(self._location)
            raise S3Error(
                self.side, place, "HeadObject", Kind.PRECONDITION, "PreconditionFailed", words
            )
        modified = answer.get("LastModified")
        return ObjectInfo(
            size=answer["ContentLength"],
            # A weak one of the source is refused: nothing can be pinned by it.
            etag=_etag(tag) if self.side == "destination" else tag.strip('"'),
            last_modified=modified.strftime("%Y-%m-%dT%H:%M:%SZ") if modified else None,
            version_id=answer.get("VersionId"),
            crc64nvme=answer.get("ChecksumCRC64NVME") if full else None,
            encrypted_by_key=_is_encrypted(answer),
            headers={name: answer[name] for name in CONTENT_HEADERS if answer.get(name)},
            metadata=answer.get("Metadata", {}),
            storage_class=answer.get("StorageClass"),
            encryption=(
                CUSTOMER if "SSECustomerAlgorithm" in answer else answer.get("ServerSideEncryption")
            ),
        )

    def _ask_why(self, refusal: S3Error) -> None:
        """The answer to a HEAD has no body, so it cannot say why; that to a GET does.

        An expired token is a bare 400, and a proxy's 404 says nothing about the object.
        """
        try:
            answer = self._do(
                "GetObject",
                self._calm.get_object,
                **self._version,
                **self._customer,
                Range="bytes=0-0",
            )
            answer["Body"].close()
        except S3Error as error:
            if error.code != "InvalidRange":  # It is there, and empty.
                raise
        # A policy may refuse the one and allow the other: that is for somebody to mend, in time.
        kind = refusal.kind if refusal.kind is Kind.DENIED else Kind.RETRY
        raise replace(refusal, kind=kind, message=f"{refusal.message}, though it can be read")

    def head_or_none(self) -> ObjectInfo | None:
        """None where the object is not there."""
        try:
            return self.head()
        except S3Error as error:
            if error.kind is Kind.NO_OBJECT:
                return None
            raise

    @_understood
    def part_layout(self, info: ObjectInfo) -> int | None:
        """The part size of an object uploaded in several equal parts, else None: HeadObject of part 1."""
        try:
            answer = self._do(
                "HeadObject",
                self._calm.head_object,
                **self._version,
                **self._customer,
                IfMatch=f'"{info.etag}"',
                PartNumber=1,
            )
        except S3Error:
            return None
        count, size = answer.get("PartsCount") or 0, answer["ContentLength"]
        return size if count > 1 and size and -(-info.size // size) == count else None

    @_understood
    def tags(self) -> dict[str, str]:
        """GetObjectTagging."""
        try:
            answer = self._do("GetObjectTagging", self._calm.get_object_tagging, **self._version)
        except S3Error as error:
            if error.code.startswith("NoSuchTagSet"):
                return {}
            raise
        return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", [])}

    @_understood
    def list_uploads(self) -> tuple[list[ListedUpload], datetime]:
        """The multipart uploads in progress for exactly this key, and the store's own time.

        The exact key is the prefix: MinIO lists nothing for the prefix of a directory.
        """
        uploads, key = list[ListedUpload](), self._location.key
        for answer in self._pages_of_uploads():
            page = [ListedUpload(u.id, u.initiated) for u in _uploads(answer) if u.key == key]
            uploads += page
            if len(uploads) > _LISTED_UPLOADS or any(len(u.id) > _LONGEST_WORD for u in page):
                raise self._endless("ListMultipartUploads")
        return uploads, _date(answer)

    @_understood
    def list_uploads_under(self) -> tuple[list[KeyedUpload], datetime]:
        """Those for every key that begins with this one (which may be empty), and the store's own time.

        MinIO lists only those of a key that is written out.
        """
        uploads: list[KeyedUpload] = []
        for answer in self._pages_of_uploads():
            uploads += _uploads(answer)
        return uploads, _date(answer)

    def _pages_of_uploads(self) -> Iterator[dict[str, Any]]:
        markers = ("KeyMarker", "UploadIdMarker")
        return self._pages("ListMultipartUploads", self._list_uploads, markers, 1000)

    def _pages(
        self,
        operation: str,
        call: Callable[..., Any],
        markers: tuple[str, ...],
        most: int,
        **arguments: Any,
    ) -> Iterator[dict[str, Any]]:
        """Raises S3Error where they do not end: half of a list would be taken for the whole."""
        end = time.monotonic() + _LISTING_SECONDS
        for _ in range(most):
            answer = self._do(operation, call, **arguments)
            yield answer
            if not answer.get("IsTruncated"):
                return
            if time.monotonic() > end:
                break
            arguments |= {marker: answer[f"Next{marker}"] for marker in markers}
        raise self._endless(operation)

    def _endless(self, operation: str) -> S3Error:
        words = "the store lists without end"
        return S3Error(self.side, self.place, operation, Kind.RETRY, "EndlessList", words)

    @_understood
    def create_upload(self, wanted: Wanted, stamp: str, *, checksum: bool) -> CreatedUpload:
        """CreateMultipartUpload, with CRC64NVME of the full object if ``checksum``.

        A store that refuses the checksum is asked again without it; one that ignores it does not echo it.
        """
        algorithm = {"ChecksumAlgorithm": CRC64NVME, "ChecksumType": "FULL_OBJECT"}

        def create(wanted: Wanted) -> dict[str, Any]:
            make = self._once.create_multipart_upload
            arguments = {**wanted.arguments(stamp), **self._customer}
            if checksum:
                try:
                    return self._do("CreateMultipartUpload", make, **arguments, **algorithm)
                except S3Error as error:
                    if error.kind not in (Kind.PERMANENT, Kind.UNSUPPORTED) or named(error):
                        raise
            return self._do("CreateMultipartUpload", make, **arguments)

        answer, dropped = _less_and_less(create, wanted)
        took = checksum and answer.get("ChecksumAlgorithm") == CRC64NVME
        return CreatedUpload(answer["UploadId"], took, _is_encrypted(answer), dropped)

    def list_parts(self, upload_id: str) -> tuple[list[StoredPart], bool]:
        """ListParts, all pages: the parts, and whether the store says that the upload has CRC64NVME.

        Raises S3Error of the kind NO_UPLOAD where it is not there.
        """
        try:
            return self._list_parts(upload_id)
        except S3Error as error:
            raise _lost(error) from error

    @_understood
    def _list_parts(self, upload_id: str) -> tuple[list[StoredPart], bool]:
        parts: list[StoredPart] = []
        for answer in self._pages(
            "ListParts",
            self._calm.list_parts,
            ("PartNumberMarker",),
            100,
            UploadId=upload_id,
            PartNumberMarker=0,
            **self._customer,
        ):
            page = [
                StoredPart(
                    entry["PartNumber"],
                    _etag(entry["ETag"]),
                    entry["Size"],
                    entry.get("ChecksumCRC64NVME"),
                )
                for entry in answer.get("Parts", [])
            ]
            parts += page
            words = [part.etag + (part.crc64nvme or "") for part in page]
            if len(parts) > _LISTED_PARTS or any(len(word) > _LONGEST_WORD for word in words):
                raise self._endless("ListParts")
        return parts, answer.get("ChecksumAlgorithm") == CRC64NVME

    def upload_exists(self, upload_id: str) -> bool:
        """By ListParts. A store may call a missing upload a missing key."""
        try:
            only = {"UploadId": upload_id, "MaxParts": 1, **self._customer}
            self._do("ListParts", self._calm.list_parts, **only)
        except S3Error as error:
            if error.kind in (Kind.NO_UPLOAD, Kind.NO_OBJECT, Kind.NO_BUCKET):
                return False
            raise
        return True

    def complete(
        self,
        upload_id: str,
        parts: list[CompletedPart],
        *,
        size: int,
        crc64nvme: str | None,
        precondition: Precondition,
    ) -> str:
        """CompleteMultipartUpload: the ETag that the store answers, without quotes, possibly empty.

        botocore reads the body of a 200 and raises where it holds an error.
        """
        named = [
            {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
            | ({"ChecksumCRC64NVME": part.crc64nvme} if part.crc64nvme else {})
            for part in parts
        ]
        checksum: dict[str, Any] = {}
        if crc64nvme:
            checksum = {
                "ChecksumCRC64NVME": crc64nvme,
                "ChecksumType": "FULL_OBJECT",
                "MpuObjectSize": size,
            }
        try:
            answer = self._do(
                "CompleteMultipartUpload",
                self._once.complete_multipart_upload,
                UploadId=upload_id,
                MultipartUpload={"Parts": named},
                **self._customer,
                **checksum,
                **precondition.arguments(),
            )
        except S3Error as error:
            if not precondition.if_match:  # With one it may be the object that is missing.
                error = _lost(error)
            raise self._incomparable(error, precondition) from error
        return _etag(answer.get("ETag", ""))

    def put_empty(
        self, wanted: Wanted, stamp: str, precondition: Precondition
    ) -> tuple[str, tuple[Dropped, ...]]:
        """PutObject of zero bytes: the ETag without quotes, and what the store refused to make it with."""

        def put(wanted: Wanted) -> dict[str, Any]:
            how = {**wanted.arguments(stamp), **self._customer, **precondition.arguments()}
            return self._do("PutObject", self._once.put_object, Body=b"", **how)

        try:
            answer, dropped = _less_and_less(put, wanted)
        except S3Error as error:
            raise self._incomparable(error, precondition) from error
        return _etag(answer.get("ETag", "")), dropped

    def _incomparable(self, error: S3Error, precondition: Precondition) -> S3Error:
        """MinIO looks with the new object's key at one that has none, and so cannot compare their ETags."""
        if self._customer and precondition.arguments() and error.code == "InvalidRequest":
            return replace(error, kind=Kind.UNSUPPORTED)
        return error

    def abort(self, upload_id: str) -> None:
        """AbortMultipartUpload; an upload that is not there is as good."""
        try:
            self._do("AbortMultipartUpload", self._calm.abort_multipart_upload, UploadId=upload_id)
        except S3Error as error:
            if error.kind not in (Kind.NO_UPLOAD, Kind.NO_OBJECT, Kind.NO_BUCKET):
                raise

    def delete(self, info: ObjectInfo) -> None:
        """DeleteObject of exactly this version, or of the object only if it is still this one.

        A store that knows no precondition is asked without: the HEAD of a moment ago is then the guard.
        """
        if info.version_id:
            self._do("DeleteObject", self._calm.delete_object, VersionId=info.version_id)
            return
        try:
            self._do("DeleteObject", self._calm.delete_object, IfMatch=f'"{info.etag}"')
        except S3Error as error:
            if error.kind is not Kind.UNSUPPORTED:
                raise
            self._do("DeleteObject", self._calm.delete_object)

    def _list_uploads(self, *, Bucket: str, Key: str, **markers: str) -> Any:  # noqa: N803 - S3's names
        return self._calm.list_multipart_uploads(
            Bucket=Bucket, Prefix=Key, MaxUploads=_UPLOADS_A_PAGE, **markers
        )

    @property
    def place(self) -> str:
        return str(self._location)

    @property
    def _version(self) -> dict[str, str]:
        return {"VersionId": self._location.version_id} if self._location.version_id else {}

    def _do(
        self,
        operation: str,
        call: Callable[..., Any],
        **arguments: Any,
    ) -> dict[str, Any]:
        try:
            if self._guard:
                address = object_address(self._location)
                self._guard.check_name(address.host, proxied=is_proxied(address))
            answer: dict[str, Any] = call(**{**self._object, **arguments})
        except (ClientError, BotoCoreError, OSError, ValueError, *_OUR_REFUSALS) as error:
            raise translate(error, self.side, str(self._location), operation) from error
        return answer


def _less_and_less(
    make: Callable[[Wanted], dict[str, Any]], wanted: Wanted
) -> tuple[dict[str, Any], tuple[Dropped, ...]]:
    """The answer to the first request that the store does not refuse, and what was left out of it."""
    dropped: list[Dropped] = []
    while True:
        try:
            return make(wanted), tuple(dropped)
        except S3Error as error:
            refusal, item = error, named(error)
        if item not in wanted.kept.items() - wanted.required:
            break
        dropped.append(Dropped(item, str(refusal)))
        wanted = wanted.without(item)
    for items in retreats(wanted, refusal):
        try:
            answer = make(wanted.without(*items))
        except S3Error as error:
            if error.kind not in REFUSALS:
                raise
        else:
            return answer, (*dropped, *(Dropped(item, str(refusal)) for item in items))
    raise refused(wanted, refusal) from refusal


def _lost(error: S3Error) -> S3Error:
    """Some stores call a missing upload a missing key."""
    return replace(error, kind=Kind.NO_UPLOAD) if error.kind is Kind.NO_OBJECT else error


_OUR_REFUSALS = (AnswerError, EndpointRefusedError, ResponseParserError)

_lock = threading.Lock()
"""Making clients is not thread-safe (https://boto3.amazonaws.com/v1/documentation/api/latest/guide/clients.html)."""


@functools.lru_cache(maxsize=1)
def _session() -> boto3.Session:
    """One, for its cache of service models. Without credentials of its own: never the operator's node's."""
    return boto3.Session(botocore_session=botocore.session.get_session())


@functools.lru_cache(maxsize=64)
def _cached_client(
    endpoint: str,
    region: str,
    virtual: bool,
    access: Access,
    listener: Listener | None,
    guard: Guard | None,
    attempts: int,
    timeouts: tuple[int, float],
) -> Any:
    read_timeout, seconds = timeouts
    config = Config(
        signature_version=UNSIGNED if access.credentials is None else "s3v4",
        connect_timeout=10,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        # What is newer than the S3 of 2010 is asked for by name: other stores refuse it unasked.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "virtual" if virtual else "path"},
        user_agent_extra="multipartcopy",
    )
    keys = access.credentials
    client = _session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=keys.access_key if keys else None,
        aws_secret_access_key=keys.secret_key if keys else None,
        aws_session_token=keys.token if keys else None,
        config=config,
    )
    session = client._endpoint.http_session  # type: ignore[attr-defined]
    watch(session, seconds, guard, access.ca)
    session.send = functools.partial(_send, session.send)
    events = client.meta.events
    if listener:
        events.register("response-received.s3", functools.partial(_tell, listener))
    events.register_last("response-received.s3", _repeat_no_more)
    events.register_last("before-parameter-build.s3", _ask_where_told)
    # Nothing to be asked for first: what we put is empty. And of such an answer botocore has connections of its own.
    events.unregister("before-call.s3", add_expect_header)
    return client


def _send(send: Callable[[Any], Any], request: Any) -> Any:
    """Before anything parses the answer; of what is to be a stream, botocore reads a refusal only."""
    answer = send(request)
    try:
        if not request.stream_output or answer.status_code >= 300:
            check_markup(answer.content)
    except (urllib3.exceptions.HTTPError, OSError) as error:  # It ends in the middle.
        raise HTTPClientError(error=error) from error
    return answer


def _ask_where_told(context: Mapping[str, Any], **_: Any) -> None:
    """botocore would find the right region, and go on; the workers, who go by what is written, would not."""
    context["s3_redirect"]["redirected"] = True


def _repeat_no_more(exception: Exception | None = None, **_: Any) -> None:
    """botocore takes what we raise below it for an error of the network."""
    error = exception.kwargs["error"] if type(exception) is HTTPClientError else exception
    if isinstance(error, AnswerError):
        raise error


def _tell(
    listener: Listener,
    event_name: str,
    response_dict: Mapping[str, Any] | None = None,
    **_: Any,
) -> None:
    """botocore emits it for each request on the wire, its own repetitions included."""
    operation = event_name.rpartition(".")[2]
    listener(operation, response_dict["status_code"] if response_dict else None)


def _client(
    location: S3Location,
    access: Access,
    listener: Listener | None,
    guard: Guard | None,
    *,
    attempts: int,
    timeouts: tuple[int, float],
) -> Any:
    with _lock:
        return _cached_client(
            endpoint_url(location),
            location.region,
            is_virtual(location),
            access,
            listener,
            guard,
            attempts,
            timeouts,
        )


def _uploads(answer: Mapping[str, Any]) -> list[KeyedUpload]:
    return [
        KeyedUpload(entry["UploadId"], entry["Initiated"], entry["Key"])
        for entry in answer.get("Uploads", [])
    ]


def _etag(text: str) -> str:
    """Of what we made, without quotes: a proxy that has weakened it says so only of its own answer."""
    return text.removeprefix("W/").strip('"')


def _is_encrypted(answer: Mapping[str, Any]) -> bool:
    """With a key of KMS or of the customer."""
    return "aws:kms" in answer.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in answer


def _date(answer: Mapping[str, Any]) -> datetime:
    """The store's own time, from its Date header (RFC 9110, 6.6.1)."""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    text = headers.get("date")
    if text is None:
        raise S3Error(
            "store",
            "",
            "Date",
            Kind.PERMANENT,
            "NoDate",
            "the store's answers carry no Date header",
        )
    return parsedate_to_datetime(text)
