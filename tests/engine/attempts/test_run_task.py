"""Nodes that run in the caller's own task: cancelling a node never ends the caller."""

from __future__ import annotations

import asyncio
import inspect
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, Node, RunFailed, append, node
from graphorch.journal.memory import MemoryStore
from graphorch.testing.virtual_clock import run_virtual


class Count(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class State(Count, Log): ...


@node
async def fork(count: Count) -> Count:
    return Count(n=count.n + 1)


@node
async def after(count: Count) -> Log:
    return Log(log=["after"])


@node
async def fast(count: Count) -> Log:
    await asyncio.sleep(1)
    return Log(log=["fast"])


def stubborn(what: str) -> Node[Any]:
    """Make a node that waits for long, and does not simply end when it is cancelled."""

    @node(name="stubborn")
    async def wait(count: Count) -> Log:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            if what == "returns":
                return Log(log=["stubborn"])
            if what == "raises":
                raise ValueError("no") from None
            if what == "goes on":
                await asyncio.sleep(5)
                return Log(log=["stubborn"])
            raise
        return Log(log=["late"])

    return wait


def race(what: str, *, is_first: bool) -> Flow[Any, Any, Any]:
    """Build two branches of which the first to end wins.

    The last of several branches runs in the task that made them ready: here the caller's.
    """
    slow = stubborn(what)
    graph = Graph("race", State)
    graph.chain(fork, [slow, fast] if is_first else [fast, slow], after)
    graph.join(after, need=1)
    return graph.build()


WHAT = ["gives in", "returns", "raises", "goes on"]


@pytest.mark.parametrize("is_first", [True, False], ids=["in a task", "in the caller's"])
@pytest.mark.parametrize("what", WHAT)
def test_race_loser_is_dropped(what: str, is_first: bool) -> None:
    """Cancelling the loser of a race does not cancel the caller."""

    async def main() -> list[str]:
        task = asyncio.current_task()
        assert task is not None
        result = await race(what, is_first=is_first).run(State())
        assert task.cancelling() == 0
        await asyncio.sleep(1)  # where a cancellation that was left over would arrive
        return result.output.log

    assert run_virtual(main()) == ["fast", "after"]


@pytest.mark.parametrize("is_first", [True, False], ids=["in a task", "in the caller's"])
@pytest.mark.parametrize("what", WHAT)
def test_race_loser_is_not_journaled(what: str, is_first: bool) -> None:
    async def main() -> None:
        store, flow = MemoryStore(), race(what, is_first=is_first)
        result = await flow.run(State(), durable=store, run_id="r")
        records = (await store.load("r")).records
        assert [record.body["path"] for record in records if record.kind == "commit"] == [
            "fork",
            "fast",
            "after",
        ]
        assert not [record for record in records if record.kind == "failed"]
        assert (await flow.replay("r", durable=store)).output == result.output

    run_virtual(main())


@pytest.mark.parametrize("what", WHAT)
def test_caller_timeout_ends_chain(what: str) -> None:
    flow = Graph("g", State).chain(fork, stubborn(what), after).build()

    async def main() -> tuple[float, list[str]]:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await flow.run(State(), run_id="r")
        assert task.cancelling() == 0
        ended = asyncio.get_running_loop().time()
        return ended, (await flow.resume("r")).output.log

    assert run_virtual(main()) == (8 if what == "goes on" else 3, ["late", "after"])


@pytest.mark.parametrize("is_first", [True, False], ids=["in a task", "in the caller's"])
def test_caller_cancelled_as_race_ends(
    is_first: bool,
) -> None:
    """If node and caller are cancelled by the same exception, the caller's cancellation holds."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(race("returns", is_first=is_first).run(State()))
        loop.call_at(1.0, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()

    run_virtual(main())


def test_cancelled_task_can_run_flow() -> None:
    """Earlier cancellations do not concern a run, so that a handler can run a flow to clean up."""
    flow = Graph("g", State).chain(fork, fast, after).build()
    logs: list[list[str]] = []

    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            logs.append((await flow.run(State())).output.log)

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])

    run_virtual(main())
    assert logs == [["fast", "after"]]


def test_stray_cancellation_fails_node() -> None:
    @node
    async def gives_up(count: Count) -> Count:
        raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(RunFailed) as caught:
            await Graph("g", Count).chain(gives_up).build().run(Count())
        assert "although it was not cancelled" in str(caught.value.exceptions[0])
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run_virtual(main())


def test_nested_run_cancels_own_tasks_only() -> None:
    """Races inside a node that runs a flow do not touch the task around it."""
    inner = race("returns", is_first=False)

    @node
    async def runs(count: Count) -> Log:
        return Log(log=(await inner.run(State())).output.log)

    flow = Graph("g", State).chain(fork, runs, after).build()

    async def main() -> list[str]:
        return (await flow.run(State())).output.log

    assert run_virtual(main()) == ["fast", "after", "after"]


def test_flow_run_is_coroutine_function() -> None:
    """Frameworks have to see that `flow.run` is not a function for a thread."""
    flow = race("returns", is_first=True)
    assert all(
        inspect.iscoroutinefunction(method)
        for method in (flow.run, flow.answer, flow.resume, flow.replay, flow.rerun, flow.cancel)
    )
