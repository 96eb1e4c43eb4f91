"""What the tests' servers leave behind when they are killed."""

import os
import subprocess
import sys
from pathlib import Path

from dev.servers import sweep


def test_only_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f"multipartcopy-{ended.pid}-x"
    others = [
        tmp_path / f"multipartcopy-{os.getpid()}-x",
        tmp_path / "multipartcopy-x",
        tmp_path / "x",
    ]
    for home in (left, *others):
        (home / "data").mkdir(parents=True)
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)
