"""A process dies after its run came to rest, and before it recorded that: whoever reopens it does.

So no head says `running` for ever, and a worker takes such a run once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Context, Flow, Graph, InputError, RunFailed, node
from graphorch.errors import GraphorchError
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Record, RunLog
from graphorch.testing import run_virtual, virtual_now
from tests.scenarios.crashed_copies import copy_run


class Broken(BaseModel):
    broken: bool = False


class Text(BaseModel):
    text: str = ""


class Case(Broken, Text): ...


CaseFlow = Flow[Case, Case, Case]


async def take_back(ctx: Context[list[str]], text: Text) -> None:
    ctx.resources.append("take back")


@node(effect="idempotent", undo=take_back)
async def write(ctx: Context[list[str]], broken: Broken) -> Text:
    ctx.resources.append("write")
    return Text(text="written")


@node
async def check(ctx: Context[list[str]], broken: Broken, text: Text) -> Text:
    ctx.resources.append("check")
    if broken.broken:
        raise ValueError("no")
    return Text(text=f"{text.text}, checked")


def build_chain(*, compensate: bool = False) -> CaseFlow:
    return Graph("chain", Case, compensate=compensate).chain(write, check).build()


def build_asking() -> CaseFlow:
    graph = Graph("asking", Case)
    ask = graph.ask("ask", question=lambda case: "go?", answer=Text, expires=86_400.0)
    return graph.chain(write, ask).build()


def build_timed() -> CaseFlow:
    graph = Graph("timed", Case)
    return graph.chain(write, graph.timer("rest", after=timedelta(days=3)), check).build()


def build_slow() -> Flow[Case, Case, Case]:
    @node
    async def work(ctx: Context[asyncio.Event], broken: Broken) -> Text:
        ctx.resources.set()
        await asyncio.sleep(10)
        return Text(text="worked")

    @node
    async def end(text: Text) -> Text:
        return text

    return Graph("slow", Case).chain(work, end).build()


async def run(flow: CaseFlow, *, broken: bool = False, cancels: bool = False) -> RunLog:
    """Return the records of a run that came to rest."""
    store = MemoryStore()
    with suppress(RunFailed):
        await flow.run(
            Case(broken=broken), run_id="r", durable=store, resources=[], clock=virtual_now
        )
    if cancels:
        await flow.cancel("r", durable=store, undo=False, resources=[])
    log = await store.load("r")
    assert log.records[-1].kind == "ended"
    return log


async def leave(log: RunLog, *, missing: int = 1) -> MemoryStore:
    """Return a store with a run whose process died before it wrote the last records."""
    store = MemoryStore()
    await copy_run(log.head, log.records[:-missing], store)
    assert (await store.load("r")).head.status == "running"
    return store


async def look(flow: CaseFlow, store: MemoryStore) -> None:
    """Reopen a run without going on with it."""
    with pytest.raises(GraphorchError, match=r"not open|for good|is over"):
        await flow.answer("r", "nobody", Text(), durable=store, resources=[], clock=virtual_now)


CASES: dict[str, Callable[[], tuple[CaseFlow, dict[str, bool]]]] = {
    "succeeded": lambda: (build_chain(), {}),
    "failed": lambda: (build_chain(), {"broken": True}),
    "cancelled": lambda: (build_asking(), {"cancels": True}),
    "waiting": lambda: (build_asking(), {}),
    "waiting for time": lambda: (build_timed(), {}),
    "compensated": lambda: (build_chain(compensate=True), {"broken": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_missing_end_is_recorded_by_next_process(case: str) -> None:
    """A run that is reopened for nothing gets the end that its process did not record."""
    flow, options = CASES[case]()

    async def main() -> None:
        log = await run(flow, **options)
        store = await leave(log)
        await look(flow, store)
        after = await store.load("r")
        assert after.head.status == log.head.status
        assert after.head.lease is None
        assert after.records[:-1] == log.records[:-1]
        expected = {**log.records[-1].body, "at": after.records[-1].body["at"]}
        assert after.records[-1] == Record(len(log.records), "ended", expected)
        with suppress(RunFailed):
            await flow.replay("r", durable=store)

    run_virtual(main())


def test_missing_end_has_time_of_last_record() -> None:
    """The time between the death of a process and the next look at its run is nobody's."""
    flow = build_chain()

    async def main() -> None:
        log = await run(flow)
        store = await leave(log)
        later = virtual_now() + 1_000_000
        result = await flow.resume("r", durable=store, resources=[], clock=lambda: later)
        assert result.status == "succeeded"
        assert result.seconds < 1
        assert (await store.load("r")).records[-1].body["at"] == log.records[-2].body["at"]

    run_virtual(main())


@pytest.mark.parametrize("case", CASES)
def test_run_without_end_goes_on(case: str) -> None:
    """A run whose end is missing is resumed like one that has it."""
    flow, options = CASES[case]()

    async def main() -> None:
        log = await run(flow, **options)
        ran: dict[bool, list[str]] = {True: [], False: []}
        kinds: dict[bool, list[str]] = {}
        for is_complete in (True, False):
            store = await leave(log)
            if is_complete:
                await look(flow, store)
            given: Any = {"resources": ran[is_complete], "clock": virtual_now}
            with suppress(RunFailed, InputError):
                await flow.resume("r", durable=store, **given)
            kinds[is_complete] = [record.kind for record in (await store.load("r")).records]
        assert kinds[True] == kinds[False]
        assert ran[True] == ran[False]

    run_virtual(main())


def test_failed_run_is_undone_though_process_died() -> None:
    """A failure is final where the run compensates: it is undone by the next process, not tried."""
    flow = build_chain(compensate=True)

    async def main() -> None:
        log = await run(flow, broken=True)
        [stopping] = [record.seq for record in log.records if record.kind == "stopping"]
        store = await leave(log, missing=len(log.records) - stopping + 1)
        ran: list[str] = []
        with pytest.raises(RunFailed, match="compensated after 'check' failed"):
            await flow.resume("r", durable=store, resources=ran)
        assert ran == ["take back"]
        assert (await store.load("r")).head.status == "cancelled"
        with pytest.raises(RunFailed, match="was cancelled"):
            await flow.replay("r", durable=store)

    run_virtual(main())


def test_cancel_of_run_without_end_is_refused() -> None:
    """A run that succeeded is not cancelled, whatever its head says."""
    flow = build_chain()

    async def main() -> None:
        store = await leave(await run(flow))
        with pytest.raises(InputError, match="is succeeded: there is nothing left to cancel"):
            await flow.cancel("r", durable=store, resources=[])
        assert (await store.load("r")).head.status == "succeeded"

    run_virtual(main())


def test_run_that_was_to_stop_has_stopped() -> None:
    """A run whose process died while its last nodes finished after a stop is stopped, not going on.

    A resume continues it.
    """
    began, flow = asyncio.Event(), build_slow()

    async def main() -> None:
        store = MemoryStore()
        task = asyncio.create_task(
            flow.run(Case(), run_id="r", durable=store, resources=began, clock=virtual_now)
        )
        await began.wait()
        flow.stop("r", now=False, reason="enough")
        with pytest.raises(RunFailed, match="enough"):
            await task
        log = await store.load("r")
        kinds = [record.kind for record in log.records]
        left = await leave(log, missing=len(kinds) - kinds.index("stopping") - 1)
        await look(flow, left)
        after = await left.load("r")
        assert after.head.status == "stopped"
        assert [record.kind for record in after.records[-3:]] == ["stopping", "stopping", "ended"]
        assert after.records[-1].body["reason"] == "enough"
        result = await flow.resume("r", durable=left, resources=began, clock=virtual_now)
        assert result.status == "succeeded"

    run_virtual(main())
