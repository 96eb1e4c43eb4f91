"""Flags to the manifest of a MultipartCopy and back: what can be given is read off the spec's dataclasses.

So a new field of the spec that is a word, a number or a choice has its flag from the moment it exists.
"""

import argparse
import dataclasses
import enum
import hashlib
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from multipartcopy.api.codec import camel, from_json
from multipartcopy.api.location import AddressingStyle, Profile
from multipartcopy.api.names import GROUP, KIND, VERSION
from multipartcopy.api.spec import Spec, Worker
from multipartcopy.cli.errors import CliError, Exit

_SHORTER = {
    "active_deadline_seconds": "deadline",
    "ttl_seconds_after_finished": "ttl",
}
_HELP = {
    "mode": "which way the bytes go: through the workers, or by the store's own copying",
    "part_size": "size of a part: Auto, or from 5Mi to 5Gi",
    "parallelism": "pods at the same time",
    "bandwidth_limit": "bytes per second of all pods together, for example 100Mi",
    "streams": "parts at the same time in each pod, or Auto",
    "memory": "limit and request of a pod",
    "max_memory": "how far the limit may be raised for workers that were killed at it",
    "cpu": "limit of a pod",
    "overwrite": "what to do about an object that is there already",
    "verification": "how the bytes are proven to be the same",
    "on_source_change": "whether to begin anew when the source changes under the copy",
    "on_failure": "what becomes of the parts that have arrived when it fails",
    "suspend": "create it suspended",
    "backoff_limit_per_batch": "failures of a batch's pod in one run",
    "active_deadline_seconds": "how long the copy may take, for example 12h",
    "ttl_seconds_after_finished": "delete the resource so long after its end",
}
_PLANNED = {"mode", "part_size", "parallelism", "streams", "memory", "verification"}
"""What the plan and the requests of a copy depend on."""


@dataclass(frozen=True)
class Flag:
    """``path`` is where the value stands in the manifest; ``kinds`` what it may be, the first that fits."""

    field: str
    path: tuple[str, ...]
    kinds: tuple[type, ...]
    help: str = ""

    @property
    def name(self) -> str:
        return "--" + _SHORTER.get(self.field, self.field).replace("_", "-")

    @property
    def dest(self) -> str:
        return f"spec_{self.field}"

    @property
    def is_switch(self) -> bool:
        return self.kinds == (bool,)

    @property
    def in_seconds(self) -> bool:
        return "_seconds" in self.field

    @property
    def planned(self) -> bool:
        return self.field in _PLANNED

    @property
    def choices(self) -> list[str]:
        return [m.value for kind in self.kinds if issubclass(kind, enum.Enum) for m in kind]

    @property
    def metavar(self) -> str:
        if self.in_seconds:
            return "DURATION"
        return "N" if self.kinds == (int,) else "VALUE"

    def read(self, text: str) -> int | str:
        """A number where the field may be one and the text is one. Raises argparse's error for its help."""
        if int not in self.kinds:
            return text
        if text.isdecimal():
            return int(text)
        if str in self.kinds:
            return text
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")


def flags() -> list[Flag]:
    """One for each field of the spec that takes a single value."""
    resources = ("worker", "resources", "limits")
    made = [*_scalars(Spec, ()), *_scalars(Worker, ("worker",))]
    made += [Flag(name, (*resources, name), (str,)) for name in ("memory", "cpu")]
    return [dataclasses.replace(flag, help=_help(flag)) for flag in made]


def _scalars(cls: type, parents: tuple[str, ...]) -> Iterator[Flag]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if kinds := _kinds(hints[field.name]):
            yield Flag(field.name, (*parents, camel(field.name)), kinds)


def _kinds(hint: Any) -> tuple[type, ...]:
    """The scalar types that a field may have; none for a structure."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    members = [m for m in (typing.get_args(hint) if union else (hint,)) if m is not types.NoneType]
    scalars = (str, int, bool, enum.Enum)
    plain = all(isinstance(m, type) and issubclass(m, scalars) for m in members)
    return tuple(members) if plain else ()


def _help(flag: Flag) -> str:
    return _HELP.get(flag.field, f"spec.{'.'.join(flag.path)}")


@dataclass(frozen=True)
class LocationFlag:
    """Of where a bucket is, and how to be let in. ``secret`` says that the value is the name of one."""

    name: str
    field: str
    help: str
    metavar: str = "NAME"
    choices: tuple[str, ...] = ()
    is_switch: bool = False

    @property
    def dest(self) -> str:
        return self.field

    def value(self, given: Any) -> Any:
        return {"name": given} if self.field.endswith("_ref") else given


_LOCATION = (
    LocationFlag("endpoint", "endpoint", "URL of the store; default: AWS in the region", "URL"),
    LocationFlag("region", "region", "default: us-east-1"),
    LocationFlag("secret", "secret_ref", "the Secret with the credentials"),
    LocationFlag("anonymous", "anonymous", "send requests without a signature", is_switch=True),
    LocationFlag("ca-secret", "ca_secret_ref", "the Secret with the CA to trust, under ca.crt"),
    LocationFlag(
        "addressing",
        "addressing_style",
        "where the bucket stands in the URL",
        choices=tuple(AddressingStyle),
    ),
    LocationFlag(
        "profile",
        "profile",
        "which store it is; default: by its host",
        choices=tuple(Profile),
    ),
)
_VERSION = LocationFlag("version", "version_id", "which version of the object", "ID")
_HEADERS = LocationFlag(
    "headers-secret", "headers_secret_ref", "of a URL: the Secret with headers to send"
)
_OF_A_URL = ("headers_secret_ref", "ca_secret_ref")

_OBJECT = (
    LocationFlag("storage-class", "storage_class", "of the object that is made", "CLASS"),
    LocationFlag("content-type", "content_type", "of the object that is made", "TYPE"),
)


def location_flags(side: str) -> tuple[LocationFlag, ...]:
    own = {"source": (_VERSION, _HEADERS), "destination": _OBJECT}
    return (*_LOCATION, *own.get(side, ()))


def _given(options: Any, side: str) -> dict[str, Any]:
    """By the field of the flag."""
    flags = location_flags(side)
    given = {flag.field: (flag, getattr(options, f"{side}_{flag.dest}")) for flag in flags}
    return {field: flag.value(value) for field, (flag, value) in given.items() if value is not None}


def location(options: Any, side: str, bucket: str, key: str) -> dict[str, Any]:
    """``s3`` of one side, or of a bucket that is only looked at. Raises CliError."""
    made = {camel(field): value for field, value in _given(options, side).items()}
    if camel(_HEADERS.field) in made:
        raise CliError(Exit.USAGE, f"--source-{_HEADERS.name} is for a source that is a URL")
    if ("secretRef" in made) == ("anonymous" in made):
        prefix = "" if side == "bucket" else f"{side}-"
        message = (
            f"write either --{prefix}secret=NAME, the name of a Secret, or --{prefix}anonymous"
        )
        raise CliError(Exit.USAGE, message)
    ordered = {"endpoint": made.pop("endpoint", None), "bucket": bucket, "key": key, **made}
    return {name: value for name, value in ordered.items() if value is not None}


def build(options: Any) -> dict[str, Any]:
    """The manifest that `copy` stands for: what was given, and nothing else. Raises CliError."""
    source, key = _source(options)
    target, where = object_url(options.destination, "destination", key)
    spec: dict[str, Any] = {
        "source": source,
        "destination": {"s3": location(options, "destination", target, where)},
    }
    for flag in flags():
        given = getattr(options, flag.dest)
        if given is not None:
            _set(spec, flag.path, given)
    try:
        from_json(Spec, spec)
    except (TypeError, ValueError) as error:
        raise CliError(Exit.USAGE, str(error)) from None
    metadata = {"name": options.name or default_name(spec["destination"]["s3"])}
    if options.namespace:
        metadata["namespace"] = options.namespace
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": metadata,
        "spec": spec,
    }


def _source(options: Any) -> tuple[dict[str, Any], str]:
    """``source``, and the key that the destination takes its name from. Raises CliError."""
    if not _is_web(options.source):
        bucket, key = object_url(options.source, "source")
        return {"s3": location(options, "source", bucket, key)}, key
    given = _given(options, "source")
    if given.keys() - set(_OF_A_URL):
        message = (
            "of a source that is a URL there are --source-headers-secret and --source-ca-secret"
        )
        raise CliError(Exit.USAGE, f"{message} alone")
    made = {camel(field): given[field] for field in _OF_A_URL if field in given}
    return {"http": {"url": options.source, **made}}, unquote(urlsplit(options.source).path)


def _is_web(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def object_url(text: str, side: str, like: str = "") -> tuple[str, str]:
    """Bucket and key of ``s3://BUCKET/KEY``; a directory takes the last segment of the key ``like``."""
    if _is_web(text):
        how = "a destination is written by S3: write s3://BUCKET/KEY and the"
        raise CliError(Exit.USAGE, f"{how} URL of its store as --destination-endpoint")
    bucket, key = bucket_url(text)
    if side == "source" and key.endswith("/"):
        message = f"{text!r} is a prefix: one object is copied, so write its whole key"
        raise CliError(Exit.USAGE, message)
    if like and (not key or key.endswith("/")):
        key += like.rsplit("/", 1)[-1]
    if not bucket or not key:
        raise CliError(Exit.USAGE, f"{text!r} names no object: write s3://BUCKET/KEY")
    return bucket, key


def bucket_url(text: str) -> tuple[str, str]:
    """Bucket and key or prefix, possibly empty, of an ``s3://`` URL; nothing in it is decoded."""
    match = re.fullmatch(r"s3://([^/]+)(?:/(.*))?", text, re.DOTALL)
    if match is None:
        raise CliError(Exit.USAGE, f"{text!r} is no URL of S3: write s3://BUCKET/KEY")
    return match[1], match[2] or ""


def default_name(destination: Mapping[str, Any]) -> str:
    """The same for the same destination, so that a command given twice does not copy twice."""
    place = (destination.get("endpoint", ""), destination["bucket"], destination["key"])
    last = destination["key"].rstrip("/").rsplit("/", 1)[-1].lower()
    slug = re.sub(r"[^a-z0-9]+", "-", last)[:40].strip("-") or "copy"
    return f"{slug}-{hashlib.sha256(repr(place).encode()).hexdigest()[:6]}"


def _set(spec: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    *parents, last = path
    for parent in parents:
        spec = spec.setdefault(parent, {})
    spec[last] = value
