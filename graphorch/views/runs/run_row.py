"""A run in a list: its status, what it cost, and whether something waits for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from graphorch.journal.records import RunHead
from graphorch.statuses import RUN_STATUSES
from graphorch.views.runs.usage import Usage

RunState: TypeAlias = Literal[
    "running",
    "waiting",
    "stopped",
    "failed",
    "succeeded",
    "partial",
    "cancelled",
    "crashed",
    "queued",
    "erased",
]
"""Status of a run as people read it.

`crashed`: it was under way, and its process is gone. `queued`: it is left to workers, and the next
one takes it. `erased`: its content was deleted, and only hashes are left.
"""

RUN_STATES: Final[tuple[str, ...]] = (*RUN_STATUSES, "crashed", "queued")
"""Words that a list of runs can be filtered by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """Figures of a run, all of them from its spans, so that they agree with the statistics.

    `seconds` are those in which a process drove the run, without the pauses between; None before
    the first. `visits` counts activations of nodes, and `errors` those of nodes and calls of tools
    that failed, also if an error edge carried on or the model was told. `questions` are open, and
    wait for a person. `budget` is in dollars, None without one.
    """

    seconds: float | None
    visits: int
    errors: int
    questions: int
    budget: float | None
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run in a list.

    Times are seconds since 1970; `due` is when a run at rest goes on by itself, None if nothing has
    a time. `reason` says why it ended, where that is more than its status. `records` is the number
    of its last record. `parent` is the run that it was forked from. `is_keyed`: only holders of the
    journal's key can have written it. `figures` are None where the records cannot be read: of an
    erased run, and of a damaged one, whose `fault` says what is wrong.
    """

    run_id: str
    flow: str
    status: RunState
    reason: str
    created_at: float
    updated_at: float
    due: float | None
    tags: Mapping[str, str]
    parent: str | None
    records: int
    is_under_way: bool
    is_keyed: bool
    fault: str = ""
    figures: RunFigures | None = None


@dataclass(frozen=True, slots=True)
class UnreadableRun:
    """A run of which not even the head can be read.

    `problem` is `damaged` (its head is not what was written) or `other key` (it is protected by
    another key than the one at hand); `text` says so in a sentence.
    """

    run_id: str
    problem: Literal["damaged", "other key"]
    text: str


@dataclass(frozen=True, slots=True)
class RunList:
    """A page of runs, the newest first.

    `next` is the `cursor` of the page that follows, None on the last one. `unreadable` runs belong
    to this page as well.
    """

    runs: list[RunRow]
    next: str | None = None
    unreadable: list[UnreadableRun] = field(default_factory=list[UnreadableRun])


def find_state(head: RunHead, *, is_placed: bool = False) -> RunState:
    """Return the status of a run as people read it; `is_placed`: it is left to workers."""
    if head.is_erased:
        return "erased"
    if head.status == "running" and not head.is_under_way:
        return "queued" if is_placed else "crashed"
    # The store keeps any text; ours are the only ones that a run has.
    return head.status if head.status in RUN_STATUSES else "stopped"  # pyright: ignore[reportReturnType]
