"""Workers that are killed at their memory limit whatever they do: they get more, as far as they may, and it ends."""

import pytest

from tests.model.world import Scenario, World


def limits_until_the_end(world: World, needs: int) -> list[str]:
    """Of the Jobs that there were, one after the other. Workers of less than ``needs`` MiB are killed."""
    limits: list[str] = []
    for _ in range(60):
        world.operator(0)
        world.kill(0)  # What is remembered is in the status.
        world.check()
        if world.at_rest:
            return limits
        for job in list(world.cluster.jobs.values()):
            container = job["spec"]["template"]["spec"]["containers"][0]
            limit = container["resources"]["limits"]["memory"]
            if limits[-1:] != [limit]:
                limits.append(limit)
            enough = int(limit.removesuffix("Mi")) >= needs
            world.cluster.sync()
            for name in list(world.cluster.pods):
                world.pod_starts(name)
                (world.pod_ends if enough else world.pod_out_of_memory)(name)
        world.cluster.sync()
        world.time_passes(300)
    raise AssertionError(world.status)


@pytest.mark.parametrize(
    ("most", "needs", "limits", "phase"),
    [
        ("200Mi", 64, ["64Mi"], "Succeeded"),
        ("200Mi", 150, ["64Mi", "128Mi", "200Mi"], "Succeeded"),
        ("100Mi", 100, ["64Mi", "100Mi"], "Succeeded"),
        ("100Mi", 101, ["64Mi", "100Mi"], "Failed"),
        (None, 65, ["64Mi"], "Failed"),
    ],
)
def test_it_ends(most: str | None, needs: int, limits: list[str], phase: str) -> None:
    world = World(Scenario(max_memory=most, parallelism=1))
    try:
        assert limits_until_the_end(world, needs) == limits
        assert world.status
        assert world.status["phase"] == phase
        if phase == "Failed":
            assert world.status["conditions"][0]["reason"] == "OOMKilled"
            assert world.destination.uploads == {}
        else:
            # No batch was tried twice with one limit.
            runs = world.cluster.runs.values()
            assert len(runs) == len(limits)
            assert all(n == 1 for run in runs for n in run.failures.values())
        world.check_end()
    finally:
        world.close()
