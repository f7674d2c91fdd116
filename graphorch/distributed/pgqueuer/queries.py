"""PgQueuer's own statements for putting and claiming jobs, with the values that they take."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
from pgqueuer.domain.types import QueueEntrypoint, QueueManagerId

from graphorch.distributed.engine import Job
from graphorch.distributed.pgqueuer.names import make_settings
from graphorch.distributed.pgqueuer.service import Claim

_LONGEST_KEY = 500  # bytes that an index of PostgreSQL takes with certainty
_JOBS, _BYTES = 1_000, 2_000_000  # of one statement, so that heartbeats come in between

Query = tuple[str, Sequence[Any]]


class Queries:
    """Builds statements for the tables that `names` names."""

    def __init__(self) -> None:
        self._builder = QueryQueueBuilder(make_settings())
        self._put = self._builder.build_enqueue_query("skip")

    def put(self, jobs: Sequence[Job]) -> Iterator[Query]:
        """Return statements that add jobs, except those whose key is alive."""
        for batch in _split(jobs):
            yield (
                self._put,
                (
                    [job.priority for job in batch],
                    [job.kind for job in batch],
                    [job.payload for job in batch],
                    [timedelta(seconds=job.delay) for job in batch],
                    [shorten(job.key) for job in batch],
                    [json.dumps({"key": job.key}) for job in batch],
                ),
            )

    def claim(self, kinds: Sequence[str], size: int, manager: UUID, timeout: timedelta) -> Query:
        """Return a statement that claims jobs that wait, or had no heartbeat for so long."""
        query = self._builder.build_dequeue_query(
            batch_size=size,
            entrypoints=[QueueEntrypoint(kind) for kind in kinds],
            concurrency_limits=[0] * len(kinds),
            queue_manager_id=QueueManagerId(manager),
            global_concurrency_limit=None,
            heartbeat_timeout=timeout,
        )
        return query.sql, query.args


def read_claim(row: dict[str, Any]) -> Claim:
    """Return the claim of a row of the queue."""
    job = Job(row["entrypoint"], row["headers"]["key"], row["payload"], row["priority"])
    return Claim(row["id"], job)


def shorten(key: str) -> str:
    """Return the key in the queue's index: itself, or its hash if it is long."""
    encoded = key.encode()
    if len(encoded) <= _LONGEST_KEY:
        return key
    return f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def _split(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    batch: list[Job] = []
    size = 0
    for job in jobs:
        if batch and (len(batch) == _JOBS or size + len(job.payload) > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += len(job.payload)
    if batch:
        yield batch
