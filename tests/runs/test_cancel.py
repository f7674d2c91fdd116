"""`cancel` ends a run for good; committed work stays readable."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from graphorch import Graph, InputError, JournalError, RunFailed, node
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun, Record, RunLog
from graphorch.runs.durable import cancel
from tests.scenarios.flows import FLOWS, AnyFlow, Ledger, Number, State, says, to_the_end, up


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


def failing() -> AnyFlow:
    @node(name="bad")
    async def bad(number: Number) -> Number:
        raise ValueError("no")

    return Graph("g", State).chain(up("a"), bad, says("end")).build()


async def failed(flow: AnyFlow, **options: Any) -> None:
    with pytest.raises(RunFailed):
        await flow.run(State(), run_id="r", resources=Ledger(), **options)


def test_cancelled_run_takes_no_answer() -> None:
    """The question of a cancelled run is withdrawn."""
    flow = FLOWS["asked"]()

    async def main() -> None:
        store = MemoryStore()
        waiting = await flow.run(State(), run_id="r", durable=store, resources=Ledger())
        await flow.cancel("r", durable=store)
        assert (await store.load("r")).head.status == "cancelled"
        question = waiting.questions[0]
        with pytest.raises(InputError, match="was cancelled for good"):
            await flow.answer("r", question, question.answer_type(approved=True), durable=store)
        with pytest.raises(InputError, match="was cancelled for good"):
            await flow.resume("r", durable=store)
        with pytest.raises(RunFailed, match="cancelled"):
            await flow.replay("r", durable=store)

    run(main())


def test_cancelled_run_in_memory_is_forgotten() -> None:
    """It cannot be resumed."""
    flow = failing()

    async def main() -> None:
        await failed(flow)
        await flow.cancel("r")
        with pytest.raises(InputError, match="has no open run 'r'"):
            await flow.resume("r")

    run(main())


def test_cancel_refuses_final_runs() -> None:
    """A run that is over is not cancelled."""
    flow = FLOWS["chain"]()

    async def main() -> None:
        store = MemoryStore()
        await to_the_end(flow, "r", True, durable=store, resources=Ledger())
        with pytest.raises(InputError, match="Run r is succeeded: there is nothing left to cancel"):
            await flow.cancel("r", durable=store)
        with pytest.raises(InputError, match="Run r is succeeded"):
            await cancel(store, "r", 0.0)

    run(main())


@pytest.mark.parametrize("status", ["failed", "waiting", "stopped"])
def test_cancel_works_without_flow(status: str) -> None:
    """The records are those of a cancellation by the flow."""
    flow = failing() if status == "failed" else FLOWS["asked"]()

    async def main() -> None:
        store = MemoryStore()
        if status == "failed":
            await failed(flow, durable=store)
        else:
            await flow.run(
                State(),
                run_id="r" if status == "waiting" else "old",
                durable=store,
                resources=Ledger(),
            )
        if status == "stopped":
            await flow.fork("old", start="beside", durable=store, run_id="r")
        assert (await cancel(store, "r", 5.0)).status == status
        log = await store.load("r")
        assert log.head.status == "cancelled"
        assert [record.kind for record in log.records[-2:]] == ["stopping", "ended"]
        with pytest.raises(RunFailed, match="cancelled"):
            await flow.replay("r", durable=store)
        with pytest.raises(InputError, match="nothing left to cancel"):
            await cancel(store, "r", 5.0)

    run(main())


def test_cancel_of_crashed_run_needs_flow() -> None:
    """A run that never began can be cancelled without its flow."""

    async def main() -> None:
        store = MemoryStore()
        await store.create(NewRun("r", "chain", "f", 1))
        await cancel(store, "r", 5.0)
        assert (await store.load("r")).head.status == "cancelled"
        await store.create(NewRun("s", "chain", "f", 1))
        lease = await store.claim("s", "me", ttl=60)
        await store.append(lease, [Record(1, "started", {})], expected_last_seq=0)
        with pytest.raises(JournalError, match="belongs to 'me' for another"):
            await cancel(store, "s", 5.0)
        await store.release(lease)
        with pytest.raises(InputError, match="Only its flow can cancel it"):
            await cancel(store, "s", 5.0)
        assert (await store.load("s")).head.status == "running"
        await store.claim("s", "another", ttl=1)  # nothing holds it

    run(main())


async def copy_prefix(log: RunLog, count: int) -> MemoryStore:
    """A store with the first records of a run, as if its process had ended there."""
    store = MemoryStore()
    head = log.head
    await store.create(NewRun(head.run_id, head.flow, head.fingerprint, head.format))
    lease = await store.claim(head.run_id, "gone", ttl=60)
    await store.append(lease, log.records[:count], expected_last_seq=0)
    await store.release(lease)
    return store


@pytest.mark.parametrize("name", ["loop_with_join", "mapped_flows", "asked", "rescued"])
def test_cancel_after_any_crash_is_readable(name: str) -> None:
    """A run whose process ended after any record is cancelled and can be read."""
    flow = FLOWS[name]()

    async def main() -> None:
        store = MemoryStore()
        await to_the_end(flow, "r", True, durable=store, resources=Ledger())
        log = await store.load("r")
        for count in range(1, len(log.records) - 2):
            part = await copy_prefix(log, count)
            await flow.cancel("r", durable=part)
            assert (await part.load("r")).head.status == "cancelled"
            with pytest.raises(RunFailed, match="cancelled"):
                await flow.replay("r", durable=part)

    run(main())


def test_unknown_question_releases_lease() -> None:
    """Another process may have the run at once."""
    flow = FLOWS["asked"]()

    async def main() -> None:
        store = MemoryStore()
        waiting = await flow.run(State(), run_id="r", durable=store, resources=Ledger())
        answer = waiting.questions[0].answer_type(approved=True)
        with pytest.raises(InputError, match="Question 'nobody' is not open"):
            await flow.answer("r", "nobody", answer, durable=store)
        assert (await store.load("r")).head.lease is None
        await flow.answer("r", "ask", answer, durable=store, resources=Ledger())

    run(main())
