"""The list of workers: who reports and has a lease stands in it, with the slots of each version."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace

from graphorch.distributed.postgres.worker_list import WorkerList
from graphorch.distributed.worker_row import WorkerRow
from graphorch.journal.postgres.store import PostgresStore

ROW = WorkerRow("one", socket.gethostname(), os.getpid(), 0.0, ("run:a@1",), (), 50, 0, 0, 200)


def test_worker_without_lease_is_left_out(url: str) -> None:
    """A worker that was killed leaves the list with its lease, before its reports are missed."""

    async def main() -> None:
        store = await PostgresStore.open(url)
        workers = WorkerList(store)
        async with store.keep_alive(2.5, lambda _: None):
            await workers.report(ROW)
            await workers.report(replace(ROW, name="other", pid=ROW.pid + 1))
            assert [each.name for each in await workers.list_living()] == ["one"]
        assert await workers.list_living() == []
        await store.close()

    asyncio.run(main())


def test_report_returns_slots_of_versions(url: str) -> None:
    """Whoever reports learns how many slots the workers of each version have."""

    async def main() -> None:
        store = await PostgresStore.open(url)
        workers = WorkerList(store)
        await workers.report(ROW)
        await workers.report(replace(ROW, name="two", kinds=("run:a@1", "run:b@1"), slots=20))
        assert await workers.report(ROW) == {"run:a@1": 70, "run:b@1": 20}
        await store.close()

    asyncio.run(main())
