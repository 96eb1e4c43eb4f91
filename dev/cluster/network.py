"""The node's network: a bridge without ports that carries the node's address.

The control plane listens on that address alone, so nothing of the cluster can be reached from
another machine. Each pod hangs on a link of its own (CNI's ptp plugin): every packet is routed,
which needs no bridge filtering in the kernel. The range of Services is routed to the bridge, where
a packet that kube-proxy did not rewrite goes nowhere; a table of our own refuses what pods send to
anything but this machine.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from dev.cluster.console import run
from dev.cluster.paths import DATA

BRIDGE = "mpc0"
NODE_ADDRESS = "10.244.255.1"
CLUSTER_RANGE = "10.244.0.0/16"
POD_RANGE = "10.244.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"

_TABLE = f"""
table ip multipartcopy
delete table ip multipartcopy
table ip multipartcopy {{
    chain forward {{
        type filter hook forward priority filter;
        ip saddr {CLUSTER_RANGE} ip daddr != {{ {CLUSTER_RANGE}, {SERVICE_RANGE} }} reject
    }}
}}
"""
_TABLES = (("ip", "multipartcopy"), ("ip", "kube-proxy"), ("ip6", "kube-proxy"))

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def up() -> None:
    if not _bridge_exists():
        run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "replace", f"{NODE_ADDRESS}/32", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    run("ip", "route", "replace", SERVICE_RANGE, "dev", BRIDGE, "src", NODE_ADDRESS)
    run("nft", "-f", "-", input=_TABLE)
    before = _forwarding_before()
    if not before.exists():
        before.parent.mkdir(parents=True, exist_ok=True)
        before.write_text(_FORWARDING.read_text())
    _FORWARDING.write_text("1")


def down() -> None:
    """Remove the links, routes and tables, and forward packets as the machine did before."""
    if _bridge_exists():
        run("ip", "link", "delete", BRIDGE)  # its routes go with it
    for link in _pod_links():
        run("ip", "link", "delete", link, check=False)
    for family, table in _TABLES:
        run("nft", "delete", "table", family, table, check=False)
    if _forwarding_before().exists():
        _FORWARDING.write_text(_forwarding_before().read_text())


def dns_answers() -> bool:
    """Whether the cluster's DNS, asked through its Service, knows the API server's name."""
    labels = b"kubernetes.default.svc.cluster.local".split(b".")
    name = b"".join(bytes([len(label)]) + label for label in labels)
    question = name + b"\0\0\1\0\1"  # an address (type A) of the Internet (class IN)
    header = b"mp\1\0\0\1\0\0\0\0\0\0"  # an id, recursion desired, one question
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        try:
            client.connect((DNS_SERVICE_ADDRESS, 53))
            client.send(header + question)
            return client.recv(512).endswith(socket.inet_aton(API_SERVICE_ADDRESS))
        except OSError:
            return False


def leftovers() -> list[str]:
    left = [f"interface {link}" for link in _pod_links()]  # a route goes with its interface
    left += [f"interface {BRIDGE}"] * _bridge_exists()
    tables = run("nft", "list", "tables").splitlines()
    return left + [t for t in tables if tuple(t.split()[1:]) in _TABLES]


def _pod_links() -> list[str]:
    """The host's ends of the pods' links: those that a pod's address is routed to."""
    routes = json.loads(run("ip", "-json", "route", "show", "root", POD_RANGE) or "[]")
    return sorted({route["dev"] for route in routes if route["dev"].startswith("veth")})


def _bridge_exists() -> bool:
    return Path("/sys/class/net", BRIDGE).exists()


def _forwarding_before() -> Path:
    return DATA / "ip_forward-before"
