"""The arithmetic of parts and batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multipartcopy.plan import (
    MAX_BATCH_SIZE,
    S3,
    GiB,
    MiB,
    PlanError,
    auto_streams,
    batch_of,
    batch_parts,
    make_plan,
    part_range,
)

sizes = st.integers(0, 200 * MiB) | st.integers(0, S3.largest)
layouts = st.none() | st.integers(1, 6 * GiB)


@given(sizes, layouts, st.integers(1, 1000), st.integers(1, 16), st.booleans())
def test_parts_cover_the_object_exactly_and_are_equal(
    size, layout, parallelism, streams, server_side
):
    plan = make_plan(
        size,
        source_layout=layout,
        parallelism=parallelism,
        streams=streams,
        server_side=server_side,
    )
    assert plan.part_count <= S3.max_parts
    assert S3.min_part <= plan.part_size <= S3.max_part
    assert plan.part_count == -(-size // plan.part_size)
    if plan.part_count:
        first, last = part_range(plan, size, 1), part_range(plan, size, plan.part_count)
        assert first[0] == 0
        assert last[0] + last[1] == size
        assert 0 < last[1] <= plan.part_size
        if plan.part_count > 1:
            assert first[1] == plan.part_size
            assert part_range(plan, size, 2)[0] == plan.part_size


@given(sizes, st.integers(1, 1000), st.integers(1, 16))
def test_batches_partition_the_parts(size, parallelism, streams):
    plan = make_plan(size, parallelism=parallelism, streams=streams)
    assert 1 <= plan.batch_size <= MAX_BATCH_SIZE
    numbers = [n for batch in range(plan.batch_count) for n in batch_parts(plan, batch)]
    assert numbers == list(range(1, plan.part_count + 1))
    if numbers:
        assert batch_of(plan, numbers[-1]) == plan.batch_count - 1
        assert plan.batch_count >= min(parallelism, -(-plan.part_count // max(streams, 1)))
        assert plan.batch_count < 2000


@pytest.mark.parametrize(
    ("size", "layout", "part_size"),
    [
        (1 * GiB, None, 16 * MiB),
        (16 * GiB, None, 64 * MiB),
        (1024 * GiB, None, 105 * MiB),
        (1 * GiB, 8 * MiB, 8 * MiB),  # the source's own
        (1 * GiB, 32 * MiB, 32 * MiB),
        (1 * GiB, 500 * MiB, 16 * MiB),  # too few parts to keep the pods busy
        (100 * GiB, 600 * MiB, 64 * MiB),  # too much to send again
        (1 * GiB, 1 * MiB, 16 * MiB),  # not a part size that others take
        (1024 * GiB, 8 * MiB, 105 * MiB),  # too many parts
    ],
)
def test_auto_part_size(size, layout, part_size):
    assert make_plan(size, source_layout=layout).part_size == part_size


@pytest.mark.parametrize(
    ("size", "layout", "part_size"),
    [
        (1 * GiB, None, 64 * MiB),
        (16 * GiB, None, 256 * MiB),  # four for each stream
        (100 * GiB, None, 1 * GiB),
        (20_000 * GiB, None, 2048 * MiB),  # else too many parts
        (1 * GiB, 8 * MiB, 8 * MiB),  # the source's own
        (100 * GiB, 600 * MiB, 600 * MiB),
        (100 * GiB, 4 * GiB, 4 * GiB),
        (100 * GiB, 6 * GiB, 1 * GiB),  # more than a part can have
        (1 * GiB, 1 * GiB, 1 * GiB),  # as one part, as the source
        (4 * GiB, 4 * GiB, 64 * MiB),  # one stream for long
        (3 * MiB, 3 * MiB, 64 * MiB),  # less than a part may have
        (1024 * GiB, 8 * MiB, 1 * GiB),  # too many parts
    ],
)
def test_auto_part_size_of_a_server_side_copy(size, layout, part_size):
    assert make_plan(size, source_layout=layout, server_side=True).part_size == part_size


@pytest.mark.parametrize("size", [GiB, 20 * GiB, 2000 * GiB])
@pytest.mark.parametrize(("parallelism", "streams"), [(1, 1), (4, 4), (64, 4)])
def test_a_server_side_copy_keeps_all_streams_busy(size, parallelism, streams):
    plan = make_plan(size, parallelism=parallelism, streams=streams, server_side=True)
    assert plan.part_count >= min(parallelism * streams, size // (64 * MiB))


@pytest.mark.parametrize(
    ("size", "part_size", "reason", "words"),
    [
        (S3.largest + 1, "Auto", "ObjectTooLarge", "48.8 TiB"),
        (100 * GiB, "5Mi", "PartSizeTooSmall", "at least 11Mi"),
        (1, "4Mi", "InvalidSpec", "between 5.0 MiB and 5.0 GiB"),
        (1, "6Gi", "InvalidSpec", "between"),
        (1, "lots", "InvalidSpec", "write for example 64Mi"),
        (1, "0.3", "InvalidSpec", "whole"),
    ],
)
def test_no_plan_says_what_to_write(size, part_size, reason, words):
    with pytest.raises(PlanError, match=words) as caught:
        make_plan(size, part_size=part_size)
    assert caught.value.reason == reason


def test_the_part_size_that_the_message_asks_for_is_taken():
    assert make_plan(100 * GiB, part_size="11Mi").part_count <= S3.max_parts


def test_a_fixed_part_size_is_taken_as_it_is():
    assert make_plan(1 * GiB, part_size="512Mi", source_layout=8 * MiB).part_size == 512 * MiB
    assert make_plan(9 * GiB, part_size="5Gi", server_side=True).part_size == 5 * GiB


@pytest.mark.parametrize(
    ("memory", "streams"),
    [(16, 1), (36, 1), (39, 1), (43, 2), (51, 4), (64, 7), (99, 16), (1024, 16)],
)
def test_auto_has_no_more_streams_than_the_memory_has_room_for(memory, streams):
    assert auto_streams(memory * MiB) == streams
    assert streams == 1 or 35 + 4 * streams <= memory


def test_a_plan_counts_on_what_auto_begins_with():
    assert make_plan(GiB, streams="Auto") == make_plan(GiB, streams=4)
