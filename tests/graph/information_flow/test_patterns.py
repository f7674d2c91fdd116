"""Marks go through the nodes, memory and agents that patterns add."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from graphorch import Graph, GraphError, Untrusted, agent, node


class Url(BaseModel):
    url: str = ""


class Page(BaseModel):
    text: Untrusted[str] = ""


class Draft(BaseModel):
    draft: str = ""


class Score(BaseModel):
    score: float = 0
    feedback: str = ""


class Label(BaseModel):
    label: Literal["bill", "other"] = "other"


class Sent(BaseModel):
    sent: bool = False


class State(Url, Page, Draft, Score, Label, Sent): ...


@node
def fetch(url: Url) -> Page: ...
@agent(output=Draft)
def write(page: Page) -> str:
    return page.text


@agent(output=Draft)
def write_of_url(url: Url) -> str:
    return url.url


@agent(output=Score)
def judge(draft: Draft) -> str:
    return draft.draft


@agent(output=Label)
def classify(page: Page) -> str:
    return page.text


@node(effect="once")
def send(draft: Draft) -> Sent: ...
@node(effect="once")
def ring(url: Url) -> Sent: ...
@node
def keep(url: Url) -> Sent: ...
def graph() -> Graph[State, Url, Sent]:
    return Graph("patterns", State, input=Url, output=Sent)


def is_good(score: Score) -> bool:
    return score.score > 7


def by_label(label: Label) -> Literal["bill", "other"]:
    return label.label


def problems(built: Graph[Any, Any, Any]) -> list[str]:
    """Return where marks are a problem; the graph has no others."""
    try:
        built.build()
    except GraphError as error:
        found = error.problems
    else:
        found = ()
    assert {problem.code for problem in found} <= {"UNTRUSTED_FLOW"}
    return [problem.where for problem in found]


def test_evaluator_loop_carries_marks() -> None:
    """The best attempt of a loop is as untrusted as what it was written from."""
    for writer, expected in ((write, ["node 'send'"]), (write_of_url, [])):
        built = graph().chain(fetch, writer)
        built.evaluator_loop(writer, judge, accept=is_good, max_rounds=3)
        assert problems(built.chain(judge, send)) == expected


def test_router_carries_marks() -> None:
    """A label that a model gave to an untrusted text decides about the ways of a router."""
    built = graph().chain(fetch, classify)
    built.router(classify, by_label, {"bill": ring}, default=keep)
    assert problems(built) == ["node 'ring'"]
    asked = graph().chain(fetch, classify)
    ask = asked.ask("approve", question=lambda s: s.text, answer=Sent)
    asked.router(classify, by_label, {"bill": ask}, default=keep)
    assert problems(asked.chain(ask, ring)) == []


def test_fan_out_carries_marks() -> None:
    """What a branch made of an untrusted text is untrusted behind the merge."""

    class Merged(BaseModel):
        merged: str = ""

    class Wide(State, Merged): ...

    @node
    def merge(draft: Draft, label: Label) -> Merged: ...
    @node(effect="once")
    def act(merged: Merged) -> Sent: ...

    built: Graph[Any, Any, Any] = Graph("wide", Wide, input=Url, output=Sent)
    built.chain(fetch, classify)
    built.fan_out([write_of_url, classify], merge)
    assert problems(built.chain(merge, act)) == ["node 'act'"]


def test_pipeline_gate_carries_marks() -> None:
    """A gate whose verdict depends on an untrusted text passes the text on with its mark."""

    def is_fine(draft: Draft) -> bool:
        return bool(draft.draft)

    built = graph()
    built.pipeline(fetch, write, send, gates={write: is_fine})
    assert "node 'send'" in problems(built)
