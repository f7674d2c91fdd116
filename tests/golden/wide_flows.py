"""A flow with what format 7 brought, for golden journals. Like the other flows, never changed.

Its map states no concurrency, and the place of its run offers more than a plain process does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from graphorch import START, Context, Flow, Graph, node
from graphorch.core.tree import Activation
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.runs.clients import open_no_calls
from graphorch.runs.durable import Claim
from graphorch.runs.manager import RunManager
from graphorch.runs.options import RunOptions
from graphorch.runs.submission import submit


class Numbers(BaseModel):
    numbers: list[int] = []


class Item(BaseModel):
    number: int = 0


class Squares(BaseModel):
    squares: list[int] = []


class State(Numbers, Squares): ...


WIDE_RUNS = ("wide.finished", "wide.crashed")
AT_ONCE = 20
NUMBERS = Numbers(numbers=list(range(30)))


class Desk:
    """The numbers that were squared, and where the process dies, if it does."""

    def __init__(self, dies: Callable[[], None] | None = None) -> None:
        self.squared: list[int] = []
        self.dies = dies


class WidePlacement:
    """A place like a worker's: it offers more items at once, and runs all of them itself."""

    async def call(
        self, activation: Activation, arguments: list[Any], here: Callable[[], Awaitable[Any]]
    ) -> Any:
        """Run a function here."""
        return await here()

    async def wait_until_certain(self) -> None:
        """Return at once."""

    def count_at_once(self, activation: Activation) -> int | None:
        """Offer more than a plain process."""
        return AT_ONCE

    async def take_over(self, vanished: Sequence[Activation]) -> Collection[Activation]:
        """Find nothing that runs elsewhere."""
        return ()

    def leave(self) -> None:
        """Leave nothing behind."""


def wide_flow() -> Flow[Numbers, Squares, State]:
    """Return a flow that needs five squares of thirty, and lets those that began finish."""

    @node(effect="idempotent")
    async def square(ctx: Context[Desk], item: Item) -> Item:
        desk = ctx.resources
        if desk.dies is not None and item.number > AT_ONCE:  # so others have ended
            desk.dies()
        await asyncio.sleep(0.004 * item.number)
        desk.squared.append(item.number)
        return Item(number=item.number**2)

    graph: Any = Graph("wide", State, input=Numbers, output=Squares)
    squares = graph.map(
        "squares", square, over=split, gather=collect, max_items=100, need=5, rest="finish"
    )
    return graph.chain(START, squares).build()


def split(numbers: Numbers) -> list[Item]:
    return [Item(number=number) for number in numbers.numbers]


def collect(items: list[Item]) -> Squares:
    return Squares(squares=[item.number for item in items])


async def drive_wide(store: SqliteStore, run_id: str, desk: Desk) -> None:
    """Submit a run and drive it where a map may be wide."""
    plan = wide_flow().plan
    manager = RunManager(plan)
    given: RunOptions = {"client": open_no_calls(), "resources": desk, "durable": store}
    settings = manager.build_settings({**given, "run_id": run_id, "tags": {"kind": "golden"}})
    await submit(store, plan, settings, manager.build_update(NUMBERS))
    async with manager.take(run_id, given, Claim("worker")) as scheduler:
        scheduler.settings = replace(scheduler.settings, placement=WidePlacement())
        await manager.drive(scheduler, scheduler.begin_recorded())
