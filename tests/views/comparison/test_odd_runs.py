"""Comparison of runs of old formats, under way, with loops of tools, damaged, and very long."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, node
from graphorch.journal.memory import MemoryStore
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.testing import run_virtual
from graphorch.views.comparison.comparison import Comparison
from graphorch.views.comparison.comparison_picture import draw_comparison
from graphorch.views.comparison.recorded_run import Place
from graphorch.views.comparison.run_comparison import (
    WantedActivations,
    compare_activation,
    compare_runs,
    open_pair,
    pair_runs,
)
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.reading.open_run import OpenRun
from tests.trace.acting import act, wait_for_people
from tests.trace.running import ran

ALL = WantedActivations(limit=1_000)
FORMATS = sorted((Path(__file__).parents[2] / "golden").glob("format_*"))
NAMES = sorted(path.name for path in FORMATS[-1].glob("*.golden"))


async def read(path: Path, folder: Path) -> OpenRun:
    """Return the only run of a golden journal."""
    copy = Path(shutil.copyfile(path, folder / f"{path.parent.name}.sqlite"))
    store = await SqliteStore.open(copy)
    try:
        [head] = (await store.list_runs()).runs
        async with JournalReader(store).open_run(head.run_id) as run:
            return run
    finally:
        await store.close()


def check_whole(left: OpenRun, right: OpenRun) -> Comparison:
    """Compare two runs, each of their activations, and draw them; return the overview."""
    pair = pair_runs(left, right)
    found = compare_runs(pair, ALL)
    for row in found.activations:
        opened = compare_activation(pair, Place(row.path, row.round))
        assert opened.activation == row
        has_detail = opened.inputs or opened.outputs or opened.calls
        has_detail = has_detail or opened.left_errors or opened.right_errors
        routes = opened.left_route != opened.right_route
        assert has_detail or routes or not set(row.differs) - {"status", "attempts"}
    assert "</svg>" in draw_comparison(pair, "light")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_formats_of_journal_are_compared(name: str, tmp_path: Path) -> None:
    """Golden runs of every format are the same as themselves, and are compared with the newest."""

    async def main() -> None:
        newest = await read(FORMATS[-1] / name, tmp_path)
        for folder in FORMATS:
            if not (folder / name).exists():
                continue
            run, again = [await read(folder / name, tmp_path) for _ in range(2)]
            found = check_whole(run, again)
            assert found.counts.same == len(found.activations) > 0
            check_whole(run, newest)

    asyncio.run(main())


def test_run_under_way_lacks_what_follows() -> None:
    """A run that waits for people differs where it rests, and lacks what the other did then."""

    async def main() -> None:
        store = MemoryStore()
        await wait_for_people(store, "one")
        await act(store, "two")
        async with open_pair(JournalReader(store), "one", "two") as pair:
            found = compare_runs(pair, ALL)
        rows = {row.path: row for row in found.activations}
        assert (found.left.status, found.right.status) == ("waiting", "succeeded")
        assert rows["count"].presence == "right"
        assert "status" in rows["write"].differs
        assert "input" in rows["write/r2/send#0"].differs  # a person changed the arguments
        assert rows["write/r1/search#0"].differs == []

    run_virtual(main())


@pytest.mark.parametrize("seed", range(15))
def test_damaged_records_are_left_out(seed: int) -> None:
    """Records that are not what their kind declares are named, and the rest is compared."""

    async def main() -> None:
        rng, store = random.Random(seed), MemoryStore()
        await ran("one", store=store)
        await ran("two", store=store)
        log = await store.load("two")
        records = list(log.records)
        for at in rng.sample(range(len(records)), 3):
            body = dict(records[at].body)
            spoiled = rng.choice(sorted(body))
            body[spoiled] = rng.choice([None, 7, "x", [], {"a": []}, -1.5])
            records[at] = replace(records[at], body=body)
        broken = OpenRun(log.head)
        broken.take(log.head, records)
        async with JournalReader(store).open_run("one") as whole:
            found = check_whole(whole, broken)
            check_whole(broken, whole)
        assert len(found.left.faults) == 0

    asyncio.run(main())


class Numbers(BaseModel):
    numbers: int = 0


class Item(BaseModel):
    item: int = 0


class Sums(BaseModel):
    sums: int = 0


class Double(BaseModel):
    double: int = 0


class Inner(Item, Double): ...


class Outer(Numbers, Sums): ...


@node
def double(item: Item) -> Double:
    return Double(double=2 * item.item)


def wide(planted: int) -> Any:
    """Return a map over many items, of which one is another number."""
    inner = Graph("inner", Inner, input=Item, output=Double).chain(double).build()
    graph = Graph("wide", Outer, input=Numbers, output=Sums)

    def over(numbers: Numbers) -> list[Item]:
        items = [Item(item=number) for number in range(numbers.numbers)]
        items[planted] = Item(item=-1)
        return items

    def gather(found: list[Double]) -> Sums:
        return Sums(sums=sum(each.double for each in found))

    return graph.chain(graph.map("each", inner, over=over, gather=gather, max_items=10_000)).build()


@pytest.mark.parametrize("items", [300, pytest.param(10_000, marks=pytest.mark.slow, id="many")])
def test_long_runs_are_compared_quickly(items: int) -> None:
    """Of maps of thousands of items, those that differ are found, in seconds."""

    async def main() -> None:
        store = MemoryStore()
        for run_id, planted in (("a", 17), ("b", 18)):
            await wide(planted).run(Numbers(numbers=items), run_id=run_id, durable=store)
        reader = JournalReader(store)
        async with open_pair(reader, "a", "b"):
            pass  # the records are read
        began = time.process_time()
        async with open_pair(reader, "a", "b") as pair:
            found = compare_runs(pair, WantedActivations(only_differences=True))
            draw_comparison(pair, "light")
        assert time.process_time() - began < 1 + items / 2_000
        paths = {row.path for row in found.activations}
        assert (
            {"each[17]/double", "each[18]/double"}
            <= paths
            <= {"each", "each[17]/double", "each[18]/double"}
        )

    asyncio.run(main())
