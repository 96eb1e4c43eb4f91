"""`kubectl apply -k manifests/`, and what the operator may then do and may not."""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.apiserver.kubectl import ROOT, Kubectl

MANIFESTS = ROOT / "manifests"


@dataclass(frozen=True)
class Installation:
    """An overlay, applied: other names, another image, and nothing that runs."""

    namespace: str
    user: str


@pytest.fixture(scope="module")
def installation(
    cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    name = f"mpc-install-{uuid.uuid4().hex[:8]}"
    overlay = tmp_path_factory.mktemp("overlay").resolve()
    kustomization = {
        "resources": [os.path.relpath(MANIFESTS, overlay)],
        "namespace": name,
        "namePrefix": f"{name}-",
        "images": [{"name": "multipartcopy", "newName": "registry.test/mpc", "newTag": "v1"}],
        "replicas": [{"name": "multipartcopy-operator", "count": 0}],
    }
    (overlay / "kustomization.yaml").write_text(json.dumps(kustomization))
    cluster("apply", "--kustomize", overlay)
    yield Installation(name, f"system:serviceaccount:{name}:{name}-multipartcopy-operator")
    ours = [d for d in rendered(cluster, overlay) if d["kind"] != "CustomResourceDefinition"]
    cluster(
        "delete", "--wait=false", "-f-", stdin={"kind": "List", "apiVersion": "v1", "items": ours}
    )


def rendered(cluster: Kubectl, directory: Path) -> list[dict[str, object]]:
    return list(yaml.safe_load_all(cluster("kustomize", directory)))


def test_the_base_is_accepted(cluster: Kubectl) -> None:
    namespace = MANIFESTS / "namespace.yaml"
    cluster("apply", "-f", namespace)
    text = cluster("apply", "--kustomize", MANIFESTS, "--dry-run=server")
    assert "deployment.apps/multipartcopy-operator" in text


def test_an_overlay_sets_the_image(cluster: Kubectl, installation: Installation) -> None:
    path = "--output=jsonpath={.items[*].spec.template.spec.containers[*].image}"
    image = Kubectl(installation.namespace)("get", "deployments", path)
    assert image == "registry.test/mpc:v1"


def test_its_namespace_takes_the_pod(cluster: Kubectl, installation: Installation) -> None:
    """Pod Security at the level that the namespace enforces."""
    there = Kubectl(installation.namespace)
    (deployment,) = json.loads(there("get", "deployments", "--output=json"))["items"]
    spec = deployment["spec"]["template"]["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "try"}, "spec": spec}
    create = ("create", "--dry-run=server", "-f-")
    there(*create, stdin=pod)
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert "violates PodSecurity" in there.refused(*create, stdin=pod)


MAY = [
    *(f"{verb} multipartcopies" for verb in ("get", "list", "watch", "patch", "delete")),
    "patch multipartcopies/status",
    "update multipartcopies/finalizers",
    *(f"{verb} jobs" for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *(f"{verb} pods" for verb in ("get", "list", "watch")),
    "get secrets",
    *(f"{verb} events" for verb in ("create", "list")),
    *(f"{verb} customresourcedefinitions" for verb in ("list", "watch")),
]
MAY_NOT = [
    *(f"{verb} multipartcopies" for verb in ("create", "update", "deletecollection")),
    "update multipartcopies/status",
    *(f"{verb} jobs" for verb in ("update", "deletecollection")),
    *(f"{verb} pods" for verb in ("create", "delete", "patch")),
    *(f"create pods/{what}" for what in ("exec", "attach", "portforward", "eviction")),
    "get pods/log",
    *(f"{verb} secrets" for verb in ("list", "watch", "create", "update", "patch", "delete")),
    *(f"{verb} events" for verb in ("delete", "patch")),
    *(f"{verb} configmaps" for verb in ("get", "list", "create")),
    *(f"{verb} namespaces" for verb in ("get", "list", "delete")),
    *(f"{verb} customresourcedefinitions" for verb in ("create", "patch", "delete")),
    *(f"{verb} serviceaccounts" for verb in ("create", "impersonate")),
    "create serviceaccounts/token",
    *(f"{verb} clusterroles" for verb in ("create", "bind", "escalate")),
    "list nodes",
]


@pytest.mark.parametrize("request_", MAY)
def test_the_operator_may(cluster: Kubectl, installation: Installation, request_: str) -> None:
    assert may(cluster, installation.user, request_)


@pytest.mark.parametrize("request_", MAY_NOT)
def test_the_operator_may_not(cluster: Kubectl, installation: Installation, request_: str) -> None:
    assert not may(cluster, installation.user, request_)


def may(cluster: Kubectl, user: str, request_: str) -> bool:
    verb, _, resource = request_.partition(" ")
    resource, _, subresource = resource.partition("/")
    options = [f"--subresource={subresource}"] if subresource else []
    return cluster.may(verb, resource, user, *options)
