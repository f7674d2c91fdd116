"""Flows for machines, a ledger of what ran where, and checks of what they leave behind."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import BaseModel

from graphorch import Flow, Graph, Missing, Node, append, node
from graphorch.core.invariants import check_invariants
from graphorch.engine.replay import rebuild, verify
from graphorch.journal.memory import MemoryStore


class Topic(BaseModel):
    topic: str = "tides"


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class Items(BaseModel):
    items: list[int] = []


class Item(BaseModel):
    number: int = 0


class Squares(BaseModel):
    squares: list[int] = []


class Case(Topic, Done, Items, Squares): ...


CaseFlow = Flow[Any, Case, Case]


def build(*steps: Any, name: str = "case") -> CaseFlow:
    """Return a flow of steps, one after the other."""
    return Graph(name, Case, input=Topic, output=Case).chain(*steps).build()


class Ledger:
    """What ran on any machine: an entry per call of a function, and what ended."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []

    async def work(self, what: str, seconds: float) -> None:
        """Work for so long."""
        self.began.append(what)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.ended.append(f"{what} cancelled")
            raise
        self.ended.append(what)


def make_worker(name: str, ledger: Ledger, seconds: float = 1.0, **options: Any) -> Node[Any]:
    """Return a node that works for so long, elsewhere unless its options say otherwise."""

    given: Any = {"name": name, "isolation": "worker", **options}

    @node(**given)
    async def work(topic: Topic) -> Done:
        await ledger.work(name, seconds)
        return Done(done=[name])

    return work


def build_map(ledger: Ledger, seconds: float, **options: Any) -> Flow[Items, Squares, Case]:
    """Return a flow that squares numbers, each for so long."""

    @node
    async def square(item: Item) -> Item:
        await ledger.work(str(item.number), seconds)
        return Item(number=item.number**2)

    def split(items: Items) -> list[Item]:
        return [Item(number=number) for number in items.items]

    def collect(results: list[Item], missing: list[Missing]) -> Squares:
        return Squares(squares=[item.number for item in results])

    graph = Graph("squares", Case, input=Items, output=Squares)
    given: Any = {"max_items": 5_000, "concurrency": 5_000, **options}
    graph.chain(graph.map("each", square, over=split, gather=collect, **given))
    return graph.build()


async def check_journal(flow: Any, store: MemoryStore, run_id: str = "run") -> None:
    """Rebuild a run after each of its records, and replay it."""
    records = (await store.load(run_id)).records
    step = max(1, len(records) ** 2 // 4_000)  # fewer of a long journal
    for until in range(1, len(records) + 1, step):
        check_invariants(rebuild(flow.plan, run_id, records, until=until).run)
    verify(flow.plan, run_id, records)
    commits = [body["id"] for record in records if "id" in (body := record.body)
               and record.kind == "commit"]  # fmt: skip
    assert len(commits) == len(set(commits))
