"""What the demo and the cluster tests both need: a cluster, the operator in it, S3 servers, a way to them.

With ``CLUSTER=existing`` in the environment it is the cluster of the current KUBECONFIG, ``IMAGE``
names an image of this project that it can pull, and nothing is installed on this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dev.cluster.builds import kubectl as kubectl_of_cluster
from dev.cluster.paths import BIN

ROOT = Path(__file__).resolve().parent.parent
SYSTEM = "multipartcopy-system"
ACCESS_KEY, SECRET_KEY = "multipartcopy", "only-for-demonstration"
DEV_IMAGE = "localhost/multipartcopy:dev"
T = TypeVar("T")


class LabError(Exception):
    """One sentence for people."""


def existing() -> bool:
    return os.environ.get("CLUSTER") == "existing"


def cluster(*arguments: str) -> str:
    """`python3 -m dev.cluster ...`, its progress shown; returns its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "dev.cluster", *arguments],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise LabError(f"`dev.cluster {' '.join(arguments)}` failed; its last words are above")
    return done.stdout.strip()


def cluster_up() -> None:
    """Make KUBECONFIG point to a cluster that answers."""
    if not existing():
        cluster("up")
        os.environ["KUBECONFIG"] = cluster("kubeconfig")
        _kubectl_on_path()
    try:
        kubectl("version", "--output=json", timeout=20)
    except LabError as error:
        raise LabError(f"no cluster answers at the current KUBECONFIG: {error}") from None


def _kubectl_on_path() -> None:
    """A machine without a kubectl of its own has one in the cache, under a name with a version."""
    built = kubectl_of_cluster()
    if built.name != "kubectl":
        BIN.mkdir(parents=True, exist_ok=True)
        link = BIN / "kubectl"
        link.unlink(missing_ok=True)
        link.symlink_to(built)
        os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"


def images() -> tuple[str, str]:
    """Build and load what the cluster runs; returns the names of our image and of the S3 server's."""
    if existing():
        image = os.environ.get("IMAGE")
        if not image:
            raise LabError("with CLUSTER=existing, IMAGE must name an image of this project")
        return image, os.environ.get("S3_IMAGE", "versity/versitygw:v1.8.0")
    cluster("build-image", "--tag", DEV_IMAGE)
    cluster("load-image", DEV_IMAGE)
    return DEV_IMAGE, cluster("s3-image").splitlines()[-1]


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
    """Standard output; raises LabError with kubectl's own words."""
    try:
        done = subprocess.run(
            ["kubectl", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise LabError("kubectl is not installed") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"kubectl {' '.join(arguments)}: no end after {timeout:.0f} s") from None
    if done.returncode:
        raise LabError(done.stderr.strip() or f"kubectl {' '.join(arguments)} failed")
    return done.stdout


def get(*arguments: str) -> Any:
    """`kubectl get ... -o json`, decoded."""
    return json.loads(kubectl("get", *arguments, "--output=json"))


def apply(*objects: dict[str, Any], namespace: str | None = None) -> None:
    everything = {"apiVersion": "v1", "kind": "List", "items": objects}
    where = ["--namespace", namespace] if namespace else []
    kubectl("apply", *where, "--filename=-", stdin=json.dumps(everything))


def wait_until(what: str, check: Callable[[], T | None], seconds: float, pause: float = 0.2) -> T:
    """The first truthy answer of ``check``; LabErrors on the way are tries that failed."""
    end, last = time.monotonic() + seconds, ""
    while True:
        try:
            if answer := check():
                return answer
        except LabError as error:
            last = f" ({error})"
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {seconds:.0f} s{last}")
        time.sleep(pause)


@contextlib.contextmanager
def watching_peaks(namespace: str, selector: str) -> Iterator[dict[str, tuple[str, int]]]:
    """Of worker pods, while the block runs: name -> memory limit, and peak RSS in bytes as the report has it."""
    seen: dict[str, tuple[str, int]] = {}
    command = ["kubectl", "--namespace", namespace, "get", "pods", f"--selector={selector}"]
    watch = subprocess.Popen(
        [*command, "--watch", "--output=json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def read() -> None:
        assert watch.stdout
        decoder, text = json.JSONDecoder(), ""
        for line in watch.stdout:
            text += line
            if line != "}\n":
                continue
            pod, text = decoder.decode(text), ""
            for state in pod["status"].get("containerStatuses", []):
                ended = state["state"].get("terminated")
                if ended and ended.get("message", "").startswith("{"):
                    limit = pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
                    peak = json.loads(ended["message"])["peakRss"]
                    seen[pod["metadata"]["name"]] = limit, peak

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield seen
    finally:
        watch.terminate()
        watch.wait(10)
        reader.join(10)


def install_operator(image: str, *flags: str, patches: Sequence[dict[str, Any]] = ()) -> None:
    """`kubectl apply -k` of an overlay over manifests/ that names the image, as a user would do it.

    ``patches`` are further JSON-patch operations on the Deployment.
    """
    name, _, tag = image.rpartition(":")
    with tempfile.TemporaryDirectory(dir=ROOT.parent) as directory:
        base = os.path.relpath(ROOT / "manifests", directory)
        patch = [
            {
                "op": "add",
                "path": "/spec/template/spec/containers/0/args",
                "value": ["operator", *flags],
            },
            *patches,
        ]
        overlay = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [base],
            "images": [{"name": "multipartcopy", "newName": name, "newTag": tag}],
            "patches": [{"target": {"kind": "Deployment"}, "patch": json.dumps(patch)}],
        }
        (Path(directory) / "kustomization.yaml").write_text(json.dumps(overlay))
        kubectl("apply", "--kustomize", directory, timeout=120)
    kubectl("wait", "--for=condition=Established", "crd/multipartcopies.multipartcopy.dev")
    # The same tag may name a newer image than the one that runs.
    kubectl("--namespace", SYSTEM, "rollout", "restart", "deployment/multipartcopy-operator")
    kubectl(
        *(
            "--namespace",
            SYSTEM,
            "rollout",
            "status",
            "deployment/multipartcopy-operator",
            "--timeout=120s",
        ),
        timeout=130,
    )


def uninstall_operator() -> None:
    kubectl("delete", "--kustomize", str(ROOT / "manifests"), "--ignore-not-found", timeout=180)


def deploy_s3(namespace: str, name: str, image: str) -> str:
    """A versitygw behind a Service, whose data goes with its pod; returns its endpoint inside the cluster."""
    labels = {"app": name}
    container = {
        "name": "s3",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["--port", ":7070", "--keep-alive", "posix", "/data"],
        "env": [
            {"name": "ROOT_ACCESS_KEY", "value": ACCESS_KEY},
            {"name": "ROOT_SECRET_KEY", "value": SECRET_KEY},
        ],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "readinessProbe": {"tcpSocket": {"port": 7070}, "periodSeconds": 1},
    }
    pod = {
        "containers": [container],
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "data", "emptyDir": {}}],
    }
    apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": labels},
                "strategy": {"type": "Recreate"},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": 7070}]},
        },
        namespace=namespace,
    )
    kubectl(
        *("--namespace", namespace, "rollout", "status", f"deployment/{name}", "--timeout=120s"),
        timeout=130,
    )
    return f"http://{name}.{namespace}.svc:7070"


@contextlib.contextmanager
def reach(namespace: str, service: str, port: int) -> Iterator[str]:
    """The URL by which this machine reaches a Service: its own address, or a forwarded port."""
    if not existing():
        address = get("--namespace", namespace, "service", service)["spec"]["clusterIP"]
        # kube-proxy hears of a ready pod a little later than we do.
        wait_until(f"an answer from {service}", lambda: _answers(address, port), 30)
        yield f"http://{address}:{port}"
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        local = probe.getsockname()[1]
    forward = subprocess.Popen(
        [
            "kubectl",
            "--namespace",
            namespace,
            "port-forward",
            f"service/{service}",
            f"{local}:{port}",
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until("the forwarded port", lambda: _answers("127.0.0.1", local), 30)
        yield f"http://127.0.0.1:{local}"
    finally:
        forward.terminate()
        forward.wait(10)


def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


def s3_client(url: str) -> Any:
    """A boto3 client, so the caller needs the project's environment."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def credentials(name: str, *, secret_key: str = SECRET_KEY) -> dict[str, Any]:
    """The manifest of a Secret for the servers of :func:`deploy_s3`."""
    data = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": secret_key}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
