"""The components of the installation, as a real API server takes them; and an operator with a Role alone."""

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.apiserver.kubectl import ROOT, Kubectl
from tests.apiserver.samples import manifest
from tests.apiserver.test_manifests import MAY, MAY_NOT, may

COMPONENTS = ROOT / "manifests/components"


def overlay(directory: Path, namespace: str, *components: str) -> Path:
    directory = directory.resolve()
    kustomization = {
        "resources": [os.path.relpath(ROOT / "manifests", directory)],
        "components": [os.path.relpath(COMPONENTS / name, directory) for name in components],
        "namespace": namespace,
        "replicas": [{"name": "multipartcopy-operator", "count": 0}],
    }
    (directory / "kustomization.yaml").write_text(json.dumps(kustomization))
    return directory


@pytest.fixture(scope="module")
def team(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """A namespace with the operator's Role in it; its Deployment has no pod."""
    name = f"mpc-team-{uuid.uuid4().hex[:8]}"
    cluster("create", "namespace", name)
    cluster("apply", "--kustomize", overlay(tmp_path_factory.mktemp("team"), name, "namespaced"))
    yield Kubectl(name)
    cluster("delete", "namespace", name, "--wait=false")


def user(team: Kubectl) -> str:
    return f"system:serviceaccount:{team.namespace}:multipartcopy-operator"


@pytest.mark.parametrize("component", ["network-policy", "monitoring"])
def test_what_others_do_not_define_is_accepted(
    cluster: Kubectl, kubectl: Kubectl, tmp_path: Path, component: str
) -> None:
    assert kubectl.namespace
    text = cluster("kustomize", overlay(tmp_path, kubectl.namespace, "namespaced", component))
    items = [o for o in yaml.safe_load_all(text) if "coreos.com" not in o["apiVersion"]]
    everything = {"apiVersion": "v1", "kind": "List", "items": items}
    cluster("apply", "--server-side", "--dry-run=server", "-f-", stdin=everything)


def test_the_policy_for_workers_is_accepted(kubectl: Kubectl) -> None:
    policy = COMPONENTS / "network-policy/workers"
    kubectl("apply", "--server-side", "--dry-run=server", "-k", policy)


def test_the_role_takes_an_administrator_once(cluster: Kubectl, tmp_path: Path) -> None:
    """Whoever has no more than `admin` in a namespace can change everything but the Role from then on."""
    name = f"mpc-granted-{uuid.uuid4().hex[:8]}"
    cluster("create", "namespace", name)
    team = Kubectl(name)
    team("create", "rolebinding", "admin", "--clusterrole=admin", "--user=somebody")
    install = ("apply", "--kustomize", overlay(tmp_path, name, "namespaced"))
    try:
        assert "attempting to grant RBAC permissions" in cluster.refused(*install, "--as=somebody")
        cluster(*install)
        cluster(*install, "--as=somebody")
        team("set", "env", "deployment/multipartcopy-operator", "A=b", "--as=somebody")
        cluster("delete", "--kustomize", tmp_path, "--as=somebody")
    finally:
        cluster("delete", "namespace", name, "--wait=false")


def test_the_role_alone_lets_the_operator_into_another_namespace(
    team: Kubectl, kubectl: Kubectl, tmp_path: Path
) -> None:
    assert not may(kubectl, user(team), MAY[0])
    role = os.path.relpath(COMPONENTS / "namespaced/role", tmp_path.resolve())
    account = {"op": "replace", "path": "/subjects/0/namespace", "value": team.namespace}
    patch = {"target": {"kind": "RoleBinding"}, "patch": json.dumps([account])}
    kustomization = {"resources": [role], "namespace": kubectl.namespace, "patches": [patch]}
    (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
    kubectl("apply", "--kustomize", tmp_path)
    try:
        assert all(may(kubectl, user(team), r) for r in MAY if "definitions" not in r)
    finally:
        kubectl("delete", "--kustomize", tmp_path)


@pytest.mark.parametrize("request_", [r for r in MAY if "definitions" not in r])
def test_with_a_role_it_may_in_its_namespace_and_in_no_other(team: Kubectl, request_: str) -> None:
    assert may(team, user(team), request_)
    assert not may(Kubectl("default"), user(team), request_)


@pytest.mark.parametrize("request_", [*MAY_NOT, *(r for r in MAY if "definitions" in r)])
def test_with_a_role_it_may_not(team: Kubectl, request_: str) -> None:
    assert not may(team, user(team), request_)


def test_an_operator_with_a_role_alone_works_in_its_namespace(
    cluster: Kubectl, team: Kubectl, kubectl: Kubectl, tmp_path: Path
) -> None:
    """The program itself, with the token of its service account, and a copy whose Secret is not there."""
    mine = team.create(manifest())["metadata"]["name"]
    others = kubectl.create(manifest())["metadata"]["name"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        liveness = f"--liveness=http://127.0.0.1:{free.getsockname()[1]}/healthz"
    log = tmp_path / "log"
    with begun(cluster, team, "multipartcopy-operator", log, liveness) as operator:
        reason = "--for=jsonpath={.status.conditions[0].reason}=SecretNotFound"
        team("wait", f"mpc/{mine}", reason, "--timeout=50s")
        assert kubectl.get(others)["status"] == {"observedGeneration": -1}
        assert "SecretNotFound" in team("get", "events", "--output=jsonpath={.items[*].reason}")
        team("delete", "mpc", mine, "--timeout=50s")
        assert operator.poll() is None
    for complaint in ("forbidden", "Not enough permissions"):
        assert complaint not in log.read_text()


def test_an_operator_without_rights_says_what_it_cannot_do(
    cluster: Kubectl, team: Kubectl, tmp_path: Path
) -> None:
    team("create", "serviceaccount", "nobody")
    log = tmp_path / "log"
    with begun(cluster, team, "nobody", log) as operator:
        assert operator.wait(60) == 1
    assert f"cannot list the MultipartCopies of namespace {team.namespace}" in log.read_text()


@contextmanager
def begun(
    cluster: Kubectl, team: Kubectl, account: str, log: Path, *flags: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The operator as a process, for one namespace, with the rights of a service account in it."""
    view = ("config", "view", "--raw", "--minify", "--flatten", "--output=json")
    config = json.loads(cluster(*view))
    config["users"][0]["user"] = {"token": team("create", "token", account).strip()}
    kubeconfig = log.with_name("kubeconfig")
    kubeconfig.write_text(json.dumps(config))
    command = [sys.executable, "-m", "multipartcopy", "operator", f"--namespace={team.namespace}"]
    operator_path = str(ROOT / "operator")
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": operator_path}
    with log.open("w") as out:
        operator = subprocess.Popen(
            [*command, "--worker-image=none", "--metrics=", *flags],
            env=environment,
            stdout=out,
            stderr=out,
        )
    try:
        yield operator
    finally:
        operator.terminate()
        operator.wait(60)
