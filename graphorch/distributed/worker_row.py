"""What a worker reports about itself, for those who want to know who lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PERIOD: Final = 2.0
"""Seconds between two reports."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker: where it runs, what it takes, and how much it does of that now.

    `used_slots` of its `slots` for nodes are taken, and it owns `runs` of at most `most_runs`.
    `started_at` is in seconds since 1970, by the clock of the database.
    """

    name: str
    host: str
    pid: int
    started_at: float
    kinds: Sequence[str]
    pools: Sequence[str]
    slots: int
    used_slots: int
    runs: int
    most_runs: int
