"""Public values of patterns: slices that a state may inherit, verdicts of gates, and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pydantic import BaseModel


class Feedback(BaseModel):
    """Slice that a state may inherit: why a step runs again; "" the first time.

    It holds a gate's reason, or the tasks that were declined. An agent gets this text in its prompt
    without it; a plain function reads the slice as a parameter.
    """

    feedback: str = ""


class Gaps(BaseModel):
    """Slice that a state may inherit: the reason for each branch of a fan-out that brought nothing.

    An agent that merges gets them in its prompt without it.
    """

    gaps: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Repeat:
    """Verdict of a gate: the step tries again, and its prompt holds this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Verdict of a gate: another attempt would not help; the run ends with `GateRejected`."""

    reason: str


GateVerdict: TypeAlias = bool | Repeat | Stop


class Gated(BaseModel):
    """Event: the verdict of a gate on one attempt of a step."""

    step: str
    attempt: int
    passed: bool
    reason: str = ""


class Chosen(BaseModel):
    """Event: the decision of a router. `route` is "default" where the classifier was unsure."""

    router: str
    label: str
    route: str
    confidence: float | None = None
    opinions: int = 1


class Digest(BaseModel):
    """Event: a report of `tokens` was passed on as a digest of `kept` tokens, or whole."""

    task: str
    worker: str
    tokens: int
    kept: int


class Round(BaseModel):
    """Event: a round of an evaluator loop ended. `stopped` is why it was the last one, or ""."""

    round: int
    score: float | None = None
    best: float | None = None
    accepted: bool = False
    stopped: str = ""
