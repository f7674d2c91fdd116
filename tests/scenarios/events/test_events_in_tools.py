"""Flows that wait for events and are called as tools: the agent rests with them, and goes on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import START, Approval, Expired, Flow, Graph, Request, Response, Usage, agent, node
from graphorch.journal.memory import MemoryStore
from graphorch.models.messages import ToolCall
from graphorch.testing import run_virtual
from tests.scenarios.crashed_copies import copy_run
from tests.scenarios.events.test_event_runs import clock

DAY = 86_400.0
PATH = "ask/r1/rest#0"


class Question(BaseModel):
    question: str = "When?"


class Answer(BaseModel):
    answer: str = ""


class Word(BaseModel):
    word: str = ""


class Outer(Question, Answer): ...


class Inner(Question, Answer, Word): ...


class Caller:
    """A model that calls the flow once, and then repeats what it returned."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        calls: tuple[ToolCall, ...] = ()
        text = request.messages[-1].content
        if not any(message.tool_calls for message in request.messages):
            calls, text = (ToolCall(id="c0", name="rest", arguments='{"question": "x"}'),), ""
        usage = Usage(1, 1)
        return Response(text, "m", usage, 0.0, "free", "stop", 1, 0.1, None, tool_calls=calls)


@node
async def tell(question: Question) -> Answer:
    return Answer(answer="it came")


@node
async def give_up(question: Question) -> Answer:
    return Answer(answer="nobody answered")


def write_question(question: Question) -> str:
    return question.question


def build(event: str) -> Flow[Question, Answer, Outer]:
    """Build an agent that calls a flow which waits for an event."""
    graph = Graph("rest", Inner, input=Question, output=Answer)
    waits: Any = {
        "timer": lambda: graph.timer("later", after=timedelta(days=3)),
        "signal": lambda: graph.signal("go", Word),
        "ask": lambda: graph.ask("say", question=write_question, answer=Word, expires=DAY),
    }[event]()
    graph.chain(START, waits, tell)
    if event == "ask":
        graph.on_error(waits, give_up, when=Expired)

    @agent(output=Answer, tools=[graph.build().as_tool("rest", description="Rest.")])
    def ask(question: Question) -> str:
        return question.question

    outer = Graph("outer", Outer, input=Question, output=Answer)
    return outer.chain(START, ask).build()


async def go_on(flow: Flow[Question, Answer, Outer], store: MemoryStore, event: str) -> Any:
    """Let the event come, or the time of the question pass."""
    options: Any = {"durable": store, "client": Caller(), "clock": clock}
    if event == "signal":
        return await flow.send("r", "go", Word(word="now"), **options)
    await asyncio.sleep(3 * DAY)
    return await flow.resume("r", **options)


@pytest.mark.parametrize(
    ("event", "answer"),
    [("timer", "it came"), ("signal", "it came"), ("ask", "nobody answered")],
)
def test_agent_rests_while_its_flow_waits(event: str, answer: str) -> None:
    """The run waits with the flow inside of its agent, from each record on, and goes on with it."""

    async def check() -> None:
        flow, store = build(event), MemoryStore()
        options: Any = {"client": Caller(), "clock": clock}
        result = await flow.run(Question(), run_id="r", durable=store, **options)
        assert result.status == "waiting"
        result = await go_on(flow, store, event)
        assert answer in result.output.answer
        assert (await flow.replay("r", durable=store)).output == result.output
        stored = await store.load("r")
        for count in range(1, len(stored.records)):
            copy = MemoryStore()
            await copy_run(stored.head, stored.records[:count], copy)
            again = await flow.resume("r", durable=copy, ambiguous="repeat", **options)
            if again.status == "waiting":
                again = await go_on(flow, copy, event)
            assert again.output == result.output, count

    run_virtual(check())


def test_wait_inside_call_is_shown_with_its_path() -> None:
    """What a call waits for is in the result of the run, with the path of the call."""

    async def check() -> None:
        result = await build("signal").run(Question(), client=Caller())
        assert [(wait.path, wait.signal) for wait in result.waits] == [(f"{PATH}/go", "go")]

    run_virtual(check())


def test_signal_before_the_call_is_kept_for_it() -> None:
    """A signal that comes before a model calls the flow is kept, since it may still call it."""

    async def check() -> None:
        graph = Graph("rest", Inner, input=Question, output=Answer)
        flow = graph.chain(START, graph.signal("go", Word), tell).build()

        @agent(output=Answer, tools=[flow.as_tool("rest", description="Rest.")], gate="before")
        def ask(question: Question) -> str:
            return question.question

        outer = Graph("outer", Outer, input=Question, output=Answer).chain(START, ask).build()
        store = MemoryStore()
        options: Any = {"durable": store, "client": Caller()}
        await outer.run(Question(), run_id="r", **options)
        assert (await outer.send("r", "go", Word(), **options)).status == "waiting"
        result = await outer.answer("r", "ask", Approval(approved=True), **options)
        assert "it came" in result.output.answer

    run_virtual(check())
