from collections.abc import Callable, Iterator

import pytest

from multipartcopy.cli import change, cluster, watch
from multipartcopy.cli.main import main
from tests.unit.cli.api import Api, served

Command = Callable[..., int]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """Where the commands find their cluster; their pauses are short."""
    monkeypatch.setattr(watch, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(change, "_POLL_SECONDS", 0.01)
    with served() as server:
        monkeypatch.setattr(cluster, "_kubeconfig", lambda _context: server.kubeconfig)
        yield server


@pytest.fixture
def run(api: Api) -> Command:
    """Run a command to its exit status."""

    def command(*words: str) -> int:
        return main(list(words))

    return command
