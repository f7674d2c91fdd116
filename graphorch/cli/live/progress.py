"""Progress of a run, gathered from its events: a row for each node that was met, and sums."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from graphorch.core.tree import EventWait
from graphorch.engine import events
from graphorch.statuses import TOOL_OUTCOMES
from graphorch.text import format_cost, plural

_NodeEvent: TypeAlias = (
    events.Started
    | events.Expanded
    | events.TextDelta
    | events.ModelCalled
    | events.Committed
    | events.Failed
    | events.Skipped
    | events.Cancelled
    | events.QuestionAsked
    | events.WaitBegan
    | events.Emitted
)

_ITEM = re.compile(r"\[[\da-f.]+\]/")  # the place of an item in a path
_TAIL_LENGTH = 200  # characters of a model's answer that are kept for showing

_MOST_ITEMS = 6  # of a map that have rows of their own

NodeStatus: TypeAlias = Literal["running", "done", "failed", "waiting", "skipped", "cancelled"]
"""Status of a node for people, after its latest event."""


@dataclass(slots=True)
class ItemCount:
    """Items of a map: how many there are, and how many of them have ended, failed or wait."""

    total: int
    began: float
    done: int = 0
    failed: set[str] = field(default_factory=set[str])
    waiting: set[str] = field(default_factory=set[str])

    @property
    def ended(self) -> int:
        """Items that are done or have failed."""
        return self.done + len(self.failed)

    def feed(self, item: str, inner_path: str, event: events.RunEvent) -> None:
        """Take an event inside of an item into account; `inner_path` is its path in there."""
        match event:
            case events.Committed(to=to):
                self.waiting.discard(item)
                if "/" not in inner_path and "END" in to:
                    self.failed.discard(item)
                    self.done += 1
            case events.Failed(retry_in=None, handled=False):
                self.failed.add(item)
            case events.QuestionAsked() | events.WaitBegan():
                self.waiting.add(item)
            case _:
                pass


@dataclass(slots=True)
class NodeProgress:
    """Figures of a node, over all its activations, or of a call of a `tool`.

    `began` is when the current activation did, `seconds` the time that the finished ones took.
    `remark` is why it failed or was stopped. `items` counts those of a map that has one row for
    all of them; the calls inside of it are its own then.
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
    remark: str = ""
    items: ItemCount | None = None
    tool: str = ""

    @property
    def name(self) -> str:
        """Path of a node; of a tool call its round and its number in there."""
        return "/".join(self.path.split("/")[-2:]) if self.tool else self.path


@dataclass(slots=True)
class Progress:
    """State of a run as its events so far say; feed it every event.

    The items of a large map have one row together, which counts them.
    """

    clock: Callable[[], float] = time.time
    rows: dict[str, NodeProgress] = field(default_factory=dict[str, NodeProgress])
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.clock()

    def feed(self, event: events.RunEvent) -> None:
        """Take an event into account."""
        if isinstance(event, events.Ended):
            self._end(event)
            return
        for place in _ITEM.finditer(event.path):
            outer = self.rows.get(event.path[: place.start()])
            if outer is not None and outer.items is not None:
                outer.items.feed(place.group(), event.path[place.end() :], event)
                if isinstance(event, events.ModelCalled):
                    _add_call(event, outer)
                return
        row = self._row(event.path)
        if isinstance(event, events.Started | events.QuestionAsked | events.Committed):
            row.tool = event.tool
        self._feed_row(event, row)

    def _end(self, event: events.Ended) -> None:
        """Take into account that agents rest whose calls of tools wait for people."""
        for row in self.rows.values():
            if event.status == "waiting" and row.status == "running" and row.items is None:
                row.status, row.seconds = "waiting", row.seconds + max(0.0, event.at - row.began)

    def _feed_row(self, event: _NodeEvent, row: NodeProgress) -> None:
        match event:
            case events.Started(attempt=attempt, at=at):
                if attempt > 1 and row.status == "running":
                    row.seconds += max(0.0, at - row.began)  # the attempt before, and the pause
                row.status, row.began, row.tail, row.remark = "running", at, "", ""
                if attempt == 1:
                    row.items = None
            case events.Expanded(items=items, at=at, grows=grows):
                if row.items is not None:
                    row.items.total = items  # its results added some
                elif grows or items > _MOST_ITEMS:
                    row.items = ItemCount(items, at)
            case events.TextDelta(text=text):
                row.tail = (row.tail + text)[-_TAIL_LENGTH:]
            case events.ModelCalled():
                _add_call(event, row)
            case events.Committed(seconds=seconds):
                outcome = describe_outcome(event)
                row.remark = "" if outcome == "done" else outcome
                row.status, row.seconds, row.visits = "done", row.seconds + seconds, row.visits + 1
            case events.Failed(error=error, retry_in=retry_in, at=at):
                row.remark = error
                if retry_in is None:
                    row.status, row.seconds = "failed", row.seconds + max(0.0, at - row.began)
            case events.Skipped(reason=reason):
                row.status, row.remark = "skipped", reason
            case events.Cancelled(reason=reason):
                if row.status == "running":
                    row.seconds += max(0.0, self.clock() - row.began)
                row.status, row.remark = "cancelled", reason
            case events.QuestionAsked(question=question):
                row.status, row.remark = "waiting", question
            case events.WaitBegan(signal=signal, key=key, due=due):
                row.status = "waiting"
                row.remark = f"waits for {EventWait(signal, key, due).describe()}"
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
            visits=sum(
                row.visits + (row.items.done if row.items else 0) for row in rows if not row.tool
            ),
            calls=sum(row.calls for row in rows),
            tokens=sum(row.tokens for row in rows),
            usd=sum(row.usd for row in rows),
            unpriced=sum(row.unpriced for row in rows),
        )

    def _row(self, path: str) -> NodeProgress:
        return self.rows.setdefault(path, NodeProgress(path, "running", self.clock()))


def describe_outcome(event: events.Committed) -> str:
    """Return `done`, or of a tool call what its model reads instead of a result."""
    outcome = str(event.update.get("outcome", "ok")) if event.tool else "ok"
    return TOOL_OUTCOMES.get(outcome, "done")


def _add_call(event: events.ModelCalled, row: NodeProgress) -> None:
    row.calls += 1
    row.tokens += event.input_tokens + event.output_tokens
    row.usd += event.usd
    row.unpriced += event.usd_source == "none"


def count_items(items: ItemCount) -> str:
    """Return `37/50 items`, or `37/50 items, 2 failed`: what has ended."""
    failed = f", {len(items.failed)} failed" if items.failed else ""
    return f"{items.ended}/{items.total} items{failed}"


def format_items(items: ItemCount, now: float) -> str:
    """Return `37/50 items, 12.1/s, 1 s left`: what has ended, how fast, and what that promises."""
    parts = [count_items(items)]
    if items.waiting:
        parts.append(f"{len(items.waiting)} waiting")
    seconds = now - items.began
    if items.ended and seconds > 0 and items.ended < items.total:
        rate = items.ended / seconds
        left = (items.total - items.ended) / rate
        parts += [f"{rate:.2g}/s" if rate < 100 else f"{rate:.0f}/s", f"{left:,.0f} s left"]
    return ", ".join(parts)


def format_usage(row: NodeProgress) -> str:
    """Return calls, tokens and dollars in words; nothing for a node that called no model."""
    if not row.calls:
        return ""
    cost = format_cost(row.usd, row.unpriced)
    return f"{plural(row.calls, 'call')}, {row.tokens:,} tokens, {cost}"
