"""Real S3 servers as processes of their own, each on a free loopback port and a directory of its own."""

import base64
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from dev.cluster.builds import build

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"
KMS_KEY = "test-key"
"""Of MinIO's own KMS."""
LOOPBACK = "127.0.0.0/8"
"""What ``--allow-endpoints`` has to say of them."""
_START_SECONDS = 30
_STOP_SECONDS = 10
_NAME = "multipartcopy-"
_MEMORY = "/dev/shm"  # noqa: S108 - what is made there has a name of its own


@dataclass(frozen=True)
class Server:
    """``ca`` is the certificate to trust, for a server that speaks TLS."""

    endpoint: str
    ca: Path | None = None
    data: Path | None = None
    """Where it keeps its objects."""

    def drop(self, bucket: str) -> None:
        """A bucket and all that is in it, behind the server's back: memory should not fill with the tests' objects."""
        assert self.data
        shutil.rmtree(self.data / bucket, ignore_errors=True)
        self.empty_trash()

    def empty_trash(self) -> None:
        """MinIO only moves what is deleted, and forgets it every five minutes: too late for a memory of GiBs."""
        assert self.data
        for deleted in self.data.glob(".minio.sys/tmp/.trash/*"):
            shutil.rmtree(deleted, ignore_errors=True)

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            verify=str(self.ca) if self.ca else None,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@contextlib.contextmanager
def versitygw(*, keep_alive: bool = True, tls: bool = False) -> Iterator[Server]:
    """Without ``keep_alive`` it closes the connection after every answer."""
    with _directory() as home:
        data = home / "data"
        data.mkdir()
        address = f"127.0.0.1:{_free_port()}"
        command = [build("versitygw"), "--access", ACCESS_KEY, "--secret", SECRET_KEY]
        command += ["--port", address, *(["--keep-alive"] if keep_alive else [])]
        ca = certificate(home) if tls else None
        if ca:
            command += ["--cert", ca, "--key", ca.with_name("private.key")]
        with _process([*command, "posix", data], home, address, ca, data) as server:
            yield server


@contextlib.contextmanager
def minio(*, tls: bool = False) -> Iterator[Server]:
    with _directory() as home:
        address = f"127.0.0.1:{_free_port()}"
        ca = certificate(home) if tls else None
        data = home / "data"
        command = [build("minio"), "server", "--address", address, "--certs-dir", home]
        with _process([*command, data], home, address, ca, data) as server:
            yield server


def certificate(home: Path, name: str = "IP:127.0.0.1") -> Path:
    """A self-signed certificate that is its own CA; its key lies beside it."""
    public = home / "public.crt"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=S3 server", "-addext", f"subjectAltName={name}"]
    files = ["-keyout", str(home / "private.key"), "-out", str(public)]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *subject, *files],
        check=True,
        capture_output=True,
    )
    return public


def sweep(parent: Path) -> None:
    """Remove what servers kept there whose process was killed: it takes memory until the next boot."""
    for home in parent.glob(f"{_NAME}*-*"):
        owner = home.name.removeprefix(_NAME).partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """In memory where that has the extended attributes that versitygw keeps its metadata in."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    sweep(Path(_MEMORY))
    prefix = f"{_NAME}{os.getpid()}-"
    home = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        with contextlib.suppress(OSError):
            os.setxattr(home, "user.test", b"1")
            parent = None
        if parent:
            home.rmdir()
            home = Path(tempfile.mkdtemp(prefix=prefix))
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _process(
    command: list[Any], home: Path, address: str, ca: Path | None, data: Path
) -> Iterator[Server]:
    server = Server(f"{'https' if ca else 'http'}://{address}", ca, data)
    environment = os.environ | {
        "MINIO_ROOT_USER": ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": SECRET_KEY,
        "MINIO_BROWSER": "off",
        "MINIO_KMS_SECRET_KEY": f"{KMS_KEY}:{base64.b64encode(bytes(32)).decode()}",
    }
    log = home / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=out, stderr=out)
        try:
            _wait_until_ready(process, server, log)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", server: Server, log: Path) -> None:
    """Until it answers ListBuckets, in whatever words but an error of its own."""
    trust = ssl.create_default_context(cafile=str(server.ca)) if server.ca else None
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(server.endpoint, timeout=5, context=trust).close()
            return
        except urllib.error.HTTPError as answer:
            if answer.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{server.endpoint} did not start:\n{log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
