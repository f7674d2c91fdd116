"""What a worker reports about itself, for those who want to know who lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

PERIOD: Final = 2.0
"""Seconds between two reports."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker: where it runs, what it takes, and how much it does of that now.

    `pools` are those that it serves, and as NAME=URL those whose nodes it sends to a cluster.
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

    @property
    def clusters(self) -> Mapping[str, str]:
        """The schedulers to which it sends the nodes of pools."""
        named = (pool.partition("=") for pool in self.pools)
        return {pool: url for pool, _, url in named if url}
