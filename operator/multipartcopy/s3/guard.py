"""Which endpoints are spoken to: who may create a copy must not reach by it what is reachable from us alone.

A name is judged by the address that is about to be connected to, so that it cannot be one at the time of
the check and another afterwards. By way of an HTTP proxy, only the name is known: there the proxy judges.
"""

import fnmatch
import os
import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from multipartcopy.s3.address import Address

    Network = IPv4Network | IPv6Network

_REFUSED = {
    kind: tuple(map(ip_network, networks))
    for kind, networks in {
        "a loopback address": ("127.0.0.0/8", "::1/128"),
        "an unspecified address": ("0.0.0.0/8", "::/128"),
        "a link-local address, where clouds keep credentials": ("169.254.0.0/16", "fe80::/10"),
        # AWS (IMDS, EKS Pod Identity), Google Cloud, Alibaba Cloud, Oracle Cloud, Azure.
        "a metadata address of a cloud": (
            *("fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32"),
            *("192.0.0.192/32", "168.63.129.16/32"),
        ),
        "a multicast address": ("224.0.0.0/4", "ff00::/8"),
        "a broadcast address": ("255.255.255.255/32",),
    }.items()
}
_REFUSED_NAMES = (
    "localhost",
    "*.localhost",
    "metadata.google.internal",
    "instance-data.ec2.internal",
)
_EMBEDDING = {
    96: (IPv6Network("64:ff9b::/96"), IPv6Network("::/96")),
    16: (IPv6Network("2002::/16"),),
}
"""IPv4 addresses in IPv6, by the bit at which they begin: RFC 6052, 4291 and 3056."""


class EndpointRefusedError(Exception):
    """Nothing was sent there."""


@dataclass(frozen=True)
class Guard:
    """What is allowed: hosts by pattern, addresses by network. Without either, all but what is dangerous.

    A dangerous address is allowed only by a network of such addresses, never by a name or a wider network.
    """

    patterns: tuple[str, ...] = ()
    networks: tuple["Network", ...] = ()

    def check_name(self, host: str, *, proxied: bool = False) -> None:
        """As far as it can be told without asking the DNS. Raises EndpointRefusedError."""
        host = host.strip("[]").rstrip(".").lower()
        address = _literal(host)
        if address is not None:
            self.check_address(host, str(address))
        elif proxied and _matches(host, _REFUSED_NAMES):
            raise _refused(f"{host} is a name of the proxy's own machine or network")
        elif proxied and (self.patterns or self.networks) and not _matches(host, self.patterns):
            raise _refused(f"{host} is not among the endpoints that are allowed")

    def check_address(self, host: str, address: str) -> None:
        """``address`` is about to be connected to. Raises EndpointRefusedError."""
        ip = ip_address(address.partition("%")[0])
        host = host.strip("[]").rstrip(".").lower()
        where = host if host == str(ip) else f"{host}, which is {ip},"
        for meant in _meant(ip):
            for kind, networks in _REFUSED.items():
                for network in networks:
                    if meant in network and not self._allows_within(meant, network):
                        raise _refused(f"{where} is {kind}")
        listed = bool(self.patterns or self.networks)
        if listed and not _matches(host, self.patterns) and not any(ip in n for n in self.networks):
            raise _refused(f"{where} is not among the endpoints that are allowed")

    def _allows_within(self, ip: IPv4Address | IPv6Address, refused: "Network") -> bool:
        return any(
            ip in allowed
            and allowed.version == refused.version
            and allowed.prefixlen >= refused.prefixlen
            for allowed in self.networks
        )


def parse_guard(text: str) -> Guard:
    """From ``*.amazonaws.com,10.0.0.0/8``. Raises ValueError."""
    patterns: list[str] = []
    networks: list[Network] = []
    for word in text.replace(",", " ").split():
        try:
            networks.append(ip_network(word.strip("[]"), strict=False))
        except ValueError:
            if not re.fullmatch(r"[a-z0-9*]([a-z0-9*._-]*[a-z0-9*])?", word.lower()):
                message = f"{word!r} is neither like *.example.com nor like 10.0.0.0/8"
                raise ValueError(message) from None
            patterns.append(word.lower())
    return Guard(tuple(patterns), tuple(networks))


def is_proxied(address: "Address") -> bool:
    """Whether the environment names an HTTP proxy on the way there."""
    return proxy_url(address) is not None


def proxy_url(address: "Address") -> str | None:
    """The HTTP proxy that the environment names on the way there."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    # Only here: it takes some 10 ms of the start of a worker.
    from urllib.request import getproxies, proxy_bypass

    url = getproxies().get(address.scheme)
    return url if url and not proxy_bypass(address.authority) else None


def _matches(host: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(host, pattern) for pattern in patterns)


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """An address, also as C libraries write it: 127.1, 0x7f000001."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    if not re.fullmatch(r"[0-9a-fx.]+", host):
        return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _meant(ip: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address, and the IPv4 address that is written inside of it."""
    meant = [ip]
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped:
            meant.append(ip.ipv4_mapped)
        for start, networks in _EMBEDDING.items():
            if any(ip in network for network in networks) and int(ip) > 1:
                meant.append(IPv4Address(int(ip) >> (96 - start) & 0xFFFFFFFF))
    return meant


def _refused(why: str) -> EndpointRefusedError:
    return EndpointRefusedError(
        f"{why}; whoever runs the operator can allow it by --allow-endpoints"
    )
