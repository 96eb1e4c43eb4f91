"""`kubectl multipartcopy` as a program, on a real cluster with the operator in it.

What it prints of dicts is in tests/unit/cli; here it has to find its cluster, and the copies have to follow.
"""

import json
import subprocess
import sys

import yaml

from dev import lab
from multipartcopy.cli.errors import Exit
from tests.cluster.world import World

_SECONDS = 180


def run(world: World, *words: str, code: Exit = Exit.DONE) -> str:
    """What it printed; it has to end with ``code``."""
    command = [sys.executable, "-m", "multipartcopy.cli.main", *words]
    done = subprocess.run(
        [*command, f"--namespace={world.namespace}"],
        cwd=lab.ROOT,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def copying(world: World, key: str) -> list[str]:
    words = ["copy", f"s3://src/{key}", f"s3://dst/{key}", f"--name={key}", "--part-size=5Mi"]
    for side, service in (("source", "gate-a"), ("destination", "gate-b")):
        endpoint = f"http://{service}.{world.namespace}.svc:7070"
        words += [f"--{side}-endpoint={endpoint}", f"--{side}-secret=s3"]
    return [*words, "--streams=2"]


def test_copy_and_wait_then_look_at_it(world: World):
    digest = world.fill("by-command")
    shown = run(world, *copying(world, "by-command"), "--wait", "--timeout=150s").splitlines()
    assert shown[-1].startswith("Copied: copied 16.0 MiB")
    assert world.sha256("by-command") == digest
    run(world, *copying(world, "by-command"), code=Exit.REFUSED)
    assert "Succeeded" in run(world, "get", "by-command", "-o", "wide")
    assert json.loads(run(world, "get", "by-command", "-o", "json"))["kind"] == "MultipartCopy"
    page = run(world, "describe", "by-command")
    for words in ("Timeline", "UploadCreated", "[#", "Proof", "Verified:"):
        assert words in page, page
    run(world, "suspend", "by-command", code=Exit.REFUSED)
    run(world, "watch", "by-nobody", code=Exit.NOT_FOUND)


def test_a_manifest_of_a_dry_run_is_taken(world: World):
    made = yaml.safe_load(run(world, *copying(world, "dry"), "--dry-run", "-o", "yaml"))
    assert "dry" not in lab.kubectl("-n", world.namespace, "get", "mpc", "--output=name")
    lab.kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(made))


def test_one_held_half_way_is_seen_suspended_resumed_and_cancelled(world: World):
    world.begin("handled", parts="3")
    world.wait_sending("handled")
    lab.wait_until("some progress", lambda: world.status("handled").get("progress"), 60)
    assert "a pod is at it" in run(world, "describe", "handled")
    assert '"message": "start"' in run(world, "logs", "handled")
    store = world.destination.meta.endpoint_url
    words = ["uploads", "s3://dst/handled", f"--endpoint={store}", "--secret=s3"]
    assert json.loads(run(world, *words, "--older-than=0", "-o", "json")) == []
    run(world, "watch", "handled", "--timeout=1s", code=Exit.TIMEOUT)
    run(world, "suspend", "handled")
    world.wait_reason("handled", "Suspended", 60)
    run(world, "resume", "handled")
    lab.wait_until("going on", lambda: world.reason("handled") != "Suspended", 60)
    assert len(world.uploads("handled")) == 1
    assert run(world, "cancel", "handled", "--yes", "--timeout=120s") == "handled is cancelled\n"
    assert world.uploads("handled") == []


def test_what_has_failed_is_tried_again(world: World):
    world.copy("again-by-command", "again-by-command")
    world.wait_condition("again-by-command", "Failed", 60)
    run(world, "watch", "again-by-command", code=Exit.FAILED)
    digest = world.fill("again-by-command")
    run(world, "retry", "again-by-command", "--wait", "--timeout=150s")
    assert world.sha256("again-by-command") == digest
