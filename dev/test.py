"""All tiers of tests, one after the other, and a table at the end: `python -m dev.test [TIER ...]`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from dev import lab
from dev.cluster.paths import KUBECONFIG

TIERS = ("unit", "tools", "s3", "apiserver", "cluster")
_LONG = "long"
"""No tier of its own: the tests of the others that are marked so, and that these leave out and name."""
_FOLDERS = {"unit": ("tests/unit", "tests/model"), _LONG: ("tests/s3", "tests/cluster")}
"""Where not the folder of the tier's name."""
_IN_CLUSTER = ("apiserver", "cluster", _LONG)
_SUMMARIES = ("faults", "model:")
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)\b")


@dataclass(frozen=True)
class Result:
    tier: str
    passed: int
    failed: int
    seconds: float
    problem: str = ""
    summaries: tuple[str, ...] = ()
    """What the tier says of the faults that it tried."""

    @property
    def good(self) -> bool:
        return not self.failed and not self.problem


def main() -> int:
    tiers = sys.argv[1:] or list(TIERS)
    if unknown := set(tiers) - {*TIERS, _LONG}:
        print(f"error: no such tier: {', '.join(unknown)}; there are {', '.join(TIERS)}")
        return 2
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the cluster comes down then too
        signal.signal(ending, signal.default_int_handler)
    results: list[Result] = []
    try:
        with ExitStack() as stack:
            prepared = False
            for tier in tiers:
                start = time.monotonic()
                try:
                    if tier in _IN_CLUSTER and not prepared:
                        stack.enter_context(cluster())
                        prepared = True
                    with _no_operator() if tier == "apiserver" else nullcontext():
                        results.append(_run(tier, start))
                except lab.LabError as error:
                    seconds = time.monotonic() - start
                    results.append(Result(tier, 0, 1, seconds, f"could not run: {error}"))
    except KeyboardInterrupt:
        return 130
    finally:
        _report(results)
    return 0 if all(result.good for result in results) else 1


def _run(tier: str, start: float) -> Result:
    print(f"\n=== {tier} ===", flush=True)
    chosen = [_LONG] if tier == _LONG else [f"not {_LONG}"]
    if lab.existing():
        chosen.append("not embedded")
    folders = _FOLDERS.get(tier, (f"tests/{tier}",))
    command = [sys.executable, "-m", "pytest", "-q", "--durations=5", "-m", " and ".join(chosen)]
    command += folders
    counts = {"passed": 0, "failed": 0, "error": 0, "skipped": 0}
    last, summaries = "", []
    # In a group of its own: of a Ctrl-C pytest hears from us, once, and then puts its servers away.
    with subprocess.Popen(
        command, cwd=lab.ROOT, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert process.stdout
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                last = line if line.strip() else last
                if line.startswith(_SUMMARIES):
                    summaries.append(line.strip())
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            print(process.stdout.read(), end="", flush=True)
            raise
    for number, kind in _COUNT.findall(last):
        counts[kind.rstrip("s")] = int(number)
    failed = counts["failed"] + counts["error"] + counts["skipped"]
    problem = last.strip() if process.returncode or failed else ""
    if process.returncode and not failed:
        failed = 1
    seconds = time.monotonic() - start
    return Result(tier, counts["passed"], failed, seconds, problem, tuple(summaries))


@contextmanager
def cluster() -> Iterator[None]:
    """Up, with the images in it; down again if it was not up before."""
    mine = not lab.existing() and not KUBECONFIG.exists()
    try:
        lab.cluster_up()
        os.environ["IMAGE"], os.environ["S3_IMAGE"] = lab.images()
        yield
    finally:
        if mine:
            lab.cluster("down")


@contextmanager
def _no_operator() -> Iterator[None]:
    """These tests write the status themselves; the operator of a demo would write it too.

    In somebody else's cluster nothing is stopped: there the tier itself says what is in its way.
    """
    where = ("--namespace", lab.SYSTEM)
    if lab.existing() or not lab.kubectl(*where, "get", "deployments", "--output=name"):
        yield
        return
    lab.kubectl(*where, "scale", "deployments", "--all", "--replicas=0")
    try:
        lab.kubectl(*where, "wait", "pod", "--for=delete", "--all", "--timeout=60s", timeout=70)
        yield
    finally:
        lab.kubectl(*where, "scale", "deployments", "--all", "--replicas=1")


def _report(results: list[Result]) -> None:
    print(f"\n{'tier':<10} {'result':<7} {'passed':>6} {'failed':>6} {'seconds':>8}")
    for r in results:
        word = "ok" if r.good else "FAILED"
        numbers = f"{r.passed:>6} {r.failed:>6} {r.seconds:>8.0f}"
        print(f"{r.tier:<10} {word:<7} {numbers}  {r.problem}".rstrip())
    for r in results:
        for summary in r.summaries:
            print(f"{r.tier}: {summary}")
    print(f"{sum(r.passed for r in results)} passed, {sum(r.failed for r in results)} failed")


if __name__ == "__main__":
    sys.exit(main())
