"""An eye on memory, of the real worker under the limit of its pod: not a timing, so it is the same on any machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import lab, servers
from dev.bench import place
from dev.bench.ledger import bottomless
from tests.cluster.world import MiB, World

MOST = 48 * MiB
"""Of the process, with four streams. The rest of the limit is for the kernel: socket buffers most of all."""


@pytest.fixture(scope="module")
def endpoints(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, object]]]:
    """Of a store that keeps nothing and is as large as it is asked for, without and with TLS."""
    program, ports = Path(bottomless.__file__), {"clients": 7070}
    public = servers.certificate(tmp_path_factory.mktemp("tls"), f"DNS:tls.{world.namespace}.svc")
    both = public.read_text() + public.with_name("private.key").read_text()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tls-ca"},
        "stringData": {"ca.crt": public.read_text()},
    }
    lab.apply(secret, namespace=world.namespace)
    rate = "--rate=inf"
    place.deploy_program(world.namespace, "plain", program, [rate], ports)
    certified = [rate, "--certificate=/program/both.pem"]
    place.deploy_program(world.namespace, "tls", program, certified, ports, {"both.pem": both})
    yield {
        "http": {"endpoint": f"http://plain.{world.namespace}.svc:7070"},
        "https": {
            "endpoint": f"https://tls.{world.namespace}.svc:7070",
            "caSecretRef": {"name": "tls-ca"},
        },
    }
    lab.kubectl("--namespace", world.namespace, "delete", "deployment", "plain", "tls")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("part", "count"), [("5Mi", 40), ("512Mi", 4)])
def test_a_part_of_any_size_goes_through_a_pod_of_64_mib(
    world: World, endpoints: dict[str, dict[str, object]], scheme: str, part: str, count: int
) -> None:
    """Four parts at once; of the large ones each is eight times as large as the pod may be."""
    name = f"memory-{scheme}-{part.lower()}"

    def end(bucket: str, key: str) -> dict[str, object]:
        where = {"bucket": bucket, "key": key, "secretRef": {"name": "s3"}}
        return {"s3": {**endpoints[scheme], **where}}

    size = count * int(part.removesuffix("Mi")) * MiB
    copy = {
        "apiVersion": "multipartcopy.dev/v1alpha1",
        "kind": "MultipartCopy",
        "metadata": {"name": name},
        "spec": {
            "source": end(bottomless.BUCKET, str(size)),
            "destination": end("target", name),
            "mode": "Relay",
            "partSize": part,
            "parallelism": 1,
        },
    }
    lab.apply(copy, namespace=world.namespace)
    selector = f"multipartcopy.dev/uid={world.uid(name)}"
    with lab.watching_peaks(world.namespace, selector) as pods:
        status = world.wait_condition(name, "Complete", 120)
        batches = status["plan"]["batchCount"]
        lab.wait_until("the last words of each pod", lambda: len(pods) >= batches, 10)
    assert status["plan"]["partCount"] == count
    # One whose parts were all seen at the store may be stopped before it has ended by itself.
    assert "lastFailure" not in status
    assert {limit for limit, _ in pods.values()} == {"64Mi"}
    assert all(20 * MiB < peak <= MOST for _, peak in pods.values()), pods
