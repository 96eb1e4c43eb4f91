"""The installation and its components, as kustomize builds them."""

import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pages import blocks

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
COMPONENTS = MANIFESTS / "components"
FLUX = MANIFESTS / "samples/flux"
OURS = ("namespaced", "monitoring", "network-policy")
"""Those of our installation; that of Argo CD is of Argo CD's."""

Object = dict[str, Any]
Kustomize = Callable[[Path], list[Object]]
Ask = Callable[[str, list[Object]], list[dict[str, str]]]
MONITORING = "monitoring.coreos.com/v1"


def overlay(directory: Path, *components: str, **more: Any) -> Path:
    """A kustomization as a user would write it."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(MANIFESTS, directory)],
        "components": [os.path.relpath(COMPONENTS / name, directory) for name in components],
        **more,
    }
    (directory / "kustomization.yaml").write_text(json.dumps(kustomization))
    return directory


def kinds(objects: list[Object]) -> list[str]:
    return sorted(one["kind"] for one in objects)


def one(objects: list[Object], kind: str) -> Object:
    (found,) = [candidate for candidate in objects if candidate["kind"] == kind]
    return found


def test_all_of_them_are_tried() -> None:
    assert {path.name for path in COMPONENTS.iterdir()} == {*OURS, "argocd"}


@pytest.mark.parametrize(
    "chosen",
    [c for n in range(len(OURS) + 1) for c in itertools.combinations(OURS, n)],
    ids=lambda chosen: "+".join(chosen) or "base",
)
def test_they_go_together(kustomize: Kustomize, tmp_path: Path, chosen: tuple[str, ...]) -> None:
    """Under another name, in another namespace; and nothing is left of those of the base."""
    made = kustomize(overlay(tmp_path, *chosen, namespace="elsewhere", namePrefix="my-"))
    cluster = {"CustomResourceDefinition", "Namespace", "ClusterRole", "ClusterRoleBinding"}
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in made]
    assert len(set(names)) == len(names)
    for item in made:
        assert item["kind"] in cluster or item["metadata"]["namespace"] == "elsewhere"
    for binding in (o for o in made if o["kind"].endswith("Binding")):
        role = (binding["roleRef"]["kind"], binding["roleRef"]["name"])
        assert role in {(kind, name) for kind, _, name in names}
        (subject,) = binding["subjects"]
        account = one(made, "ServiceAccount")["metadata"]
        assert (subject["name"], subject["namespace"]) == (account["name"], "elsewhere")
    assert "multipartcopy-system" not in json.dumps(made)


def test_a_namespaced_installation_takes_no_rights_in_the_cluster(
    kustomize: Kustomize, tmp_path: Path
) -> None:
    made = kustomize(overlay(tmp_path, "namespaced", namespace="team-a"))
    assert kinds(made) == ["Deployment", "Role", "RoleBinding", "ServiceAccount"]
    template = one(made, "Deployment")["spec"]["template"]["spec"]
    assert template["containers"][0]["args"] == ["operator", "--namespace=$(POD_NAMESPACE)"]
    base = [o for o in kustomize(MANIFESTS) if o["kind"] == "ClusterRole"]
    (rules,) = [o["rules"] for o in base if o["metadata"]["name"] == "multipartcopy-operator"]
    in_namespace = [r for r in rules if "customresourcedefinitions" not in r["resources"]]
    assert one(made, "Role")["rules"] == in_namespace
    assert len(rules) == len(in_namespace) + 1


def test_the_role_goes_alone_into_another_namespace(kustomize: Kustomize, tmp_path: Path) -> None:
    """For an operator of two; its account stays where it is."""
    role = os.path.relpath(COMPONENTS / "namespaced/role", tmp_path)
    (tmp_path / "kustomization.yaml").write_text(
        json.dumps({"resources": [role], "namespace": "team-b"})
    )
    made = kustomize(tmp_path)
    assert kinds(made) == ["Role", "RoleBinding"]
    assert {o["metadata"]["namespace"] for o in made} == {"team-b"}
    (subject,) = one(made, "RoleBinding")["subjects"]
    assert subject["namespace"] == "multipartcopy-system"


def shown() -> list[Any]:
    """The kustomizations of the pages that take something of ours; ``../multipartcopy`` is the checkout."""
    return [
        pytest.param(document, id=str(block))
        for block in blocks("yaml", "sh")
        for text in re.findall(
            r"^(?:apiVersion: kustomize\.config|resources:).*?(?=^END$|\Z)", block.text, re.M | re.S
        )
        for document in yaml.safe_load_all(text)
        if any("manifests" in path for path in document["resources"])
    ]


@pytest.mark.parametrize("written", shown())
def test_what_the_pages_show_is_built(
    kustomize: Kustomize, tmp_path: Path, written: Object
) -> None:
    """Beside a checkout, as they say; the operator's image is one that can be pulled."""
    checkout = os.path.relpath(ROOT, tmp_path / "install")
    (tmp_path / "install").mkdir()
    text = json.dumps(written).replace("../multipartcopy/", f"{checkout}/")
    (tmp_path / "install/kustomization.yaml").write_text(text)
    made = kustomize(tmp_path / "install")
    assert made
    for deployment in (o for o in made if o["kind"] == "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"].startswith("registry.example.org/")


def test_the_pages_show_kustomizations() -> None:
    pages = {Path(str(one.id).partition(":")[0]).name for one in shown()}
    assert pages >= {"gitops.md", "operations.md", "metrics.md"}


def test_the_prometheus_operator_knows_every_field(
    kustomize: Kustomize, gitops: Ask, tmp_path: Path
) -> None:
    made = kustomize(overlay(tmp_path, "monitoring"))
    theirs = [o for o in made if o["apiVersion"] == MONITORING]
    assert kinds(theirs) == ["PodMonitor", "PrometheusRule"]
    wrong = {**theirs[0], "spec": {**theirs[0]["spec"], "invented": 1}}
    assert gitops("decode", [*theirs, wrong])[:2] == [{}, {}]
    assert "invented" in gitops("decode", [wrong])[0]["error"]


def test_what_is_monitored_is_the_operators_pod(kustomize: Kustomize, tmp_path: Path) -> None:
    """The labels and the port by which it is found are those that it has."""
    made = kustomize(overlay(tmp_path, "monitoring", "network-policy"))
    template = one(made, "Deployment")["spec"]["template"]
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    monitor, policy = one(made, "PodMonitor")["spec"], one(made, "NetworkPolicy")["spec"]
    assert monitor["selector"] == policy["podSelector"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert monitor["podMetricsEndpoints"][0]["port"] in ports
    assert policy["ingress"][0]["ports"][0]["port"] in ports


def test_the_dashboard_is_found_by_grafanas_sidecar(kustomize: Kustomize, tmp_path: Path) -> None:
    made = one(kustomize(overlay(tmp_path, "monitoring")), "ConfigMap")
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    # Flux applies nothing without one.
    assert made["metadata"]["namespace"] == "multipartcopy-system"
    assert json.loads(made["data"]["multipartcopy.json"])["title"] == "MultipartCopy"


def test_the_component_of_argo_cd_adds_to_its_configuration(
    kustomize: Kustomize, tmp_path: Path
) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}},
        "data": {"admin.enabled": "false"},
    }
    (tmp_path / "argocd-cm.yaml").write_text(json.dumps(config))
    overlay(tmp_path, "argocd", resources=["argocd-cm.yaml"])
    (made,) = kustomize(tmp_path)
    assert made["metadata"] == {**config["metadata"], "name": "argocd-cm"}
    assert made["data"].pop("admin.enabled") == "false"
    where = COMPONENTS / "argocd/resource_customizations/multipartcopy.dev/MultipartCopy"
    key = "resource.customizations.{}.multipartcopy.dev_MultipartCopy"
    assert made["data"].pop(key.format("health")) == (where / "health.lua").read_text()
    actions = yaml.safe_load(made["data"].pop(key.format("actions")))
    names = {"suspend", "resume", "retry", "terminate"}
    assert {a["name"] for a in actions["definitions"]} == names
    assert made["data"] == {}


def test_the_sample_for_flux(kustomize: Kustomize, gitops: Ask) -> None:
    """By Flux's own type; what it waits for is what its path makes."""
    (flux,) = yaml.safe_load_all((FLUX / "flux-kustomization.yaml").read_text())
    (operators,) = (
        document
        for block in blocks("yaml")
        for document in yaml.safe_load_all(block.text)
        if isinstance(document, dict) and document.get("apiVersion") == flux["apiVersion"]
    )
    assert gitops("decode", [flux, operators]) == [{}, {}]
    assert flux["spec"]["dependsOn"] == [{"name": operators["metadata"]["name"]}]
    made = kustomize(FLUX / "copies")
    namespace = flux["spec"]["targetNamespace"]
    copies = [
        {
            "apiVersion": o["apiVersion"],
            "kind": o["kind"],
            "name": o["metadata"]["name"],
            "namespace": namespace,
        }
        for o in made
        if o["kind"] == "MultipartCopy"
    ]
    assert flux["spec"]["healthChecks"] == copies
