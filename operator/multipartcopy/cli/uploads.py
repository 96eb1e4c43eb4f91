"""`uploads`: multipart uploads in a bucket that no MultipartCopy owns, and their abort.

The store is asked first and the cluster then: whatever was listed by the store has been claimed in a status
before it was created, so that the upload of a copy that has just begun is not taken for nobody's.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from multipartcopy.api.codec import from_json
from multipartcopy.api.location import S3Location
from multipartcopy.api.quantity import format_bytes
from multipartcopy.cli import manifest, show
from multipartcopy.cli.errors import CliError, Exit
from multipartcopy.s3.address import object_address
from multipartcopy.s3.control import Access, KeyedUpload, Store
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.secrets import MissingSecretError, access

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Unowned:
    """``parts`` and ``bytes`` that the store holds for it, where it was asked."""

    upload: KeyedUpload
    parts: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Owners:
    """The copies that could be looked at; ``everywhere`` in all namespaces."""

    copies: Sequence[Object]
    everywhere: bool


class Asked(Protocol):
    """What of the cluster is needed."""

    namespace: str

    def copies(
        self, namespace: str | None, selector: str | None = None
    ) -> list[dict[str, Any]]: ...
    def secret(self, name: str) -> dict[str, str] | None: ...


def run(options: argparse.Namespace) -> int:
    from multipartcopy.cli.cluster import Cluster

    return uploads(Cluster(options.context, options.namespace), options)


def uploads(cluster: Asked, options: argparse.Namespace) -> int:
    """Raises CliError."""
    bucket, prefix = manifest.bucket_url(options.bucket)
    written = manifest.location(options, "bucket", bucket, prefix)
    try:
        location = from_json(S3Location, written)
        object_address(location)
        entered = access(lambda name, _: cluster.secret(name), cluster.namespace, location)
        return _uploads(cluster, options, location, entered)
    except MissingSecretError as error:
        raise CliError(Exit.NOT_FOUND, str(error)) from None
    except ValueError as error:
        raise CliError(Exit.USAGE, str(error)) from None
    except S3Error as error:
        raise CliError(_CODES.get(error.kind, Exit.REFUSED), str(error)) from None


_PREFIX = "some stores, MinIO among them, list those of the whole bucket or of one key, and none for a prefix"
_PARTIAL = "only the copies of one namespace were looked at: others may own some of these"
_CODES = {Kind.RETRY: Exit.UNREACHABLE, Kind.NO_BUCKET: Exit.NOT_FOUND}


def _uploads(
    cluster: Asked, options: argparse.Namespace, location: S3Location, entered: Access
) -> int:
    store = Store("store", location, entered)
    listed, now = store.list_uploads_under()
    owners = _owners(cluster, only_here=options.namespace_only)
    before = now - timedelta(seconds=options.older_than) if options.older_than else None
    found = [Unowned(u) for u in unowned(listed, location.bucket, owners.copies, before=before)]
    if options.sizes:
        found = [_measured(item, location, entered) for item in found]
    if options.output == "table":
        print("\n".join(report(found, listed, owners, now, options)))
        if location.key and not listed:
            print(_PREFIX, file=sys.stderr)
    else:
        print(show.document([_as_json(item) for item in found], options.output))
        if not owners.everywhere:
            print(_PARTIAL, file=sys.stderr)
    if not options.abort or not found:
        return Exit.DONE
    if not owners.everywhere and not options.namespace_only:
        message = (
            "the copies of other namespaces could not be looked at, so nothing was aborted:"
            " where none of them uses this bucket, write --namespace-only"
        )
        raise CliError(Exit.REFUSED, message)
    show.confirm(f"Abort {_count(len(found))}? Their parts are lost.", yes=options.yes)
    return _abort(cluster, options, location, entered, found)


def _abort(
    cluster: Asked,
    options: argparse.Namespace,
    location: S3Location,
    entered: Access,
    found: Sequence[Unowned],
) -> int:
    """Of those that nobody has come to own while the question stood."""
    owners = _owners(cluster, only_here=options.namespace_only)
    ours = [item.upload for item in found]
    for upload in unowned(ours, location.bucket, owners.copies):
        Store("store", replace(location, key=upload.key), entered).abort(upload.id)
        told = sys.stdout if options.output == "table" else sys.stderr
        place = f"s3://{location.bucket}/{upload.key}"
        print(f"aborted {upload.id} of {place}", file=told, flush=True)
    return Exit.DONE


def _owners(cluster: Asked, *, only_here: bool) -> Owners:
    if only_here:
        return Owners(cluster.copies(cluster.namespace), False)
    try:
        return Owners(cluster.copies(None), True)
    except CliError as error:
        if error.code is not Exit.REFUSED:
            raise
    return Owners(cluster.copies(cluster.namespace), False)


def unowned(
    listed: Iterable[KeyedUpload],
    bucket: str,
    copies: Sequence[Object],
    *,
    before: datetime | None = None,
) -> list[KeyedUpload]:
    """Those that no copy names, and that none may be about to name; begun ``before``.

    A copy that has claimed its destination and not recorded an upload yet owns every upload of that key but
    those that it saw there first. Endpoints are not compared: a store has many names.
    """
    named = {i for copy in copies if (i := _id(copy))}
    claimed: dict[str, list[set[str]]] = {}
    for copy in copies:
        target = copy["spec"]["destination"]["s3"]
        if target["bucket"] == bucket and _may_begin(copy):
            there_first = set((copy.get("status", {}).get("claim") or {}).get("uploads", ()))
            claimed.setdefault(target["key"], []).append(there_first)
    return [
        upload
        for upload in listed
        if upload.id not in named
        and all(upload.id in there_first for there_first in claimed.get(upload.key, ()))
        and (before is None or upload.initiated <= before)
    ]


def _id(copy: Object) -> str | None:
    return (copy.get("status", {}).get("upload") or {}).get("id")


def _may_begin(copy: Object) -> bool:
    """Not over: an attempt may create an upload, or an abort may still have one to do."""
    status = copy.get("status", {})
    return show.outcome(status) is None and bool(status.get("claim"))


def _measured(item: Unowned, location: S3Location, entered: Access) -> Unowned:
    """One that has ended meanwhile has no parts."""
    store = Store("store", replace(location, key=item.upload.key), entered)
    try:
        parts, _ = store.list_parts(item.upload.id)
    except S3Error as error:
        if error.kind not in (Kind.NO_UPLOAD, Kind.NO_OBJECT):
            raise
        parts = []
    return replace(item, parts=len(parts), bytes=sum(part.size for part in parts))


def report(
    found: Sequence[Unowned],
    listed: Sequence[KeyedUpload],
    owners: Owners,
    now: datetime,
    options: argparse.Namespace,
) -> list[str]:
    """The table, and what has to be known of it."""
    others = len(listed) - len(found)
    young = show.age(options.older_than)
    what = f"{_count(len(listed))} in progress, {others} owned by a copy or younger than {young}"
    lines = [what]
    if found:
        lines += show.table(
            ("KEY", "UPLOAD", "AGE", *(("PARTS", "SIZE") if options.sizes else ())),
            [_row(item, now) for item in found],
        )
    if not owners.everywhere:
        lines.append(_PARTIAL)
    return lines


def _row(item: Unowned, now: datetime) -> list[object]:
    upload = item.upload
    age = show.age((now - upload.initiated).total_seconds())
    sizes = [] if item.bytes is None else [item.parts, format_bytes(item.bytes)]
    return [upload.key, upload.id, age, *sizes]


def _as_json(item: Unowned) -> dict[str, Any]:
    upload = item.upload
    known = {"parts": item.parts, "bytes": item.bytes}
    return {
        "key": upload.key,
        "uploadId": upload.id,
        "initiated": f"{upload.initiated:%Y-%m-%dT%H:%M:%SZ}",
        **{name: value for name, value in known.items() if value is not None},
    }


def _count(number: int) -> str:
    return f"{number} multipart upload{'' if number == 1 else 's'}"
