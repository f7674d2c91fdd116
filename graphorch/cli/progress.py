"""What a run is doing, gathered from its events: one row for each node that was met, and sums."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from graphorch.engine import events

_TAIL = 200  # characters of a model's answer that are kept for showing

Status = Literal["running", "done", "failed", "waiting", "skipped", "cancelled"]


@dataclass(slots=True)
class Row:
    """One node, over all its activations: `began` is when the current one did, `seconds` what the ended ones took."""

    path: str
    status: Status
    began: float = 0.0
    seconds: float = 0.0
    visits: int = 0
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    has_unknown_price: bool = False
    tail: str = ""


@dataclass(slots=True)
class Progress:
    """The run so far. Feed it every event."""

    clock: Callable[[], float] = time.time
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
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
                row.tail = (row.tail + text)[-_TAIL:]
            case events.ModelCalled(path):
                self._called(event, self._row(path))
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
        """Since the begin."""
        return self.clock() - self.began

    @property
    def total(self) -> Row:
        """The sums over all nodes."""
        rows = list(self.rows.values())
        return Row(
            path="",
            status="done",
            visits=sum(row.visits for row in rows),
            calls=sum(row.calls for row in rows),
            tokens=sum(row.tokens for row in rows),
            usd=sum(row.usd for row in rows),
            has_unknown_price=any(row.has_unknown_price for row in rows),
        )

    def _row(self, path: str) -> Row:
        return self.rows.setdefault(path, Row(path, "running", self.clock()))

    def _called(self, event: events.ModelCalled, row: Row) -> None:
        row.calls += 1
        row.tokens += event.input_tokens + event.output_tokens
        row.usd += event.usd
        row.has_unknown_price |= event.usd_source == "none"


def spent(row: Row) -> str:
    """Calls, tokens and dollars in words; nothing for what asked no model."""
    if not row.calls:
        return ""
    return f"{counted(row.calls, 'call')}, {row.tokens:,} tokens, {dollars(row)}"


def counted(number: int, word: str) -> str:
    """A number with its noun."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def dollars(row: Row) -> str:
    """The dollars of a row; with a mark where the price of some call is not known."""
    return f"${row.usd:.4f}{' and calls of unknown price' if row.has_unknown_price else ''}"
