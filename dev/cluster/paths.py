"""Where things are: what is worth keeping in the cache, what a running cluster needs in its state.

Removing the cache costs time only. The state belongs to one running cluster; `down` removes all of
it but the logs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.cluster.console import PrerequisiteError, say

SOURCES = Path(__file__).resolve().parent

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "multipartcopy"
STATE = Path(
    os.environ.get("MULTIPARTCOPY_STATE")
    or Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    / "multipartcopy/cluster"
).absolute()

LOGS = STATE / "logs"
BIN = STATE / "bin"
PKI = STATE / "pki"
CONFIG = STATE / "config"
DATA = STATE / "data"
KUBECONFIG = STATE / "kubeconfig"
CONTAINERD_SOCKET = STATE / "containerd.sock"


@contextmanager
def locked(name: str, directory: Path) -> Iterator[None]:
    """Let one process at a time do what `name` says; the lock dies with its holder."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process ({name})")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_state_path() -> None:
    """The kernel's limit for the address of a Unix socket is 107 bytes."""
    longest = DATA / "kubelet/device-plugins/kubelet.sock"
    if len(str(longest)) > 107:
        raise PrerequisiteError(f"the state directory's path is too long for sockets: {STATE}")
