"""The effects of the protocol in their order, as the requests of the operator that a gate can hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dev import lab
from multipartcopy.jobs import job_name
from tests.cluster.gates import Gate, Rule, holding
from tests.cluster.world import SMALL, World

STATUS, RESOURCE = r"^PATCH .*/{name}/status$", r"^PATCH .*/multipartcopies/{name}$"


@dataclass(frozen=True)
class Effect:
    """A request of the operator: ``match`` for METHOD and target, ``body`` for what it carries."""

    what: str
    match: str
    body: str = ""

    @property
    def at_store(self) -> bool:
        return "/dst/" in self.match


@dataclass(frozen=True)
class Story:
    """A kind of copy, its effects in the order of the protocol, and what is done to it meanwhile."""

    name: str
    effects: Sequence[Effect]
    ends: str
    """The last reason; empty where the resource goes."""
    size: int = SMALL
    holds_parts: bool = False
    meanwhile: Callable[[World, str], None] | None = None
    """Once its workers send."""


def delete(world: World, name: str) -> None:
    lab.kubectl("--namespace", world.namespace, "delete", "mpc", name, "--wait=false")


def suspend(world: World, name: str) -> None:
    world.patch(name, suspend=True)


def too_late(world: World, name: str) -> None:
    world.patch(name, activeDeadlineSeconds=1)


FINALIZER = Effect("finalizer", RESOURCE, "abort-upload")
CLAIM = Effect("claim", STATUS, '"add", "path": "/status/claim"')
FAILING = Effect("failing", STATUS, '"add", "path": "/status/failing"')
TERMINAL = Effect("terminal status", STATUS, '"/status/completionTime"')
DELETE_JOB = Effect("Job delete", r"^DELETE .*/jobs/{job}\b")
ABORT = Effect("AbortMultipartUpload", r"^DELETE /dst/{name}\?.*uploadId=")
ABORTED = Effect("aborted", STATUS, '"remove", "path": "/status/claim"')
RELEASE = Effect("finalizer removal", RESOURCE, r'"/metadata/finalizers", "value": \[\]')

COPY = Story(
    "copy",
    [
        FINALIZER,
        CLAIM,
        Effect("CreateMultipartUpload", r"^POST /dst/{name}\?uploads"),
        Effect("upload ID", STATUS, '"add", "path": "/status/upload"'),
        Effect("Job create", r"^POST .*/jobs(\?|$)", r'"multipartcopy.dev/name": "{name}"'),
        Effect("ledger", STATUS, '"/status/batches'),
        Effect("intent", STATUS, '"add", "path": "/status/completing"'),
        Effect("CompleteMultipartUpload", r"^POST /dst/{name}\?.*uploadId="),
        TERMINAL,
        DELETE_JOB,
        RELEASE,
    ],
    "Copied",
)

STORIES = [
    COPY,
    Story(
        "empty",
        [
            Effect("intent", STATUS, '"add", "path": "/status/completing"'),
            Effect("PutObject", r"^PUT /dst/{name}\b"),
            TERMINAL,
        ],
        "Copied",
        size=0,
    ),
    Story(
        "failure",
        [
            FAILING,
            DELETE_JOB,
            ABORT,
            ABORTED,
            TERMINAL,
            RELEASE,
        ],
        "DeadlineExceeded",
        holds_parts=True,
        meanwhile=too_late,
    ),
    Story(
        "deletion", [DELETE_JOB, ABORT, ABORTED, RELEASE], "", holds_parts=True, meanwhile=delete
    ),
    Story(
        "suspension",
        [DELETE_JOB, Effect("suspended", STATUS, '"value": "Suspended"')],
        "Copied",
        holds_parts=True,
        meanwhile=suspend,
    ),
]


@dataclass(frozen=True)
class Case:
    story: Story
    effect: Effect
    when: str
    """``before`` the effect is applied, ``after`` it is, or ``both``, where two operators wait before it."""

    @property
    def name(self) -> str:
        """Of the resource, its object, and the rules that hold it."""
        return f"{self.story.name}-{self.when}-{self.effect.what}".lower().replace(" ", "-")

    @property
    def parts(self) -> str:
        """Of the rule that holds its parts."""
        return f"{self.name}:parts"

    def gate(self, world: World) -> Gate:
        return world.destination_gate if self.effect.at_store else world.api_gate

    def rule(self, uid: str) -> Rule:
        words = {"name": self.name, "job": job_name(uid, 1, 1)}
        body = {"body": self.effect.body.replace("{name}", self.name)} if self.effect.body else {}
        at = "answer" if self.when == "after" else "request"
        return holding(self.name, self.effect.match.format(**words), at=at, **body)
