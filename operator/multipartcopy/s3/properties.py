"""Pure: what an object is made with besides its bytes, and the arguments that ask a store for it."""

import contextlib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from email.header import Header
from typing import Any
from urllib.parse import quote, urlencode

from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.spec import Item, S3Destination, ServerSideEncryption
from multipartcopy.s3.errors import Kind, S3Error

MAX_METADATA = 2048
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""
CONTENT_HEADERS = {
    "CacheControl": "cache_control",
    "ContentDisposition": "content_disposition",
    "ContentEncoding": "content_encoding",
    "ContentLanguage": "content_language",
    "ContentType": "content_type",
}
"""In boto's names and in those of the spec."""
_NAMED = {
    "InvalidStorageClass": Item.STORAGE_CLASS,
    "InvalidTag": Item.TAGS,
    "MetadataTooLarge": Item.METADATA,
}
"""https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""

REFUSALS = (Kind.PERMANENT, Kind.UNSUPPORTED, Kind.DENIED)


@dataclass(frozen=True)
class Properties:
    """``headers`` in boto's names; ``metadata`` is the user's own, its keys without ``x-amz-meta-``."""

    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    storage_class: str | None = None

    def items(self) -> frozenset[Item]:
        """Those that there are."""
        held = (self.headers, self.metadata, self.tags, self.storage_class)
        return frozenset(item for item, value in zip(Item, held, strict=True) if value)

    def only(self, items: Set[Item]) -> "Properties":
        return Properties(
            self.headers if Item.CONTENT_HEADERS in items else {},
            self.metadata if Item.METADATA in items else {},
            self.tags if Item.TAGS in items else {},
            self.storage_class if Item.STORAGE_CLASS in items else None,
        )


@dataclass(frozen=True)
class Wanted:
    """What an object shall be made with: what the spec gives, and what is ``kept`` of the source.

    What is given wins, key by key. What is kept and not ``required`` may be left out.
    """

    given: Properties = field(default_factory=Properties)
    kept: Properties = field(default_factory=Properties)
    required: frozenset[Item] = frozenset()
    encryption: ServerSideEncryption | None = None

    def without(self, *items: Item) -> "Wanted":
        return replace(self, kept=self.kept.only(self.kept.items() - {*items}))

    @property
    def together(self) -> Properties:
        given, kept = self.given, self.kept
        return Properties(
            {**kept.headers, **given.headers},
            {**{key.lower(): value for key, value in kept.metadata.items()}, **given.metadata},
            {**kept.tags, **given.tags},
            given.storage_class or kept.storage_class,
        )

    def arguments(self, stamp: str) -> dict[str, Any]:
        """Of a CreateMultipartUpload or PutObject. The stamp gives way where it does not fit."""
        made = self.together
        metadata = {k: to_ascii(v) for k, v in made.metadata.items() if k != SOURCE_STAMP}
        used = sum(len(k.encode()) + len(v.encode()) for k, v in metadata.items())
        if used + len(SOURCE_STAMP) + len(stamp) <= MAX_METADATA:
            metadata[SOURCE_STAMP] = stamp
        arguments = {name: to_ascii(value) for name, value in made.headers.items()}
        if made.tags:
            # Blanks as %20: not every store reads the plus of a form.
            arguments["Tagging"] = urlencode(made.tags, quote_via=quote)
        if made.storage_class:
            arguments["StorageClass"] = made.storage_class
        if self.encryption:
            arguments["ServerSideEncryption"] = self.encryption.type.value
            if self.encryption.kms_key_id:
                arguments["SSEKMSKeyId"] = self.encryption.kms_key_id
        return {**arguments, "Metadata": metadata}


def named(refusal: S3Error) -> Item | None:
    """What the store's refusal is about, where it says so."""
    return _NAMED.get(refusal.code)


def retreats(wanted: Wanted, refusal: S3Error) -> list[tuple[Item, ...]]:
    """What to leave out, one try after the other: each item alone, then all.

    A 403 can be about the tags, which take a permission of their own.
    """
    if refusal.kind not in REFUSALS or named(refusal):
        return []
    may = [item for item in Item if item in wanted.kept.items() - wanted.required]
    if refusal.kind is Kind.DENIED:
        may = [item for item in may if item is Item.TAGS]
    return [*((item,) for item in may), *([tuple(may)] if len(may) > 1 else [])]


def refused(wanted: Wanted, refusal: S3Error) -> S3Error:
    """The refusal of what is required, which says so."""
    required = [item for item in Item if item in wanted.kept.items() & wanted.required]
    if refusal.kind not in (Kind.PERMANENT, Kind.UNSUPPORTED) or not required:
        return refusal
    about = named(refusal)
    which = about if about in required else ", ".join(required)
    message = f"{refusal.message}; spec.preserve requires {which} of the source"
    kept = Kind.NOT_KEPT if about in required else refusal.kind
    return replace(refusal, kind=kept, message=message)


def given(destination: S3Destination) -> Properties:
    """What the spec says of the object that is made."""
    headers = {name: getattr(destination, field) for name, field in CONTENT_HEADERS.items()}
    return Properties(
        {name: value for name, value in headers.items() if value is not None},
        destination.metadata or {},
        destination.tags or {},
        destination.storage_class,
    )


def to_ascii(value: str) -> str:
    """As S3 itself writes what is not ASCII: RFC 2047. boto reads header bytes as Latin-1.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    """
    if value.isascii():
        return value
    with contextlib.suppress(UnicodeError):
        value = value.encode("latin-1").decode()
    return Header(value, "utf-8", maxlinelen=MAX_METADATA).encode()
