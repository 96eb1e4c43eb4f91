"""Which proxy, by the environment."""

import pytest

from multipartcopy.api.names import PROXY_VARIABLES
from multipartcopy.s3.address import Address
from multipartcopy.worker.proxies import Proxy, find_proxy

HTTPS = Address("https", "s3.example.com", 443, "/b/k")
HTTP = Address("http", "minio.storage.svc", 9000, "/b/k")
BASIC = {"Proxy-Authorization": "Basic bWU6YTpifEA="}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environ", "address", "expected"),
    [
        ({}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, HTTPS, Proxy("proxy", 3128)),
        ({"https_proxy": "http://proxy:3128/"}, HTTPS, Proxy("proxy", 3128)),
        ({"HTTPS_PROXY": "proxy:3128"}, HTTPS, Proxy("proxy", 3128)),
        ({"HTTPS_PROXY": "http://proxy"}, HTTPS, Proxy("proxy", 80)),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, HTTPS, Proxy("::1", 3128)),
        ({"HTTPS_PROXY": "http://me:a%3Ab%7C%40@proxy:1"}, HTTPS, Proxy("proxy", 1, BASIC)),
        ({"HTTPS_PROXY": "http://proxy:3128"}, HTTP, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, HTTP, Proxy("proxy", 3128)),
        ({"HTTP_PROXY": "http://proxy:3128"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "a,s3.example.com"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": ".example.com"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "*"}, HTTPS, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "ample.com"}, HTTPS, Proxy("proxy", 1)),
        ({"HTTP_PROXY": "http://proxy:1", "no_proxy": "svc"}, HTTP, None),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "minio.storage.svc:9000"}, HTTP, None),
        (
            {"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "minio.storage.svc:1"},
            HTTP,
            Proxy("proxy", 1),
        ),
    ],
)
def test_find_proxy(
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    address: Address,
    expected: Proxy | None,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert find_proxy(address) == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://me:secret@proxy:1",
        "socks5://me:secret@proxy",
        "http://me:secret@",
        "http://x:secret",
    ],
)
def test_another_kind_of_proxy_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(ValueError, match="HTTPS_PROXY is not like http://proxy:3128") as caught:
        find_proxy(HTTPS)
    assert "secret" not in str(caught.value)


def test_a_proxy_does_not_show_its_password() -> None:
    assert "bWU6" not in repr(Proxy("proxy", 1, BASIC))
