"""A run is rebuilt under the rules that it had.

Limits and policies on failure decide how a run goes, so they are in its journal.
"""

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
def test_budget_counts_earlier_spend(is_durable: bool) -> None:
    """A budget counts what was spent before the run was resumed."""
    flow = Graph("talk", State).chain(talk).build()

    async def main() -> None:
        client, store = Priced(), MemoryStore()
        options: dict[str, Any] = {"client": client, **({"durable": store} if is_durable else {})}
        with pytest.raises(RunFailed, match="limit:calls"):
            await flow.run(State(), run_id="r", budget=Budget(calls=2), **options)
        assert client.calls == 2
        # the budget still holds, though it is not passed again
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
def test_limit_reached_repeatedly(name: str) -> None:
    """A run that reached its limit again and again ends like one without."""
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


def test_isolated_failure_is_replayed() -> None:
    """A run that isolated a failure is replayed without naming the policy again."""
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


def test_failure_policy_may_change() -> None:
    """The policy for failures may change when a run is resumed."""
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


def test_fork_has_its_own_limit() -> None:
    """A fork has its own limit."""
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
