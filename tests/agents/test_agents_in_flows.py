"""Agents in real flows: on the embedded offline model, and with a model that calls tools."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, agent
from graphorch.models.offline.client import OfflineClient
from tests.engine.tool_calls.test_loop import Model, water
from tests.models.offline.documents import HARBOUR


class Document(BaseModel):
    document: str


class Research(BaseModel):
    research: str


class Draft(BaseModel):
    draft: str


class Verdict(BaseModel):
    score: float = 0
    feedback: str = ""


class Desk(Document, Research, Draft, Verdict): ...


@agent(output=Research)
def research(d: Document) -> str:
    return f"Research this document and note the key findings:\n{d.document}"


@agent(output=Draft, instructions="You write for busy people.")
def write(d: Document, r: Research, v: Verdict) -> str: ...


@agent(output=Verdict)
def judge(d: Document, t: Draft) -> str:
    """Score the draft from 0 to 10."""
    ...  # noqa: PIE790  (pyright needs it to see no body)


def weak(v: Verdict) -> bool:
    return v.score < 8


def test_agents_end_with_accepted_draft() -> None:
    """Agents that research, write and judge end with an accepted draft."""
    graph = Graph("desk", Desk, input=Document, output=Draft)
    graph.chain(research, write, judge)
    graph.loop(judge, back_to=write, while_=weak, max_iterations=8, exhausted="fail")
    result = graph.build().run_sync(Document(document=HARBOUR), client=OfflineClient())
    assert result.state.score >= 8
    assert len(result.output.draft.split()) > 100
    sentences = [part for part in result.output.draft.replace("\n\n", " ").split(". ") if part]
    assert len(sentences) == len(set(sentences))


def test_agent_gets_tool_results() -> None:
    """An agent with tools gets their results."""

    @agent(output=Draft, tools=[water])
    def look(d: Document) -> str:
        return d.document

    model = Model([("water", '{"harbour": "Northcliff"}')], "It is 1.5 metres deep.")
    flow = Graph("look", Desk, input=Document, output=Draft).chain(look).build()
    assert flow.run_sync(Document(document="How deep is it?"), client=model).output == Draft(
        draft="It is 1.5 metres deep."
    )
    assert model.results == ['{"name":"Northcliff at 12","depth":1.5}']
