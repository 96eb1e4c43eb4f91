"""One process per kind of server and test session."""

from collections.abc import Iterator

import pytest

from tests.s3 import servers


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
