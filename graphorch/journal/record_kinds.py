"""The kinds of records that a run consists of, and the fields of each: the schema of the journal.

A record is stored as plain JSON. A newer graphorch may add a kind or an optional field; it never
renames or removes one without raising the format. Writers build a body of the declared type;
readers map each kind to a handler. A test holds both to this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NotRequired, TypeAlias, TypedDict, get_args

from graphorch.statuses import RunStatus

RecordKind: TypeAlias = Literal[
    "started",
    "forked",
    "commit",
    "routed",
    "entered",
    "failed",
    "skipped",
    "cancelled",
    "asked",
    "approved",
    "retry",
    "stopping",
    "grace",
    "resumed",
    "starting",
    "call",
    "unanswered",
    "rules",
    "migrated",
    "ended",
]

FORMAT: Final = 3
"""Number of the format that new runs are written in. Runs of an older format are still read."""

RECORD_KINDS: Final[frozenset[str]] = frozenset(get_args(RecordKind))


class RulesBody(TypedDict):
    """From here on the run decides under another limit, or handles failures differently."""

    activations: int | None
    on_failure: Literal["drain", "cancel", "isolate"]


class StartedOptions(TypedDict):
    """Options of a run that its first record keeps.

    `after` is the id of the run that the run follows in a conversation; `rules` are there unless
    they are the default; `budget` holds what the run may spend, by unit.
    """

    after: NotRequired[str]
    rules: NotRequired[RulesBody]
    budget: NotRequired[dict[str, float]]


class StartedBody(StartedOptions):
    """The run begins with this input; `flow` describes its graph (see `graph/fingerprint.py`)."""

    at: float
    input: dict[str, Any]
    flow: dict[str, Any]


ForkedBody = TypedDict("ForkedBody", {"from": str, "at": str, "copied": int})
"""The next `copied` records were copied from run `from`; `at` is the path that runs anew."""


class ActivationBody(TypedDict):
    """Fields of every record about one activation: its path and its id."""

    path: str
    id: str


class RouteBody(TypedDict):
    """Route of an activation: numbers of its loop exits (-1: none) and of edges."""

    loop: int
    exhausted: int
    edges: list[int]


class CommitBody(ActivationBody):
    """An activation succeeded.

    `route` is there unless something came between result and routing.
    """

    at: float
    began: float
    update: dict[str, Any]
    route: NotRequired[RouteBody]


class RoutedBody(ActivationBody, RouteBody):
    """An activation whose commit came earlier was routed."""

    at: float


class EnteredBody(ActivationBody):
    """A sub-flow (one item) or a map (one per item) was entered with these inputs."""

    at: float
    items: list[dict[str, Any]]


class FailedBody(ActivationBody):
    """An attempt failed; `handler` numbers the error edge that carries on, -1 is none."""

    at: float
    began: float
    attempt: int
    error: str
    message: str
    retry_after: float | None
    handler: int
    limit: str


class SkippedBody(ActivationBody):
    """A node could not start because a field that it requires was never assigned."""

    at: float
    reason: str


class CancelledBody(ActivationBody):
    """An attempt was cancelled; nothing of it counts."""

    at: float
    began: float


class AskedBody(ActivationBody):
    """A question was put to a person."""

    at: float
    began: float
    text: str
    expires: float | None


class ApprovedBody(ActivationBody):
    """A person let an activation pass its gate."""

    at: float


class RetryBody(ActivationBody):
    """The pause before an attempt is over."""

    at: float
    attempt: int


class StoppingBody(TypedDict):
    """The run was asked to stop: at once (`now`), or after what runs."""

    at: float
    reason: str
    status: RunStatus
    now: bool


class MomentBody(TypedDict):
    """Only a time: the run was resumed, or the grace time after a failure is over."""

    at: float


class StartingBody(ActivationBody):
    """An attempt begins whose effect must not happen twice."""

    attempt: int


class CallBody(ActivationBody):
    """A model answered; `asked` describes the request, `key` identifies equal requests."""

    attempt: int
    key: str
    response: dict[str, Any]
    at: float
    began: float
    asked: dict[str, Any]


class ModelFailureBody(TypedDict):
    """Why a model call failed, and what it cost; `decision` is the record of its policy."""

    error: str
    message: str
    model: str
    status: int | None
    usd: float | None
    usage: dict[str, Any] | None
    decision: dict[str, Any] | None


class UnansweredBody(ActivationBody, ModelFailureBody):
    """A model call failed; it may have cost something."""

    attempt: int
    at: float
    began: float
    asked: dict[str, Any]


class MigratedBody(TypedDict):
    """From here on the graph with this fingerprint writes."""

    to: str


class EndedBody(TypedDict):
    """Nothing is left to do for now."""

    status: RunStatus
    reason: str


BODIES: Final[Mapping[RecordKind, type]] = {
    "started": StartedBody,
    "forked": ForkedBody,
    "commit": CommitBody,
    "routed": RoutedBody,
    "entered": EnteredBody,
    "failed": FailedBody,
    "skipped": SkippedBody,
    "cancelled": CancelledBody,
    "asked": AskedBody,
    "approved": ApprovedBody,
    "retry": RetryBody,
    "stopping": StoppingBody,
    "grace": MomentBody,
    "resumed": MomentBody,
    "starting": StartingBody,
    "call": CallBody,
    "unanswered": UnansweredBody,
    "rules": RulesBody,
    "migrated": MigratedBody,
    "ended": EndedBody,
}
