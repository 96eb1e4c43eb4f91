"""`estimate`: what a copy of a size would take, by arithmetic alone."""

import argparse
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from typing import Any

from multipartcopy.api.location import Profile
from multipartcopy.api.quantity import format_bytes, number_of, parse_bytes
from multipartcopy.api.spec import Mode, Spec, VerificationMode, Worker
from multipartcopy.api.status import Plan
from multipartcopy.cli import show
from multipartcopy.cli.errors import CliError, Exit
from multipartcopy.plan import AUTO, MAX_STREAMS, MiB, PlanError
from multipartcopy.s3.profiles import plan_at, stores

DEFAULT_MEMORY = "64Mi"
LISTINGS_A_MINUTE = 12
"""Pages of ListParts by which the operator sees progress: one in five seconds (reconcile/decide.py)."""
_MOST_PODS = 1000
_LEAST_MEMORY = 16 * MiB
_LISTED = 1000
"""Parts in a page of ListParts."""


@dataclass(frozen=True)
class Requests:
    """Of one side. ``writes`` are those that providers charge as such: Create, UploadPart, Complete, listings."""

    reads: int
    writes: int

    def price(self, of: "Prices") -> Decimal:
        return (self.reads * of.read + self.writes * of.write) / 1000


@dataclass(frozen=True)
class Prices:
    """In US dollars for 1,000 requests."""

    write: Decimal
    read: Decimal
    source: str
    seen: str
    note: str = ""


@dataclass(frozen=True)
class Provider:
    """Of one whose prices are not known there are the limits alone."""

    key: str
    name: str
    profile: Profile
    prices: Prices | None = None


@dataclass(frozen=True)
class Estimate:
    """``pods`` run at once; ``memory`` in bytes a pod."""

    size: int
    plan: Plan
    pods: int
    memory: int
    source: Requests
    destination: Requests


def run(options: argparse.Namespace) -> int:
    known = providers()
    if "list" in (options.provider, options.source_provider, options.destination_provider):
        header = ("PROVIDER", "NAME", "1,000 WRITES", "1,000 READS", "SEEN")
        print("\n".join(show.table(header, map(_row, known.values()))))
        return Exit.DONE
    if options.size is None:
        raise CliError(Exit.USAGE, "of what size? For example: estimate 5Ti")
    sides = {side: _provider(options, side) for side in ("source", "destination")}
    made = estimate(options)
    if options.output == "table":
        print("\n".join(report(made, sides)))
    else:
        print(show.document(as_json(made, sides), options.output))
    return Exit.DONE


def estimate(options: argparse.Namespace) -> Estimate:
    """Raises CliError."""
    parallelism, streams, memory = _pods(options)
    server_side = options.spec_mode == Mode.SERVER_SIDE
    provider = _provider(options, "destination")
    try:
        plan = plan_at(
            stores()[provider.profile if provider else Profile.OTHER],
            options.size,
            part_size=options.spec_part_size or AUTO,
            source_layout=options.source_part_size,
            parallelism=parallelism,
            streams=streams,
            server_side=server_side,
        )
    except PlanError as error:
        raise CliError(Exit.REFUSED, str(error)) from None
    verification = options.spec_verification or VerificationMode.AUTO
    source, destination = requests(plan, verification, server_side=server_side)
    pods = min(parallelism, plan.batch_count)
    return Estimate(options.size, plan, pods, memory, source, destination)


def _pods(options: argparse.Namespace) -> tuple[int, int | str, int]:
    """How many at once, streams and bytes of memory of each. Raises CliError for what the definition refuses."""

    def given(value: Any, default: Any) -> Any:
        return default if value is None else value

    parallelism = given(options.spec_parallelism, Spec.parallelism)
    streams = given(options.spec_streams, Worker.streams)
    try:
        memory = parse_bytes(given(options.spec_memory, DEFAULT_MEMORY))
    except ValueError as error:
        raise CliError(Exit.USAGE, str(error)) from None
    if not 1 <= parallelism <= _MOST_PODS:
        raise CliError(Exit.USAGE, f"write a --parallelism from 1 to {_MOST_PODS}")
    if streams != AUTO and not (isinstance(streams, int) and 1 <= streams <= MAX_STREAMS):
        raise CliError(Exit.USAGE, f"write --streams Auto, or from 1 to {MAX_STREAMS}")
    if memory < _LEAST_MEMORY:
        raise CliError(Exit.USAGE, "write a --memory of at least 16Mi")
    return parallelism, streams, memory


def requests(
    plan: Plan, verification: str = VerificationMode.AUTO, *, server_side: bool = False
) -> tuple[Requests, Requests]:
    """Of the source and the destination, where nothing goes wrong; tests/s3/test_estimate.py counts them.

    The source: a HEAD for the pin (two of one that has parts) and one at the creation, a GET for each part. The
    destination: three looks at the object, two of them by HEAD and GET where there is none; three listings of
    its uploads; Create, Complete, an UploadPart for each part; ListParts by each pod and, a page of 1,000 at a
    time, before Complete. ReadBack reads every part of both sides once more. An empty object is put.
    A store that copies by itself is asked for each part at the destination, and for none at the source, of which
    another HEAD is taken before Complete.
    """
    if not plan.part_count:
        return Requests(reads=3, writes=0), Requests(reads=5, writes=3)
    back = verification == VerificationMode.READ_BACK
    relayed = plan.part_count * (not server_side)
    readings = relayed + plan.part_count * back
    pages = -(-plan.part_count // _LISTED) * (2 if back and not server_side else 1)
    writes = 3 + 2 + plan.part_count + plan.batch_count + pages
    reads = 6 + plan.part_count if back else 5
    source = Requests(reads=3 + server_side + readings, writes=0)
    return source, Requests(reads=reads, writes=writes)


def providers() -> dict[str, Provider]:
    """Those whose prices are known, and then every other whose limits are."""
    text = (resources.files(__package__) / "prices.toml").read_text()
    found = {}
    for key, table in tomllib.loads(text, parse_float=Decimal).items():
        name, profile = table.pop("name"), Profile(table.pop("profile", Profile.OTHER))
        prices = Prices(**{**table, "seen": str(table["seen"])})
        found[key] = Provider(key, name, profile, prices)
    priced = {one.profile for one in found.values()}
    others = {profile: store for profile, store in stores().items() if profile not in priced}
    return found | {
        str(profile): Provider(profile, others[profile].title, profile)
        for profile in sorted(others)
    }


def _provider(options: argparse.Namespace, side: str) -> Provider | None:
    """That of a side, by its name or by its profile."""
    written = getattr(options, f"{side}_provider") or options.provider
    if written is None or written.lower() == Profile.OTHER.lower():
        return None
    known = providers()
    for one in known.values():
        if written.lower() in (one.key.lower(), one.profile.lower()):
            return one
    names = ", ".join(known)
    raise CliError(Exit.USAGE, f"the provider {written!r} is not known; there are {names}")


def _row(one: Provider) -> tuple[str, ...]:
    if one.prices is None:
        return one.key, one.name, "", "", ""
    return one.key, one.name, f"${one.prices.write}", f"${one.prices.read}", one.prices.seen


def report(made: Estimate, providers: Mapping[str, Provider | None]) -> list[str]:
    plan = made.plan
    rows = [
        ("Size", f"{format_bytes(made.size)} ({made.size:,} bytes)"),
        ("Parts", f"{plan.part_count:,} of {format_bytes(plan.part_size)}"),
        ("Batches", f"{plan.batch_count:,} of {plan.batch_size} parts, each the work of a pod"),
        ("Pods", f"{made.pods} at once, {plan.batch_count:,} in all"),
        (
            "Memory",
            f"{format_bytes(made.pods * made.memory)} at once: {number_of(made.pods, 'pod')} of"
            f" {format_bytes(made.memory)}, whatever the size of a part",
        ),
    ]
    for side, counted in (("source", made.source), ("destination", made.destination)):
        words = f"{counted.reads:,} reads, {counted.writes:,} writes and listings"
        if (of := providers[side]) and of.prices:
            words += f": {_dollars(counted.price(of.prices))} ({of.name})"
        rows.append((f"Requests at the {side}", words))
    rows.append(
        ("While it runs", f"{LISTINGS_A_MINUTE} listings a minute at the destination, at most")
    )
    lines = show.columns(rows)
    used = {of.name: of.prices for of in providers.values() if of and of.prices}
    if used:
        lines += [
            "",
            "List prices of requests, which change; storage and transfer are not in them:",
        ]
        lines += [
            f"  {name}: {of.source}, seen {of.seen}{', ' + of.note if of.note else ''}"
            for name, of in used.items()
        ]
    return lines


def as_json(made: Estimate, providers: Mapping[str, Provider | None]) -> dict[str, Any]:
    plan = made.plan
    sides: dict[str, Any] = {}
    for side, counted in (("source", made.source), ("destination", made.destination)):
        sides[side] = {"reads": counted.reads, "writes": counted.writes}
        if (of := providers[side]) and of.prices:
            sides[side] |= {
                "provider": of.key,
                "usd": float(round(counted.price(of.prices), 6)),
                "priceSource": of.prices.source,
                "priceSeen": of.prices.seen,
            }
    return {
        "bytes": made.size,
        "partSize": plan.part_size,
        "partCount": plan.part_count,
        "batchSize": plan.batch_size,
        "batchCount": plan.batch_count,
        "pods": made.pods,
        "memoryPerPod": made.memory,
        "memory": made.pods * made.memory,
        "requests": sides,
        "listingsPerMinute": LISTINGS_A_MINUTE,
    }


def _dollars(amount: Decimal) -> str:
    return "less than $0.01" if 0 < amount < Decimal("0.01") else f"${amount:,.2f}"
