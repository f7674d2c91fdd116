"""Typed events for observers of a run, in the order in which things happened.

They are made only if a run has observers, and the engine loads this module only then, which
keeps the import of graphorch fast. `path` is where in the run (`team/research`,
`workers[3]/dig`), `node` its last part, and `at` the time in seconds since the epoch. Calls of
tools have the events of a node: `tool` is the name of the tool, and the path is that of the call
(`write/r1/search#0`); for nodes it is empty. Values in events are copies: what an observer does to
them does not reach the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class JournalEvent:
    """Base of the events that can be read from a journal.

    `seq` is the number of the record that an event of `flow.follow` comes from; several events may
    come from one record. It is 0 in events of the process that drives the run.
    """

    seq: int = field(default=0, kw_only=True, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Started(JournalEvent):
    """An attempt of a node begins."""

    path: str
    node: str
    attempt: int
    at: float
    tool: str = ""


@dataclass(frozen=True, slots=True)
class Expanded(JournalEvent):
    """A map knows how many items it has: those that its results added so far included.

    If it `grows`, results may add more; each time there is such an event.
    """

    path: str
    node: str
    items: int
    at: float
    grows: bool = False


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of a model's answer.

    It is a preview: a call that starts over after a failure streams from the beginning again.
    """

    path: str
    node: str
    text: str


@dataclass(frozen=True, slots=True)
class ModelCalled(JournalEvent):
    """A model call ended.

    Tokens and dollars are those of all its requests. If the price of one of them is not known,
    `usd_source` is `none`, and `usd` is what is known of the rest. `error` says why there is no
    answer; it is empty if there is one.
    """

    path: str
    node: str
    model: str
    input_tokens: int
    output_tokens: int
    usd: float
    usd_source: str
    seconds: float
    note: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Committed(JournalEvent):
    """A node's result counts from now on.

    `update` holds the fields that the node wrote, `to` the names of the nodes that follow: none
    after a call of a tool, whose update is its `ToolOutcome`.
    """

    path: str
    node: str
    update: Mapping[str, Any]
    to: tuple[str, ...]
    seconds: float
    at: float
    tool: str = ""


@dataclass(frozen=True, slots=True)
class Failed(JournalEvent):
    """An attempt failed.

    `retry_in` is the pause in seconds before the next attempt, None if there is none. `handled` is
    true if the run continues along an error edge.
    """

    path: str
    node: str
    attempt: int
    error: str
    retry_in: float | None
    handled: bool
    at: float
    tool: str = ""


@dataclass(frozen=True, slots=True)
class Skipped(JournalEvent):
    """A node did not run, because a field that it reads was not assigned on the way to it."""

    path: str
    node: str
    reason: str
    tool: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled(JournalEvent):
    """An attempt was stopped, and its result is dropped."""

    path: str
    node: str
    reason: str
    tool: str = ""


@dataclass(frozen=True, slots=True)
class QuestionAsked(JournalEvent):
    """A question was put to a person."""

    path: str
    node: str
    question: str
    tool: str = ""


@dataclass(frozen=True, slots=True)
class WaitBegan(JournalEvent):
    """A node waits for a signal with a key, or for a time if `signal` is empty.

    At `due` (seconds since the epoch) a timer fires, or the signal is not waited for any more; None
    is never. What it waits for is there when it is `Committed`, maybe at once.
    """

    path: str
    node: str
    signal: str
    key: str
    due: float | None


@dataclass(frozen=True, slots=True)
class Emitted:
    """A user's own event, from `ctx.emit`."""

    path: str
    node: str
    event: BaseModel


@dataclass(frozen=True, slots=True)
class Ended(JournalEvent):
    """The run is over, or waits: always the last event. `reason` says why.

    A run that was resumed has come to rest several times, each with such an event in its journal.
    """

    status: str
    reason: str
    run_id: str
    at: float


RunEvent: TypeAlias = (
    Started
    | Expanded
    | TextDelta
    | ModelCalled
    | Committed
    | Failed
    | Skipped
    | Cancelled
    | QuestionAsked
    | WaitBegan
    | Emitted
    | Ended
)
Observer: TypeAlias = Callable[[RunEvent], None]

EVENT_NAMES: Final[Mapping[type, str]] = {
    Started: "started",
    Expanded: "expanded",
    TextDelta: "text_delta",
    ModelCalled: "model_called",
    Committed: "committed",
    Failed: "failed",
    Skipped: "skipped",
    Cancelled: "cancelled",
    QuestionAsked: "question_asked",
    WaitBegan: "wait_began",
    Emitted: "emitted",
    Ended: "ended",
}
"""Names of events, as programs read them from `graphorch run --events`."""
