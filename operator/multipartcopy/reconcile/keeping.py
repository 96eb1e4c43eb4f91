"""Pure: what of the source, besides its bytes, the object shall have; and what is said where it has not."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from multipartcopy.api.names import SOURCE_STAMP
from multipartcopy.api.spec import Item, Keep, Spec
from multipartcopy.api.status import Dropped
from multipartcopy.s3.control import ObjectInfo
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.properties import Wanted, given, to_ascii


def wanted(spec: Spec, source: ObjectInfo, tags: Mapping[str, str]) -> Wanted:
    """``tags`` are the source's."""
    keep, own = spec.preserve, given(spec.destination.s3)
    kept = keep.items(Keep.REQUIRED) | keep.items(Keep.BEST_EFFORT)
    if own.storage_class:
        kept -= {Item.STORAGE_CLASS}
    of_source = replace(source.properties, tags=tags)
    encryption = spec.destination.s3.server_side_encryption
    return Wanted(own, of_source.only(kept), keep.items(Keep.REQUIRED), encryption)


def unencrypted(spec: Spec, found: ObjectInfo) -> str | None:
    """What is wrong with the encryption of an object, as its store tells of it: a sentence, or None."""
    wanted = spec.destination.s3.encryption
    if not wanted or found.encryption == wanted:
        return None
    what = f"has the server-side encryption {found.encryption or 'none'}"
    return f"{what}, by what its store says, instead of {wanted}"


def unread_tags(spec: Spec, error: S3Error) -> Dropped:
    """The source does not tell its tags. Raises the error where it may pass, or the tags are required."""
    if error.kind in (Kind.PERMANENT, Kind.UNSUPPORTED, Kind.DENIED):
        if spec.preserve.tags is Keep.BEST_EFFORT:
            return Dropped(Item.TAGS, str(error))
        if error.kind is not Kind.DENIED:
            message = f"{error.message}; spec.preserve requires the tags of the source"
            raise replace(error, kind=Kind.NOT_KEPT, message=message) from error
    raise error


def differences(spec: Spec, source: ObjectInfo, found: ObjectInfo) -> list[str]:
    """In what an object that is there, with the same bytes, is other than it would be made."""
    made, there = wanted(spec, source, {}).together, found.properties
    pairs = (
        (Item.CONTENT_HEADERS, made.headers, there.headers),
        (Item.METADATA, made.metadata, there.metadata),
    )
    different: list[str] = [item for item, ours, theirs in pairs if not _holds(theirs, ours)]
    if made.storage_class not in (None, there.storage_class or "STANDARD"):
        different.append(Item.STORAGE_CLASS)
    if unencrypted(spec, found):
        different.append("serverSideEncryption")
    return different


def _holds(found: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    held = {name.lower(): to_ascii(value) for name, value in found.items()}
    return all(
        held.get(name.lower()) == to_ascii(value)
        for name, value in wanted.items()
        if name != SOURCE_STAMP
    )


def sentence(dropped: Iterable[Dropped]) -> str:
    """What is added to a message; empty where all was kept."""
    told = ", ".join(f"{d.item} ({d.reason})" for d in dropped)
    return f"; not kept of the source: {told}" if told else ""
