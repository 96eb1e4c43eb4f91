"""The HTTP proxy on the way to a store, by the environment: what the operator's botocore takes as well."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from multipartcopy.s3.address import Address
from multipartcopy.s3.guard import proxy_url


@dataclass(frozen=True)
class Proxy:
    """``headers`` let us in there."""

    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def find_proxy(address: Address) -> Proxy | None:
    """None where nothing stands between. Raises ValueError, without the URL: it may hold a password."""
    url = proxy_url(address)
    if url is None:
        return None
    variable = f"{address.scheme.upper()}_PROXY"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host = None
    if not host or parts.scheme != "http":
        raise ValueError(
            f"{variable} is not like http://proxy:3128: other proxies are not spoken to"
        )
    if parts.username is None:
        return Proxy(host, port)
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    basic = base64.b64encode(pair.encode()).decode()
    return Proxy(host, port, {"Proxy-Authorization": f"Basic {basic}"})
