"""From nothing to a Ready node, and back to nothing."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from dev.cluster import cgroups, components, images, network, pki, prereqs, processes
from dev.cluster.builds import build, is_built, kubectl
from dev.cluster.components import COMPONENTS
from dev.cluster.console import ClusterError, duration, run, say
from dev.cluster.paths import CACHE, DATA, KUBECONFIG, LOGS, SOURCES, STATE, locked

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_BOOT_OF_CLUSTER = STATE / "boot_id"

# The kubelet and containerd write here whatever they are told; `down` removes what was not there.
_FIXED_PLACES = [
    Path(place)
    for place in ("/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/run/containerd")
]
_PLACES_MADE = STATE / "places-made.json"


def up() -> None:
    """Bring everything up that is not; each step does nothing where there is nothing to do."""
    start = time.monotonic()
    prereqs.check_node(cold=not is_built("kubernetes"))
    with locked("cluster", CACHE / "locks"):
        for name in ("kubernetes", "coredns", "pause"):
            build(name)
        _forget_before_reboot()
        _remember_places()
        network.up()
        cgroups.create()
        pki.create()
        _start("etcd", "containerd")
        _wait("etcd", "containerd")
        _start("kube-apiserver")  # its first seconds are the images' time
        images.system_images()
        _wait("kube-apiserver")
        since = time.time() if processes.pid_of("kubelet") is None else 0
        everything = [component.name for component in COMPONENTS]
        _start(*everything)
        _wait(*everything)
        _deploy_dns()
        processes.wait_until("the node Ready", lambda: node_ready(since), 60)
        say(f"node {pki.NODE} is Ready ({duration(time.monotonic() - start)})")
        processes.wait_until("DNS answering", network.dns_answers, 90)
    say(f"cluster is up ({duration(time.monotonic() - start)})")


def _start(*names: str) -> None:
    for name in names:
        components.start(components.by_name(name))


def _wait(*names: str) -> None:
    for name in names:
        components.wait(components.by_name(name))


def down() -> None:
    """Stop all and remove all but the cache and the logs; say what could not be removed."""
    prereqs.check_root()
    if not prereqs.has_node_packages():
        say("there was never a cluster on this machine")
        return
    with locked("cluster", CACHE / "locks"):
        _tear_down()
        left = leftovers()
    if left:
        raise ClusterError("still there after `down`:" + "".join(f"\n  {what}" for what in left))
    say("cluster is down; nothing of it is left but its logs and the cache")


def _tear_down() -> None:
    processes.stop("kubelet", patience=2)  # it would start pods again
    cgroups.kill()
    sockets = _shim_sockets()
    processes.stop_all(patience=3)
    cgroups.kill()  # what containerd may have started until it ended
    _unmount()
    network.down()
    for path in (*sockets, *_places_made()):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for path in STATE.iterdir() if STATE.exists() else ():
        if path != LOGS:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def leftovers() -> list[str]:
    """What of the cluster the machine still shows."""
    left = [f"process {p.pid} {p.program}" for p in processes.ours()]
    left += cgroups.leftovers() + network.leftovers()
    left += [f"mount {mount}" for mount in _mounts()]
    left += [str(path) for path in STATE.glob("*") if path != LOGS]
    return left


def restart(name: str) -> None:
    stop(name)
    start(name)


def start(name: str) -> None:
    prereqs.check_root()
    if not KUBECONFIG.exists():
        raise ClusterError("there is no cluster; `up` makes one")
    _start(name)
    _wait(name)


def stop(name: str) -> None:
    prereqs.check_root()
    processes.stop(components.by_name(name).name)


def compact() -> None:
    """Let etcd forget all but the present, so that a watch from the past is answered 410."""
    prereqs.check_root()
    prereqs.install(prereqs.TEST_PACKAGES)
    status = run(*components.etcdctl("endpoint", "status", "--write-out=json"))
    (endpoint,) = json.loads(status)
    run(*components.etcdctl("compaction", str(endpoint["Status"]["header"]["revision"])))


def status() -> bool:
    """Print what runs; whether all of it does."""
    prereqs.check_root()  # the environment of root's processes is for root alone
    well = True
    for component in COMPONENTS:
        pid = processes.pid_of(component.name)
        healthy = pid is not None and component.healthy()
        well = well and healthy
        state = "not running" if pid is None else "healthy" if healthy else "not healthy"
        print(f"{component.name:<24} {state:<12} {pid or ''}".rstrip())
    ready = well and node_ready()
    print(f"{'node ' + pki.NODE:<24} {'Ready' if ready else 'not Ready'}")
    if KUBECONFIG.exists():
        print(f"export KUBECONFIG={KUBECONFIG}")
    return ready


def node_ready(since: float = 0) -> bool:
    """Whether the node is Ready, said by a kubelet that has reported after `since`."""
    with suppress(ClusterError, ValueError):
        lease = _get("lease", pki.NODE, "--namespace=kube-node-lease")["spec"]
        conditions = _get("node", pki.NODE)["status"]["conditions"]
        ready = {"Ready": "True"}.items() <= {c["type"]: c["status"] for c in conditions}.items()
        return ready and datetime.fromisoformat(lease["renewTime"]).timestamp() >= since
    return False


def _get(*arguments: str) -> Any:
    return json.loads(_kubectl("get", *arguments, "--output=json"))


def _deploy_dns() -> None:
    manifest = (SOURCES / "manifests/coredns.yaml").read_text()
    manifest = manifest.replace("COREDNS_IMAGE", images.COREDNS_IMAGE)
    manifest = manifest.replace("DNS_SERVICE_ADDRESS", network.DNS_SERVICE_ADDRESS)
    _kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", input=manifest)


def _kubectl(*arguments: str, input: str | None = None) -> str:
    return run(
        kubectl(), f"--kubeconfig={KUBECONFIG}", "--request-timeout=10s", *arguments, input=input
    )


def _forget_before_reboot() -> None:
    """A cluster that ran before the machine's last boot is gone, and its etcd was never synced."""
    boot = _BOOT.read_text()
    if KUBECONFIG.exists() and _BOOT_OF_CLUSTER.read_text() != boot:
        say("the machine was restarted since: making a new cluster")
        _tear_down()
    if not KUBECONFIG.exists():
        shutil.rmtree(LOGS, ignore_errors=True)
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    _BOOT_OF_CLUSTER.write_text(boot)


def _remember_places() -> None:
    if not _PLACES_MADE.exists():
        missing = [str(place) for place in _FIXED_PLACES if not place.exists()]
        _PLACES_MADE.write_text(json.dumps(missing))


def _places_made() -> list[Path]:
    if not _PLACES_MADE.exists():
        return []
    return [Path(place) for place in json.loads(_PLACES_MADE.read_text())]


def _shim_sockets() -> list[Path]:
    """containerd's shims listen in /run/containerd, and each notes where in the state."""
    notes = (DATA / "containerd-state").glob("io.containerd.runtime.v2.task/*/*/address")
    return [Path(note.read_text().removeprefix("unix://")) for note in notes]


def _mounts() -> list[str]:
    """Mount points below the state, the last one made first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [point for point in reversed(points) if point.startswith(f"{STATE}/")]


def _unmount() -> None:
    for _ in range(3):  # a mount may hide another on the same point
        for point in _mounts():
            run("umount", "--lazy", point, check=False)
    if left := _mounts():  # to remove files now could be to remove what a pod had mounted
        raise ClusterError(f"could not be unmounted, so nothing was removed: {' '.join(left)}")
