"""What the machine must have: checked, and installed with apt-get where that is possible."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from dev.cluster.console import ClusterError, PrerequisiteError, run, run_logged, say
from dev.cluster.paths import CACHE, check_state_path

NODE_PACKAGES = {
    # a program on PATH, or a file, and the Debian package that brings it
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "etcd": "etcd-server",
    "nft": "nftables",
    "ip": "iproute2",
    "mount": "mount",
    "openssl": "openssl",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
IMAGE_PACKAGES = {
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
}
TEST_PACKAGES = {
    "etcdctl": "etcd-client",  # to compact etcd
    "/usr/lib/*/faketime/libfaketime.so.1": "libfaketime",  # to give an operator a clock of its own
}

ROOM_FOR_COLD_BUILDS = 12 * 2**30
ROOM_WHEN_WARM = 2 * 2**30

_POLICY = Path("/usr/sbin/policy-rc.d")


def check_node(*, cold: bool) -> None:
    """Everything that a cluster needs of the machine; more room when Kubernetes is not built yet."""
    check_root()
    check_state_path()
    _check_room(ROOM_FOR_COLD_BUILDS if cold else ROOM_WHEN_WARM)
    install(NODE_PACKAGES | IMAGE_PACKAGES)


def check_root() -> None:
    if platform.system() != "Linux":
        raise PrerequisiteError("the embedded cluster needs Linux")
    if os.geteuid() != 0:
        raise PrerequisiteError("the embedded cluster needs root: it makes namespaces and mounts")


def _check_room(needed: int) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(CACHE).free
    if free < needed:
        raise PrerequisiteError(
            f"{CACHE} has {free / 2**30:.1f} GiB free, and {needed / 2**30:.0f} GiB are needed"
        )


def install(packages: dict[str, str]) -> None:
    """Install the Debian packages whose programs are not there."""
    missing = _missing(packages)
    if not missing:
        return
    names = " ".join(missing)
    if not shutil.which("apt-get"):
        raise PrerequisiteError(f"these are not installed, and there is no apt-get: {names}")
    check_root()
    say(f"installing Debian packages: {names}")
    log = CACHE / "logs" / "apt.log"
    apt = ("apt-get", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _NoServices(missing):
        try:
            run_logged(log, *apt, "install", *missing, env=environment)
        except ClusterError:  # most often a list of packages that is old, or not there yet
            # A third-party source that does not answer must not matter: the install will tell.
            run("apt-get", "update", env=environment, check=False, timeout=600)
            run_logged(log, *apt, "install", *missing, env=environment)


def has_node_packages() -> bool:
    return not _missing(NODE_PACKAGES)


def _missing(packages: dict[str, str]) -> list[str]:
    return sorted({package for program, package in packages.items() if not _has(program)})


def _has(program: str) -> bool:
    """``*`` in a file's path stands for any directory: libraries lie in one named by the architecture."""
    if program.startswith("/"):
        return any(Path("/").glob(program.removeprefix("/")))
    return bool(shutil.which(program))


class _NoServices:
    """Debian starts a package's services when it is installed; the cluster runs its own."""

    def __init__(self, packages: list[str]) -> None:
        self.services = [p.removesuffix("-server") for p in packages if p != "nftables"]
        self.ours = not _POLICY.exists()

    def __enter__(self) -> None:
        if self.ours:
            _POLICY.write_text("#!/bin/sh\nexit 101\n")
            _POLICY.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self.ours:
            _POLICY.unlink(missing_ok=True)
        if Path("/run/systemd/system").is_dir():  # nor at the next boot
            for service in self.services:
                subprocess.run(["systemctl", "disable", "--quiet", service], capture_output=True)
