"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path

import boto3

from dev.bench import peers
from dev.cluster.builds import BUILDS
from dev.cluster.console import run


def describe(size: int, rounds: int, streams: int, image: Path) -> dict[str, str]:
    return machine() | {
        "the worker's image": _python_of(image),
        "stores": f"MinIO {BUILDS['minio'].version}, two on loopback",
        "rclone": peers.RCLONE.partition("==")[2],
        "mc": BUILDS["mc"].version,
        "boto3": boto3.__version__,
        "object": f"{size / 2**30:g} GiB of random bytes, {streams} streams, {rounds} rounds",
    }


def machine() -> dict[str, str]:
    memory = int(_first(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text()))
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory / 2**20:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _python_of(image: Path) -> str:
    program = (
        "import platform, ssl; print(f'Python {platform.python_version()}, {ssl.OPENSSL_VERSION}')"
    )
    return run("/usr/sbin/chroot", image, "/opt/venv/bin/python3", "-c", program).strip()


def _processor() -> str:
    return _first(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) or platform.machine()


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
