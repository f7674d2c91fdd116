"""Limits and policies on failure decide how a run goes, so they are in its journal: it is rebuilt under the rules that it had."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from graphorch import Budget, Context, Graph, Limits, Request, Response, RunFailed, Usage, node
from graphorch.journal.memory import MemoryStore
from tests.scenarios.flows import FLOWS, AnyFlow, Ledger, Note, Number, State, says, up


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


class Priced:
    """A model of which each call costs a quarter of a dollar."""

    def __init__(self) -> None:
        self.calls = 0

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        self.calls += 1
        return Response("text", "m", Usage(5, 5), 0.25, "reported", "stop", 1, 0.1, None)


@node
async def talk(ctx: Context, note: Note) -> Note:
    for number in range(6):
        await ctx.complete(f"question {number}", model="m")
    return Note(note="done")


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_budget_counts_what_was_spent_before_the_run_was_gone_on_with(is_durable: bool) -> None:
    flow = Graph("talk", State).chain(talk).build()

    async def main() -> None:
        client, store = Priced(), MemoryStore()
        options: dict[str, Any] = {"client": client, **({"durable": store} if is_durable else {})}
        with pytest.raises(RunFailed, match="limit:calls"):
            await flow.run(State(), run_id="r", budget=Budget(calls=2), **options)
        assert client.calls == 2
        # the same budget still, though nobody says so again
        with pytest.raises(RunFailed, match="limit:calls"):
            await flow.resume("r", **options)
        with pytest.raises(RunFailed, match="limit:calls"):
            await flow.resume("r", budget=Budget(calls=5), **options)
        assert client.calls == 5
        assert (await flow.resume("r", budget=Budget(calls=20), **options)).output.note == "done"

    run(main())


async def resumed(flow: AnyFlow, store: MemoryStore, ledger: Ledger, **options: Any) -> str:
    try:
        return (await flow.resume("r", durable=store, resources=ledger, **options)).status
    except RunFailed as error:
        return error.end_reason


@pytest.mark.parametrize("name", ["chain", "diamond", "nested_loops", "mapped_flows", "sub_flows"])
def test_a_run_that_reached_its_limit_again_and_again_ends_like_one_without(name: str) -> None:
    flow = FLOWS[name]()

    async def main() -> None:
        store, ledger = MemoryStore(), Ledger()
        calm = await flow.run(State(), resources=Ledger())
        with pytest.raises(RunFailed, match="limit:activations"):
            await flow.run(
                State(), durable=store, run_id="r", resources=ledger, limits=Limits(activations=1)
            )
        limit, status = 1, ""
        while status not in ("succeeded", "partial"):
            before = len(ledger.entries)
            assert (
                await resumed(flow, store, ledger, limits=Limits(activations=limit))
                == "limit:activations"
            )
            assert len(ledger.entries) == before  # the same limit lets nothing more run
            limit += 2
            status = await resumed(flow, store, ledger, limits=Limits(activations=limit))
            assert len(ledger.entries) <= limit
        assert (await flow.replay("r", durable=store)).state == calm.state
        assert len(set(ledger.entries)) == len(ledger.entries)

    run(main())


def isolating() -> tuple[AnyFlow, list[bool]]:
    is_broken = [True]

    @node(name="bad")
    async def bad(number: Number) -> Note:
        if is_broken[0]:
            raise ValueError("no")
        return Note(note="well")

    graph = Graph("isolating", State)
    graph.chain(up("a"), [bad, says("b")])
    return graph.build(), is_broken


def test_a_run_that_isolated_a_failure_is_replayed_without_being_told_so() -> None:
    flow, _ = isolating()

    async def main() -> None:
        store = MemoryStore()
        was = await flow.run(
            State(), durable=store, run_id="r", resources=Ledger(), on_failure="isolate"
        )
        assert was.status == "partial"
        again = await flow.replay("r", durable=store)
        assert (again.status, again.state) == ("partial", was.state)

    run(main())


def test_what_is_done_about_a_failure_may_change_when_a_run_goes_on() -> None:
    flow, _ = isolating()

    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(RunFailed):
            await flow.run(State(), durable=store, run_id="r", resources=Ledger())
        assert await resumed(flow, store, Ledger(), on_failure="isolate") == "partial"
        assert (await flow.replay("r", durable=store)).status == "partial"
        kinds = [record.kind for record in (await store.load("r")).records]
        assert kinds.count("rules") == 1

    run(main())


def test_a_fork_has_its_own_limit() -> None:
    flow = FLOWS["chain"]()

    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(RunFailed):
            await flow.run(
                State(), durable=store, run_id="r", resources=Ledger(), limits=Limits(activations=3)
            )
        again = await flow.rerun("r", start="c", durable=store, resources=Ledger())
        assert again.result.state.n == 3

    run(main())
