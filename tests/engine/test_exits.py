"""Functions of users that try to end the program: they fail, and other runs go on."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import (
    Context,
    Failure,
    Flow,
    Graph,
    Retry,
    RunEvent,
    RunFailed,
    Started,
    agent,
    node,
)
from graphorch.testing import ScriptedModel
from tests.engine import crunching


class Count(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: str = ""


class Counts(BaseModel):
    counts: list[Count] = []


class State(Count, Log, Counts): ...


@node
async def work(count: Count) -> Log:
    await asyncio.sleep(0)
    return Log(log="done")


def leave(*_: object) -> Any:
    sys.exit(3)


def interrupt(*_: object) -> Any:
    raise KeyboardInterrupt


def build(graph: Graph[Any, Any, Any], *steps: Any) -> Flow[Any, Any, Any]:
    return graph.chain(*steps).build()


def graph() -> Graph[Any, Any, Any]:
    return Graph("exits", State, input=Counts, output=Log)


def sync_node(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    @node
    def ends(count: Count) -> Log:
        return end()

    return build(graph(), ends)


def async_node(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    @node
    async def ends(count: Count) -> Log:
        await asyncio.sleep(0)
        return end()

    return build(graph(), ends)


def inline_node(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    @node(isolation="inline")
    def ends(count: Count) -> Log:
        return end()

    return build(graph(), ends)


def branch(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    @node
    async def ends(count: Count) -> Count:
        return end()

    return build(graph(), [ends, work])


def node_with_timeout(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    @node(timeout=5)
    async def ends(count: Count) -> Log:
        return end()

    return build(graph(), ends)


def hedged_node(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    @node(hedge_after=0.001)
    async def ends(ctx: Context, count: Count) -> Log:
        await asyncio.sleep(0.01)
        return end()

    return build(graph(), ends)


def task_of_node(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    """A node that awaits a thread of its own."""

    @node
    async def ends(count: Count) -> Log:
        return await asyncio.to_thread(end)

    return build(graph(), ends)


def selector(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    def choose(log: Log) -> Literal["a", "b"]:
        return end()

    g = graph().chain(work)
    other, another = work.named("other"), work.named("another")
    g.route(work, choose).when("a", other).when("b", another).exhaustive()
    return g.build()


def condition(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    g = graph().chain(work)
    g.loop(work, back_to=work, while_=end_of_count(end), max_iterations=3)
    return g.build()


def end_of_count(end: Callable[..., Any]) -> Callable[[Count], bool]:
    def holds(count: Count) -> bool:
        return end()

    return holds


def items(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    def over(counts: Counts) -> list[Count]:
        return end()

    def join(logs: list[Log]) -> Log:
        return Log()

    g = graph()
    return build(g, g.map("all", work, over=over, gather=join, max_items=3))


def gather(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    def over(counts: Counts) -> list[Count]:
        return [Count(), Count()]

    def join(logs: list[Log]) -> Log:
        return end()

    g = graph()
    return build(g, g.map("all", work, over=over, gather=join, max_items=3))


def question(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    def ask(count: Count) -> str:
        return end()

    g = graph()
    return build(g, g.ask("approve", question=ask, answer=Log))


def prompt(end: Callable[..., Any]) -> Flow[Any, Any, Any]:
    @agent(output=Log)
    def ends(count: Count) -> str:
        return end()

    return build(graph(), ends)


PLACES = [
    sync_node, async_node, inline_node, branch, node_with_timeout, hedged_node, task_of_node,
    selector, condition, items, gather, question, prompt,
]  # fmt: skip


@pytest.mark.parametrize("make", PLACES)
def test_exit_is_failure_of_node(make: Callable[..., Flow[Any, Any, Any]]) -> None:
    """A function that calls `sys.exit` fails its node, and a run beside it on the loop goes on."""

    async def main() -> tuple[object, object]:
        slow = build(graph(), pause, work).run(Counts())
        failing = make(leave).run(Counts(), client=ScriptedModel())
        failed, done = await asyncio.gather(failing, slow, return_exceptions=True)
        return failed, done

    failed, done = asyncio.run(main())
    assert isinstance(failed, RunFailed)
    assert "ExitRefused: It called sys.exit(3), which would end the program" in str(failed)
    assert not isinstance(done, BaseException)


@node
async def pause(count: Count) -> None:
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("end", [leave, interrupt])
@pytest.mark.parametrize("make", PLACES)
def test_run_sync_survives_exit(
    make: Callable[..., Flow[Any, Any, Any]], end: Callable[..., Any]
) -> None:
    """Under `run_sync`, an exit or an interrupt ends neither the caller nor the loop."""
    with pytest.raises(RunFailed) as failed:
        make(end).run_sync(Counts(), client=ScriptedModel())
    assert "ExitRefused: It " in str(failed.value)
    assert build(graph(), work).run_sync(Counts()).output.log == "done"


def test_exit_in_process_is_failure() -> None:
    """A node in a worker process that calls `sys.exit` fails, and so does its next call."""
    numbers = Graph("exits", crunching.Number).chain(crunching.exits).build()
    for _ in range(2):
        with pytest.raises(RunFailed) as failed:
            numbers.run_sync(crunching.Number(n=3))
        assert "ExitRefused: It called sys.exit(3), which" in str(failed.value)


def test_exit_is_handled_and_retried() -> None:
    """A retry and an error edge take an exit like any failure."""
    calls: list[int] = []

    @node(retry=Retry(3, first=0.001))
    def ends(count: Count) -> Log:
        calls.append(1)
        sys.exit("no tides")

    @node
    def rescue(failure: Failure, count: Count) -> Log:
        return Log(log=failure.error)

    g = graph().chain(ends)
    g.on_error(ends, rescue)
    assert g.build().run_sync(Counts()).output.log == "ExitRefused"
    assert len(calls) == 3


def test_exit_of_watcher_drops_it() -> None:
    """A watcher that calls `sys.exit` is dropped with a warning, like one that raises."""

    def watch(event: RunEvent) -> None:
        if isinstance(event, Started):
            sys.exit(1)

    with pytest.warns(RuntimeWarning, match="raised SystemExit"):
        result = build(graph(), work).run_sync(Counts(), watch=[watch])
    assert result.output.log == "done"


def test_ctrl_c_ends_run_on_main_thread(tmp_path: Any) -> None:
    """`KeyboardInterrupt` on the main thread is Ctrl-C: the run can be resumed at once."""
    path, calls = str(tmp_path / "runs.sqlite"), list[str]()

    @node(isolation="inline")
    def interrupted(count: Count) -> Log:
        calls.append(threading.current_thread().name)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return Log(log="resumed")

    flow = build(graph(), pause, interrupted)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(flow.run(Counts(), run_id="r", durable=path))
    assert asyncio.run(flow.resume("r", durable=path)).output.log == "resumed"
    assert calls == ["MainThread", "MainThread"]


def test_stray_cancellation_of_sync_function_is_failure() -> None:
    """`CancelledError` out of a sync function, which nothing can cancel, fails its node."""

    def stray(*_: object) -> Any:
        raise asyncio.CancelledError

    for make in (sync_node, inline_node, selector, condition, gather, question):
        with pytest.raises(RunFailed) as failed:
            asyncio.run(make(stray).run(Counts()))
        assert "StrayCancellation: It raised CancelledError" in str(failed.value)
