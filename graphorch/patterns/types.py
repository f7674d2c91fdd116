"""What patterns tell: slices that a state may inherit to be told, what a gate answers, and the events that patterns emit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pydantic import BaseModel


class Feedback(BaseModel):
    """A slice that a state may inherit: why a step is asked again (a gate's reason, the tasks that were declined); "" the first time.

    An agent is told without it. A plain function that wants to know reads it as a parameter.
    """

    feedback: str = ""


class Gaps(BaseModel):
    """A slice that a state may inherit: the branches of the last fan-out that brought nothing, each with the reason.

    An agent that merges is told without it.
    """

    gaps: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Repeat:
    """A gate's answer: the step shall try again, with this reason in hand."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """A gate's answer: another attempt would not help; the run ends with `GateRejected`."""

    reason: str


GateVerdict: TypeAlias = bool | Repeat | Stop


class Gated(BaseModel):
    """Event: what a gate said about an attempt of a step."""

    step: str
    attempt: int
    passed: bool
    reason: str = ""


class Chosen(BaseModel):
    """Event: what a router decided. `route` is "default" where the classifier was unsure."""

    router: str
    label: str
    route: str
    confidence: float | None = None
    opinions: int = 1


class Digest(BaseModel):
    """Event: a report that went on shortened or whole; `tokens` is its size and `kept` that of what went on."""

    task: str
    worker: str
    tokens: int
    kept: int


class Round(BaseModel):
    """Event: a round of an evaluator loop is over. `stopped` says why there is no further one, or is ""."""

    round: int
    score: float | None = None
    best: float | None = None
    accepted: bool = False
    stopped: str = ""
