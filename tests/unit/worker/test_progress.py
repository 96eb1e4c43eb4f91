import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multipartcopy.api.ranges import parse_ranges
from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import (
    ERROR_MESSAGE_LIMIT,
    MESSAGE_LIMIT,
    Report,
    decode_report,
    pack_crcs,
    unpack_crcs,
)
from multipartcopy.api.task import Read
from multipartcopy.plan import MAX_BATCH_SIZE
from multipartcopy.worker.progress import Progress, peak_rss, plain

EMPTY = Report("0123abcd", 1, 2, 3)


def test_a_longer_file_from_before_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text("x" * 1000)
    inode = file.stat().st_ino
    progress = Progress(file, EMPTY)
    assert decode_report(file.read_text())
    progress.add(7, "b" * 32, 70, sent=10)
    progress.add(2, "a" * 32, 20, sent=20)
    report = decode_report(file.read_text())
    assert report
    assert (report.parts, report.etags) == ("2,7", ("a" * 32, "b" * 32))
    assert unpack_crcs(report.crc64nvme) == [20, 70]
    assert (report.sent, report.batch, file.stat().st_ino) == (20, 3, inode)


LAST_BATCH = list(range(10_001 - MAX_BATCH_SIZE, 10_001))


@given(
    # Mostly hex, and some of a store that makes its own.
    etags=st.lists(
        st.one_of(
            *[st.integers(0, 2**128 - 1).map("{:032x}".format)] * 5, st.text("e-é", max_size=300)
        ),
        min_size=MAX_BATCH_SIZE,
        max_size=MAX_BATCH_SIZE,
    ),
    numbers=st.permutations(LAST_BATCH),
    count=st.integers(0, MAX_BATCH_SIZE),
    message=st.text(max_size=1000),
)
def test_the_message_never_exceeds_its_limit(
    tmp_path_factory, etags: list[str], numbers: list[int], count: int, message: str
) -> None:
    """Of a batch in any order, ended in any of its parts."""
    file = tmp_path_factory.mktemp("progress") / "report"
    progress = Progress(file, Report("0123abcd", 999, 999, 9999))
    numbers = numbers[:count]
    for number, etag in zip(numbers, etags, strict=False):
        progress.add(number, etag, 2**64 - 1, sent=50 << 40)
    progress.fail(Reason.RANGE_NOT_SUPPORTED, message, 10_000, sent=50 << 40)
    assert file.stat().st_size <= MESSAGE_LIMIT
    report = decode_report(file.read_text())
    assert report
    of_part = dict(zip(numbers, etags, strict=False))
    assert report.etags == tuple(of_part[number] for number in parse_ranges(report.parts))
    assert len(report.etags) == progress.parts
    assert progress.parts == len(numbers) or progress.room() <= 0


def test_a_whole_batch_of_hex_etags_is_told_in_one_report(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "report", EMPTY)
    for number in LAST_BATCH:
        assert progress.room() > 0
        progress.add(number, f"{number:032x}", number, sent=0)
    report = decode_report((tmp_path / "report").read_text())
    assert report
    assert report.etags == tuple(f"{number:032x}" for number in LAST_BATCH)


@pytest.mark.parametrize("hex_etags", [66, 67, 80, 95])
def test_an_etag_of_another_kind_comes_late(hex_etags: int, tmp_path: Path) -> None:
    """With it none could be packed: it is left to a later run where that would be too much."""
    progress = Progress(tmp_path / "report", EMPTY)
    for number in range(1, hex_etags + 1):
        progress.add(number, f"{number:032x}", number, sent=0)
    progress.add(hex_etags + 1, "f" * 32 + "-1", 1, sent=0)
    progress.fail(Reason.SOURCE_CHANGED, "x" * 1000, 1, sent=0)
    message = (tmp_path / "report").read_text()
    assert len(message) <= MESSAGE_LIMIT
    report = decode_report(message)
    assert report
    assert (report.parts, progress.room() <= 0) == (f"1-{hex_etags}", True)


@pytest.mark.parametrize("etags", ["AAAA", "not base64!", "AAAA" * 8, 7])
def test_packed_etags_that_are_none(etags: object) -> None:
    whole = {**json.loads(EMPTY.encode()), "parts": "1", "crc64nvme": pack_crcs([1])}
    assert decode_report(json.dumps({**whole, "etags": ["a" * 32]}))
    assert decode_report(json.dumps({**whole, "etags": etags})) is None


def test_a_reading_has_room_for_a_whole_batch_and_no_etags(tmp_path: Path) -> None:
    file = tmp_path / "report"
    progress = Progress(file, replace(EMPTY, read=Read.SOURCE))
    for number in LAST_BATCH:
        progress.add(number, "", 2**64 - number, sent=0)
    progress.fail(Reason.SOURCE_CHANGED, "x" * 1000, 10_000, sent=0)
    report = decode_report(file.read_text())
    assert report
    assert (progress.parts, report.etags) == (MAX_BATCH_SIZE, ())
    assert unpack_crcs(report.crc64nvme)[-1] == 2**64 - 10_000


def test_plain() -> None:
    assert plain('say "ä\\\n') == "say '?? "
    assert len(plain("x" * 1000)) == ERROR_MESSAGE_LIMIT


def test_peak_rss_is_plausible() -> None:
    assert 8 << 20 < peak_rss() < 1 << 30
