"""A real API server, named by KUBECONFIG. It gets the definition, and a namespace for each session."""

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.apiserver.kubectl import CRD, Kubectl


@pytest.fixture(scope="session")
def cluster() -> Kubectl:
    """With the definition in force."""
    if "KUBECONFIG" not in os.environ:
        pytest.fail(
            "set KUBECONFIG to a cluster for tests; `python3 -m dev.cluster up` makes one",
            pytrace=False,
        )
    kubectl = Kubectl()
    kubectl("apply", "-f", CRD)
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", CRD)
    return kubectl


@pytest.fixture(scope="session")
def kubectl(cluster: Kubectl) -> Iterator[Kubectl]:
    """In a namespace of its own, where nobody else writes status."""
    operators = ("--selector=app.kubernetes.io/name=multipartcopy", "--output=name")
    if running := cluster("get", "pods", "--all-namespaces", *operators):
        pytest.fail(f"an operator would interfere, remove it first: {running}", pytrace=False)
    namespace = f"mpc-apiserver-{uuid.uuid4().hex[:8]}"
    cluster("create", "namespace", namespace)
    yield Kubectl(namespace)
    cluster("delete", "namespace", namespace, "--wait=false")
