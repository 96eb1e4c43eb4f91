"""Pure: what an object is made with besides its bytes, and the arguments that ask a store for it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.header import Header
from typing import Any
from urllib.parse import quote, urlencode

from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.spec import S3Destination

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


@dataclass(frozen=True)
class Properties:
    """``headers`` in boto's names; ``metadata`` is the user's own, its keys without ``x-amz-meta-``."""

    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    storage_class: str | None = None


@dataclass(frozen=True)
class Wanted:
    """What an object shall be made with: what the spec gives, and what is ``kept`` of the source.

    What is given wins, key by key.
    """

    given: Properties = field(default_factory=Properties)
    kept: Properties = field(default_factory=Properties)

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
        return {**arguments, "Metadata": metadata}


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
