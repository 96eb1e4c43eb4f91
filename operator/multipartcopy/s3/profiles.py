"""What is known of a store beforehand, by the host of its endpoint or as the spec says: ``profiles.toml``."""

import fnmatch
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from multipartcopy.api.location import Profile, S3Location
from multipartcopy.api.quantity import parse_bytes
from multipartcopy.api.status import Plan
from multipartcopy.plan import S3, Limits, PlanError, make_plan

_FILE = Path(__file__).with_name("profiles.toml")


@dataclass(frozen=True)
class Store:
    """``checksums``, ``conditional_writes``, ``part_copy``, ``part_md5``: None where it has to be tried."""

    title: str
    limits: Limits
    hosts: tuple[str, ...] = ()
    equal_parts: bool = False
    checksums: bool | None = None
    conditional_writes: bool | None = None
    part_copy: bool | None = None
    part_md5: bool | None = None
    virtual: bool = False
    sources: tuple[str, ...] = ()
    measured: bool = False
    """Our own tests try it."""


@functools.cache
def stores() -> dict[Profile, Store]:
    """All of them, as the file has them."""
    import tomllib  # Workers need none of this.

    with _FILE.open("rb") as file:
        return {Profile(name): _store(dict(table)) for name, table in tomllib.load(file).items()}


def _store(table: dict[str, Any]) -> Store:
    limits: dict[str, int] = {
        name: table.pop(name) if name == "max_parts" else parse_bytes(table.pop(name))
        for name in ("min_part", "max_part", "max_parts", "max_object")
        if name in table
    }
    table |= {name: tuple(table.get(name, ())) for name in ("hosts", "sources")}
    return Store(limits=Limits(**limits), **table)


def profile_of(location: S3Location) -> Profile:
    """As the spec says, else by the host."""
    if location.profile is not Profile.AUTO:
        return location.profile
    if location.endpoint is None:
        return Profile.AWS
    host = (urlsplit(location.endpoint).hostname or "").lower().rstrip(".")
    for profile, store in stores().items():
        if any(fnmatch.fnmatchcase(host, pattern) for pattern in store.hosts):
            return profile
    return Profile.OTHER


def store_of(location: S3Location) -> Store:
    """What is known of the store at a location."""
    return stores()[profile_of(location)]


def plan_at(store: Store, size: int, **wanted: Any) -> Plan:
    """As ``make_plan``, for an object there. Raises PlanError, which names a store that has limits of its own."""
    try:
        return make_plan(size, **wanted, limits=store.limits)
    except PlanError as error:
        if store.limits == S3:
            raise
        raise PlanError(error.reason, f"{error} (the limits are those of {store.title})") from None
