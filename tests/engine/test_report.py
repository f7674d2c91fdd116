"""The report of a run: notes of nodes, in memory and over every way in which a run goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Context, Flow, Graph, Retry, RunFailed, node
from graphorch.engine.report import Note
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.testing.virtual_clock import run_virtual
from tests.trace.acting import act, desk


class Number(BaseModel):
    number: int = 0


class Total(BaseModel):
    total: int = 0


class Sum(Number, Total): ...


class Broken(Exception):
    """What the second node fails with while `is_broken` holds."""


def noting(is_broken: Callable[[], bool] = lambda: False) -> Flow[Number, Total, Sum]:
    """A flow of two nodes; the first leaves two notes."""

    @node
    async def first(ctx: Context, n: Number) -> Number:
        ctx.note("rounded\n  down")
        ctx.note("x" * 600)
        return Number(number=n.number + 1)

    @node
    def second(n: Number) -> Total:
        if is_broken():
            raise Broken("not now")
        return Total(total=n.number)

    return Graph("noting", Sum, input=Number, output=Total).chain(first, second).build()


def check_notes(notes: tuple[Note, ...]) -> None:
    assert [note.path for note in notes] == ["first", "first"]
    assert notes[0].text == "rounded down"
    assert len(notes[1].text) < 560
    assert "more characters" in notes[1].text


def test_notes_are_in_the_result() -> None:
    """Each note is one line of bounded length, with the path of its node."""
    check_notes(run_virtual(noting().run(Number())).notes)


def test_notes_survive_a_resume(tmp_path: Path) -> None:
    """A resumed run has the notes of the nodes that are not run again; a finished one too."""
    broken = [True]
    flow, path = noting(lambda: broken[0]), tmp_path / "journal.sqlite"

    async def main() -> None:
        with pytest.raises(RunFailed) as caught:
            await flow.run(Number(), durable=path, run_id="r")
        check_notes(caught.value.run.notes)  # pyright: ignore[reportAttributeAccessIssue]
        broken[0] = False
        check_notes((await flow.resume("r", durable=path)).notes)
        check_notes((await flow.resume("r", durable=path)).notes)

    asyncio.run(main())


def test_notes_are_copied_by_a_fork(tmp_path: Path) -> None:
    """A fork has the notes of what it copied."""
    flow, path = noting(), tmp_path / "journal.sqlite"

    async def main() -> None:
        await flow.run(Number(), durable=path, run_id="r")
        forked = await flow.fork("r", start="second", durable=path)
        check_notes((await flow.resume(forked, durable=path)).notes)

    asyncio.run(main())


def test_notes_of_failed_attempts_are_dropped() -> None:
    """Only the attempt that succeeded leaves its notes."""

    @node(retry=Retry(attempts=3, first=0.1))
    async def flaky(ctx: Context, n: Number) -> Total:
        ctx.note(f"attempt {ctx.attempt}")
        if ctx.attempt < 3:
            raise Broken
        return Total(total=1)

    @node
    async def never(ctx: Context, n: Number) -> Total:
        ctx.note("never")
        raise Broken

    flow = Graph("g", Sum, input=Number, output=Total).chain(flaky).build()
    assert run_virtual(flow.run(Number())).notes == (Note("flaky", "attempt 3"),)
    failing = Graph("g", Sum, input=Number, output=Total).chain(never).build()
    with pytest.raises(RunFailed) as caught:
        run_virtual(failing.run(Number()))
    assert caught.value.run.notes == ()  # pyright: ignore[reportAttributeAccessIssue]


def test_notes_inside_sub_flows_have_their_path() -> None:
    """A note of an inner flow names the way to it."""
    outer = Graph("outer", Sum, input=Number, output=Total)
    inner: Any = noting()

    def enter(n: Number) -> Number:
        return n

    def leave(t: Total) -> Total:
        return t

    flow = outer.chain(outer.sub("deep", inner, enter=enter, leave=leave)).build()
    assert run_virtual(flow.run(Number())).notes[0] == Note("deep/first", "rounded down")


def test_run_without_notes_records_none(tmp_path: Path) -> None:
    """A commit has notes only where its node left some."""
    flow, path = noting(), tmp_path / "journal.sqlite"

    async def main() -> list[Any]:
        await flow.run(Number(), durable=path, run_id="r")
        store = await SqliteStore.open(path)
        try:
            return [record.body for record in (await store.load("r")).records]
        finally:
            await store.close()

    commits = [body for body in asyncio.run(main()) if "update" in body]
    assert ["notes" in body for body in commits] == [True, False]


def test_calls_of_tools_have_rows() -> None:
    """A call of a tool is a row with the name of its tool, and what the model reads of it."""
    store = asyncio.run(act())
    result = asyncio.run(desk().replay("one", durable=store))
    rows = {step.path: (step.tool, step.outcome) for step in result.steps}
    assert rows["write/r1/search#1"] == ("search", "failed")
    assert rows["write/r2/send#1"] == ("send", "refused")
    assert rows["write"] == ("", "")
