"""Hypothesis chooses what happens next; what must hold is checked after each step, and at the end.

A few runs, always the same, in the unit tier; ``make test-model EXAMPLES=20000 SEED=1`` runs more of them.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from multipartcopy.api.spec import Mode, OnFailure, OnSourceChange, Overwrite, VerificationMode
from tests.model.store import Conditions, Habits, Weather
from tests.model.wire import Event, Fault, What
from tests.model.world import EDITS, KEY, MEMORIES, Scenario, World

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))

PODS = [
    "starts",
    "ends",
    "flips",
    "killed",
    "sends_and_is_killed",
    "out_of_memory",
    "message_lost",
    "message_cut",
    "evicted",
    "declared_dead",
    "deleted",
    "unseen",
]
TIMES = [1, 5, 30, 61, 90, 130, 400, 2000]
NUMBERS = st.integers(0, 3)
OPERATORS = st.integers(0, 1)
SIDES = st.sampled_from(["source", "destination"])
SECRETS = st.sampled_from(["from", "to"])


def event(name: str, *arguments: st.SearchStrategy) -> st.SearchStrategy[Event]:
    return st.tuples(st.just(name), *arguments)


PEOPLE = [
    event("stranger_writes", st.booleans()),
    event("stranger_removes"),
    event("stranger_uploads", st.sampled_from([KEY, f"{KEY}/longer"])),
    event("stranger_aborts"),
    event("source_changes"),
    event("secret_goes", SECRETS),
    event("secret_comes", SECRETS),
    event("suspend", st.booleans()),
    event("parallelism", st.integers(1, 3)),
    event("streams", st.integers(1, 2)),
    event("max_memory", st.sampled_from(MEMORIES)),
    event("bandwidth", st.sampled_from(["4Mi", "9Mi", None])),
    event("on_source_change", st.sampled_from(OnSourceChange)),
    event("on_failure", st.sampled_from(OnFailure)),
    event("retry", st.sampled_from(["1", "2"])),
    event("resource_deleted"),
    event("job_deleted"),
]
NATURE = [
    event("time_passes", st.sampled_from(TIMES)),
    event("clock_jumps", OPERATORS, st.sampled_from([-600, 600])),
    event("weather", SIDES, st.sampled_from(Weather)),
    event("quota", st.booleans()),
    event("late_request_lands", NUMBERS),
    event("kill", OPERATORS),
]
CLUSTER = [
    event("copy_on"),
    event("pods_send"),
    event("controller_syncs"),
    event("node_sends", NUMBERS),
    event("pod", NUMBERS, st.sampled_from(PODS)),
]


def faults(meanwhile: st.SearchStrategy[Event]) -> st.SearchStrategy[Fault]:
    return st.builds(
        Fault,
        what=st.sampled_from(What),
        meanwhile=st.lists(meanwhile, max_size=2).map(tuple),
        status=st.sampled_from([0, 409, 429, 500]),
    )


INNER = st.one_of(*PEOPLE, *NATURE, *CLUSTER)


class Storm:
    """Any call may meet with anything, one in ``calm`` on average; the other operator may pass in between."""

    def __init__(self, data: st.DataObject, calm: int, depth: int = 0) -> None:
        self._data = data
        self._odds = st.integers(1, calm)
        self._calm = calm
        self._depth = depth
        other = st.builds(self._other, OPERATORS)
        self._faults = faults(INNER if depth else st.one_of(INNER, other, other))

    def _other(self, number: int) -> Event:
        return "operator", number, Storm(self._data, self._calm, self._depth + 1)

    def __call__(self, name: str, nth: int) -> Fault | None:
        if self._data.draw(self._odds) < self._calm:
            return None
        return self._data.draw(self._faults, label=f"{name} {nth}")

    def __repr__(self) -> str:
        return "Storm"


HABITS = st.builds(
    Habits,
    checksum=st.booleans(),
    repeats=st.booleans(),
    conditions=st.sampled_from(Conditions),
    md5=st.booleans(),
    encrypted=st.booleans(),
    metadata=st.booleans(),
    copies=st.sampled_from([True, True, False]),
    revives=st.booleans(),
)
SCENARIOS = st.builds(
    Scenario,
    size=st.sampled_from([10, 0, 3, 4, 8, 23]),
    overwrite=st.sampled_from(Overwrite),
    verification=st.sampled_from([VerificationMode.AUTO, *VerificationMode]),
    mode=st.sampled_from([Mode.AUTO, *Mode]),
    within=st.booleans(),
    destination=st.sampled_from([None, None, "theirs", "equal"]),
    uploads=st.integers(0, 1),
    parallelism=st.integers(1, 2),
    backoff_limit=st.integers(0, 1),
    max_memory=st.sampled_from(MEMORIES),
    deadline=st.sampled_from([None, None, None, 600]),
    ttl=st.sampled_from([None, None, None, 60]),
    on_source_change=st.sampled_from(OnSourceChange),
    on_failure=st.sampled_from(OnFailure),
    retry=st.sampled_from([None, None, "1"]),
    habits=HABITS,
    source_habits=HABITS,
    store_clock=st.sampled_from([0, 0, -600, 600]),
)


class Machine(RuleBasedStateMachine):
    """A rule for each kind of thing, so that most runs have some of them and few have all."""

    world: World | None = None

    @initialize(scenario=SCENARIOS)
    def begin(self, scenario: Scenario) -> None:
        self.world = World(scenario)

    @rule(number=OPERATORS)
    def operator(self, number: int) -> None:
        self.world.operator(number)

    @rule(number=OPERATORS, data=st.data(), calm=st.sampled_from([5, 10, 20]))
    def operator_in_a_storm(self, number: int, data: st.DataObject, calm: int) -> None:
        self.world.operator(number, Storm(data, calm))

    @rule()
    def copy_on(self) -> None:
        self.world.copy_on()

    @rule(event=st.one_of(*CLUSTER))
    def cluster(self, event: Event) -> None:
        self.world.happen(event)

    @rule(event=st.one_of(*NATURE))
    def nature(self, event: Event) -> None:
        self.world.happen(event)

    @rule(event=st.one_of(*PEOPLE))
    def people(self, event: Event) -> None:
        self.world.happen(event)

    @invariant()
    def holds(self) -> None:
        if self.world:
            self.world.check()

    def teardown(self) -> None:
        if self.world:
            try:
                self.world.check_end()
            finally:
                self.world.close()


class EditedMachine(Machine):
    """Somebody edits the status as well. That costs work done, never an object or an upload."""

    @rule(what=st.sampled_from(EDITS))
    def edit(self, what: str) -> None:
        self.world.edit(what)


_SETTINGS = settings(
    max_examples=EXAMPLES or 100,
    derandomize=not EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestModel = Machine.TestCase
TestModel.settings = _SETTINGS
TestEditedModel = EditedMachine.TestCase
TestEditedModel.settings = _SETTINGS
