"""Loops whose tasks begin at once (`asyncio.eager_task_factory`): runs mean the same there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import Ended, Flow, Graph, Node, Retry, RunFailed, append, node

if sys.version_info < (3, 12):
    pytest.skip("tasks begin at once from Python 3.12 on", allow_module_level=True)

EAGER: Any = vars(asyncio)["eager_task_factory"]


class Count(BaseModel):
    n: int = 0


class Counts(BaseModel):
    counts: list[Count] = []


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class State(Count, Counts, Log): ...


def run_eagerly(main: Coroutine[Any, Any, Any]) -> Any:
    """Run on a loop whose tasks begin at once, and check that nothing is left on it."""

    async def run() -> Any:
        asyncio.get_running_loop().set_task_factory(EAGER)
        result = await main
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(run())


def build(*steps: Any) -> Flow[Counts, Log, State]:
    return Graph("eager", State, input=Counts, output=Log).chain(*steps).build()


def logger(name: str, seconds: float | None = None) -> Node[Any]:
    """Return a node that logs its name; without seconds it ends in the step that begins it."""

    @node(name=name)
    async def log(count: Count) -> Log:
        if seconds is not None:
            await asyncio.sleep(seconds)
        return Log(log=[name])

    return log


@pytest.mark.parametrize("seconds", [None, 0, 0.001])
def test_eager_fan_out_joins(seconds: float | None, tmp_path: Path) -> None:
    """A fan-out joins in canonical order, in memory, in a journal and as a stream."""
    flow = build([logger("a", seconds), logger("b"), logger("c", 0)], logger("d"))
    path = str(tmp_path / "runs.sqlite")

    async def main() -> None:
        assert (await flow.run(Counts())).output.log == ["a", "b", "c", "d"]
        assert (await flow.run(Counts(), durable=path, run_id="r")).output.log == [*"abcd"]
        assert (await flow.replay("r", durable=path)).output.log == ["a", "b", "c", "d"]
        assert isinstance([event async for event in flow.stream(Counts())][-1], Ended)

    run_eagerly(main())


def test_eager_forks_do_not_nest() -> None:
    """Forks behind forks begin one after another, however many there are."""
    stages: list[Any] = []
    for number in range(300):
        stages += [[logger(f"a{number}"), logger(f"b{number}")], logger(f"c{number}")]
    assert len(run_eagerly(build(*stages).run(Counts())).output.log) == 900


def test_eager_map_and_retries() -> None:
    """A map gathers in the order of its items, with retries of some of them."""
    failed: set[int] = set()

    @node(retry=Retry(2, first=0.001))
    async def work(count: Count) -> Log:
        if count.n % 3 == 0 and count.n not in failed:
            failed.add(count.n)
            raise ValueError
        return Log(log=[str(count.n)])

    def over(counts: Counts) -> list[Count]:
        return counts.counts

    def gather(logs: list[Log]) -> Log:
        return Log(log=[line for log in logs for line in log.log])

    graph = Graph("eager", State, input=Counts, output=Log)
    flow = graph.chain(graph.map("all", work, over=over, gather=gather, max_items=50)).build()
    items = Counts(counts=[Count(n=n) for n in range(40)])
    assert run_eagerly(flow.run(items)).output.log == [str(n) for n in range(40)]


def test_eager_failure_cancels_siblings() -> None:
    """A branch that fails in the step that begins it cancels the others."""

    @node
    async def fail(count: Count) -> Log:
        raise ValueError("at once")

    flow = build([logger("slow", 5), fail])

    async def main() -> None:
        with pytest.raises(RunFailed) as failed:
            await flow.run(Counts(), on_failure="cancel")
        assert "at once" in str(failed.value)

    run_eagerly(main())


def test_eager_run_is_cancelled() -> None:
    """A run that is cancelled ends with its nodes."""

    async def main() -> None:
        task = asyncio.create_task(build([logger("a", 5), logger("b", 5)]).run(Counts()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_eagerly(main())


def test_eager_hedge_and_timeout() -> None:
    """A hedged node with a timeout, whose first call is slow and second one ends at once."""
    calls: list[int] = []

    @node(hedge_after=0.01, timeout=5)
    async def hedged(count: Count) -> Log:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.sleep(5)
        return Log(log=["hedged"])

    assert run_eagerly(build(hedged).run(Counts())).output.log == ["hedged"]
