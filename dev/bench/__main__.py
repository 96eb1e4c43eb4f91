"""The command line: `python -m dev.bench [BENCH ...]`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time

from dev import lab
from dev.bench import latency, ledger, machine, pods, relay, report, within
from dev.bench.report import BUILD, Finding
from dev.cluster.builds import KUBERNETES_VERSION
from dev.cluster.console import ClusterError, duration, say
from dev.test import cluster
from multipartcopy.api.quantity import parse_bytes

RELAY, WITHIN, LATENCY, PODS, LEDGER = "relay", "within", "latency", "pods", "ledger"
BENCHES = (RELAY, WITHIN, LATENCY, PODS, LEDGER)
"""First those that need no cluster, while there is none on the machine."""


def main() -> int:
    options = _parser().parse_args()
    for ending in (signal.SIGTERM, signal.SIGHUP):  # the stores are put away then too
        signal.signal(ending, signal.default_int_handler)
    try:
        return _run(options)
    except ClusterError as error:
        say(f"error: {error}")
        return error.exit_code
    except lab.LabError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench", description=__doc__)
    which = f"of {', '.join(BENCHES)}; default: all"
    parser.add_argument("benches", nargs="*", type=_bench, metavar="BENCH", help=which)
    parser.add_argument("--rounds", type=int, metavar="N", help="default 3; latency: 12; ledger: 1")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer, for a first look")
    parser.add_argument("--docs", action="store_true", help="also write docs/bench.md and .svg")
    parser.add_argument("--size", type=parse_bytes, metavar="BYTES", help="relay: default 2Gi")
    parser.add_argument("--profile", action="store_true", help="relay: only where the time goes")
    minutes = "ledger: what the bytes take without the pods' starts; default 21"
    parser.add_argument("--minutes", type=float, metavar="N", help=minutes)
    return parser


def _bench(name: str) -> str:
    if name not in BENCHES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(BENCHES)}")
    return name


def _run(options: argparse.Namespace) -> int:
    chosen = options.benches or ([RELAY] if options.profile else BENCHES)
    good = True
    if RELAY in chosen:
        good = relay.run(
            size=options.size,
            rounds=options.rounds,
            quick=options.quick,
            profile_only=options.profile,
            docs=options.docs,
        )
    if WITHIN in chosen:
        found = within.run(options.rounds or (1 if options.quick else 3), quick=options.quick)
        good = _keep(WITHIN, found, machine.machine(), options) and good
    others = [name for name in BENCHES if name in chosen and name not in (RELAY, WITHIN)]
    if others:
        with cluster():
            for name in others:
                about = machine.machine() | {"kubernetes": KUBERNETES_VERSION}
                good = _keep(name, _on_cluster(name, options), about, options) and good
    return 0 if good else 1


def _on_cluster(name: str, options: argparse.Namespace) -> Finding:
    start, quick, rounds = time.monotonic(), options.quick, options.rounds
    say(f"{name}:")
    match name:
        case "latency":
            found = latency.run(rounds or (3 if quick else 12))
        case "pods":
            found = pods.run(rounds or (1 if quick else 3), quick=quick)
        case _:
            found = ledger.run(options.minutes, quick=quick)
    say(f"measured in {duration(time.monotonic() - start)}")
    return found


def _keep(name: str, found: Finding, about: dict[str, str], options: argparse.Namespace) -> bool:
    """Into a file, onto the terminal, and with ``--docs`` into the page; whether all went right."""
    about = about | dict(found.about)
    BUILD.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": about, **found.result}, indent=2)
    (BUILD / f"{name}.json").write_text(text + "\n")
    for heading, block in found.blocks.items():
        print(f"\n{heading}\n{block}")
    print(f"\n{report.goals(found.verdicts)}", flush=True)
    if options.docs:
        report.write_page(name, report.section(found.verdicts, found.blocks, about))
    return found.right


if __name__ == "__main__":
    sys.exit(main())
