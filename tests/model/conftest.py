"""What the model has been through, at the end of the run."""

from typing import Any

from tests.model.world import TALLY


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TALLY["worlds"]:
        ends = ", ".join(f"{TALLY[end]} {end}" for end in ("Succeeded", "Failed", "gone"))
        terminalreporter.write_line(
            f"model: {TALLY['worlds']} worlds, {TALLY['steps']} steps, {TALLY['faults']} faults:"
            f" {ends}"
        )
