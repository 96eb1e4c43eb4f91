"""A namespace is deleted with copies live: Secrets, Jobs and pods go at once, the uploads must too."""

import secrets
from collections.abc import Iterator

import pytest

from dev import lab
from tests.cluster.processes import Operator
from tests.cluster.world import World


@pytest.fixture
def doomed(world: World) -> Iterator[str]:
    name = f"mpc-doomed-{secrets.token_hex(3)}"
    lab.kubectl("create", "namespace", name)
    lab.apply(lab.credentials("s3"), namespace=name)
    yield name
    lab.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def begin(world: World, names: tuple[str, ...], namespace: str) -> None:
    for name in names:
        world.begin(name, namespace=namespace)
    for name in names:
        world.wait_sending(name)
        lab.wait_until(
            "its upload", lambda name=name: "upload" in world.status(name, namespace), 30
        )


def test_the_credentials_are_remembered(world: World, doomed: str):
    names = ("one", "two", "three")
    begin(world, names, doomed)
    lab.kubectl("delete", "namespace", doomed, "--timeout=120s", timeout=130)
    for name in names:
        assert world.uploads(name) == []
        assert not world.exists(name)


def test_an_operator_without_credentials_names_what_it_leaves(
    world: World, operator: Operator, doomed: str
):
    """The Secret is gone, and the operator that has known it: there is nobody left who could abort."""
    begin(world, ("left",), doomed)
    (upload,) = world.uploads("left")
    operator.scale(0)
    lab.kubectl("--namespace", doomed, "delete", "secret", "s3")
    lab.kubectl("delete", "namespace", doomed, "--wait=false")
    operator.scale(1)
    operator.wait_named(upload)
    lab.kubectl("wait", "--for=delete", f"namespace/{doomed}", "--timeout=90s", timeout=100)
    assert not world.exists("left")
    world.destination.abort_multipart_upload(Bucket="dst", Key="left", UploadId=upload)
