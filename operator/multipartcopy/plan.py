"""Pure arithmetic: the size of an object to parts, the parts to batches.

Limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from dataclasses import dataclass, replace

from multipartcopy.api.quantity import format_bytes, parse_bytes
from multipartcopy.api.reasons import Reason
from multipartcopy.api.status import Plan
from multipartcopy.api.task import AUTO_STREAMS

MiB = 1 << 20
GiB = 1 << 30
AUTO = "Auto"

MAX_STREAMS = 16
_BASE_MEMORY = 35 * MiB
_STREAM_MEMORY = 4 * MiB
"""Of a worker: a buffer, two connections over TLS, and what the kernel keeps for their sockets."""

MAX_BATCH_SIZE = 96
"""Parts whose ETags of 16 bytes fit into one termination message; in one stream, with its one batch, these are all."""
_BATCHES_WANTED = 64
"""At least so many batches for a large object, so that raising ``parallelism`` later still helps."""
_BATCHES_ENOUGH = 1_000
"""As many as ``parallelism`` can be: a Job keeps a pod for each of them until the run is over."""
_BATCH_BYTES_WANTED = 256 * MiB
"""A pod that moves less than this spends much of its life starting."""
_SOURCE_LAYOUT_LIMIT = 512 * MiB
"""A part is what a retry sends again: a source with larger parts is not followed."""
_COPIED_LEAST, _COPIED_MOST = 64 * MiB, 1 * GiB
"""Of a part that the store copies by itself: a retry sends nothing, but a store is silent until it is done."""
_COPIED_ROUNDS = 4
"""Of such parts for each stream, so that a slow one holds up little."""


@dataclass(frozen=True)
class Limits:
    """Of a store, in bytes and parts."""

    min_part: int = 5 * MiB
    max_part: int = 5 * GiB
    max_parts: int = 10_000
    max_object: int | None = None

    @property
    def largest(self) -> int:
        """Bytes of an object; parts are planned in whole MiB."""
        most = self.max_part // MiB * MiB * self.max_parts
        return most if self.max_object is None else min(most, self.max_object)


S3 = Limits()


class PlanError(ValueError):
    """There is no plan; ``reason`` and the message say why and what to write instead."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def make_plan(
    size: int,
    *,
    part_size: str = AUTO,
    source_layout: int | None = None,
    parallelism: int = 4,
    streams: int | str = 4,
    server_side: bool = False,
    serial: bool = False,
    limits: Limits = S3,
) -> Plan:
    """The parts and batches for ``size`` bytes.

    ``source_layout`` is the part size of a source uploaded in equal parts: following it makes equal
    bytes get equal composite ETags. With ``server_side`` no byte passes the workers; the layout of a
    source of one part is then its size, since in one part it gets the same MD5 again. Of the
    ``streams`` Auto, what it begins with counts. All parts are equal, the last may be smaller, as the
    strictest stores demand. Zero bytes have zero parts. A ``serial`` copy is one batch, since one
    stream brings the parts one after the other.
    Raises PlanError.
    """
    if serial:
        limits = replace(limits, max_parts=min(limits.max_parts, MAX_BATCH_SIZE))
    if size > limits.largest:
        limit = f"{limits.largest:,} bytes ({format_bytes(limits.largest)})"
        raise PlanError(
            Reason.OBJECT_TOO_LARGE, f"the source has {size:,} bytes; the limit is {limit}"
        )
    streams = streams if isinstance(streams, int) else AUTO_STREAMS
    if part_size == AUTO and server_side:
        chosen = _copied_part_size(size, source_layout, parallelism * streams, limits)
    elif part_size == AUTO:
        chosen = _auto_part_size(size, source_layout, parallelism * streams, limits)
    else:
        chosen = _fixed_part_size(size, part_size, limits)
    count = _ceil(size, chosen)
    if serial:
        return Plan(chosen, count, MAX_BATCH_SIZE, _ceil(count, MAX_BATCH_SIZE))
    batch_size = _batch_size(count, chosen, parallelism, streams)
    return Plan(chosen, count, batch_size, _ceil(count, batch_size))


def auto_streams(memory: int) -> int:
    """The most that ``streams: Auto`` may come to in a pod of so many bytes."""
    return max(1, min(MAX_STREAMS, (memory - _BASE_MEMORY) // _STREAM_MEMORY))


def part_range(plan: Plan, size: int, part: int) -> tuple[int, int]:
    """Offset and length in bytes of a part (1-based) of an object of ``size`` bytes."""
    offset = (part - 1) * plan.part_size
    return offset, min(plan.part_size, size - offset)


def batch_parts(plan: Plan, batch: int) -> range:
    """The part numbers of a batch (0-based)."""
    first = batch * plan.batch_size + 1
    return range(first, min(first + plan.batch_size, plan.part_count + 1))


def batch_of(plan: Plan, part: int) -> int:
    return (part - 1) // plan.batch_size


def _auto_part_size(size: int, layout: int | None, wanted: int, limits: Limits) -> int:
    smallest = _smallest(size, limits)
    default = max(smallest, (64 if size >= 16 * GiB else 16) * MiB)
    if layout is not None and smallest <= layout <= _SOURCE_LAYOUT_LIMIT:
        busy = _ceil(size, layout) >= wanted
        if busy or layout <= default:
            return layout
    return default


def _copied_part_size(size: int, layout: int | None, wanted: int, limits: Limits) -> int:
    """The source's own, however large, since it costs no byte and gives the proof; else as large as keeps all busy.

    A single part of more than a GiB would be copied by one stream, in one long silence.
    """
    smallest = _smallest(size, limits)
    fits = layout is not None and smallest <= layout <= limits.max_part
    if layout is not None and fits and (layout <= _COPIED_MOST or layout < size):
        return layout
    share = _ceil(_ceil(size, wanted * _COPIED_ROUNDS), MiB) * MiB
    return max(smallest, min(_COPIED_MOST, max(_COPIED_LEAST, share)))


def _smallest(size: int, limits: Limits) -> int:
    return max(limits.min_part, _ceil(_ceil(size, limits.max_parts), MiB) * MiB)


def _fixed_part_size(size: int, text: str, limits: Limits) -> int:
    try:
        chosen = parse_bytes(text)
    except ValueError as error:
        raise PlanError(Reason.INVALID_SPEC, f"spec.partSize: {error}") from None
    if not limits.min_part <= chosen <= limits.max_part:
        bounds = f"{format_bytes(limits.min_part)} and {format_bytes(limits.max_part)}"
        raise PlanError(Reason.INVALID_SPEC, f"spec.partSize {text} is not between {bounds}")
    if _ceil(size, chosen) > limits.max_parts:
        least = _ceil(_ceil(size, limits.max_parts), MiB)
        raise PlanError(
            Reason.PART_SIZE_TOO_SMALL,
            f"{size} bytes in parts of {text} are more than {limits.max_parts} parts;"
            f" spec.partSize must be at least {least}Mi, or Auto",
        )
    return chosen


def _batch_size(count: int, part_size: int, parallelism: int, streams: int) -> int:
    spread = max(_ceil(count, max(4 * parallelism, _BATCHES_WANTED)), count // _BATCHES_ENOUGH)
    worthwhile = min(_ceil(_BATCH_BYTES_WANTED, part_size), count // parallelism)
    return max(1, min(MAX_BATCH_SIZE, max(spread, streams, worthwhile)))


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
