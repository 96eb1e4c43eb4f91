"""One process per kind of server and test session."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from dev import servers


@pytest.fixture(scope="session")
def versitygw() -> Iterator[servers.Server]:
    with servers.versitygw() as server:
        yield server


@pytest.fixture(scope="session")
def minio() -> Iterator[servers.Server]:
    with servers.minio() as server:
        yield server


@pytest.fixture(scope="session")
def closing_versitygw() -> Iterator[servers.Server]:
    """Closes the connection after every answer."""
    with servers.versitygw(keep_alive=False) as server:
        yield server


@pytest.fixture(scope="session")
def versitygw_tls() -> Iterator[servers.Server]:
    with servers.versitygw(tls=True) as server:
        yield server


@pytest.fixture(scope="session")
def minio_tls() -> Iterator[servers.Server]:
    with servers.minio(tls=True) as server:
        yield server


@dataclass
class Faults:
    """What the session has tried; ``sent_again`` in bytes."""

    tried: int = 0
    survivors: list[str] = field(default_factory=list)
    sent_again: int = 0

    def survived(self, name: str, sent_again: int = 0) -> None:
        """``name`` was met, and the copy ended as it should."""
        self.survivors.append(name)
        self.sent_again += sent_again


_FAULTS = pytest.StashKey[Faults]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FAULTS] = Faults()


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Faults:
    """A test that asks for it tries a fault."""
    faults = request.config.stash[_FAULTS]
    faults.tried += 1
    return faults


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    faults = terminalreporter.config.stash[_FAULTS]
    if faults.tried:
        terminalreporter.write_line(
            f"faults tried: {faults.tried}, survived: {len(faults.survivors)},"
            f" sent again: {faults.sent_again / 2**20:.1f} MiB"
        )
