"""The cluster's certificates and the kubeconfigs that carry them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from dev.cluster.console import run
from dev.cluster.network import API_SERVICE_ADDRESS, NODE_ADDRESS
from dev.cluster.paths import CONFIG, KUBECONFIG, PKI

NODE = "multipartcopy"
API_SERVER = f"https://{NODE_ADDRESS}:6443"

_DAYS = "3650"
_API_SERVER_NAMES = (
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,"
    "DNS:kubernetes.default.svc.cluster.local,"
    f"IP:{NODE_ADDRESS},IP:{API_SERVICE_ADDRESS}"
)
_CLIENTS = {
    # the file's name: the subject, which RBAC reads as user (CN) and group (O)
    "admin": "/O=system:masters/CN=admin",
    "etcd-client": "/CN=etcd-client",
    "kubelet-client": "/O=system:masters/CN=kube-apiserver-kubelet-client",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE}",
}


def kubeconfig_of(component: str) -> Path:
    return KUBECONFIG if component == "admin" else CONFIG / f"{component}.kubeconfig"


def create() -> None:
    """Make whatever is missing; the admin's kubeconfig comes last and marks the set as whole."""
    if KUBECONFIG.exists():
        return
    PKI.mkdir(mode=0o700, parents=True, exist_ok=True)
    CONFIG.mkdir(mode=0o700, parents=True, exist_ok=True)
    (PKI / "openssl.cnf").write_text("[req]\ndistinguished_name = subject\n[subject]\n")
    _certificate(
        "ca", "/CN=multipartcopy-dev", "CA:TRUE", "keyUsage=critical,keyCertSign,digitalSignature"
    )
    _signed("apiserver", "/CN=kube-apiserver", "serverAuth", f"subjectAltName={_API_SERVER_NAMES}")
    _signed("kubelet-server", f"/CN={NODE}", "serverAuth", f"subjectAltName=IP:{NODE_ADDRESS}")
    _signed("etcd", "/CN=etcd", "serverAuth", "subjectAltName=IP:127.0.0.1")
    for name, subject in _CLIENTS.items():
        _signed(name, subject, "clientAuth")
    run("openssl", "genrsa", "-out", PKI / "service-account.key", "2048")
    for name in sorted(_CLIENTS, key="admin".__eq__):
        if not name.endswith("-client"):
            _kubeconfig(name)


def _signed(name: str, subject: str, usage: str, *extensions: str) -> None:
    issuer = ("-CA", str(PKI / "ca.crt"), "-CAkey", str(PKI / "ca.key"))
    _certificate(
        name, subject, "CA:FALSE", f"extendedKeyUsage={usage}", *extensions, options=issuer
    )


def _certificate(
    name: str, subject: str, constraints: str, *extensions: str, options: tuple[str, ...] = ()
) -> None:
    added = (f"basicConstraints=critical,{constraints}", *extensions)
    run(
        *("openssl", "req", "-x509", "-config", PKI / "openssl.cnf", "-days", _DAYS),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", subject, "-keyout", PKI / f"{name}.key", "-out", PKI / f"{name}.crt"),
        *(word for extension in added for word in ("-addext", extension)),
        *options,
    )


def _kubeconfig(component: str) -> None:
    """Certificates are embedded: the file works wherever it is copied."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "multipartcopy-dev",
        "clusters": [
            {
                "name": "multipartcopy-dev",
                "cluster": {
                    "server": API_SERVER,
                    "certificate-authority-data": _base64(PKI / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": component,
                "user": {
                    "client-certificate-data": _base64(PKI / f"{component}.crt"),
                    "client-key-data": _base64(PKI / f"{component}.key"),
                },
            }
        ],
        "contexts": [
            {
                "name": "multipartcopy-dev",
                "context": {"cluster": "multipartcopy-dev", "user": component},
            }
        ],
    }
    path = kubeconfig_of(component)
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(config, indent=2) + "\n")
    partial.rename(path)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
