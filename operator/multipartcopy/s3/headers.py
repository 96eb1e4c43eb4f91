"""Headers that a Secret may have sent to the server of a URL."""

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = {
    "accept-encoding",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "range",
}
_OF_THE_CONNECTION = {
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""RFC 9110, 7.6.1; the proxies' own begin with ``Proxy-``."""


def request_headers(own: Mapping[str, str]) -> dict[str, str]:
    """Those of every request: what is at the URL, as it is, and for whom; and what the Secret has."""
    named = {} if "user-agent" in map(str.lower, own) else {"User-Agent": "multipartcopy"}
    return {"Accept-Encoding": "identity", **named, **own}


def problem(headers: Mapping[str, str]) -> str | None:
    """Why they cannot be sent as they are: a sentence without any value; None where they can."""
    seen: set[str] = set()
    for name, value in sorted(headers.items()):
        lower = name.lower()
        if not _NAME.fullmatch(name):
            return "a key is not the name of a header"
        if lower in seen:
            return f"{name} is there twice: names of headers are the same in capitals and not"
        if lower in _OURS or lower.startswith("if-"):
            return f"{name} must not be among its keys: the copy itself decides on it"
        if lower in _OF_THE_CONNECTION or lower.startswith("proxy-"):
            return f"{name} must not be among its keys: it is of one connection, not of a request"
        if not value or not value.isascii() or not value.isprintable():
            return f"{name} must be one line of printable ASCII"
        seen.add(lower)
    return None if seen else "it has no key, and each key is to be the name of a header"
