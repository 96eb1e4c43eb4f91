"""What the kubectl plugin shows."""

import subprocess
import sys

import pytest

from multipartcopy.cli.main import outcome, render

HALF = {
    "phase": "Copying",
    "conditions": [{"type": "Complete", "status": "False", "reason": "OOMKilled", "message": "m"}],
    "progress": {
        "percent": 50,
        "parts": "32/64",
        "size": "1.0 GiB",
        "bytesDone": 1 << 29,
        "bytesTotal": 1 << 30,
        "bytesPerSecond": 1 << 20,
    },
}


def test_a_line_says_how_far_how_fast_and_why():
    assert render(HALF) == (
        "[############............]  50%  32/64 parts of 1.0 GiB  1.0 MiB/s  8m32s left"
        "  Copying (OOMKilled)"
    )


def test_a_copy_that_has_not_begun():
    assert render({}) == "[........................]   0%  Pending"


@pytest.mark.parametrize(
    ("kind", "status", "ended"),
    [
        ("Complete", "True", (0, "R: m")),
        ("Failed", "True", (1, "R: m")),
        ("Complete", "False", None),
        ("Ready", "True", None),
    ],
)
def test_outcome(kind, status, ended):
    condition = {"type": kind, "status": status, "reason": "R", "message": "m"}
    assert outcome({"conditions": [condition]}) == ended


def test_it_needs_neither_kopf_nor_another_client():
    code = (
        "import sys, multipartcopy.cli.main;"
        "print([m for m in ('kopf', 'kubernetes', 'boto3') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "operator"},
    )
    assert shown.stdout.strip() == "[]"
