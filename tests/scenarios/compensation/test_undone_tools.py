"""Calls of tools are undone after their agent's own undo, the last call first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Context, Flow, Graph, GraphError, RunFailed, ToolApproval, agent, node, tool
from graphorch.engine.replay import verify
from graphorch.journal.memory import MemoryStore
from graphorch.testing import ScriptedModel, call, run_virtual


class Topic(BaseModel):
    topic: str = "trip"


class Reply(BaseModel):
    reply: str = ""


class State(Topic, Reply): ...


class Desk:
    """Tools that keep what they did and what was taken back, and a flow that fails after them."""

    def __init__(self, *, approve: bool = False) -> None:
        self.did: list[str] = []
        self.store = MemoryStore()
        self._approve = approve

    def build(self) -> Flow[Topic, Reply, State]:
        def cancel(order: str, result: str) -> None:
            self.did.append(f"cancel {order} ({result})")

        @tool(effect="once", undo=cancel, approve=self._approve, tells=KeyError)
        def book(order: str, amount: float = 1.0) -> str:
            if order == "none":
                raise KeyError(order)
            self.did.append(f"book {order}")
            return f"booked {order}"

        async def withdraw(topic: Topic, reply: Reply) -> None:
            self.did.append(f"withdraw {reply.reply}")

        @agent(output=Reply, tools=[book], rounds=4, effect="idempotent", undo=withdraw)
        def answer(topic: Topic) -> str:
            return topic.topic

        @node
        def fail(reply: Reply) -> Topic:
            raise ValueError("no")

        graph = Graph("desk", State, input=Topic, output=Reply, compensate=True)
        return graph.chain(answer, fail).build()


def check(main: Callable[[Desk], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        await main(Desk(**options))

    run_virtual(run())


def test_calls_are_undone_in_reverse_order() -> None:
    """The undo of the agent runs first, then those of its calls, the last one first."""

    async def main(desk: Desk) -> None:
        model = ScriptedModel(
            [call("book", {"order": "a"}), call("book", {"order": "b"})],
            call("book", {"order": "none"}),
            "Done.",
        )
        flow = desk.build()
        with pytest.raises(RunFailed):
            await flow.run(Topic(), run_id="r", durable=desk.store, client=model)
        assert desk.did == [
            "book a",
            "book b",
            "withdraw Done.",
            "cancel b (booked b)",
            "cancel a (booked a)",
        ]
        log = await desk.store.load("r")
        run = verify(flow.plan, "r", log.records).run
        paths = [activation.path for activation in run.history if activation.scope.is_undo]
        assert paths == ["answer/undo", "answer/r1/book#1/undo", "answer/r1/book#0/undo"]

    check(main)


def test_refused_call_is_not_undone() -> None:
    """A call that a person refused did nothing, and is not undone."""

    async def main(desk: Desk) -> None:
        model = ScriptedModel(call("book", {"order": "a"}), "Done.")
        flow = desk.build()
        waiting = await flow.run(Topic(), run_id="r", durable=desk.store, client=model)
        refusal = ToolApproval(approved=False, reason="too dear")
        with pytest.raises(RunFailed):
            await flow.answer("r", waiting.questions[0], refusal, durable=desk.store, client=model)
        assert desk.did == ["withdraw Done."]
        verify(flow.plan, "r", (await desk.store.load("r")).records)

    check(main, approve=True)


def test_tool_as_undo_brings_its_options() -> None:
    """An undo that is a tool itself has the effect and the retries of that tool."""

    @tool(effect="idempotent")
    def cancel(ctx: Context[Any], order: str) -> str:
        return ctx.key

    @tool(undo=cancel)
    def book(order: str) -> str:
        return order

    undo = book.node.undo
    assert undo is not None
    assert (undo.options.effect, undo.signature.has_context) == ("idempotent", True)


def test_tool_undo_is_checked() -> None:
    """What cannot undo a tool is refused where the tool is declared."""

    def unknown(number: int) -> None: ...

    def plain(order: str) -> None: ...

    @tool(approve=True)
    def asking(order: str) -> None: ...

    cases: list[tuple[dict[str, Any], str]] = [
        ({"undo": unknown}, "its undo reads number, which is no argument of it"),
        ({"undo": plain, "effect": "pure"}, 'effect="pure" leaves nothing to undo'),
        ({"undo": "plain"}, "undo='plain' is not a function"),
        ({"undo": asking}, "its undo asks a person"),
    ]
    for options, message in cases:
        with pytest.raises(GraphError, match=message):

            @tool(**options)
            def book(order: str) -> None: ...
