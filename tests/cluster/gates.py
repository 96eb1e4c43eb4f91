"""Gates: the fault proxy as pods, before each S3 server and between the operator and the API server.

A gate holds, drops, answers or cuts the requests that its rules name, so a test can stop a process
between any two effects of its protocol with nothing in that process made for it.
"""

import base64
import json
import os
import re
import subprocess
import tempfile
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import lab

PROXY = Path(__file__).parent.parent / "proxy.py"
API_GATE = "api-gate"
_CA = "api-gate-ca"
_TLS = "api-gate-tls"
_API_SERVER = "kubernetes.default.svc"
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

Rule = dict[str, Any]


@dataclass(frozen=True)
class Gate:
    """The test's end of a proxy."""

    url: str

    def add(self, *rules: Rule) -> None:
        """After those there are; what none of them names passes."""
        self._ask("PUT", "/rules", [*self._ask("GET", "/rules"), *rules])

    def remove(self, names: set[str]) -> None:
        """The rules of these names, but not what they hold."""
        kept = [rule for rule in self._ask("GET", "/rules") if rule["name"] not in names]
        self._ask("PUT", "/rules", kept)

    def hold(self, match: str, *, name: str = "held", at: str = "request", **more: Any) -> None:
        """Hold every request in whose ``METHOD target`` the expression is found."""
        self.add(holding(name, match, at=at, **more))

    def held(self) -> Counter[str]:
        """How many requests each rule holds."""
        return Counter(held["name"] for held in self._ask("GET", "/held"))

    def wait_held(self, seconds: float = 60, name: str = "held") -> None:
        lab.wait_until(f"a request held as {name}", lambda: self.held()[name], seconds)

    def release(self, how: str = "forward", name: str | None = None) -> None:
        """Let go of what is held, by rules of this name or by all; ``drop`` cuts its connections."""
        self._ask("PUT", "/release", {"how": how, **({"name": name} if name else {})})

    def open(self, how: str = "forward") -> None:
        """No more rules, and let go of what is held."""
        self._ask("DELETE", "/rules")
        self.release(how)

    def log(self, match: str = "") -> list[dict[str, Any]]:
        """The requests in whose ``METHOD target`` the expression is found."""
        return [entry for entry in self._ask("GET", "/log") if re.search(match, entry["request"])]

    def wait_log(self, match: str, count: int = 1, *, status: int | None = 200) -> None:
        """Until so many requests were answered with this status; None: with nothing."""

        def check() -> bool:
            return sum(entry["status"] == status for entry in self.log(match)) >= count

        lab.wait_until(f"{count} answers {status} to {match}", check, 60)

    def forget(self) -> None:
        self._ask("DELETE", "/log")

    def down(self) -> None:
        """Connections are cut, and new ones refused."""
        self._ask("PUT", "/down")

    def up(self) -> None:
        self._ask("PUT", "/up")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


def holding(name: str, match: str, *, at: str = "request", **more: Any) -> Rule:
    return {"name": name, "match": match, "do": {"kind": "hold", "at": at}, **more}


def answering(name: str, match: str, status: int, body: str = "", **more: Any) -> Rule:
    return {
        "name": name,
        "match": match,
        "do": {"kind": "answer", "status": status, "body": body},
        **more,
    }


def deploy(namespace: str, name: str, upstream: str) -> None:
    """A gate to a plain upstream: clients at port 7070, its control at 9000."""
    _deploy(namespace, name, ["--listen=0.0.0.0:7070", f"--upstream=http://{upstream}"], 7070)


def deploy_before_api_server() -> list[dict[str, Any]]:
    """A gate that takes the API server's place for the operator, and for nobody else.

    Returns the patch of the operator's Deployment. The name of the API server leads to the gate, whose
    certificate is of a CA of its own, which stands where the pod looks for the cluster's.
    """
    with tempfile.TemporaryDirectory() as home:
        certificate, key = _certificate(Path(home))
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": _TLS},
            "data": {
                n: base64.b64encode(d.encode()).decode()
                for n, d in (("tls.crt", certificate), ("tls.key", key))
            },
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _CA},
            "data": {"ca.crt": certificate},
        },
        namespace=lab.SYSTEM,
    )
    _deploy(
        *(lab.SYSTEM, API_GATE),
        [
            "--listen=0.0.0.0:7443",
            f"--upstream=https://{_API_SERVER}",
            "--upstream-ca=/cluster/ca.crt",
            "--cert=/tls/tls.crt",
            "--key=/tls/tls.key",
        ],
        7443,
        {
            "tls": {"secret": {"secretName": _TLS}},
            "cluster": {"configMap": {"name": "kube-root-ca.crt"}},
        },
        port=443,
    )
    address = lab.get("--namespace", lab.SYSTEM, "service", API_GATE)["spec"]["clusterIP"]
    token = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": _CA}},
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    pod, container = "/spec/template/spec", "/spec/template/spec/containers/0"
    additions = {
        f"{pod}/automountServiceAccountToken": False,
        f"{pod}/hostAliases": [{"ip": address, "hostnames": [_API_SERVER]}],
        f"{pod}/volumes/-": {"name": "api", "projected": {"sources": token}},
        f"{container}/volumeMounts/-": {"name": "api", "mountPath": _SERVICE_ACCOUNT},
        f"{container}/env/-": {"name": "KUBERNETES_SERVICE_HOST", "value": _API_SERVER},
    }
    return [{"op": "add", "path": path, "value": value} for path, value in additions.items()]


def _certificate(home: Path) -> tuple[str, str]:
    """Its own CA, for the API server's name; valid since long ago, for a client whose clock is late."""
    settings = home / "settings"
    settings.write_text(
        f"[ca]\ndefault_ca=own\n[own]\nnew_certs_dir={home}\ndatabase={home}/index\n"
        f"rand_serial=yes\ndefault_md=sha256\npolicy=any\nx509_extensions=server\n"
        f"[any]\ncommonName=supplied\n[req]\ndistinguished_name=any\n"
        f"[server]\nbasicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n"
        f"keyUsage=critical,keyCertSign,digitalSignature\nsubjectAltName=DNS:{_API_SERVER}\n"
    )
    (home / "index").touch()
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    request = ["-subj", f"/CN={_API_SERVER}", "-keyout", "key", "-out", "request"]
    signing = ["-selfsign", "-batch", "-notext", "-keyfile", "key", "-in", "request"]
    time = ["-startdate", "20200101000000Z", "-enddate", "20491231235959Z", "-out", "certificate"]
    for command in (["req", "-new", *curve, *request], ["ca", *signing, *time]):
        subprocess.run(
            ["openssl", command[0], "-config", settings, *command[1:]],
            check=True,
            cwd=home,
            capture_output=True,
        )
    return (home / "certificate").read_text(), (home / "key").read_text()


def _deploy(
    namespace: str,
    name: str,
    arguments: list[str],
    listen: int,
    volumes: dict[str, dict[str, Any]] | None = None,
    *,
    port: int = 7070,
) -> None:
    mounted = {"gate": {"configMap": {"name": name}}, **(volumes or {})}
    labels = {"app": name}
    container = {
        "name": "gate",
        "image": os.environ["IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/gate/proxy.py", "--control=0.0.0.0:9000", *arguments],
        "volumeMounts": [{"name": volume, "mountPath": f"/{volume}"} for volume in mounted],
        "readinessProbe": {"tcpSocket": {"port": 9000}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "containers": [container],
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": volume, **source} for volume, source in mounted.items()],
    }
    ports = [
        {"name": "clients", "port": port, "targetPort": listen},
        {"name": "control", "port": 9000},
    ]
    metadata = {"name": name}
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"proxy.py": PROXY.read_text()},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": ports},
        },
        namespace=namespace,
    )
    # A pod of before may run an older proxy.
    lab.kubectl("--namespace", namespace, "rollout", "restart", f"deployment/{name}")
    lab.kubectl(
        *("--namespace", namespace, "rollout", "status", f"deployment/{name}", "--timeout=120s"),
        timeout=130,
    )
