"""Worlds for stories, and what the model has been through at the end of the run."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.model.world import TALLY, Scenario, World


@pytest.fixture
def begin() -> Iterator[Callable[..., World]]:
    """A world by its scenario; once the test is through, all is well again and it has to end well."""
    worlds: list[World] = []

    def make(**scenario: object) -> World:
        worlds.append(World(Scenario(**scenario)))  # type: ignore[arg-type]
        return worlds[-1]

    yield make
    for world in worlds:
        try:
            world.check()
            world.check_end()
        finally:
            world.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TALLY["worlds"]:
        ends = ", ".join(f"{TALLY[end]} {end}" for end in ("Succeeded", "Failed", "gone"))
        terminalreporter.write_line(
            f"model: {TALLY['worlds']} worlds, {TALLY['steps']} steps, {TALLY['faults']} faults:"
            f" {ends}"
        )
