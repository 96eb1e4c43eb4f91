"""`estimate`: what a copy of a size would take, by arithmetic alone."""

import argparse
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from typing import Any

from multipartcopy.api.quantity import format_bytes, parse_bytes
from multipartcopy.api.spec import Mode, Spec, VerificationMode, Worker
from multipartcopy.api.status import Plan
from multipartcopy.cli import show
from multipartcopy.cli.errors import CliError, Exit
from multipartcopy.plan import AUTO, PlanError, make_plan

DEFAULT_MEMORY = "64Mi"
LISTINGS_A_MINUTE = 12
"""Pages of ListParts by which the operator sees progress: one in five seconds (reconcile/decide.py)."""
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

    key: str
    name: str
    write: Decimal
    read: Decimal
    source: str
    seen: str
    note: str = ""


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
        rows = [(p.key, p.name, f"${p.write}", f"${p.read}", p.seen) for p in known.values()]
        header = ("PROVIDER", "PRICES OF", "1,000 WRITES", "1,000 READS", "SEEN")
        print("\n".join(show.table(header, rows)))
        return Exit.DONE
    sides = {
        side: _find(known, getattr(options, f"{side}_provider") or options.provider)
        for side in ("source", "destination")
    }
    made = estimate(options)
    if options.output == "table":
        print("\n".join(report(made, sides)))
    else:
        print(show.document(as_json(made, sides), options.output))
    return Exit.DONE


def estimate(options: argparse.Namespace) -> Estimate:
    """Raises CliError."""
    parallelism = options.spec_parallelism or Spec.parallelism
    server_side = options.spec_mode == Mode.SERVER_SIDE
    try:
        plan = make_plan(
            options.size,
            part_size=options.spec_part_size or AUTO,
            source_layout=options.source_part_size,
            parallelism=parallelism,
            streams=options.spec_streams or Worker.streams,
            server_side=server_side,
        )
        memory = parse_bytes(options.spec_memory or DEFAULT_MEMORY)
    except PlanError as error:
        raise CliError(Exit.REFUSED, str(error)) from None
    except ValueError as error:
        raise CliError(Exit.USAGE, str(error)) from None
    verification = options.spec_verification or VerificationMode.AUTO
    source, destination = requests(plan, verification, server_side=server_side)
    pods = min(parallelism, plan.batch_count)
    return Estimate(options.size, plan, pods, memory, source, destination)


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


def providers() -> dict[str, Prices]:
    text = (resources.files(__package__) / "prices.toml").read_text()
    tables = tomllib.loads(text, parse_float=Decimal)
    return {key: Prices(key=key, **{**t, "seen": str(t["seen"])}) for key, t in tables.items()}


def _find(known: Mapping[str, Prices], key: str | None) -> Prices | None:
    if key is None or key in known:
        return known[key] if key else None
    names = ", ".join(known)
    raise CliError(Exit.USAGE, f"the prices of {key!r} are not known; there are {names}")


def report(made: Estimate, prices: Mapping[str, Prices | None]) -> list[str]:
    plan = made.plan
    rows = [
        ("Size", f"{format_bytes(made.size)} ({made.size:,} bytes)"),
        ("Parts", f"{plan.part_count:,} of {format_bytes(plan.part_size)}"),
        ("Batches", f"{plan.batch_count:,} of {plan.batch_size} parts, each the work of a pod"),
        ("Pods", f"{made.pods} at once, {plan.batch_count:,} in all"),
        (
            "Memory",
            f"{format_bytes(made.pods * made.memory)} at once: {made.pods} pods of"
            f" {format_bytes(made.memory)}, whatever the size of a part",
        ),
    ]
    for side, counted in (("source", made.source), ("destination", made.destination)):
        words = f"{counted.reads:,} reads, {counted.writes:,} writes and listings"
        if of := prices[side]:
            words += f": {_dollars(counted.price(of))} ({of.name})"
        rows.append((f"Requests at the {side}", words))
    rows.append(
        ("While it runs", f"{LISTINGS_A_MINUTE} listings a minute at the destination, at most")
    )
    lines = show.columns(rows)
    used = {of.key: of for of in prices.values() if of}
    if used:
        lines += [
            "",
            "List prices of requests, which change; storage and transfer are not in them:",
        ]
        lines += [
            f"  {of.name}: {of.source}, seen {of.seen}{', ' + of.note if of.note else ''}"
            for of in used.values()
        ]
    return lines


def as_json(made: Estimate, prices: Mapping[str, Prices | None]) -> dict[str, Any]:
    plan = made.plan
    sides: dict[str, Any] = {}
    for side, counted in (("source", made.source), ("destination", made.destination)):
        sides[side] = {"reads": counted.reads, "writes": counted.writes}
        if of := prices[side]:
            sides[side] |= {
                "provider": of.key,
                "usd": float(round(counted.price(of), 6)),
                "priceSource": of.source,
                "priceSeen": of.seen,
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
