"""The ledger, purely: which parts are proven to be in the upload, and what the object made of them must be."""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from awscrt.checksums import combine_crc64nvme

from multipartcopy.api.ranges import format_ranges, parse_ranges
from multipartcopy.api.report import Report, encode_crc, pack_crcs, unpack_crcs
from multipartcopy.api.status import Batch, Plan, Reading, Status
from multipartcopy.api.task import Read, Work, split, upload_hash
from multipartcopy.plan import batch_of, batch_parts, part_range

_MD5 = re.compile(r"^[0-9a-f]{32}$")


@dataclass(frozen=True)
class Part:
    """A part as proven: its ETag without quotes, its CRC64NVME as a number; None where no byte of it has passed us."""

    etag: str
    crc: int | None


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
    bare = status.server_side
    batches = {k: b for k, b in status.batches.items() if _is_sound(plan, pin.size, k, b, bare)}
    if len(batches) < len(status.batches):
        status = replace(status, batches=batches)
    status = _with_sound_readings(status, pin.etag)
    intent = status.completing
    if intent and (intent.size, intent.crc64nvme) != (pin.size, intended_crc(status) or ""):
        status = replace(status, completing=None)
    return status


def _with_sound_readings(status: Status, source_etag: str) -> Status:
    source, destination = status.source_reading, status.destination_reading
    sound = source is None or _is_readable(source, packed=status.server_side)
    other = destination is None or _is_readable(destination, packed=False)
    # Where the destination is compared with the source and not with the ledger, neither is without the other.
    if status.server_side and destination and not (source and sound and other):
        return replace(
            status,
            source_reading=Reading(source_etag),
            destination_reading=Reading(destination.etag),
        )
    if source and not sound:
        status = replace(status, source_reading=Reading(source.etag))
    if destination and not other:
        status = replace(status, destination_reading=Reading(destination.etag))
    return status


def _is_sound(plan: Plan, size: int, key: str, batch: Batch, bare: bool) -> bool:
    """``bare``: without CRCs, as of a server-side copy."""
    try:
        numbers, crcs = parse_ranges(batch.parts), unpack_crcs(batch.crc64nvme)
        whose = key == str(int(key)) and set(numbers) <= set(batch_parts(plan, int(key)))
    except ValueError:
        return False
    length = sum(part_range(plan, size, number)[1] for number in numbers) if whose else -1
    counts = {len(set(numbers)), len(numbers), len(batch.etags)}
    as_many = len(crcs) == (0 if bare else len(numbers))
    return len(counts) == 1 and as_many and batch.bytes == length


def _is_readable(reading: Reading, *, packed: bool) -> bool:
    with contextlib.suppress(ValueError):
        read = parse_ranges(reading.parts)
        parse_ranges(reading.wrong)
        return len(unpack_crcs(reading.crc64nvme)) == (len(read) if packed else 0)
    return False


def parts_of(batches: Mapping[str, Batch]) -> dict[int, Part]:
    """The ledger by part number, ascending."""
    return dict(sorted(_entries(batches)))


def _entries(batches: Mapping[str, Batch]) -> Iterator[tuple[int, Part]]:
    for batch in batches.values():
        bare: Sequence[int | None] = [None] * len(batch.etags)
        crcs = unpack_crcs(batch.crc64nvme) or bare
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
            crc64nvme=pack_crcs([crc for n in numbers if (crc := parts[n].crc) is not None]),
            bytes=sum(part_range(plan, size, n)[1] for n in numbers),
        )
        for batch, numbers in grouped.items()
    }


def missing(status: Status) -> tuple[Work, ...]:
    """What no ledger entry covers, as work for the next run, batches ascending; else what is to be read again."""
    assert status.plan is not None
    held = {number for entry in status.batches.values() for number in parse_ranges(entry.parts)}
    work = _without_parts(status.plan, held)
    if work:
        return work
    reading = status.reading
    return unread(status.plan, reading) if reading else ()


def unread(plan: Plan, reading: Reading) -> tuple[Work, ...]:
    """What of the object has not been read again, as work for the next run."""
    return _without_parts(plan, set(parse_ranges(reading.parts)))


def _without_parts(plan: Plan, held: Set[int]) -> tuple[Work, ...]:
    return split(set(range(1, plan.part_count + 1)) - held, plan.batch_size)


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
    copied = status.server_side and side is None
    found: dict[int, Part] = {}
    for report in reports:
        if belongs(status, report) and report.read == side:
            numbers = parse_ranges(report.parts)
            bare: Sequence[int | None] = [None] * len(numbers)
            crcs = bare if copied else unpack_crcs(report.crc64nvme)
            if len(crcs) < len(numbers):
                continue
            etags = report.etags or [""] * len(numbers)
            for number, etag, crc in zip(numbers, etags, crcs, strict=True):
                if 1 <= number <= status.plan.part_count:
                    found[number] = Part(etag, crc)
    return _with_parts(status, found) if side is None else _with_read(status, side, found)


def recover(status: Status, listing: Iterable[ListedPart]) -> Status:
    """The status with all listed parts that a CRC64NVME of our own trailer proves.

    Only an upload created with the checksum takes trailers; in any other a listed part proves no
    more than that something of that length was received. (A store that copies by itself receives
    nothing: what it lists is as good as what it answers.) Nor is it proven once parts of this attempt
    were dropped: the store still lists them, with the checksum of what was not the source's.
    """
    if status.upload is None or status.disagreements:
        return status
    whole = list(_whole(status, listing))
    if status.server_side:
        return _with_parts(status, {p.number: Part(p.etag, None) for p in whole})
    if not status.upload.checksum:
        return status
    return _with_parts(status, {p.number: Part(p.etag, p.crc) for p in whole if p.crc is not None})


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
        crcs = {part.crc, seen.crc if seen else None} - {None}
        if not same or len(crcs) > 1:
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
    read, wrong = (set(parse_ranges(ranges)) - numbers for ranges in (reading.parts, reading.wrong))
    crcs = [crc for number, crc in _read_crcs(reading).items() if number not in numbers]
    return Reading(reading.etag, format_ranges(read), format_ranges(wrong), pack_crcs(crcs))


def _read_crcs(reading: Reading | None) -> dict[int, int]:
    """Of the source's parts in a server-side copy; ascending."""
    if reading is None or not reading.crc64nvme:
        return {}
    return dict(zip(parse_ranges(reading.parts), unpack_crcs(reading.crc64nvme), strict=True))


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


def part_crcs(status: Status) -> dict[int, int]:
    """CRC64NVME of the parts by number, ascending, as far as their bytes have passed us: received, or read again."""
    if status.server_side:
        return _read_crcs(status.source_reading)
    held = parts_of(status.batches)
    return {number: part.crc for number, part in held.items() if part.crc is not None}


def object_crc(status: Status) -> str | None:
    """CRC64NVME of the whole object, base64 as S3 writes it, combined from the parts'.

    None where the store has copied it by itself and it was not read again.
    """
    assert status.plan is not None
    assert status.source is not None
    crcs = part_crcs(status)
    if status.server_side and len(crcs) < status.plan.part_count:
        return None
    whole = 0
    for number, crc in crcs.items():
        length = part_range(status.plan, status.source.size, number)[1]
        whole = combine_crc64nvme(whole, crc, length)
    return encode_crc(whole)


def intended_crc(status: Status) -> str | None:
    """What the object shall have: what was sent; or, where the store copies by itself, what the source has."""
    assert status.source is not None
    return status.source.crc64nvme if status.server_side else object_crc(status)


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
    known, wrong = part_crcs(status), set(parse_ranges(reading.wrong))
    packed = ""
    if side is Read.SOURCE and status.server_side:
        crcs = {n: crc for n in news if (crc := found[n].crc) is not None} | known
        packed = pack_crcs([crcs[number] for number in sorted(crcs)])
    else:
        wrong |= {n for n in news if known.get(n) != found[n].crc}
    after = Reading(reading.etag, format_ranges(read | news), format_ranges(wrong), packed)
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
