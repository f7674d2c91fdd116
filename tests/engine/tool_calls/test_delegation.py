"""Flows as tools: the run of a flow inside a call of a model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import (
    Budget,
    Context,
    Flow,
    Graph,
    GraphError,
    InputError,
    RunFailed,
    ToolApproval,
    Untrusted,
    agent,
    node,
    tool,
)
from graphorch.models.messages import Request, Response, ToolCall, Usage


class Question(BaseModel):
    """A question about a harbour."""

    question: str


class Facts(BaseModel):
    facts: str = ""


class Answer(BaseModel):
    answer: str = ""


class Consent(BaseModel):
    consent: bool = False


class Inside(Question, Facts, Consent): ...


class State(Question, Answer): ...


class Model:
    """Delegates once to `research`, and answers every other request with its last word."""

    def __init__(self, calls: int = 1) -> None:
        self.asked: list[Request] = []
        self.calls = calls

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        self.asked.append(request)
        delegates = bool(request.tools) and len(request.messages) == 1
        calls = tuple(
            ToolCall(id=f"c{n}", name="research", arguments=f'{{"question": "how deep {n}?"}}')
            for n in range(self.calls if delegates else 0)
        )
        text = "" if delegates else "1.5 metres"
        return Response(
            text, "m", Usage(10, 5), 0.1, "table", "stop", 1, 1.0, None, tool_calls=calls
        )


@agent(output=Facts)
def dig(q: Question) -> str:
    return f"Dig: {q.question}"


def research_flow(*others: Any) -> Flow[Question, Facts, Inside]:
    return Graph("research", Inside, input=Question, output=Facts).chain(dig, *others).build()


def answer_flow(**options: Any) -> Flow[Question, Answer, State]:
    inner = options.pop("inner", None) or research_flow()

    @agent(output=Answer, tools=[inner.as_tool("research", **options)])
    def write(q: Question) -> str:
        return q.question

    return Graph("answer", State, input=Question, output=Answer).chain(write).build()


def test_flow_runs_inside_the_call() -> None:
    """The nodes of the flow are in the same run, under the path of the call."""
    model = Model()
    result = asyncio.run(answer_flow().run(Question(question="?"), client=model))
    assert result.output.answer == "1.5 metres"
    assert [step.path for step in result.steps] == [
        "write/r1/research#0/dig",
        "write/r1/research#0",
        "write",
    ]
    (spec,) = model.asked[0].tools
    assert (spec.name, spec.description) == ("research", "A question about a harbour.")
    assert '{"facts":"1.5 metres"}' in [message.content for message in model.asked[-1].messages]


def test_call_may_be_bounded() -> None:
    """A model that delegates more often than it may is told so."""
    model = Model(calls=3)
    result = asyncio.run(answer_flow(max_calls=2).run(Question(question="?"), client=model))
    dug = [step for step in result.steps if step.path.endswith("dig")]
    assert len(dug) == 2


def test_estimate_holds_delegated_flows() -> None:
    """The worst case of an agent holds what the flows do that its model may call."""
    flow = answer_flow(max_calls=3)
    worst = flow.estimate().worst
    assert worst.calls == 9 + 3
    assert any(row.path == "write/research/dig" for row in flow.estimate().nodes)


def test_flow_draws_on_the_budget() -> None:
    """What the flow spends counts at the budget of the run around it."""
    with pytest.raises(RunFailed) as caught:
        asyncio.run(
            answer_flow().run(Question(question="?"), client=Model(), budget=Budget(calls=1))
        )
    assert "limit:calls" in str(caught.value)


def test_flow_fails_its_agent() -> None:
    """A flow that fails fails the agent that delegated, unless the model is told."""

    @node
    def check(f: Facts) -> Facts:
        raise LookupError("no such harbour")

    inner = research_flow(check)
    with pytest.raises(RunFailed):
        asyncio.run(answer_flow(inner=inner).run(Question(question="?"), client=Model()))
    model = Model()
    told = answer_flow(inner=inner, tells=LookupError)
    assert asyncio.run(told.run(Question(question="?"), client=model)).status == "succeeded"
    assert "no such harbour" in str([message.content for message in model.asked[-1].messages])


def test_question_inside_waits_and_goes_on(tmp_path: Path) -> None:
    """A person is asked inside a delegated flow, and the run goes on in another process."""
    graph = Graph("research", Inside, input=Question, output=Facts)
    agree = graph.ask("agree", question=lambda s: "May I dig?", answer=Consent)
    inner = graph.chain(agree, dig).build()
    path = str(tmp_path / "runs.db")

    async def main() -> tuple[str, str, int]:
        waiting = await answer_flow(inner=inner).run(
            Question(question="?"), client=Model(), durable=path, run_id="r"
        )
        (question,) = waiting.questions
        model = Model()
        result = await answer_flow(inner=inner).answer(
            "r", question, Consent(consent=True), client=model, durable=path
        )
        return question.path, result.output.answer, len(model.asked)

    # The first request is served from the journal: two are asked anew.
    assert asyncio.run(main()) == ("write/r1/research#0/agree", "1.5 metres", 2)


def test_delegation_may_be_changed() -> None:
    """A person may change what a flow is asked, by the fields of its input."""

    async def main() -> list[str]:
        flow, model = answer_flow(approve=True), Model()
        waiting = await flow.run(Question(question="?"), client=model)
        (question,) = waiting.questions
        wrong = ToolApproval(approved=True, arguments={"question": 3})
        with pytest.raises(InputError, match=r"do not fit: question: .*Give all arguments"):
            await flow.answer(waiting.run_id, question, wrong)
        changed = ToolApproval(approved=True, arguments={"question": "how wide?"})
        await flow.answer(waiting.run_id, question, changed)
        return [request.messages[-1].content for request in model.asked]

    assert "Dig: how wide?" in asyncio.run(main())


@pytest.mark.parametrize("option", ["efect", "timeout", "effect"])
def test_other_options_are_refused(option: str) -> None:
    """A flow has no options that its nodes decide, or that do not exist."""
    with pytest.raises(GraphError, match=f"there is no option '{option}'"):
        research_flow().as_tool(**{option: 3})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_node_gives_no_flow_to_its_call() -> None:
    """A flow that only the code of a node knows is refused before anything is recorded of it."""
    inner = research_flow().as_tool()

    @node
    async def write(ctx: Context, q: Question) -> Answer:
        return Answer(answer=await ctx.complete(q.question, tools=[inner]))

    flow = Graph("answer", State, input=Question, output=Answer).chain(write).build()
    with pytest.raises(RunFailed) as caught:
        asyncio.run(flow.run(Question(question="?"), client=Model()))
    assert "Give it to an agent" in str(caught.value)


def test_effect_is_that_of_its_nodes() -> None:
    """A flow is as dangerous as the most dangerous thing in it."""

    @node(effect="idempotent")
    def store(f: Facts) -> Facts:
        return f

    @tool
    def send(text: str) -> str:
        return text

    @agent(output=Facts, tools=[send])
    def act(q: Question) -> str:
        return q.question

    acting = Graph("acting", Inside, input=Question, output=Facts).chain(act).build()
    effects = [flow.as_tool().effect for flow in (research_flow(), research_flow(store), acting)]
    assert effects == ["pure", "idempotent", "once"]


def test_results_from_outside_stay_marked() -> None:
    """A flow whose output is marked as untrusted gives untrusted results, also as a tool."""

    class Page(BaseModel):
        page: Untrusted[str] = ""

    class Reading(Question, Page): ...

    @node
    def fetch(q: Question) -> Page:
        return Page(page=q.question)

    flow = Graph("fetch", Reading, input=Question, output=Page).chain(fetch).build()
    assert flow.as_tool().untrusted
    assert not research_flow().as_tool().untrusted


def test_wrong_names_are_refused() -> None:
    """A name that no model can call is refused where the tool is made."""
    with pytest.raises(GraphError, match="is not a name that a model can call"):
        research_flow().as_tool("re search")
