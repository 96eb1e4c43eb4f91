"""Container images, all made on this machine, and how they get into the cluster's containerd.

buildah keeps its storage in the cache, so the machine's own images are not touched.
"""

from __future__ import annotations

import configparser
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dev.cluster.builds import BUILDS, build
from dev.cluster.components import PAUSE_IMAGE
from dev.cluster.console import ClusterError, duration, run, run_logged, say
from dev.cluster.paths import CACHE, CONTAINERD_SOCKET, locked
from dev.cluster.prereqs import IMAGE_PACKAGES, check_root, install

SUITE = "trixie"
"""Of Debian: what the official image of Python is made from. Its OpenSSL takes a third of bookworm's time for AES."""
PYTHON_BASE = f"localhost/python-base:{SUITE}"
COREDNS_IMAGE = f"localhost/coredns:{BUILDS['coredns'].version}"
VERSITYGW_IMAGE = f"localhost/versitygw:{BUILDS['versitygw'].version}"

STORAGE = CACHE / "containers"
_BASE_PACKAGES = "python3,python3-venv,ca-certificates"


def base_image() -> str:
    """Debian's minimal system and its Python, for what cannot be FROM a published image."""
    _check()
    with locked("base-image", CACHE / "locks"):
        if image_id(PYTHON_BASE) is None:
            log = CACHE / "logs" / "base-image.log"
            say(f"{PYTHON_BASE}: making it from Debian packages, about {duration(40)} (log: {log})")
            with tempfile.TemporaryDirectory(dir=CACHE) as context:
                archive = Path(context, "base.tar")
                run_logged(
                    log,
                    *("mmdebstrap", "--variant=minbase", f"--include={_BASE_PACKAGES}"),
                    *(SUITE, archive),
                )
                # A CPython image answers to `python`; this one is used in its place.
                Path(context, "Dockerfile").write_text(
                    "FROM scratch\nADD base.tar /\nRUN ln -s python3 /usr/bin/python\n"
                )
                _bud(PYTHON_BASE, context, log=log)
    return PYTHON_BASE


def build_image(tag: str, dockerfile: str, context: str) -> str:
    """Build the project's image on the base image, with what the host needs to reach packages."""
    base = base_image()
    log = CACHE / "logs" / f"image-{tag.replace('/', '_').replace(':', '_')}.log"
    say(f"{tag}: building (log: {log})")
    with tempfile.TemporaryDirectory() as settings:
        options = [f"--build-arg=BASE_IMAGE={base}", *_host_settings(Path(settings))]
        _bud(tag, context, *options, f"--file={dockerfile}", log=log)
    return tag


def _host_settings(directory: Path) -> list[str]:
    """Mounts for the time of the build: the host's certificates and package index.

    Mounts, because build arguments and environment would stay in the image's history.
    """
    options = []
    if Path("/etc/ssl/certs").is_dir():
        options.append("--volume=/etc/ssl/certs:/etc/ssl/certs:ro")
    pip = configparser.RawConfigParser()
    pip["global"] = _pip_settings()
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    if Path(bundle).exists():
        pip["global"]["cert"] = bundle
    with (directory / "pip.conf").open("w") as file:
        pip.write(file)
    options.append(f"--volume={directory / 'pip.conf'}:/etc/pip.conf:ro")
    # uv does not read pip's settings.
    index = pip["global"].get("index-url")
    uv = "system-certs = true\n" + (f"index-url = {json.dumps(index)}\n" if index else "")
    (directory / "uv.toml").write_text(uv)
    options.append(f"--volume={directory / 'uv.toml'}:/etc/uv/uv.toml:ro")
    for word in pip["global"].get("find-links", "").split():
        if Path(word).is_dir():
            options.append(f"--volume={word}:{word}:ro")
    return options


def _pip_settings() -> dict[str, str]:
    """pip's settings on this machine, from its files and its environment, as it sees them."""
    settings: dict[str, str] = {}
    with suppress(ClusterError):
        for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
            name, separator, value = line.partition("=")
            section, _, option = name.rpartition(".")
            if separator and section in ("global", "install", ":env:"):
                settings[option] = " ".join(shlex.split(value)).replace("\\n", " ")
    return settings


def from_binary(name: str, tag: str, *, arguments: str = "", user: str = "65532") -> str:
    """An image that holds one static binary of ours and nothing else."""
    _check()
    binary = build(name)
    with locked(f"image-{name}", CACHE / "locks"):
        label = _label(tag)
        if label != binary.name:
            log = CACHE / "logs" / f"image-{name}.log"
            with tempfile.TemporaryDirectory(dir=CACHE) as context:
                Path(context, name).hardlink_to(binary)
                Path(context, "Dockerfile").write_text(
                    f"FROM scratch\nLABEL build={binary.name}\nCOPY {name} /{name}\n"
                    f'USER {user}\nENTRYPOINT ["/{name}"]\n'
                )
                _bud(tag, context, log=log)
    return tag


def s3_image() -> str:
    load_image(from_binary("versitygw", VERSITYGW_IMAGE))
    return VERSITYGW_IMAGE


def system_images() -> None:
    """The images that the cluster itself needs."""
    load_image(from_binary("pause", PAUSE_IMAGE))
    load_image(from_binary("coredns", COREDNS_IMAGE))


def load_image(name: str) -> None:
    """Give the cluster an image that was built here, unless it holds that very image already."""
    _check()
    wanted = image_id(name)
    if wanted is None:
        raise ClusterError(f"there is no image {name} here; build it first")
    if wanted == _loaded_id(name):
        return
    with locked("load-image", CACHE / "locks"), tempfile.TemporaryDirectory(dir=CACHE) as directory:
        archive = Path(directory, "image.tar")
        say(f"{name}: loading into the cluster")
        _buildah("push", "--quiet", name, f"oci-archive:{archive}:{name}", timeout=600)
        _ctr("images", "import", "--digests=false", archive, timeout=600)
    if _loaded_id(name) != wanted:
        raise ClusterError(f"{name} was loaded, but containerd does not show it")


@contextmanager
def mounted(name: str) -> Iterator[Path]:
    """The root of a container of this image, which nothing runs in; what is written there is gone afterwards."""
    _check()
    container = _buildah("from", "--pull-never", name).strip()
    try:
        yield Path(_buildah("mount", container).strip())
    finally:
        _buildah("rm", container)


def image_id(name: str) -> str | None:
    """The digest of an image's configuration, which is what names its content."""
    out = _buildah(
        *("inspect", "--type=image", "--format={{.FromImageID}}"), name, check=False
    ).strip()
    return out or None


def _label(name: str) -> str | None:
    template = '{{index .OCIv1.Config.Labels "build"}}'
    return _buildah(*("inspect", "--type=image", f"--format={template}"), name, check=False).strip()


def _loaded_id(name: str) -> str | None:
    """The same digest, from containerd: the configuration that the image's manifest names."""
    for line in _ctr("images", "ls", f"name=={name}").splitlines()[1:]:
        manifest = json.loads(_ctr("content", "get", line.split()[2]))
        if "manifests" in manifest:
            manifest = json.loads(_ctr("content", "get", manifest["manifests"][0]["digest"]))
        return str(manifest["config"]["digest"]).removeprefix("sha256:")
    return None


def _check() -> None:
    check_root()
    install(IMAGE_PACKAGES)


def _storage() -> list[str]:
    return [
        f"--root={STORAGE / 'root'}",
        f"--runroot={STORAGE / 'run'}",
        "--storage-driver=overlay",
    ]


def _bud(tag: str, context: str, *options: str, log: Path) -> None:
    """Build with the host's network and no container runtime: nothing needs to run beside it."""
    command = ("buildah", *_storage(), "bud", "--isolation=chroot", "--layers", "--pull-never")
    run_logged(log, *command, f"--tag={tag}", *options, context, timeout=1200)


def _buildah(*arguments: str | Path, check: bool = True, timeout: float = 60) -> str:
    return run("buildah", *_storage(), *arguments, check=check, timeout=timeout)


def _ctr(*arguments: str | Path, timeout: float = 60) -> str:
    address = ("--address", CONTAINERD_SOCKET, "--namespace", "k8s.io")
    return run("ctr", *address, *arguments, timeout=timeout)
