"""Copies of runs as a process leaves them that is killed: with their first records only."""

from __future__ import annotations

from collections.abc import Sequence

from graphorch.journal.records import NewRun, Record, RunHead
from graphorch.journal.store import Store


async def copy_run(head: RunHead, records: Sequence[Record], store: Store) -> None:
    """Write the first records of a run to another store, which has no such run yet."""
    await store.create(NewRun(head.run_id, head.flow, head.fingerprint, head.format))
    lease = await store.claim(head.run_id, "gone", ttl=60)
    await store.append(lease, records, expected_last_seq=0)
    await store.release(lease)
