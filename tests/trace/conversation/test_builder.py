"""Conversations: order, receivers, levels, costs and differences of turns."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from graphorch import Context, Graph, agent, node
from graphorch.journal.memory import MemoryStore
from graphorch.models.messages import Finding, Request, Response
from graphorch.trace.conversation.builder import (
    Conversation,
    ConversationBuilder,
    build_conversation,
)
from graphorch.trace.conversation.html import format_page
from graphorch.trace.conversation.text import format_turns
from graphorch.trace.spans.redaction import Redaction
from tests.trace.acting import SEND, act
from tests.trace.flows import Model, Order, Reply, Shop, answer, plan, shop
from tests.trace.running import conversation, ran


class Saying:
    """Answers always with one text."""

    def __init__(self, text: str, findings: tuple[Finding, ...] = ()) -> None:
        self._text, self._findings = text, findings

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        return replace(await Model().complete(request), text=self._text, findings=self._findings)


def test_turns_are_in_causal_order() -> None:
    """Turns name speakers and receivers, in causal order."""

    async def main() -> None:
        turns = (await conversation(await ran())).turns
        seen = [(turn.kind, turn.speaker, turn.to, turn.level) for turn in turns]
        assert seen == [
            ("input", "caller", ("plan",), 0),
            ("calls", "plan", ("openai/gpt-5",), 1),
            ("writes", "plan", ("fulfilment",), 1),
            ("enters", "fulfilment", ("fulfilment/check",), 1),
            ("writes", "fulfilment/check", ("fulfilment/stock",), 2),
            ("enters", "fulfilment/stock", ("fulfilment/stock/look",), 2),
            ("writes", "fulfilment/stock/look", ("fulfilment/stock/count",), 3),
            ("writes", "fulfilment/stock/count", ("fulfilment/stock/END",), 3),
            ("writes", "fulfilment/stock", ("fulfilment/END",), 2),
            ("writes", "fulfilment", ("answer",), 1),
            ("calls", "answer", ("google/gemini",), 1),
            ("writes", "answer", ("END",), 1),
            ("ends", "run", (), 0),
        ]
        first = turns[1]
        assert [(utterance.role, utterance.text) for utterance in first.prompt] == [
            ("system", "Plan the order."),
            ("user", "Plan: tides"),
        ]
        assert (first.text, first.input_tokens, first.usd) == ("done: Plan: tides", 100, 0.0125)

    asyncio.run(main())


def test_deep_fault_is_a_turn() -> None:
    """A fault three levels deep is in the conversation."""

    async def main() -> None:
        text = str(await conversation(await ran(amount=12)))
        turn = "      fulfilment/stock/count  [failed, attempt 1; for good]\n"
        assert f"{turn}          ValueError: only 9 on the shelf, 12 wanted" in text

    asyncio.run(main())


def test_tool_prompts_repeat_nothing() -> None:
    """A conversation with tools repeats no message."""

    def look_up(word: str) -> str:
        """Look a word up."""
        return f"{word}: the sea"

    @agent(output=Reply, model="m", tools=[look_up])
    def ask(order: Order) -> str:
        return "Look tides up"

    async def main() -> None:
        store = MemoryStore()
        flow = Graph("tools", Shop, input=Order, output=Reply).chain(ask).build()
        await flow.run(Order(), run_id="one", durable=store, client=Model(tool="look_up"))
        first, second = [turn for turn in (await conversation(store)).turns if turn.kind == "calls"]
        assert first.text == 'calls look_up({"word": "tides"})'
        assert second.shared == len(first.prompt)
        assert [(utterance.role, utterance.text) for utterance in second.prompt] == [
            ("assistant", ""),
            ("tool", "tides: the sea"),
        ]

    asyncio.run(main())


def test_tool_calls_stand_where_they_happened() -> None:
    """A tool call has a turn of its own, with arguments and result, or what a person decided."""

    async def main() -> None:
        shown = await conversation(await act())
        turns = [turn for turn in shown.turns if "#" in turn.path]
        said = {(turn.speaker, turn.kind, turn.text, turn.note) for turn in turns}
        for expected in (
            ("write/r1/search#0", "returns", "3 pages on tides", ""),
            (
                "write/r1/search#1",
                "returns",
                "Error: 'search' raised LookupError: no such shelf",
                "error told",
            ),
            ("person", "answers", 'yes, with {"to": "ann", "body": "at one"}', ""),
            ("write/r2/send#0", "returns", "sent to ann: at one", ""),
            (
                "person",
                "answers",
                "Refused: a person did not approve this call of 'send'. The reason: not to bob",
                "no",
            ),
        ):
            assert expected in said, expected
        sent = next(turn for turn in turns if turn.path == SEND and turn.kind == "returns")
        assert (sent.arguments, sent.level, sent.to) == (
            '{"to": "ann", "body": "at one"}',
            2,
            ("write",),
        )
        text = str(shown)
        assert text.count("3 pages on tides") == 1
        # What no turn of its own shows is part of the prompt: a call that was not made.
        assert "tool: Error: " in text

    asyncio.run(main())


def test_secrets_are_hidden_in_tool_calls() -> None:
    """Arguments and results of tools go through the redaction."""

    async def main() -> None:
        store = await act()
        log = await store.load("one")
        redaction = Redaction(fields=frozenset({"to"}), values=("3 pages on tides",))
        shown = build_conversation(log.head, log.records, redaction)
        text = "\n".join(format_turns(shown.trace, shown.turns, full=True).splitlines()[12:])
        assert "3 pages on tides" not in text
        sent = next(turn for turn in shown.turns if turn.path == SEND and turn.kind == "returns")
        assert sent.arguments == '{"to": "[hidden]", "body": "at one"}'

    asyncio.run(main())


def test_findings_hide_values() -> None:
    """Findings of guardrails are shown without the value."""

    async def main() -> None:
        finding = Finding(kind="email", where="input", action="mask", count=2)
        turn = next(
            turn
            for turn in (await conversation(await ran(client=Saying("fine", (finding,))))).turns
            if turn.kind == "calls"
        )
        assert turn.masked == ("email × 2 in the input: mask",)

    asyncio.run(main())


@pytest.mark.parametrize(
    "text",
    [
        "x" * 300_000,
        "\u202e\x1b[31mred\x07",
        "a\n" * 5_000,
        "<script>alert(1)</script>",
        "",
        "é" * 1000,
    ],
)
def test_odd_texts_in_every_form(text: str) -> None:
    """A text of any kind can be shown in every form."""

    async def main() -> None:
        flow = Graph("essay", Shop, input=Order, output=Reply).chain(plan, answer).build()
        store = MemoryStore()
        await flow.run(Order(order=text), run_id="one", durable=store, client=Saying(text or "–"))
        shown = await conversation(store)
        assert len(str(shown)) < 40_000
        assert "<script>" not in format_page(shown.trace, shown.turns)
        assert json.loads(json.dumps(shown.as_data()))["turns"]
        assert shown._repr_html_().startswith('<div class="go-talk">')

    asyncio.run(main())


def test_half_a_character_fails_no_run() -> None:
    """Half a character in a prompt fails no run."""

    @node
    async def ask(ctx: Context[object], order: Order) -> Reply:
        await ctx.complete("half \ud800 of one")
        return Reply(reply="done")

    class Calm(Model):
        async def complete(self, request: Request, on_text: Any = None) -> Response:
            return replace(await super().complete(request), text="fine")

    async def main() -> None:
        store = MemoryStore()
        flow = Graph("half", Shop, input=Order, output=Reply).chain(ask).build()
        result = await flow.run(Order(), run_id="one", durable=store, client=Calm())
        assert result.status == "succeeded"
        call = next(turn for turn in (await conversation(store)).turns if turn.kind == "calls")
        assert call.prompt[0].text == r"half \ud800 of one"

    asyncio.run(main())


def test_running_run_is_shown_so_far() -> None:
    """A run under way is shown as far as it is."""

    async def main() -> None:
        log = await (await ran()).load("one")
        builder = ConversationBuilder(replace(log.head, status="running"))
        turns = [turn for record in log.records[:5] for turn in builder.take(record)]
        shown = Conversation(
            builder.close(replace(log.head, status="waiting")), turns + builder.rest()
        )
        assert [turn.kind for turn in shown.turns] == ["input", "calls", "writes", "enters"]
        assert "waiting" in str(shown)

    asyncio.run(main())


def test_conversation_needs_no_flow() -> None:
    """The flow that wrote the records is not needed."""

    async def main() -> None:
        assert shop().name in str(await conversation(await ran()))

    asyncio.run(main())


def test_fork_names_its_origin() -> None:
    """A fork begins with a turn that names the run that it was forked from."""

    async def main() -> None:
        log = await (await ran()).load("one")
        body = {"from": "old", "at": "fulfilment/check", "copied": 3}
        builder = ConversationBuilder(log.head)
        turns = builder.take(replace(log.records[0], kind="forked", body=body))
        assert [turn.note for turn in turns] == ["fork of run old at fulfilment/check"]

    asyncio.run(main())
