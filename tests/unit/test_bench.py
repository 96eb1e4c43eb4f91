"""The benchmark's arithmetic, and what it tells the others to do."""

import json
import re
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dev.bench import peers, report, within
from dev.bench.chart import chart
from dev.bench.job import Job
from dev.bench.measure import Command, RunError, Usage, measure
from dev.bench.ours import worker_task
from dev.bench.profile import Traffic, count
from dev.bench.rows import Row, figure, make_row, pairs, verdicts
from dev.bench.stage import GiB, MiB, Sample
from dev.servers import Server

ROOT = Path(__file__).parents[2]
RCLONE, MC = Path("/peers/rclone"), Path("/peers/mc")


def job(home: Path, *, tls: bool = False, part_size: int = 16 * MiB) -> Job:
    scheme, ca = ("https", home / "ca.crt") if tls else ("http", None)
    if ca:
        ca.write_text("certificate")
    source, destination = (Server(f"{scheme}://127.0.0.1:{port}", ca) for port in (1, 2))
    run = home / "run"
    run.mkdir()
    return Job(source, destination, 2 * GiB, part_size, run)


def sample(cpu: float, *, rss: int = 40 * MiB, wall: float = 1.0, ok: bool = True) -> Sample:
    return Sample(Usage(cpu, wall, rss, None), ok)


def row(contender: str, cpu: float, scheme: str = "http", size: int = 16 * MiB, **how: Any) -> Row:
    return make_row(contender, scheme, size, GiB, [sample(cpu, **how)])


def verdict(rows: list[Row], goal: str) -> tuple[bool, str]:
    (found,) = (verdict for verdict in verdicts(rows) if goal in verdict.goal)
    return found.met, found.measured


def test_a_row_has_the_figures_of_all_rounds_per_gibibyte() -> None:
    samples = [sample(cpu, rss=rss * MiB) for cpu, rss in ((3.0, 40), (1.0, 44), (1.4, 41))]
    made = make_row("rclone", "https", 8 * MiB, 2 * GiB, samples)
    assert made == {
        "contender": "rclone",
        "scheme": "https",
        "part_size_bytes": 8 * MiB,
        "cpu_seconds_per_gib": {"median": 0.7, "min": 0.5, "max": 1.5},
        "peak_rss_bytes": {"median": 41 * MiB, "min": 40 * MiB, "max": 44 * MiB},
        "peak_cgroup_bytes": None,
        "wall_seconds": {"median": 1.0, "min": 1.0, "max": 1.0},
        "sha256_ok": True,
    }


def test_one_wrong_result_spoils_the_row() -> None:
    made = make_row("mc", "http", MiB, GiB, [sample(1), sample(1, ok=False)])
    assert made["sha256_ok"] is False


def test_a_row_with_a_failed_run_has_no_figures_and_says_why() -> None:
    made = make_row("mc", "http", MiB, GiB, [sample(1), Sample(None, error="no end within 9 s")])
    assert made["cpu_seconds_per_gib"] is None
    assert made["sha256_ok"] is False
    assert made["error"] == "no end within 9 s"


def test_a_figure_of_an_even_number_of_rounds() -> None:
    assert figure([4, 1]) == {"median": 2.5, "min": 1, "max": 4}


def test_ratios_are_of_the_same_scheme_and_part_size() -> None:
    rows = [
        row("multipartcopy", 1),
        row("rclone", 4),
        row("multipartcopy", 1, size=GiB),
        row("rclone", 100, scheme="https", size=GiB),
    ]
    assert pairs(rows, "cpu_seconds_per_gib", "http", "rclone") == [(16 * MiB, 0.25)]


def test_a_goal_is_met_only_if_it_is_at_every_part_size() -> None:
    rows = [row("multipartcopy", 1), row("rclone", 5)]
    assert verdict(rows, "1/5 of rclone's") == (True, "0.20 to 0.20 x, the most at 16 MiB")
    rows += [row("multipartcopy", 1, size=GiB), row("rclone", 4, size=GiB)]
    assert verdict(rows, "1/5 of rclone's") == (False, "0.20 to 0.25 x, the most at 1 GiB")


@pytest.mark.parametrize(("mine", "met"), [(2.0, True), (2.1, False)])
def test_wall_time_is_held_against_the_fastest_peer(mine: float, met: bool) -> None:
    rows = [
        row("multipartcopy", 1, wall=mine),
        row("rclone", 1, wall=3.0),
        row("mc", 1, wall=2.0),
        row("splice", 1, wall=0.1),
    ]
    assert verdict(rows, "best peer's")[0] is met


def test_memory_is_held_against_its_peak_in_any_row() -> None:
    rows = [
        row("multipartcopy", 1, rss=40 * MiB),
        row("multipartcopy", 1, size=MiB, rss=45 * MiB),
        row("multipartcopy", 1, scheme="https", rss=49 * MiB),
    ]
    assert verdict(rows, "48 MiB") == (False, "49.0 MiB")
    assert verdict(rows, "within 4 MiB") == (False, "within 5.0 MiB")


def test_a_wrong_result_counts_for_no_goal() -> None:
    rows = [row("multipartcopy", 1), row("rclone", 9, ok=False)]
    assert not [v for v in verdicts(rows) if "rclone" in v.goal]
    assert verdict(rows, "every row") == (False, "1 of 2 rows")


@pytest.mark.parametrize(("mine", "met"), [(2.0, True), (2.1, False)])
def test_within_a_store_nobody_is_faster(mine: float, met: bool) -> None:
    rows = [
        row("multipartcopy", 1, within.SCHEME, wall=mine, rss=49 * MiB),
        row("mc", 1, within.SCHEME, wall=2.0),
        row("rclone", 1, within.SCHEME, wall=3.0),
    ]
    right, wall, memory = within.verdicts(rows)
    assert (right.met, wall.met, memory.met) == (True, met, False)


def test_the_table_shows_every_row_and_what_failed() -> None:
    failed = make_row("mc", "http", 8 * MiB, GiB, [Sample(None, error="exit status 1")])
    text = report.table([row("multipartcopy", 1), row("rclone", 4), failed])
    assert "4.00 (4.00-4.00)" in text
    assert "0.25x" in text
    assert "failed: exit status 1" in text


def test_the_page_has_a_place_for_what_was_measured() -> None:
    page = (ROOT / "docs/bench.md").read_text()
    text = report.markdown([row("multipartcopy", 1), row("rclone", 4)], {"memory": "2 GiB"}, "")
    written = report.replace_measured(page, text)
    assert "0.25 to 0.25 x" in written
    assert report.replace_measured(written, "again") == report.replace_measured(page, "again")


def test_the_chart_is_xml_and_writes_the_ratios_out() -> None:
    rows = [row(name, cpu, scheme) for name, cpu, scheme in (
        ("multipartcopy", 1, "http"), ("rclone", 4, "http"), ("multipartcopy", 2, "https"),
    )]  # fmt: skip
    picture = chart(rows, "2 GiB & more")
    ElementTree.fromstring(picture)  # noqa: S314 - our own
    assert "4.0 x ours" in picture


def test_rclone_sends_parts_of_the_wanted_size_with_four_streams(tmp_path: Path) -> None:
    (command,) = peers.rclone_commands(job(tmp_path, part_size=GiB), RCLONE)
    assert command.argv[0] == str(RCLONE)
    assert f"--s3-chunk-size={GiB}B" in command.argv
    assert f"--multi-thread-cutoff={GiB}B" in command.argv
    assert "--s3-upload-concurrency=4" in command.argv
    assert command.env["RCLONE_CONFIG_DST_ENDPOINT"] == "http://127.0.0.1:2"
    assert not [word for word in command.argv if word.startswith("--ca-cert")]


def test_mc_sends_parts_of_the_wanted_size(tmp_path: Path) -> None:
    (command,) = peers.mc_commands(job(tmp_path), MC)
    assert command.argv[-2:] == ["src/source/object", "dst/destination/object"]
    assert command.env["MC_UPLOAD_MULTIPART_SIZE"] == f"{16 * MiB}B"
    assert command.env["MC_HOST_src"].endswith("@127.0.0.1:1")


def test_over_tls_everybody_trusts_both_stores(tmp_path: Path) -> None:
    both = job(tmp_path, tls=True)
    (rclone,) = peers.rclone_commands(both, RCLONE)
    (boto3,) = peers.boto3_commands(both)
    peers.mc_commands(both, MC)
    ca = str(tmp_path / "ca.crt")
    assert rclone.argv.count(f"--ca-cert={ca}") == 2
    assert boto3.argv[-1].count(json.dumps(ca)) == 2
    assert len(list(both.home.glob("certs/CAs/*.crt"))) == 2


@pytest.mark.parametrize(
    ("part_size", "ranges"),
    [
        (8 * MiB, ["1-96", "97-192", "193-256"]),
        (64 * MiB, ["1-32"]),
        (GiB, ["1-2"]),
    ],
)
def test_the_worker_is_given_what_its_report_has_room_for(
    part_size: int, ranges: list[str], tmp_path: Path
) -> None:
    task = worker_task(job(tmp_path, part_size=part_size), "etag", "upload")
    assert [work.parts for work in task.work] == ranges
    assert (task.streams, task.checksum, task.md5) == (4, True, False)


def test_a_run_is_charged_with_all_its_commands_and_what_they_start() -> None:
    burn = "x=0; while [ $x -lt 200000 ]; do x=$((x+1)); done"
    once = measure([Command(["/bin/sh", "-c", burn])], 60)
    nested = Command(["/bin/sh", "-c", f"/bin/sh -c '{burn}'; true"])
    twice = measure([nested, nested], 60)
    assert once.cpu_seconds > 0.01
    assert twice.cpu_seconds > 1.3 * once.cpu_seconds


def test_the_peak_is_that_of_the_run_and_not_of_who_started_it() -> None:
    ballast = bytearray(b"x") * (64 * MiB)
    used = measure([Command(["/bin/true"])], 60)
    assert len(ballast) > used.peak_rss


def test_a_run_that_fails_says_why() -> None:
    with pytest.raises(RunError, match="exit status 3: no luck"):
        measure([Command(["/bin/sh", "-c", "echo no luck; exit 3"])], 60)


def test_a_run_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 600 & echo $! > {child}; wait"
    with pytest.raises(RunError, match="no end within 3 s"):
        measure([Command(["/bin/sh", "-c", script], {"PATH": "/usr/bin:/bin"})], 3)
    end = time.monotonic() + 10
    while _lives(child.read_text().strip()):
        assert time.monotonic() < end
        time.sleep(0.01)


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_bytes_per_syscall_are_counted_at_tcp_sockets_alone() -> None:
    trace = """\
7 read(3</etc/hosts>, ""..., 4096) = 100
7 recvfrom(5<TCP:[127.0.0.1:1->127.0.0.1:2]>, ""..., 65536, 0, NULL, NULL) = 1000
8 sendto(6<TCP:[127.0.0.1:3->127.0.0.1:4]>, ""..., 500, 0, NULL, 0 <unfinished ...>
7 read(5<TCP:[127.0.0.1:1->127.0.0.1:2]>, 0xc0, 65536) = -1 EAGAIN (Resource temporarily unavailable)
8 <... sendto resumed>) = 500
7 splice(5<TCP:[127.0.0.1:1->127.0.0.1:2]>, NULL, 9<pipe:[77]>, NULL, 4096, 0) = 4096
7 splice(8<pipe:[77]>, NULL, 6<TCP:[127.0.0.1:3->127.0.0.1:4]>, NULL, 4096, 0) = 4096
"""
    assert count(trace.splitlines()) == (Traffic(3, 5096), Traffic(2, 4596))


def test_the_page_explains_every_contender() -> None:
    page = (ROOT / "docs/bench.md").read_text()
    for name in ("rclone", "mc", "boto3", "splice"):
        assert re.search(rf"^\| `{name}` \|", page, re.MULTILINE), name
