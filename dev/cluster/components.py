"""The node's components: how each is configured, started and asked whether it is well."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import cgroups, processes
from dev.cluster.builds import build
from dev.cluster.console import ClusterError, run, say
from dev.cluster.network import (
    CLUSTER_RANGE,
    DNS_SERVICE_ADDRESS,
    NODE_ADDRESS,
    POD_RANGE,
    SERVICE_RANGE,
)
from dev.cluster.paths import CONFIG, CONTAINERD_SOCKET, DATA, PKI
from dev.cluster.pki import NODE, kubeconfig_of

PAUSE_IMAGE = "localhost/pause:1"


@dataclass(frozen=True)
class Component:
    name: str
    arguments: Callable[[], list[str]]
    healthy: Callable[[], bool]
    patience: float = 60  # seconds until it must be healthy
    debian: bool = False  # a Debian package's program, not a part of the Kubernetes binary


def start(component: Component) -> None:
    """Start a component unless it runs, and then leave its configuration alone too."""
    if processes.pid_of(component.name) is not None:
        return
    say(f"starting {component.name}")
    program = Path("/usr/bin", component.name) if component.debian else build("kubernetes")
    processes.start(component.name, program, component.arguments())


def wait(component: Component) -> None:
    """Wait until a component answers that it is well."""
    processes.wait_until(
        f"{component.name} healthy", component.healthy, component.patience, component.name
    )


def by_name(name: str) -> Component:
    for component in COMPONENTS:
        if component.name == name:
            return component
    raise ClusterError(f"no component {name}; there are: {' '.join(c.name for c in COMPONENTS)}")


def _flags(flags: dict[str, str | int | Path | bool]) -> list[str]:
    return [
        f"--{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in flags.items()
    ]


def _write(name: str, content: str | dict[str, object]) -> Path:
    path = CONFIG / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2) + "\n")
    return path


def _https_ok(port: int, path: str) -> Callable[[], bool]:
    """Whether a component's own health endpoint says 200. Who it is does not matter here."""
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE

    def ok() -> bool:
        try:
            url = f"https://{NODE_ADDRESS}:{port}{path}"
            with urllib.request.urlopen(url, timeout=2, context=unverified) as response:
                return bool(response.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    return ok


def _http_ok(port: int) -> Callable[[], bool]:
    def ok() -> bool:
        connection = http.client.HTTPConnection(NODE_ADDRESS, port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ok


# ---- etcd

_ETCD_HOST = "127.0.0.1"
_ETCD_PORT = 12379  # not etcd's own: the machine may run another
ETCD = f"https://{_ETCD_HOST}:{_ETCD_PORT}"


def _etcd_answers() -> bool:
    try:
        socket.create_connection((_ETCD_HOST, _ETCD_PORT), timeout=2).close()
    except OSError:
        return False
    return True


def _etcd() -> list[str]:
    data = DATA / "etcd"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    peer = f"http://{_ETCD_HOST}:{_ETCD_PORT + 1}"  # a single member must name one all the same
    return _flags(
        {
            "name": NODE,
            "data-dir": data,
            "listen-client-urls": ETCD,
            "advertise-client-urls": ETCD,
            "client-cert-auth": True,
            "trusted-ca-file": PKI / "ca.crt",
            "cert-file": PKI / "etcd.crt",
            "key-file": PKI / "etcd.key",
            "enable-grpc-gateway": False,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"{NODE}={peer}",
            "unsafe-no-fsync": True,  # a power cut may cost the cluster, and it is a throw-away one
            "logger": "zap",
            "log-level": "warn",
        }
    )


def etcdctl(*arguments: str) -> list[str]:
    """The command of etcd's own client, as the API server's: with its certificate."""
    return [
        *("etcdctl", f"--endpoints={ETCD}"),
        *(f"--cacert={PKI / 'ca.crt'}", f"--cert={PKI / 'etcd-client.crt'}"),
        *(f"--key={PKI / 'etcd-client.key'}", *arguments),
    ]


def etcd_metrics() -> str:
    """As Prometheus would read them."""
    trust = ssl.create_default_context(cafile=str(PKI / "ca.crt"))
    trust.load_cert_chain(PKI / "etcd-client.crt", PKI / "etcd-client.key")
    with urllib.request.urlopen(f"{ETCD}/metrics", timeout=20, context=trust) as answer:
        return str(answer.read().decode())


# ---- containerd


def _containerd() -> list[str]:
    _write(
        "cni/10-pods.conflist",
        {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "ptp",
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(DATA / "cni"),
                        "ranges": [[{"subnet": POD_RANGE}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                }
            ],
        },
    )
    # Without restrict_oom_score_adj no pod starts where root lacks CAP_SYS_RESOURCE, as it does
    # inside another container.
    config = _write(
        "containerd.toml",
        f"""\
version = 2
root = "{DATA / "containerd"}"
state = "{DATA / "containerd-state"}"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{CONFIG / "cni"}"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
""",
    )
    return _flags({"config": config, "log-level": "info"})


# ---- the control plane


def _apiserver() -> list[str]:
    return _flags(
        {
            "bind-address": NODE_ADDRESS,
            "advertise-address": NODE_ADDRESS,
            "secure-port": 6443,
            "etcd-servers": f"https://{_ETCD_HOST}:{_ETCD_PORT}",
            "etcd-cafile": PKI / "ca.crt",
            "etcd-certfile": PKI / "etcd-client.crt",
            "etcd-keyfile": PKI / "etcd-client.key",
            "service-cluster-ip-range": SERVICE_RANGE,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "client-ca-file": PKI / "ca.crt",
            "tls-cert-file": PKI / "apiserver.crt",
            "tls-private-key-file": PKI / "apiserver.key",
            "kubelet-certificate-authority": PKI / "ca.crt",
            "kubelet-client-certificate": PKI / "kubelet-client.crt",
            "kubelet-client-key": PKI / "kubelet-client.key",
            "kubelet-preferred-address-types": "InternalIP",  # the node's name is in no DNS
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": PKI / "service-account.key",
            "service-account-signing-key-file": PKI / "service-account.key",
        }
    )


def _controller_manager() -> list[str]:
    return _flags(
        {
            "bind-address": NODE_ADDRESS,
            **_kubeconfigs("kube-controller-manager"),
            "leader-elect": False,
            "use-service-account-credentials": True,
            "root-ca-file": PKI / "ca.crt",
            "service-account-private-key-file": PKI / "service-account.key",
            "cluster-signing-cert-file": PKI / "ca.crt",
            "cluster-signing-key-file": PKI / "ca.key",
        }
    )


def _scheduler() -> list[str]:
    return _flags(
        {
            "bind-address": NODE_ADDRESS,
            **_kubeconfigs("kube-scheduler"),
            "leader-elect": False,
        }
    )


def _kubeconfigs(name: str) -> dict[str, str | int | Path | bool]:
    path = kubeconfig_of(name)
    return {
        "kubeconfig": path,
        "authentication-kubeconfig": path,
        "authorization-kubeconfig": path,
    }


# ---- the node


def _kubelet() -> list[str]:
    config: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzBindAddress": NODE_ADDRESS,
        "tlsCertFile": str(PKI / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(PKI / "kubelet-server.key"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(PKI / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_SERVICE_ADDRESS],
        "resolvConf": str(_write("resolv.conf", "")),  # names of the world are not for pods
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.NAME}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(DATA / "pod-logs"),
        "volumePluginDir": str(DATA / "volume-plugins"),
        # Images are loaded by hand and a developer's disk is often nearly full: neither is a
        # reason to remove an image or a pod.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        # Tests start many pods at once, and look at them at once.
        "syncFrequency": "10s",
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "nodeStatusUpdateFrequency": "5s",
    }
    return _flags(
        {
            "config": _write("kubelet.json", config),
            "kubeconfig": kubeconfig_of("kubelet"),
            "root-dir": DATA / "kubelet",
            "hostname-override": NODE,
            "node-ip": NODE_ADDRESS,
        }
    )


def _kube_proxy() -> list[str]:
    config: dict[str, object] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": f"{NODE_ADDRESS}:10256",
        "metricsBindAddress": f"{NODE_ADDRESS}:10249",
        "clientConnection": {"kubeconfig": str(kubeconfig_of("kube-proxy"))},
        "clusterCIDR": CLUSTER_RANGE,
        "hostnameOverride": NODE,
        # The kernel's connection tracking is the whole machine's: its limits stay as they are.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
    return _flags({"config": _write("kube-proxy.json", config)})


def _containerd_ready() -> bool:
    try:
        return bool(run("ctr", "--address", CONTAINERD_SOCKET, "version", timeout=10))
    except ClusterError:
        return False


COMPONENTS = (
    Component("etcd", _etcd, _etcd_answers, debian=True),
    Component("containerd", _containerd, _containerd_ready, debian=True),
    Component("kube-apiserver", _apiserver, _https_ok(6443, "/readyz"), patience=120),
    Component("kube-controller-manager", _controller_manager, _https_ok(10257, "/healthz")),
    Component("kube-scheduler", _scheduler, _https_ok(10259, "/healthz")),
    Component("kubelet", _kubelet, _http_ok(10248)),
    Component("kube-proxy", _kube_proxy, _http_ok(10256)),
)
"""In the order in which they are started."""
