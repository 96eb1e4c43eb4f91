"""A real cluster with the operator in it, two real S3 servers, and a gate before each of the three."""

import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cluster.processes import Operator
from tests.cluster.world import MiB, World, install, made

SIZE = 200 * MiB
_LEFT_OUT = pytest.StashKey[list[str]]()
_TALLY = pytest.StashKey[Counter[str]]()


@pytest.fixture(scope="session")
def installed() -> str:
    """The operator, installed from manifests/; the name of the S3 server's image."""
    missing = [name for name in ("KUBECONFIG", "IMAGE", "S3_IMAGE") if not os.environ.get(name)]
    if missing:
        pytest.exit(
            f"the cluster tier needs {', '.join(missing)}; `make test-cluster` sets them", 2
        )
    install()
    return os.environ["S3_IMAGE"]


@pytest.fixture(scope="session")
def world(installed: str, tally: Counter[str]) -> Iterator[World]:
    with made(installed, tally) as world:
        yield world


@pytest.fixture(scope="session")
def data(world: World) -> bytes:
    """200 MiB under the key ``data`` of the source."""
    data = secrets.token_bytes(SIZE)
    world.put("data", data)
    return data


@pytest.fixture(scope="session")
def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Counter[str]:
    """What the terminal's summary says was done and seen."""
    return pytestconfig.stash.setdefault(_TALLY, Counter())


@pytest.fixture(autouse=True)
def open_gates(request: pytest.FixtureRequest) -> Iterator[None]:
    """The gates' logs begin with the test; whatever it has held is let go."""
    if "world" not in request.fixturenames:
        yield
        return
    world = request.getfixturevalue("world")
    for gate in world.gates:
        gate.forget()
    yield
    for gate in world.gates:
        gate.up()
        gate.open()


@pytest.fixture
def operator(installed: str, tally: Counter[str]) -> Operator:
    return Operator(tally)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where a test failed, the operator's last words are shown."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" and report.failed:
        for name, log in Operator(Counter()).logs().items():
            report.sections.append((name, "\n".join(log.splitlines()[-60:])))


def pytest_deselected(items: list[pytest.Item]) -> None:
    """What a tier leaves out is named, not passed over in silence."""
    for item in items:
        item.config.stash.setdefault(_LEFT_OUT, []).append(item.name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = terminalreporter.config.stash.get(_LEFT_OUT, [])
    if left_out:
        terminalreporter.write_line(f"left out by -m: {', '.join(left_out)}")
    tally = terminalreporter.config.stash.get(_TALLY, Counter())
    if tally:
        line = ", ".join(f"{count} {what}" for what, count in sorted(tally.items()))
        terminalreporter.write_line(f"faults: {line}")
