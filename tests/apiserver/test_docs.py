"""What the documentation tells people to apply, an API server accepts, by its schema and its rules."""

from typing import Any

import pytest

from tests.apiserver.kubectl import Kubectl
from tests.pages import Block, blocks, copies, manifests

BUILT_IN = ("v1", "apps/v1", "batch/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1")


def others() -> list[tuple[Block, dict[str, Any]]]:
    """Of the kinds that every cluster has."""
    return [
        (block, document)
        for block in blocks("yaml")
        for document in manifests(block)
        if isinstance(document, dict) and document.get("apiVersion") in BUILT_IN
    ]


SHOWN = [*copies(), *others()]


@pytest.mark.parametrize("document", [d for _, d in SHOWN], ids=[str(block) for block, _ in SHOWN])
def test_it_is_accepted(kubectl: Kubectl, document: dict[str, Any]) -> None:
    """In the namespace of the tests, whatever it says of its own."""
    document["metadata"].pop("namespace", None)
    verb = "create" if "generateName" in document["metadata"] else "apply"
    kubectl(verb, "--dry-run=server", "--validate=strict", "-f-", stdin=document)
