"""The placed runs of a database, beside the journal that says what is to be done with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

from graphorch.distributed.placed_runs import PlacedRun, PlacedVersion
from graphorch.journal.postgres.store import PostgresStore
from graphorch.statuses import FINAL_STATUSES

_ADD: Final = """
INSERT INTO graphorch.placed_runs (run_id, flow, fingerprint, kind, priority, due, due_seq)
VALUES (%s, %s, %s, %s, %s, graphorch.now() + %s::double precision, 1)
ON CONFLICT (run_id) DO NOTHING
"""
_FIND: Final = """
SELECT run_id, flow, fingerprint, priority FROM graphorch.placed_runs WHERE run_id = %s
"""
_FIND_MANY: Final = "SELECT run_id FROM graphorch.placed_runs WHERE run_id = ANY(%s)"
_MOVE: Final = """
UPDATE graphorch.placed_runs SET fingerprint = %s, kind = %s WHERE run_id = %s
"""
_BEGIN: Final = """
UPDATE graphorch.placed_runs
SET attempts = CASE WHEN progress = %(progress)s THEN attempts + 1 ELSE 1 END,
    progress = %(progress)s, problem = ''
WHERE run_id = %(run_id)s RETURNING attempts
"""
_SETTLE: Final = """
UPDATE graphorch.placed_runs SET attempts = 0, due_seq = %s, due = %s WHERE run_id = %s
"""
_HOLD: Final = "UPDATE graphorch.placed_runs SET problem = %s WHERE run_id = %s"
_RELEASE: Final = """
UPDATE graphorch.placed_runs SET problem = '' WHERE kind = ANY(%s) AND problem <> ''
"""
_REMOVE: Final = "DELETE FROM graphorch.placed_runs WHERE run_id = %s"
_TAKE_TURN: Final = """
INSERT INTO graphorch.turns (kind, began_at)
SELECT kind, graphorch.now() FROM unnest(%(kinds)s::text[]) AS kind ORDER BY kind
ON CONFLICT (kind) DO UPDATE SET began_at = excluded.began_at
WHERE graphorch.turns.began_at <= excluded.began_at - %(seconds)s
RETURNING kind
"""
_REMOVE_OVER: Final = """
DELETE FROM graphorch.placed_runs p WHERE kind = ANY(%(kinds)s) AND NOT EXISTS (
    SELECT FROM graphorch.runs r WHERE r.run_id = p.run_id AND r.status <> ALL(%(final)s))
"""
# A run that is under way and has no owner, unless it is to begin later; a run that waits, and whose
# time has come or is not known; and any run with unread mail.
_LIST_IDLE: Final = """
WITH clock AS MATERIALIZED (SELECT graphorch.now() AS now)
SELECT p.run_id, p.flow, p.fingerprint, p.priority
FROM clock, graphorch.placed_runs p JOIN graphorch.runs r ON r.run_id = p.run_id
LEFT JOIN graphorch.processes o ON o.id = r.process
WHERE p.kind = ANY(%(kinds)s) AND p.problem = '' AND r.status <> ALL(%(final)s)
    AND (r.owner = '' OR coalesce(r.expires_at, o.expires_at, 0) <= clock.now)
    AND (
        r.status = 'running' AND NOT coalesce(p.due_seq = r.last_seq AND p.due > clock.now, false)
        OR r.status = 'waiting' AND (p.due_seq <> r.last_seq OR p.due <= clock.now)
        OR EXISTS (SELECT FROM graphorch.letters l WHERE l.run = r.id AND l.error IS NULL)
    )
ORDER BY p.priority DESC, p.placed_at LIMIT 10000
"""
_COUNT_VERSIONS: Final = """
SELECT p.flow, p.fingerprint, r.status, count(*)
FROM graphorch.placed_runs p JOIN graphorch.runs r ON r.run_id = p.run_id
WHERE r.status <> ALL(%s)
GROUP BY p.flow, p.fingerprint, r.status ORDER BY p.flow, p.fingerprint, r.status
"""
_LIST_PROBLEMS: Final = """
SELECT flow, fingerprint, run_id, problem FROM graphorch.placed_runs WHERE problem <> ''
ORDER BY placed_at LIMIT 1000
"""


class PostgresPlacedRuns:
    """`PlacedRuns` in a database; see there."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def add(self, run: PlacedRun, *, delay: float = 0.0) -> None:
        """Place a run; once placed, it stays so."""
        values = (run.run_id, run.flow, run.fingerprint, run.kind, run.priority, delay or None)
        await self._store.fetch(_ADD, values)

    async def find(self, run_id: str) -> PlacedRun | None:
        """Return a placed run; None if it is not placed."""
        rows = await self._store.fetch(_FIND, (run_id,), writes=False)
        return PlacedRun(*rows[0]) if rows else None

    async def find_many(self, run_ids: Collection[str]) -> frozenset[str]:
        """Return those of some runs that are placed."""
        rows = await self._store.fetch(_FIND_MANY, (list(run_ids),), writes=False)
        return frozenset(run_id for (run_id,) in rows)

    async def move(self, run_id: str, fingerprint: str) -> None:
        """Record that another graph reads a run from now on."""
        if (run := await self.find(run_id)) is not None:
            moved = PlacedRun(run_id, run.flow, fingerprint)
            await self._store.fetch(_MOVE, (fingerprint, moved.kind, run_id))

    async def begin(self, run_id: str, progress: int) -> int:
        """Count that a worker takes a run that has come so far; return the count."""
        values = {"run_id": run_id, "progress": progress}
        rows = await self._store.fetch(_BEGIN, values)
        return rows[0][0] if rows else 1

    async def settle(self, run_id: str, last_seq: int, due: float | None) -> None:
        """Record that a run was left in order after its record `last_seq`."""
        await self._store.fetch(_SETTLE, (last_seq, due, run_id))

    async def hold(self, run_id: str, problem: str) -> None:
        """Leave a run alone that no worker can continue, until it is taken or released."""
        await self._store.fetch(_HOLD, (problem, run_id))

    async def release(self, kinds: Collection[str]) -> None:
        """Have runs of some kinds tried again that were held back."""
        await self._store.fetch(_RELEASE, (list(kinds),))

    async def remove(self, run_id: str) -> None:
        """Forget a run."""
        await self._store.fetch(_REMOVE, (run_id,))

    async def take_turn(self, kinds: Collection[str], seconds: float) -> frozenset[str]:
        """Return those kinds whose last turn, of any worker, is so many seconds ago; it begins."""
        values = {"kinds": list(kinds), "seconds": seconds}
        rows = await self._store.fetch(_TAKE_TURN, values)
        return frozenset(kind for (kind,) in rows)

    async def list_idle(self, kinds: Collection[str]) -> Sequence[PlacedRun]:
        """Return the runs of some kinds that have something to do and no owner."""
        values = {"kinds": list(kinds), "final": list(FINAL_STATUSES)}
        await self._store.fetch(_REMOVE_OVER, values)
        rows = await self._store.fetch(_LIST_IDLE, values, writes=False)
        return [PlacedRun(*row) for row in rows]

    async def list_versions(self) -> Sequence[PlacedVersion]:
        """Return how many runs of each graph are placed."""
        counted = await self._store.fetch(_COUNT_VERSIONS, (list(FINAL_STATUSES),), writes=False)
        held = await self._store.fetch(_LIST_PROBLEMS, writes=False)
        statuses: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        problems: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for flow, fingerprint, status, count in counted:
            statuses[flow, fingerprint][status] = count
        for flow, fingerprint, run_id, problem in held:
            problems[flow, fingerprint][run_id] = problem
        return [
            PlacedVersion(*version, statuses[version], problems.get(version, {}))
            for version in statuses
        ]
