"""Kubernetes quantities of bytes.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from decimal import Decimal

_SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18} | {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
}
_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")


def parse_bytes(text: str) -> int:
    """``"64Mi"`` -> 67108864. Raises ValueError for what is not a whole, positive number of bytes."""
    match = _QUANTITY.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity of bytes; write for example 64Mi")
    value = Decimal(match[1]) * _SUFFIXES[match[2] or ""]
    if value != int(value) or value <= 0:
        raise ValueError(f"{text!r} is not a whole, positive number of bytes")
    return int(value)


def format_quantity(count: int) -> str:
    """As Kubernetes writes it: 67108864 -> ``"64Mi"``."""
    for unit in ("", "Ki", "Mi"):
        if count % 1024:
            return f"{count}{unit}"
        count //= 1024
    return f"{count}Gi"


def format_bytes(count: float) -> str:
    """For people: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def number_of(number: int, one: str) -> str:
    """``1 part``, ``20 parts``, ``4 batches``."""
    many = f"{one}es" if one.endswith("h") else f"{one}s"
    return f"{number} {one if number == 1 else many}"
