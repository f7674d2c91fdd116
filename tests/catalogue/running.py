"""Runs of small flows under virtual time: with events from outside, replayed, crashed anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel

from graphorch import Flow, Graph, Result, append, node
from graphorch.core.tree import Status
from graphorch.engine.replay import rebuild
from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual
from tests.scenarios.crashed_copies import copy_run

START_TIME = 1_900_000_000.0  # seconds since the epoch


class Number(BaseModel):
    number: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Word(BaseModel):
    word: str = ""


class State(Number, Log, Word): ...


CatalogueFlow = Flow[Number, Log, State]
CatalogueGraph = Graph[State, Number, Log]


def new_graph(name: str = "catalogue") -> CatalogueGraph:
    return Graph(name, State, input=Number, output=Log)


def step(name: str, seconds: float = 0.0, **options: Any) -> Any:
    """Return a node that takes some seconds and logs its name."""

    @node(name=name, **options)
    async def run(number: Number) -> Log:
        if seconds:
            await asyncio.sleep(seconds)
        return Log(log=[name])

    return run


def count_step(name: str, change: int = 1) -> Any:
    """Return a node that changes the number."""

    @node(name=name)
    async def run(number: Number) -> Number:
        return Number(number=number.number + change)

    return run


# ---- what comes from outside ---------------------------------------------------------------------
@dataclass(frozen=True)
class Answer:
    """Answer to an open question."""

    path: str
    value: BaseModel


@dataclass(frozen=True)
class Send:
    """Signal, sent once a node waits for it; at once if `early`, to be kept or to end a region."""

    name: str
    value: BaseModel
    key: str = ""
    early: bool = False


@dataclass(frozen=True)
class Pass:
    """Time that passes while the run is at rest."""

    seconds: float


Outside = Answer | Send | Pass


def clock() -> float:
    return START_TIME + asyncio.get_running_loop().time()


async def play(
    flow: Flow[Any, Any, Any], result: Result[Any, Any], script: Sequence[Outside], store: Any
) -> Result[Any, Any]:
    """Give a waiting run what comes from outside, in order, leaving out what it has already."""
    for event in script:
        if result.status != "waiting":
            break
        run_id = result.run_id
        if isinstance(event, Pass):
            await asyncio.sleep(event.seconds)
            result = await flow.resume(run_id, durable=store, clock=clock)
        elif isinstance(event, Answer):
            if any(question.path == event.path for question in result.questions):
                result = await flow.answer(
                    run_id, event.path, event.value, durable=store, clock=clock
                )
        elif await _is_due(event, result, store):
            result = await flow.send(
                run_id,
                event.name,
                event.value,
                key=event.key,
                durable=store,
                clock=clock,
            )
    return result


async def _is_due(event: Send, result: Result[Any, Any], store: Any) -> bool:
    """Return whether a signal is waited for, or is early and was not sent before."""
    if event.early:
        records = (await store.load(result.run_id)).records
        return not any(record.kind == "signal" for record in records)
    return any((wait.signal, wait.key) == (event.name, event.key) for wait in result.waits)


# ---- a flow, everywhere --------------------------------------------------------------------------
def check_flow(
    flow: Flow[Any, Any, Any],
    *outcomes: list[str],
    given: BaseModel | None = None,
    script: Sequence[Outside] = (),
) -> Any:
    """Run a flow, replay it, and resume it from each of its records: it ends in an outcome.

    Return the log of the whole run. In the whole run the first outcome is the one that comes.
    """

    async def check() -> list[str]:
        store = MemoryStore()
        begin = given or flow.plan.input()
        result = await flow.run(begin, run_id="r", durable=store, clock=clock)
        result = await play(flow, result, script, store)
        assert result.output.log == outcomes[0]
        assert (await flow.replay("r", durable=store)).output == result.output
        stored = await store.load("r")
        for count in range(1, len(stored.records)):
            assert rebuild(flow.plan, "r", stored.records, until=count).last_seq == count
            copy = MemoryStore()
            await copy_run(stored.head, stored.records[:count], copy)
            again = await flow.resume("r", durable=copy, clock=clock, ambiguous="repeat")
            again = await play(flow, again, script, copy)
            assert again.output.log in outcomes, f"resumed after record {count}"
            assert (await flow.replay("r", durable=copy)).output == again.output
        return result.output.log

    return run_virtual(check())


def ended(flow: Flow[Any, Any, Any]) -> list[str]:
    """Return the paths of what a run committed, in order of the commits."""

    async def run() -> list[str]:
        result = await flow.run(flow.plan.input(), clock=clock)
        return [each.path for each in result.record.run.history if each.status is Status.DONE]

    return run_virtual(run())


def overlaps(flow: Flow[Any, Any, Any]) -> list[tuple[str, str]]:
    """Return the pairs of steps that take time and ran at the same time, at every level."""

    async def run() -> list[tuple[str, str]]:
        result = await flow.run(flow.plan.input(), clock=clock)
        spans = [
            (each.path, each.started_at, each.ended_at)
            for each in result.record.run.history
            if each.ended_at > each.started_at and each.children is None
        ]
        return [
            (path, other)
            for path, began, ended in spans
            for other, other_began, other_ended in spans
            if path < other and began < other_ended and other_began < ended
        ]

    return run_virtual(run())
