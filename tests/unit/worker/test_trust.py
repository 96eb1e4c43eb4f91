"""Whom a worker believes over TLS: whoever the operator believes, and nobody else."""

import ssl
import subprocess
from pathlib import Path

import pytest
from botocore.httpsession import create_urllib3_context

from multipartcopy.s3.address import Address
from multipartcopy.worker import http

ADDRESS = Address("https", "store.example", 443, "/b/k")
SINCE_3_13 = ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT


@pytest.fixture(params=["as it is", "as since Python 3.13"], autouse=True)
def default_context(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run with an older Python than the image's."""
    make = ssl.create_default_context

    def stricter(**arguments: str) -> ssl.SSLContext:
        context = make(**arguments)  # type: ignore[arg-type]
        context.verify_flags |= SINCE_3_13
        return context

    if request.param != "as it is":
        monkeypatch.setattr(ssl, "create_default_context", stricter)
    http._public_context.cache_clear()


def openssl(home: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=home, check=True, capture_output=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca.crt`` as a private authority is often made, without a key usage; ``server.crt`` by it; ``other.crt``."""
    home = tmp_path_factory.mktemp("authority")
    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    (home / "empty.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    (home / "names").write_text("subjectAltName = DNS:store.example\n")
    plain = ["-config", "empty.cnf", "-addext", "basicConstraints = critical,CA:TRUE"]
    for name in ("ca", "other"):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        openssl(home, *new, "-x509", "-days", "2", *plain, "-subj", f"/CN={name}", *files)
    openssl(home, *new, "-subj", "/CN=s", "-keyout", "server.key", "-out", "server.csr")
    by = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
    openssl(home, "x509", "-req", "-in", "server.csr", *by, "-days", "2", "-out", "server.crt")
    return home


def shake_hands(client: ssl.SSLContext, home: Path, name: str = "store.example") -> None:
    """In memory. Raises what the client says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "server.crt", home / "server.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ours.cipher()


def of_a_worker(home: Path, authority: str, tmp_path: Path) -> ssl.SSLContext:
    (tmp_path / "ca.crt").write_bytes((home / authority).read_bytes())
    context = http.tls_context(ADDRESS, tmp_path)
    assert context
    return context


def of_the_operator(home: Path, authority: str) -> ssl.SSLContext:
    context = create_urllib3_context()
    context.check_hostname = True
    context.load_verify_locations(home / authority)
    return context


def test_an_authority_without_the_extensions_of_rfc_5280(home: Path, tmp_path: Path) -> None:
    shake_hands(of_the_operator(home, "ca.crt"), home)
    shake_hands(of_a_worker(home, "ca.crt", tmp_path), home)


@pytest.mark.parametrize(
    ("authority", "name"),
    [("other.crt", "store.example"), ("ca.crt", "other.example"), ("server.crt", "store.example")],
    ids=["of another", "another name", "no root"],
)
def test_who_is_not_believed(home: Path, tmp_path: Path, authority: str, name: str) -> None:
    for context in (of_the_operator(home, authority), of_a_worker(home, authority, tmp_path)):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(context, home, name)


def test_the_public_authorities_are_held_to_the_same(tmp_path: Path) -> None:
    context = http.tls_context(ADDRESS, tmp_path)
    assert context
    assert context.verify_flags == create_urllib3_context().verify_flags
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
