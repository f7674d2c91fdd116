"""Runs of a flow are begun, and then resumed and ended by their ids."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graphorch import Graph, InputError, RunFailed, node
from graphorch.journal.memory import MemoryStore
from tests.scenarios.flows import FLOWS, Ledger, Number, State


def test_resume_of_finished_run_returns_result() -> None:
    """No node runs again."""

    async def main() -> None:
        flow, store, ledger = FLOWS["chain"](), MemoryStore(), Ledger()
        options: dict[str, Any] = {"durable": store, "resources": ledger}
        result = await flow.run(State(), run_id="r", **options)
        entries = list(ledger.entries)
        again = await flow.resume("r", **options)
        assert (again.status, again.state) == ("succeeded", result.state)
        assert ledger.entries == entries

    asyncio.run(main())


def test_next_turn_needs_journal() -> None:
    flow = FLOWS["chain"]()
    with pytest.raises(InputError, match="after='r' needs the journal that holds that run"):
        flow.run_sync(State(), after="r", resources=Ledger())


def test_resume_refuses_after() -> None:
    """`after` begins a run, so it does not fit one that exists."""
    flow = FLOWS["chain"]()
    with pytest.raises(InputError, match="begins a new run, but run r exists already"):
        asyncio.run(flow.resume("r", after="first"))


def test_class_as_input_is_explained() -> None:
    flow = FLOWS["chain"]()
    with pytest.raises(InputError, match="takes a State, got the class State"):
        flow.run_sync(State)  # pyright: ignore[reportArgumentType]


def test_failed_run_resumes_in_memory() -> None:
    """Only the failed node runs again."""
    calls: list[str] = []

    @node
    async def first(number: Number) -> Number:
        calls.append("first")
        return Number(n=number.n + 1)

    @node
    async def shaky(number: Number) -> Number:
        calls.append("shaky")
        if len(calls) == 2:
            raise ValueError("not yet")
        return Number(n=number.n + 1)

    async def main() -> None:
        flow = Graph("g", State).chain(first, shaky).build()
        with pytest.raises(RunFailed):
            await flow.run(State(), run_id="r")
        assert (await flow.resume("r")).status == "succeeded"
        assert calls == ["first", "shaky", "shaky"]
        with pytest.raises(InputError, match="has no open run 'r'"):
            flow.stop("r")

    asyncio.run(main())
