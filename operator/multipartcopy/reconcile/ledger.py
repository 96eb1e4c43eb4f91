"""The ledger, purely: which parts are proven to be in the upload, and what the object made of them must be."""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace

from awscrt.checksums import combine_crc64nvme

from multipartcopy.api.ranges import format_ranges, parse_ranges
from multipartcopy.api.report import Report, encode_crc, pack_crcs, unpack_crcs
from multipartcopy.api.status import Batch, Plan, Reading, Status
from multipartcopy.api.task import Read, Work, upload_hash
from multipartcopy.plan import batch_of, batch_parts, part_range

_MD5 = re.compile(r"^[0-9a-f]{32}$")


@dataclass(frozen=True)
class Part:
    """A part as proven: its ETag without quotes, its CRC64NVME as a number."""

    etag: str
    crc: int


@dataclass(frozen=True)
class ListedPart:
    """A part as the store lists it; ``crc`` is None where the store keeps no CRC64NVME of it."""

    number: int
    etag: str
    size: int
    crc: int | None = None


def sound(status: Status) -> Status:
    """The status without what of ledger and readings cannot be read, or is where it cannot be: it was edited."""
    plan, pin = status.plan, status.source
    if plan is None or pin is None:
        return status
    batches = {k: b for k, b in status.batches.items() if _is_sound(plan, pin.size, k, b)}
    readings = {
        name: reading
        for name in ("source_reading", "destination_reading")
        if (reading := getattr(status, name)) and not _is_readable(reading)
    }
    if len(batches) < len(status.batches) or readings:
        anew = {name: Reading(reading.etag) for name, reading in readings.items()}
        status = replace(status, batches=batches, **anew)  # type: ignore[arg-type]
    intent = status.completing
    if intent and (intent.size, intent.crc64nvme) != (pin.size, object_crc(status)):
        status = replace(status, completing=None)
    return status


def _is_sound(plan: Plan, size: int, key: str, batch: Batch) -> bool:
    try:
        numbers, crcs = parse_ranges(batch.parts), unpack_crcs(batch.crc64nvme)
        whose = key == str(int(key)) and set(numbers) <= set(batch_parts(plan, int(key)))
    except ValueError:
        return False
    length = sum(part_range(plan, size, number)[1] for number in numbers) if whose else -1
    counts = {len(set(numbers)), len(numbers), len(batch.etags), len(crcs)}
    return len(counts) == 1 and batch.bytes == length


def _is_readable(reading: Reading) -> bool:
    with contextlib.suppress(ValueError):
        parse_ranges(reading.parts)
        parse_ranges(reading.wrong)
        return True
    return False


def parts_of(batches: Mapping[str, Batch]) -> dict[int, Part]:
    """The ledger by part number, ascending."""
    return dict(sorted(_entries(batches)))


def _entries(batches: Mapping[str, Batch]) -> Iterator[tuple[int, Part]]:
    for batch in batches.values():
        crcs = unpack_crcs(batch.crc64nvme)
        for number, etag, crc in zip(parse_ranges(batch.parts), batch.etags, crcs, strict=True):
            yield number, Part(etag, crc)


def write_parts(plan: Plan, size: int, parts: Mapping[int, Part]) -> dict[str, Batch]:
    """The ledger as it is stored, one entry a batch that has any part."""
    grouped: dict[int, list[int]] = {}
    for number in sorted(parts):
        grouped.setdefault(batch_of(plan, number), []).append(number)
    return {
        str(batch): Batch(
            parts=format_ranges(numbers),
            etags=tuple(parts[n].etag for n in numbers),
            crc64nvme=pack_crcs([parts[n].crc for n in numbers]),
            bytes=sum(part_range(plan, size, n)[1] for n in numbers),
        )
        for batch, numbers in grouped.items()
    }


def missing(status: Status) -> list[Work]:
    """What no ledger entry covers, as work for the next run, batches ascending; else what is to be read again."""
    assert status.plan is not None
    held = {number for entry in status.batches.values() for number in parse_ranges(entry.parts)}
    work = _without_parts(status.plan, held)
    if work:
        return work
    reading = status.reading
    return unread(status.plan, reading) if reading else []


def unread(plan: Plan, reading: Reading) -> list[Work]:
    """What of the object has not been read again, as work for the next run."""
    return _without_parts(plan, set(parse_ranges(reading.parts)))


def _without_parts(plan: Plan, held: Set[int]) -> list[Work]:
    work = []
    for batch in range(plan.batch_count):
        lacking = [n for n in batch_parts(plan, batch) if n not in held]
        if lacking:
            work.append(Work(batch, format_ranges(lacking)))
    return work


def belongs(status: Status, report: Report) -> bool:
    """Whether a report is of this run; any other is ignored.

    What earlier runs reported is in the ledger, or was dropped from it for being wrong.
    """
    return (
        status.upload is not None
        and report.upload == upload_hash(status.upload.id)
        and (report.attempt, report.run) == (status.attempt, status.run)
    )


def fold(status: Status, reports: Iterable[Report]) -> Status:
    """The status with all parts that the reports prove; what the ledger holds already stays."""
    assert status.plan is not None
    side = status.stage
    found: dict[int, Part] = {}
    for report in reports:
        if belongs(status, report) and report.read == side:
            crcs = unpack_crcs(report.crc64nvme)
            etags = report.etags or [""] * len(crcs)
            for number, etag, crc in zip(parse_ranges(report.parts), etags, crcs, strict=True):
                if 1 <= number <= status.plan.part_count:
                    found[number] = Part(etag, crc)
    return _with_parts(status, found) if side is None else _with_read(status, side, found)


def recover(status: Status, listing: Iterable[ListedPart]) -> Status:
    """The status with all listed parts that a CRC64NVME of our own trailer proves.

    Only an upload created with the checksum takes trailers; in any other a listed part proves no
    more than that something of that length was received. Nor is it proven once parts of this attempt
    were dropped: the store still lists them, with the checksum of what was not the source's.
    """
    if status.upload is None or not status.upload.checksum or status.disagreements:
        return status
    found = {p.number: Part(p.etag, p.crc) for p in _whole(status, listing) if p.crc is not None}
    return _with_parts(status, found)


def received_bytes(status: Status, listing: Iterable[ListedPart]) -> int:
    """Bytes of the whole parts that the store lists, proven or not: for showing progress only."""
    return sum(part.size for part in _whole(status, listing))


def disagreements(status: Status, listing: Iterable[ListedPart]) -> list[int]:
    """Part numbers whose ledger entry the store's own list contradicts."""
    assert status.plan is not None
    assert status.source is not None
    listed = {part.number: part for part in listing}
    wrong = []
    for number, part in parts_of(status.batches).items():
        length = part_range(status.plan, status.source.size, number)[1]
        seen = listed.get(number)
        same = seen is not None and seen.etag == part.etag and seen.size == length
        if not same or (seen and seen.crc is not None and seen.crc != part.crc):
            wrong.append(number)
    return wrong


def without(status: Status, numbers: Iterable[int]) -> Status:
    """The status as if these parts had never been sent, nor read again."""
    assert status.plan is not None
    assert status.source is not None
    dropped = set(numbers)
    kept = {n: p for n, p in parts_of(status.batches).items() if n not in dropped}
    return replace(
        status,
        batches=write_parts(status.plan, status.source.size, kept),
        source_reading=status.source_reading and unread_again(status.source_reading, dropped),
    )


def unread_again(reading: Reading, numbers: Set[int]) -> Reading:
    """As if these parts had not been read again."""
    left = [set(parse_ranges(ranges)) - numbers for ranges in (reading.parts, reading.wrong)]
    return Reading(reading.etag, *map(format_ranges, left))


def is_md5_etag(etag: str) -> bool:
    """Whether it has the form of an MD5, or of a composite of MD5s (``…-3``)."""
    head, _, count = etag.partition("-")
    return bool(_MD5.match(head)) and (not count or count.isdecimal())


def composite_etag(parts: Mapping[int, Part]) -> str | None:
    """MD5 of the parts' MD5s and their count, as AWS forms it; None where an ETag is no MD5."""
    etags = [parts[number].etag for number in sorted(parts)]
    if not all(_MD5.match(etag) for etag in etags):
        return None
    digest = hashlib.md5(b"".join(bytes.fromhex(e) for e in etags), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(etags)}"


def object_crc(status: Status) -> str:
    """CRC64NVME of the whole object, base64 as S3 writes it, combined from the parts'."""
    assert status.plan is not None
    assert status.source is not None
    crc = 0
    for number, part in parts_of(status.batches).items():
        length = part_range(status.plan, status.source.size, number)[1]
        crc = combine_crc64nvme(crc, part.crc, length)
    return encode_crc(crc)


def _whole(status: Status, listing: Iterable[ListedPart]) -> Iterator[ListedPart]:
    assert status.plan is not None
    assert status.source is not None
    for part in listing:
        if (
            1 <= part.number <= status.plan.part_count
            and part.size == part_range(status.plan, status.source.size, part.number)[1]
        ):
            yield part


def _with_read(status: Status, side: Read, found: Mapping[int, Part]) -> Status:
    reading = status.reading
    assert reading is not None
    read = set(parse_ranges(reading.parts))
    news = found.keys() - read
    if not news:
        return status
    held = parts_of(status.batches)
    wrong = {n for n in news if held[n].crc != found[n].crc} | set(parse_ranges(reading.wrong))
    after = Reading(reading.etag, format_ranges(read | news), format_ranges(wrong))
    if side is Read.SOURCE:
        return replace(status, source_reading=after)
    return replace(status, destination_reading=after)


def _with_parts(status: Status, found: Mapping[int, Part]) -> Status:
    assert status.plan is not None
    assert status.source is not None
    held = parts_of(status.batches)
    if not found.keys() - held.keys():
        return status
    merged = {**found, **held}
    return replace(status, batches=write_parts(status.plan, status.source.size, merged))
