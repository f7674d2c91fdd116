"""Limits in critical paths: what they predict is what a run takes, measured on a virtual clock."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any
from zlib import crc32

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch import Context, Flow, Graph, Limits, Retry, RunFailed, append, node
from graphorch.core.run import Run
from graphorch.engine.replay import rebuild
from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual
from graphorch.trace.analysis.critical_path import (
    CriticalPath,
    collect_work,
    find_critical_path,
)


class Item(BaseModel):
    item: int = 0


class Items(BaseModel):
    items: list[int] = []


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Inside(Item, Items, Log): ...


class State(Items, Log): ...


AnyFlow = Flow[Any, Any, Any]


@dataclass(frozen=True)
class Pace:
    """Seconds of each node: by a hash of its path, so that no two are equal."""

    seed: int = 0
    faster: str = ""  # the name of a node that takes half

    def seconds(self, path: str) -> float:
        drawn = 0.1 + crc32(f"{self.seed} {path}".encode()) % 997 / 997
        return drawn / 2 if path.rpartition("/")[2] == self.faster else drawn


@dataclass(frozen=True)
class Shape:
    """Widths of the limits in the flow below; None is no limit."""

    each: int = 8
    inner: int = 8
    dig: int | None = None


def works(name: str, **options: Any) -> Any:
    """Return a node that takes the seconds of its path."""

    @node(name=name, **options)
    async def work(ctx: Context[Pace], items: Items) -> Log:
        await asyncio.sleep(ctx.resources.seconds(ctx.path))
        return Log(log=[ctx.path])

    return work


@node
async def leaf(ctx: Context[Pace], item: Item) -> Log:
    await asyncio.sleep(ctx.resources.seconds(ctx.path))
    return Log(log=[ctx.path])


def gather(results: list[Log]) -> Log:
    return Log(log=[line for result in results for line in result.log])


def build(shape: Shape) -> AnyFlow:
    """Return a flow with a map of sub-flows with a map in each, and a branch beside them."""
    inner = Graph("inner", Inside, input=Items, output=Log)
    leaves = inner.map(
        "leaves",
        leaf,
        over=lambda state: [Item(item=n) for n in state.items],
        gather=gather,
        max_items=9,
        concurrency=shape.inner,
    )
    dig = works("dig", **({} if shape.dig is None else {"concurrency": shape.dig}))
    inner.chain(dig, leaves, works("polish"))
    graph = Graph("outer", State, input=Items, output=Log)
    each = graph.map(
        "each",
        inner.build(),
        over=lambda state: [Items(items=list(range(n))) for n in state.items],
        gather=gather,
        max_items=9,
        concurrency=shape.each,
    )
    graph.chain(works("first"), [each, works("beside")], works("last"))
    return graph.build()


def measure(
    shape: Shape, items: list[int], pace: Pace, concurrency: int | None = None
) -> tuple[float, CriticalPath]:
    """Return how long a run takes on a virtual clock, and its critical path."""
    flow, store = build(shape), MemoryStore()

    async def main() -> tuple[float, CriticalPath]:
        time = asyncio.get_running_loop().time
        began = time()
        await flow.run(
            Items(items=items),
            run_id="one",
            durable=store,
            resources=pace,
            limits=Limits(concurrency=concurrency),
        )
        seconds = time() - began
        rebuilt = rebuild(flow.plan, "one", (await store.load("one")).records)
        return seconds, find_critical_path(rebuilt.run, seconds, rebuilt.concurrency)

    return run_virtual(main())


def widths(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, most)


cases = given(
    st.builds(Shape, widths(3), widths(3), st.none() | widths(2)),
    st.lists(st.integers(0, 3), max_size=4),
    st.builds(Pace, st.integers(0, 99)),
)
few = settings(max_examples=4, phases=[Phase.generate])


def check_measured(shape: Shape, items: list[int], pace: Pace) -> None:
    """A run takes as long as its critical path, and a faster node saves what the path says."""
    for concurrency in (None, 1, 2):
        seconds, path = measure(shape, items, pace, concurrency)
        assert path.seconds == pytest.approx(seconds)
        assert sum(part for _, part in path.path) == pytest.approx(seconds)


def check_predicted(shape: Shape, items: list[int], pace: Pace) -> None:
    """A run with a faster node, or wider maps, takes what the path of another run says."""
    shape = replace(shape, dig=None)  # who gets its slot first among equals is nobody's promise
    _, path = measure(shape, items, pace)
    for slack in path.steps:
        seconds, _ = measure(shape, items, replace(pace, faster=slack.step.rpartition("/")[2]))
        assert slack.twice_as_fast == pytest.approx(seconds)
    wide = {
        "map 'each'": replace(shape, each=2 * shape.each),
        "map 'each/leaves'": replace(shape, inner=2 * shape.inner),
    }
    for gain in path.limits:
        seconds, _ = measure(wide[gain.limit], items, pace)
        assert gain.twice_as_wide == pytest.approx(seconds)


@few
@cases
def test_critical_path_is_what_was_measured(shape: Shape, items: list[int], pace: Pace) -> None:
    """A run takes as long as its critical path, under every limit that shapes its time."""
    check_measured(shape, items, pace)


@few
@cases
def test_changes_take_what_was_predicted(shape: Shape, items: list[int], pace: Pace) -> None:
    """A run with a node twice as fast, or a map twice as wide, takes what the path says."""
    check_predicted(shape, items, pace)


@pytest.mark.slow
@settings(max_examples=60)
@cases
def test_limits_hold_for_many_shapes(shape: Shape, items: list[int], pace: Pace) -> None:
    """Critical paths and their predictions are true for many shapes."""
    check_measured(shape, items, pace)
    check_predicted(shape, items, pace)


def map_of(at_once: int, **options: Any) -> AnyFlow:
    """Return a map over numbers whose worker takes 0.4 seconds."""

    @node(**options)
    async def work(ctx: Context[Any], item: Item) -> Log:
        await asyncio.sleep(0.4)
        if item.item in (ctx.resources or ()) and ctx.attempt == 1:
            raise ValueError("no")
        return Log(log=[ctx.path])

    graph = Graph("one", State, input=Items, output=Log)
    each = graph.map(
        "each",
        work,
        over=lambda state: [Item(item=n) for n in state.items],
        gather=gather,
        max_items=9,
        concurrency=at_once,
    )
    return graph.chain(each).build()


def run_map(
    flow: AnyFlow, count: int, limits: Limits | None = None, broken: tuple[int, ...] = ()
) -> tuple[Run, int | None, MemoryStore]:
    """Return a run over so many items as its records tell it, and its limit."""
    store = MemoryStore()

    async def main() -> tuple[Run, int | None, MemoryStore]:
        with suppress(RunFailed):
            await flow.run(
                Items(items=list(range(count))),
                run_id="one",
                durable=store,
                limits=limits or Limits(),
                resources=broken,
            )
        rebuilt = rebuild(flow.plan, "one", (await store.load("one")).records)
        return rebuilt.run, rebuilt.concurrency, store

    return run_virtual(main())


def test_map_concurrency_shapes_path() -> None:
    """Three items of 0.4 seconds, one at once, take 1.2 seconds, and half of it if halved."""
    run, concurrency, _ = run_map(map_of(1), 3)
    path = find_critical_path(run, 1.2, concurrency)
    assert path.seconds == pytest.approx(1.2)
    assert [step for step, _ in path.path] == [f"each[{n}]/work" for n in range(3)]
    [row] = path.steps
    assert (row.slack, row.twice_as_fast) == (0.0, pytest.approx(0.6))
    [gain] = path.limits
    assert (gain.limit, gain.at_once) == ("map 'each'", 1)
    assert (gain.twice_as_wide, gain.without) == (pytest.approx(0.8), pytest.approx(0.4))


def test_node_concurrency_is_not_work() -> None:
    """The time in which a node waited for a slot is no work of the node."""
    run, concurrency, _ = run_map(map_of(8, concurrency=1), 3)
    path = find_critical_path(run, 1.2, concurrency)
    assert (path.seconds, path.busy) == (pytest.approx(1.2), pytest.approx(1.2))
    assert [gain.limit for gain in path.limits] == ["node 'each/work'"]
    assert path.limits[0].without == pytest.approx(0.4)


def test_run_concurrency_is_recorded() -> None:
    """The limit of a run is in its records, and shapes its path."""
    run, concurrency, _ = run_map(map_of(8), 4, Limits(concurrency=2))
    assert concurrency == 2
    path = find_critical_path(run, 0.8, concurrency)
    assert (path.seconds, path.without_limit) == (pytest.approx(0.8), pytest.approx(0.4))
    assert [gain.limit for gain in path.limits] == ["the run"]


@pytest.mark.parametrize("given, kept", [(None, 1), (Limits(concurrency=3), 3)])
def test_run_concurrency_stays_when_resumed(given: Limits | None, kept: int) -> None:
    """A resumed run keeps the limit that it began with, unless another one is given."""
    flow = map_of(8)
    _, _, store = run_map(flow, 4, Limits(concurrency=1), broken=(0, 1, 2, 3))

    async def resume() -> float:
        time = asyncio.get_running_loop().time
        began = time()
        await flow.resume("one", durable=store, limits=given or Limits())
        return time() - began

    assert run_virtual(resume()) == pytest.approx(1.6 if kept == 1 else 0.8)
    records = run_virtual(store.load("one")).records
    assert rebuild(flow.plan, "one", records).concurrency == kept


def test_wait_of_every_attempt_counts() -> None:
    """The waits of a node that failed and ran again add up, and its pauses are its work."""
    flow = map_of(8, concurrency=1, retry=Retry(2, first=0.1))
    run, concurrency, _ = run_map(flow, 2, broken=(0, 1))
    path = find_critical_path(run, 1.6, concurrency)
    waited = {item.path: item.waited for item in run.history if item.waited}
    assert waited.keys() == {"each[0]/work", "each[1]/work"}
    seconds = sum(item.ended_at - item.started_at for item in run.history if not item.children)
    assert path.busy == pytest.approx(seconds - sum(waited.values()))


def test_unfinished_items_free_their_slot() -> None:
    """A run that failed inside of a map has a path, too, with the item that failed on it."""
    run, concurrency, _ = run_map(map_of(2), 5, broken=(0,))
    path = find_critical_path(run, 0.8, concurrency)
    assert run.status == "failed"
    assert path.seconds == pytest.approx(0.8)
    assert "each[0]/work" in [item.path for item in collect_work(run, concurrency).items]


def test_exclusive_region_is_limit_of_one() -> None:
    """The critical path leads through the turns of a region, and tells what it costs."""

    @node(name="work")
    async def work(item: Item) -> Log:
        await asyncio.sleep(0.4)
        return Log(log=[str(item.item)])

    def each_item(items: Items) -> list[Item]:
        return [Item(item=number) for number in items.items]

    inner = Graph("inner", Inside, input=Item, output=Log).chain(work).exclusive("db", work)
    graph = Graph("outer", State, input=Items, output=Log)
    each = graph.map("each", inner.build(), over=each_item, gather=gather, max_items=6)
    flow = graph.chain(each).build()

    async def main() -> Run:
        store = MemoryStore()
        await flow.run(Items(items=[0, 1, 2]), run_id="one", durable=store)
        return rebuild(flow.plan, "one", (await store.load("one")).records).run

    path = find_critical_path(run_virtual(main()), 1.2, None)
    assert path.seconds == pytest.approx(1.2)
    assert [step for step, _ in path.path] == [f"each[{n}]/work" for n in range(3)]
    assert [(gain.limit, gain.without) for gain in path.limits] == [
        ("region 'db'", pytest.approx(0.4))
    ]
