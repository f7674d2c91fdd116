"""Progress of a run, gathered from its events: a row for each node that was met, and sums."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from graphorch.engine import events
from graphorch.text import format_cost, plural

_TAIL_LENGTH = 200  # characters of a model's answer that are kept for showing

NodeStatus: TypeAlias = Literal["running", "done", "failed", "waiting", "skipped", "cancelled"]
"""Status of a node for people, after its latest event."""


@dataclass(slots=True)
class NodeProgress:
    """Figures of a node, over all its activations.

    `began` is when the current activation did, `seconds` the time that the finished ones took.
    """

    path: str
    status: NodeStatus
    began: float = 0.0
    seconds: float = 0.0
    visits: int = 0
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    tail: str = ""


@dataclass(slots=True)
class Progress:
    """State of a run as its events so far say; feed it every event."""

    clock: Callable[[], float] = time.time
    rows: dict[str, NodeProgress] = field(default_factory=dict[str, NodeProgress])
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.clock()

    def feed(self, event: events.RunEvent) -> None:
        """Take an event into account."""
        match event:
            case events.Started(path, at=at):
                row = self._row(path)
                row.status, row.began, row.tail = "running", at, ""
            case events.TextDelta(path, text=text):
                row = self._row(path)
                row.tail = (row.tail + text)[-_TAIL_LENGTH:]
            case events.ModelCalled(path):
                self._add_call(event, self._row(path))
            case events.Committed(path, seconds=seconds):
                row = self._row(path)
                row.status, row.seconds, row.visits = "done", row.seconds + seconds, row.visits + 1
            case events.Failed(path, retry_in=retry_in):
                self._row(path).status = "failed" if retry_in is None else "running"
            case events.Skipped(path):
                self._row(path).status = "skipped"
            case events.Cancelled(path):
                self._row(path).status = "cancelled"
            case events.QuestionAsked(path):
                self._row(path).status = "waiting"
            case _:
                pass

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.began

    @property
    def total(self) -> NodeProgress:
        """Sums over all nodes."""
        rows = list(self.rows.values())
        return NodeProgress(
            path="",
            status="done",
            visits=sum(row.visits for row in rows),
            calls=sum(row.calls for row in rows),
            tokens=sum(row.tokens for row in rows),
            usd=sum(row.usd for row in rows),
            unpriced=sum(row.unpriced for row in rows),
        )

    def _row(self, path: str) -> NodeProgress:
        return self.rows.setdefault(path, NodeProgress(path, "running", self.clock()))

    def _add_call(self, event: events.ModelCalled, row: NodeProgress) -> None:
        row.calls += 1
        row.tokens += event.input_tokens + event.output_tokens
        row.usd += event.usd
        row.unpriced += event.usd_source == "none"


def format_usage(row: NodeProgress) -> str:
    """Return calls, tokens and dollars in words; nothing for a node that called no model."""
    if not row.calls:
        return ""
    cost = format_cost(row.usd, row.unpriced)
    return f"{plural(row.calls, 'call')}, {row.tokens:,} tokens, {cost}"
