"""The resource as kstatus reads it, by the real library and by Flux's fork of it, in every phase."""

from collections.abc import Callable
from typing import Any

import pytest

from multipartcopy.api.status import Phase
from multipartcopy.reconcile.act import Memory
from multipartcopy.reconcile.decide import Write, decide
from multipartcopy.reconcile.facts import Facts
from tests.unit import phases
from tests.unit.facts import NOW
from tests.unit.test_metrics import effects
from tests.unit.test_races import FakeKube

Ask = Callable[[str, list[Any]], list[dict[str, str]]]

STATUSES = {
    Phase.PENDING: "InProgress",
    Phase.PREPARING: "InProgress",
    Phase.COPYING: "InProgress",
    Phase.COMPLETING: "InProgress",
    Phase.VERIFYING: "InProgress",
    Phase.SUCCEEDED: "Current",
    Phase.FAILED: "Failed",
    # It is not what the manifest asks for, a copy: kstatus has no word for a pause.
    Phase.SUSPENDED: "InProgress",
    Phase.ABORTING: "InProgress",
}


def statuses(gitops: Ask, *kubes: FakeKube) -> list[str]:
    answers = gitops("kstatus", [kube.body for kube in kubes])
    assert all(answer["status"] == answer["flux"] for answer in answers)
    return [answer["status"] for answer in answers]


def test_every_phase(gitops: Ask) -> None:
    found = statuses(gitops, *map(phases.written, Phase))
    assert dict(zip(Phase, found, strict=True)) == STATUSES


def test_one_that_was_just_applied_is_in_progress(gitops: Ask) -> None:
    """Without the definition's default of ``status`` it would be taken for current."""
    naked = phases.fresh()
    assert naked.body
    del naked.body["status"]
    assert statuses(gitops, phases.fresh(), naked) == ["InProgress", "Current"]


def test_one_that_was_just_edited_is_in_progress(gitops: Ask) -> None:
    assert set(statuses(gitops, *map(phases.edited, Phase))) == {"InProgress"}


def test_one_that_is_deleted_is_terminating(gitops: Ask) -> None:
    assert set(statuses(gitops, *map(phases.deleted, Phase))) == {"Terminating"}


@pytest.mark.parametrize(
    ("phase", "status"), [(Phase.SUCCEEDED, "Current"), (Phase.FAILED, "Failed")]
)
def test_an_edit_after_the_end_is_acknowledged(gitops: Ask, phase: Phase, status: str) -> None:
    """It has no effect; but who waits for it must not wait for ever."""
    kube = phases.edited(phase)
    seen = Facts(NOW, kube.read())
    assert effects(kube).perform(decide(seen), seen, Memory()) is None
    assert statuses(gitops, kube) == [status]
    assert not isinstance(decide(Facts(NOW, kube.read())), Write)
