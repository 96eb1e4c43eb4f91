from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from multipartcopy.api.reasons import Reason
from multipartcopy.api.report import (
    ERROR_MESSAGE_LIMIT,
    MESSAGE_LIMIT,
    Report,
    decode_report,
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


@given(
    etag_length=st.integers(0, 300),
    numbers=st.lists(st.integers(1, 10_000), unique=True, max_size=70),
    message=st.text(max_size=1000),
)
def test_the_message_never_exceeds_its_limit(
    tmp_path_factory, etag_length: int, numbers: list[int], message: str
) -> None:
    file = tmp_path_factory.mktemp("progress") / "report"
    progress = Progress(file, Report("0123abcd", 999, 999, 9999))
    for number in numbers:
        progress.add(number, "e" * etag_length, 2**64 - 1, sent=50 << 40)
    progress.fail(Reason.RANGE_NOT_SUPPORTED, message, 10_000, sent=50 << 40)
    assert file.stat().st_size <= MESSAGE_LIMIT
    report = decode_report(file.read_text())
    assert report
    assert len(report.etags) == progress.parts
    assert progress.parts == len(numbers) or progress.room() == 0


def test_a_reading_has_room_for_a_whole_batch_and_no_etags(tmp_path: Path) -> None:
    file = tmp_path / "report"
    progress = Progress(file, replace(EMPTY, read=Read.SOURCE))
    for number in range(1, 10_000, 10_000 // MAX_BATCH_SIZE)[:MAX_BATCH_SIZE]:
        progress.add(number, "", 2**64 - number, sent=0)
    progress.fail(Reason.SOURCE_CHANGED, "x" * 1000, 10_000, sent=0)
    report = decode_report(file.read_text())
    assert report
    assert (progress.parts, report.etags) == (MAX_BATCH_SIZE, ())
    assert unpack_crcs(report.crc64nvme)[0] == 2**64 - 1


def test_plain() -> None:
    assert plain('say "ä\\\n') == "say '?? "
    assert len(plain("x" * 1000)) == ERROR_MESSAGE_LIMIT


def test_peak_rss_is_plausible() -> None:
    assert 8 << 20 < peak_rss() < 1 << 30
