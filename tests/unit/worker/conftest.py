import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.servers import certificate
from tests.unit.worker.scripted import Script


@pytest.fixture
def script() -> Iterator[Script]:
    with serving(Script()) as server:
        yield server


@pytest.fixture
def tls_script(tmp_path: Path) -> Iterator[Script]:
    with serving(Script(certificate(tmp_path))) as server:
        yield server


@contextmanager
def serving(server: Script) -> Iterator[Script]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()
