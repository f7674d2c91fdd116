"""The workers of a database: each keeps a row about itself up to date while it lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from graphorch.distributed.worker_row import PERIOD, WorkerRow
from graphorch.journal.postgres.store import PostgresStore

_ALIVE: Final = 5 * PERIOD  # seconds after which a worker that did not report is taken for gone
_KEPT: Final = 3_600.0  # seconds that the row of a worker stays that ended without a word

_REPORT: Final = """
INSERT INTO graphorch.workers
    (name, host, pid, started_at, seen_at, kinds, pools, slots, used_slots, runs, most_runs)
VALUES (%s, %s, %s, graphorch.now(), graphorch.now(), %s, %s, %s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, used_slots = excluded.used_slots,
    runs = excluded.runs
RETURNING (
    SELECT coalesce(jsonb_object_agg(kind, slots), '{}') FROM (
        SELECT kind, sum(slots) AS slots FROM graphorch.workers, unnest(kinds) AS kind
        WHERE seen_at > graphorch.now() - %s GROUP BY kind
    ) AS living
)
"""
_REMOVE: Final = "DELETE FROM graphorch.workers WHERE name = %s OR seen_at < graphorch.now() - %s"
_LIST: Final = """
SELECT name, host, pid, started_at, kinds, pools, slots, used_slots, runs, most_runs
FROM graphorch.workers w
WHERE seen_at > graphorch.now() - %s AND EXISTS (
    SELECT FROM graphorch.processes p
    WHERE (p.host, p.pid) = (w.host, w.pid) AND p.expires_at > graphorch.now()
)
ORDER BY started_at, name
"""


class WorkerList:
    """The rows of workers."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def report(self, row: WorkerRow) -> Mapping[str, int]:
        """Write or refresh the row of a worker that lives.

        Return how many slots for nodes the workers had before that, by the kinds of their runs.
        """
        values = (
            row.name, row.host, row.pid, list(row.kinds), list(row.pools), row.slots,
            row.used_slots, row.runs, row.most_runs, _ALIVE,
        )  # fmt: skip
        ((slots,),) = await self._store.fetch(_REPORT, values)
        return slots

    async def remove(self, name: str) -> None:
        """Forget a worker that ends, and those that ended long ago without a word."""
        await self._store.fetch(_REMOVE, (name, _KEPT))

    async def list_living(self) -> Sequence[WorkerRow]:
        """Return the workers that live: those that report, and whose process has a lease."""
        rows = await self._store.fetch(_LIST, (_ALIVE,), writes=False)
        return [WorkerRow(*row) for row in rows]
