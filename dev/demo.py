"""The main job, from nothing: `make demo`. Ends with status 0 only if all that it shows did hold."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from botocore.exceptions import BotoCoreError, ClientError

from dev import lab

NAMESPACE = "multipartcopy-demo"
SIZE = 1 << 30
BLOCK = 16 << 20
KEY = "era5.grib"
MiB = 1 << 20


class DemoError(Exception):
    """Something that the demo shows did not hold."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--clean", action="store_true", help="remove all that the demo made")
    parser.add_argument("--record", metavar="FILE", help="write what is shown to FILE as well")
    options = parser.parse_args()
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # what it started ends with it
        signal.signal(ending, signal.default_int_handler)
    try:
        if options.clean:
            clean()
            return 0
        with _recording(options.record):
            demo()
    except (lab.LabError, DemoError, BotoCoreError, ClientError) as error:
        say(f"\nFAILED: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nstopped; `make demo-clean` removes what is there")
        return 130
    return 0


def demo() -> None:
    start = time.monotonic()
    step("A Kubernetes, the image, the operator")
    lab.cluster_up()
    image, s3_image = lab.images()
    lab.install_operator(image)
    say(shown("kubectl", "-n", lab.SYSTEM, "get", "pods"))

    step("Two S3 servers, and 1 GiB of random bytes in the first")
    prepare(s3_image)
    with (
        lab.reach(NAMESPACE, "s3-a", 7070) as source,
        lab.reach(NAMESPACE, "s3-b", 7070) as destination,
    ):
        Demo(lab.s3_client(source), lab.s3_client(destination)).run()
    say(f"\nEverything held ({time.monotonic() - start:.0f} s). What to try next:\n")
    if not lab.existing():
        say(f"  export KUBECONFIG={os.environ['KUBECONFIG'].replace(str(Path.home()), '~', 1)}")
    say('  export PATH="$PWD/dev/bin:$PATH"; kubectl multipartcopy watch --help')
    say(f"  kubectl -n {NAMESPACE} get mpc -o wide; kubectl explain mpc.spec; make demo-clean")


def prepare(s3_image: str) -> None:
    """The namespace with the two servers, new."""
    remove()
    lab.kubectl("create", "namespace", NAMESPACE)
    for name in ("s3-a", "s3-b"):
        lab.deploy_s3(NAMESPACE, name, s3_image)
    lab.apply(lab.credentials("s3"), lab.credentials("wrong", secret_key="x"), namespace=NAMESPACE)


def remove() -> None:
    """What an earlier demo has left. The copies first: the operator aborts their uploads in the servers."""
    lab.kubectl("delete", "mpc", "--all", "-n", NAMESPACE, "--timeout=120s", timeout=130)
    lab.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=180)


def clean() -> None:
    """Of a cluster of somebody else's, the demo is removed; the operator only if it has no other work."""
    if not lab.existing():
        lab.cluster("down")
        return
    if not lab.kubectl("get", "crd", "multipartcopies.multipartcopy.dev", "--ignore-not-found"):
        say("there is no operator, so no demo")
        return
    remove()
    if others := lab.kubectl("get", "mpc", "--all-namespaces", "--output=name").split():
        say(f"the operator stays, for the {len(others)} copies in other namespaces")
    else:
        lab.uninstall_operator()


class Demo:
    """The two stores, and what is shown with them."""

    def __init__(self, source: Any, destination: Any) -> None:
        self.source = source
        self.destination = destination

    def run(self) -> None:
        self.source.create_bucket(Bucket="climate")
        self.destination.create_bucket(Bucket="mirror")
        expected = self.fill()
        self.copy(expected)
        self.fear_leftovers()
        self.fear_kill(expected)
        self.fear_wrong_secret()

    def fill(self) -> str:
        """1 GiB into the source, a part at a time; returns its SHA-256."""
        digest = hashlib.sha256()
        where = {"Bucket": "climate", "Key": KEY}
        upload = self.source.create_multipart_upload(**where)["UploadId"]
        parts = []
        for number in range(1, SIZE // BLOCK + 1):
            block = os.urandom(BLOCK)
            digest.update(block)
            part = {"PartNumber": number, "UploadId": upload}
            etag = self.source.upload_part(**where, **part, Body=block)["ETag"]
            parts.append({"PartNumber": number, "ETag": etag})
        self.source.complete_multipart_upload(
            **where, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        say(f"s3://climate/{KEY}: {SIZE} bytes, SHA-256 {digest.hexdigest()}")
        return digest.hexdigest()

    def copy(self, expected: str) -> None:
        step("kubectl apply: the copy, in pods of 64 MiB")
        manifest = resource("era5", KEY, parallelism=3)
        say(as_yaml(manifest))
        with lab.watching_peaks(NAMESPACE, "app.kubernetes.io/managed-by=multipartcopy") as pods:
            lab.apply(manifest, namespace=NAMESPACE)
            follow("era5")
        step("The proof: what the copy says of itself, and both objects hashed by the demo itself")
        self.show_proof()
        self.check(KEY, expected)
        say("\nThe pods' memory (limit, peak of the worker's process):")
        for name, (limit, peak) in sorted(pods.items()):
            say(f"  {name}  {limit}  {peak / MiB:.1f} MiB")
        hold(bool(pods), "worker pods were seen")
        hold(all(0 < peak < 64 * MiB for _, peak in pods.values()), "all stayed below 64 MiB")
        say("\n" + shown("kubectl", "-n", NAMESPACE, "get", "mpc"))
        self.show_ledger()

    def show_proof(self) -> None:
        verification = lab.get("-n", NAMESPACE, "mpc", "era5")["status"]["verification"]
        say("status.verification:\n" + as_yaml(verification))
        hold(verification["result"] == "Verified", "both legs are proven: transfer and source")

    def show_ledger(self) -> None:
        status = lab.get("-n", NAMESPACE, "mpc", "era5")["status"]
        say("The ledger, status.batches:")
        for number, batch in status["batches"].items():
            etags = batch["etags"]
            say(f"  {number}: parts {batch['parts']}: {etags[0]}, ... {etags[-1]} ({len(etags)})")
        total = sum(len(batch["etags"]) for batch in status["batches"].values())
        hold(total == status["plan"]["partCount"], f"{total} parts, {total} ETags")

    def check(self, key: str, expected: str) -> None:
        theirs = sha256(self.source, "climate", KEY)
        ours = sha256(self.destination, "mirror", key)
        say(f"  source       {theirs}\n  destination  {ours}")
        hold(theirs == ours == expected, "they are equal")

    def fear_leftovers(self) -> None:
        step("A fear: a copy deleted half way leaves its parts behind")
        lab.apply(resource("deleted", "deleted", **SLOW), namespace=NAMESPACE)
        lab.wait_until("some progress", lambda: progress("deleted") > 0, 60)
        say(shown("kubectl", "-n", NAMESPACE, "get", "mpc", "deleted"))
        hold(len(self.uploads()) == 1, "there is a multipart upload")
        lab.kubectl("-n", NAMESPACE, "delete", "mpc", "deleted", "--timeout=90s", timeout=100)
        hold(not self.uploads(), "deleted: no multipart upload is left")
        keys = self.destination.list_objects_v2(Bucket="mirror", Prefix="deleted")
        hold("Contents" not in keys, "and no object")

    def uploads(self) -> list[Any]:
        return list(self.destination.list_multipart_uploads(Bucket="mirror").get("Uploads", []))

    def fear_kill(self, expected: str) -> None:
        step("A fear: a worker is killed")
        lab.apply(resource("wounded", "wounded", **SLOW), namespace=NAMESPACE)
        lab.wait_until("some progress", lambda: progress("wounded") > 0, 60)
        pod = lab.wait_until("a worker to kill", lambda: kill_worker("wounded"), 30)
        say(
            f"$ kubectl delete pod {pod} --force --grace-period=0\n"
            + shown("kubectl", "-n", NAMESPACE, "get", "mpc", "wounded")
        )
        follow("wounded")
        self.check("wounded", expected)

    def fear_wrong_secret(self) -> None:
        step("A fear: a wrong secret, and nobody says so")
        lab.apply(resource("denied", "denied", keys="wrong"), namespace=NAMESPACE)
        condition = lab.wait_until("a condition", denied, 30)
        say(f"  {condition['type']}  {condition['reason']}: {condition['message']}")
        lab.kubectl("-n", NAMESPACE, "delete", "mpc", "denied", "--timeout=60s", timeout=70)


SLOW: dict[str, Any] = {"partSize": "5Mi", "parallelism": 1, "worker": {"streams": 1}}


def resource(name: str, key: str, *, keys: str = "s3", **spec: Any) -> dict[str, Any]:
    def side(service: str, bucket: str, what: str) -> dict[str, Any]:
        endpoint = f"http://{service}.{NAMESPACE}.svc:7070"
        location = {"endpoint": endpoint, "bucket": bucket, "key": what}
        return {"s3": {**location, "secretRef": {"name": keys}}}

    ends = {"source": side("s3-a", "climate", KEY), "destination": side("s3-b", "mirror", key)}
    return {
        "apiVersion": "multipartcopy.dev/v1alpha1",
        "kind": "MultipartCopy",
        "metadata": {"name": name},
        "spec": {**ends, **spec},
    }


def progress(name: str) -> int:
    status = lab.get("-n", NAMESPACE, "mpc", name).get("status", {})
    return int((status.get("progress") or {}).get("bytesDone", 0))


def denied() -> dict[str, Any] | None:
    status = lab.get("-n", NAMESPACE, "mpc", "denied").get("status", {})
    for condition in status.get("conditions", []):
        if condition["type"] == "Reconciling" and condition["reason"] == "AccessDenied":
            return dict(condition)
    return None


def workers(name: str) -> list[dict[str, Any]]:
    uid = lab.get("-n", NAMESPACE, "mpc", name)["metadata"]["uid"]
    return list(lab.get("-n", NAMESPACE, "pods", f"-lmultipartcopy.dev/uid={uid}")["items"])


def kill_worker(name: str) -> str | None:
    """The name of the one that was running and is killed."""
    for pod in workers(name):
        states = [c["state"] for c in pod["status"].get("containerStatuses", [])]
        if any("running" in state for state in states):
            victim = str(pod["metadata"]["name"])
            forced = ("--force", "--grace-period=0", "--wait=false")
            lab.kubectl("-n", NAMESPACE, "delete", "pod", victim, *forced)
            return victim
    return None


def follow(name: str) -> None:
    """By the project's own plugin of kubectl, which redraws its line where it is not recorded."""
    command = [sys.executable, "-m", "multipartcopy.cli.main", "watch", name, "-n", NAMESPACE]
    output = subprocess.PIPE if _record else None
    with subprocess.Popen(
        [*command, "--timeout=600"], cwd=lab.ROOT, stdout=output, text=True
    ) as process:
        try:
            for line in process.stdout or ():
                say(line.rstrip())
            process.wait()
        finally:
            process.terminate()
    hold(process.returncode == 0, f"{name} is complete")


def sha256(client: Any, bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    body = client.get_object(Bucket=bucket, Key=key)["Body"]
    for block in iter(lambda: body.read(BLOCK), b""):
        digest.update(block)
    return digest.hexdigest()


def as_yaml(manifest: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(manifest, sort_keys=False))


def shown(*command: str) -> str:
    return f"$ {' '.join(command)}\n" + lab.kubectl(*command[1:])


def hold(truth: bool, what: str) -> None:
    if not truth:
        raise DemoError(f"it did not hold that {what}")
    say(f"  ok: {what}")


_steps = iter(range(1, 100))
_record: TextIO | None = None


def step(title: str) -> None:
    bold = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    say(f"\n{bold[0]}{next(_steps)}. {title}{bold[1]}")


def say(text: str) -> None:
    print(text, flush=True)
    if _record:
        print(text, file=_record, flush=True)


@contextlib.contextmanager
def _recording(path: str | None) -> Iterator[None]:
    global _record
    if path is None:
        yield
        return
    with Path(path).open("w") as _record:
        say("$ make demo")
        try:
            yield
        finally:
            _record = None


if __name__ == "__main__":
    sys.exit(main())
