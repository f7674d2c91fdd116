"""Port to the runs that workers may take.

A run is placed when it is submitted; runs of `flow.run(durable=…)` are not, and no worker takes
them. What a run has to do is in its journal. This table only says which runs to look at, and keeps
what helps to find them: when they are due, and how often they were taken without getting on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from graphorch.distributed.engine import Job


@dataclass(frozen=True, slots=True)
class PlacedRun:
    """A run for workers: the graph that it belongs to, and its rank among others.

    Greater `priority` comes first.
    """

    run_id: str
    flow: str
    fingerprint: str
    priority: int = 0

    @property
    def kind(self) -> str:
        """Kind of the jobs by which workers take the run."""
        return name_run_kind(self.flow, self.fingerprint)

    def build_job(self, reason: str = "", delay: float = 0.0) -> Job:
        """Return a job to take the run.

        Of the jobs with one `reason` one is alive at a time. The one without a reason is there to
        begin the run; what becomes of it later has a reason of its own, so that a job is also put
        while another one is about to end.
        """
        key = f"{self.run_id}/{reason}" if reason else self.run_id
        return Job(self.kind, f"run/{key}", self.run_id.encode(), self.priority, max(0.0, delay))


def name_run_kind(flow: str, fingerprint: str) -> str:
    """Return the kind of the jobs to take runs of a graph: other graphs are other kinds."""
    return f"run:{flow}@{fingerprint}"


@dataclass(frozen=True, slots=True)
class PlacedVersion:
    """The placed runs of one graph: how many there are, by status, and which are held back.

    `problems` maps the runs that no worker can continue to the reason.
    """

    flow: str
    fingerprint: str
    statuses: Mapping[str, int]
    problems: Mapping[str, str] = field(default_factory=dict[str, str])


class PlacedRuns(Protocol):
    """The runs that workers may take. Every method may raise `StoreUnavailable`."""

    async def add(self, run: PlacedRun, *, delay: float = 0.0) -> None:
        """Place a run that begins in `delay` seconds at the earliest; once placed, it stays so."""
        ...

    async def find(self, run_id: str) -> PlacedRun | None:
        """Return a placed run; None if it is not placed."""
        ...

    async def move(self, run_id: str, fingerprint: str) -> None:
        """Record that another graph reads a run from now on."""
        ...

    async def begin(self, run_id: str, progress: int) -> int:
        """Count that a worker takes a run that has come so far; return the count.

        It is 1 for a run that has got on, or has come to rest, since it was taken last.
        """
        ...

    async def settle(self, run_id: str, last_seq: int, due: float | None) -> None:
        """Record that a run was left in order after its record `last_seq`.

        `due` is when something becomes of it by itself, in seconds since 1970; None is never.
        """
        ...

    async def hold(self, run_id: str, problem: str) -> None:
        """Leave a run alone that no worker can continue, until it is taken or released."""
        ...

    async def release(self, kinds: Collection[str]) -> None:
        """Have runs of some kinds tried again that were held back."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget a run."""
        ...

    async def take_turn(self, kinds: Collection[str], seconds: float) -> frozenset[str]:
        """Return those kinds whose last turn, of any worker, is so many seconds ago; it begins."""
        ...

    async def list_idle(self, kinds: Collection[str]) -> Sequence[PlacedRun]:
        """Return the runs of some kinds that have something to do and no owner.

        That is: runs that are under way, have unread mail, or whose time has come. Those whose next
        time is not known are among them. Runs that are over are removed.
        """
        ...

    async def list_versions(self) -> Sequence[PlacedVersion]:
        """Return how many runs of each graph are placed."""
        ...
