"""Waiting for records of runs that other processes drive, and for runs that nobody drives."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.journal.errors import RunAbandoned
from graphorch.journal.memory import MemoryStore
from graphorch.journal.record_kinds import FORMAT
from graphorch.journal.records import Lease, NewRun, Record, RunHead
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from graphorch.runs.left_runs import Abandonment, NewsOfRun, wait_for_rest
from graphorch.runs.mailbox import build_letter
from graphorch.testing import run_virtual, virtual_now
from tests.runs.followed_steps import build_steps
from tests.scenarios.flows import FLOWS, Ledger, State


async def begin(store: Store) -> Lease:
    """Create a run, and return the lease of an owner."""
    await store.create(NewRun("run", "flow", "print", 6))
    return await store.claim("run", "owner", ttl=60)


async def add(store: Store, lease: Lease, seq: int) -> None:
    """Add a record."""
    record = Record(seq, "continued", {"at": 1.0})
    await store.append(lease, [record], expected_last_seq=seq - 1)


def test_news_of_own_store_come_at_once() -> None:
    """Who waits for records that its own store adds is woken without a pause."""

    async def main() -> float:
        store = MemoryStore(clock=virtual_now)
        lease, loop = await begin(store), asyncio.get_running_loop()
        with closing(NewsOfRun(store, "run")) as news:
            for _ in range(10):  # until it looks seldom
                await news.wait()
            loop.call_later(0.5, lambda: asyncio.ensure_future(add(store, lease, 1)))
            began = loop.time()
            await news.wait()
            assert news.has_come
            return loop.time() - began

    assert run_virtual(main()) == pytest.approx(0.5)


def test_news_of_other_process_are_found(tmp_path: Path) -> None:
    """Records that come through another connection to a file are heard of in milliseconds."""

    async def main() -> float:
        here = await SqliteStore.open(tmp_path / "runs.sqlite")
        there = await SqliteStore.open(tmp_path / "runs.sqlite")
        lease, loop = await begin(there), asyncio.get_running_loop()
        with closing(NewsOfRun(here, "run")) as news:
            news._pause = 30.0  # only an announcement ends it
            await asyncio.sleep(0.1)
            news.take()
            waiting = asyncio.create_task(news.wait())
            began = loop.time()
            await add(there, lease, 1)
            await waiting
        for store in (here, there):
            await store.close()
        return loop.time() - began

    assert asyncio.run(main()) < 5.0


def read_head(**changes: object) -> RunHead:
    head = RunHead("run", "flow", "print", 6, "running", 0.0, 0.0, {}, None, 3)
    return replace(head, **changes)  # type: ignore[arg-type]


def test_run_without_process_is_abandoned() -> None:
    """A run whose lease ended is given up some seconds later, with what continues it."""

    async def main() -> None:
        abandonment = Abandonment(is_left=False)
        for _ in range(9):
            abandonment.check(read_head(is_under_way=True))
            await asyncio.sleep(1)
        for _ in range(5):
            abandonment.check(read_head())
            await asyncio.sleep(1)
        with pytest.raises(RunAbandoned, match=r"ended after record 3.*graphorch resume FLOW run"):
            abandonment.check(read_head())

    run_virtual(main())


def test_run_of_workers_is_never_abandoned() -> None:
    """A run that is left to workers, waits or goes on again is waited for."""

    async def main() -> None:
        left, other = Abandonment(is_left=True), Abandonment(is_left=False)
        for second in range(20):
            left.check(read_head())
            other.check(read_head(status="waiting"))
            other.check(read_head(is_under_way=second % 4 == 0))
            await asyncio.sleep(1)

    run_virtual(main())


def test_wait_ends_with_abandoned_run() -> None:
    """A flow waits for a run whose process is gone for some seconds, and then says who resumes it.

    It is the rule of `flow.follow`.
    """
    flow, store = build_steps(), MemoryStore(clock=virtual_now)

    async def main() -> float:
        await store.create(NewRun("run", flow.name, compute_fingerprint(flow.plan), FORMAT))
        await store.claim("run", "owner", ttl=60)
        with pytest.raises(RunAbandoned, match="graphorch resume FLOW run"):
            await flow.wait("run", durable=store)
        return asyncio.get_running_loop().time()

    assert 65 <= run_virtual(main()) < 70


def test_wait_for_left_run_goes_on() -> None:
    """Who waits for a run that is left to workers waits for as long as it takes."""
    store = MemoryStore(clock=virtual_now)

    async def main() -> None:
        await begin(store)
        async with asyncio.timeout(600):
            await wait_for_rest(store, "run", is_left=True)

    with pytest.raises(TimeoutError):
        run_virtual(main())


def test_wait_leaves_mail_to_who_resumes() -> None:
    """A run at rest that no worker continues is waited for no longer because of unread mail."""
    flow, store = FLOWS["asked"](), MemoryStore()

    async def main() -> str:
        waiting = await flow.run(State(), run_id="r", durable=store, resources=Ledger(print))
        await store.post(build_letter("r", "stop", {}))
        async with asyncio.timeout(5):
            result = await flow.wait("r", durable=store)
        assert result.questions == waiting.questions
        return result.status

    assert asyncio.run(main()) == "waiting"
