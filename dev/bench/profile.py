"""Where the time goes: bytes per syscall of every contender, and the worker under `perf`.

Counts, not times: strace slows what it watches down many times over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dev.bench import ours
from dev.bench.contenders import SCHEMES, WORKER, Contender
from dev.bench.job import Job
from dev.bench.measure import Command, RunError, measure
from dev.bench.stage import MiB, Stage, run_once, stage
from dev.cluster.console import run as output_of
from dev.cluster.prereqs import install

_SIZE, _PART = 512 * MiB, 16 * MiB
_LIMIT = 120.0
_SENDING = ("write", "writev", "sendto", "sendmsg")
_RECEIVING = ("read", "readv", "recvfrom", "recvmsg")
_LINE = re.compile(r"(?P<pid>\d+) +(?:<\.\.\. )?(?P<name>\w+)(?P<rest>.*)")
_PERCENT = 1


@dataclass(frozen=True)
class Traffic:
    """Syscalls that move bytes between sockets and the program, and the bytes that they moved."""

    calls: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.bytes / max(1, self.calls) / 1024:>7.0f} KiB x {self.calls:<7}"


def profile(contenders: Sequence[Contender], image: Path) -> str:
    install({"strace": "strace", "perf": "linux-perf"})
    parts = [f"bytes per socket syscall, {_SIZE // MiB} MiB in parts of {_PART // MiB} MiB"]
    functions = []
    for scheme in SCHEMES:
        with stage(scheme, _SIZE) as between:
            for contender in contenders:
                if scheme in contender.schemes:
                    parts.append(_traffic(contender, scheme, between))
            functions.append(_hot(contenders, scheme, between, image))
            start = _start(between, image)
    return "\n".join([*parts, "", start, *functions])


def _traffic(contender: Contender, scheme: str, between: Stage) -> str:
    with TemporaryDirectory() as home:
        trace = Path(home) / "trace"
        names = ",".join((*_SENDING, *_RECEIVING, "splice"))
        prefix = ["/usr/bin/strace", "--seccomp-bpf", "-f", "-qq", "-yy", "--string-limit=0"]
        prefix += ["--signal=none", f"--trace={names}", f"--output={trace}"]
        sample = run_once(_wrapped(contender, prefix), between, _PART)
        if sample.error:
            return f"  {contender.name:<14}{scheme:<6} {sample.error}"
        with trace.open(errors="replace") as lines:
            received, sent = count(lines)
    return f"  {contender.name:<14}{scheme:<6} in {received} out {sent}"


def count(lines: Iterable[str]) -> tuple[Traffic, Traffic]:
    """Received and sent over TCP, from the lines of `strace -f -yy`."""
    calls: Counter[bool] = Counter()
    moved: Counter[bool] = Counter()
    begun: dict[str, bool | None] = {}
    for line in lines:
        found = _LINE.match(line)
        if not found:
            continue
        rest = found["rest"]
        resumed = rest.startswith(" resumed>")
        sending = begun.pop(found["pid"]) if resumed else _direction(found["name"], rest)
        if rest.rstrip().endswith("<unfinished ...>"):
            begun[found["pid"]] = sending
            continue
        result = re.search(r" = (-?\d+)", rest)
        if sending is not None and result:
            calls[sending] += 1
            moved[sending] += max(0, int(result[1]))
    return Traffic(calls[False], moved[False]), Traffic(calls[True], moved[True])


def _direction(name: str, arguments: str) -> bool | None:
    """Whether a call sends; None for one that is not about a TCP socket."""
    first = re.match(r"\(\d+<TCP", arguments)
    if name == "splice":
        return not first
    return name in _SENDING if first else None


def _hot(contenders: Sequence[Contender], scheme: str, between: Stage, image: Path) -> str:
    """The worker's CPU time by program or library and by function."""
    (worker,) = (contender for contender in contenders if contender.name == WORKER)
    with TemporaryDirectory() as home:
        data = Path(home) / "perf.data"
        prefix = ["/usr/bin/perf", "record", "--quiet", "--freq=999", f"--output={data}", "--"]
        sample = run_once(_wrapped(worker, prefix), between, _PART)
        if sample.error:
            return f"\nperf, {scheme}: {sample.error}"
        by = [
            _perf_report(data, "dso", image),
            _perf_report(data, "dso,symbol", image),
        ]
    return f"\nthe worker's CPU time, {scheme}\n" + "\n\n".join(by)


def _perf_report(data: Path, sort: str, image: Path) -> str:
    flags = [
        f"--symfs={image}",
        "--kallsyms=/proc/kallsyms",
        "--stdio",
        "--quiet",
        f"--sort={sort}",
        f"--percent-limit={_PERCENT}",
    ]
    text = output_of("perf", "report", f"--input={data}", *flags)
    lines = (re.sub(r"(\s+-)*\s*$", "", line) for line in text.splitlines())  # empty columns
    return "\n".join(line for line in lines if line)


def _start(between: Stage, image: Path) -> str:
    """What it takes to load the program: the price of a pod's start."""
    with ours.home_in(image) as home:
        job = Job(between.source, between.destination, _SIZE, _PART, home)
        task = ours.worker_task(job, "none", "none")
        command = ours.worker_command(task, 0, image, home)
        python = command.argv[: command.argv.index("-m")]
        load = replace(command, argv=[*python, "-c", "import multipartcopy.worker.main"])
        try:
            used = measure([load], _LIMIT)
        except RunError as error:
            return f"a worker that is only loaded: {error}"
    return (
        f"a worker that is only loaded: {used.cpu_seconds:.2f} s CPU,"
        f" {used.wall_seconds:.2f} s, {used.peak_rss / MiB:.0f} MiB"
    )


def _wrapped(contender: Contender, prefix: Sequence[str]) -> Contender:
    @contextmanager
    def commands(job: Job) -> Iterator[Sequence[Command]]:
        with contender.commands(job) as plain:
            yield [replace(command, argv=[*prefix, *command.argv]) for command in plain]

    return replace(contender, commands=commands)
