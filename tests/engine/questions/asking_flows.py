"""Flows that ask people, and a hook that keeps what it hears, for tests of hooks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel

from graphorch import Flow, Graph, QuestionEvent, append, node


class Topic(BaseModel):
    topic: str = "tides"


class Verdict(BaseModel):
    verdict: str = ""


class Topics(BaseModel):
    topics: list[str] = []


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class Case(Topic, Verdict, Topics, Done): ...


CaseFlow = Flow[Case, Case, Case]
YES = Verdict(verdict="yes")


@node
def act(verdict: Verdict) -> Done:
    return Done(done=[f"act {verdict.verdict}"])


def new_graph(name: str = "case") -> Graph[Case, Case, Case]:
    """Return a graph over the state of these flows."""
    return Graph(name, Case, input=Case, output=Case)


def build_ask(expires: float | None = None) -> CaseFlow:
    """Build a flow that acts on the answer to a question."""
    graph = new_graph()
    ask = graph.ask("ask", question=lambda s: f"{s.topic}?", answer=Verdict, expires=expires)
    return graph.chain(ask, act).build()


class Heard:
    """A hook that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[QuestionEvent] = []

    async def __call__(self, event: QuestionEvent) -> None:
        self.events.append(event)

    @property
    def lines(self) -> list[str]:
        """What was heard, in order: the path, and what happened there."""
        return [f"{event.path} {event.kind}" for event in self.events]


def build_map(need: int | Literal["all"] = "all", concurrency: int = 8) -> CaseFlow:
    """Build a flow that asks about each of its topics."""
    graph = new_graph("outer")
    each = graph.map(
        "each",
        build_ask(),
        over=list_cases,
        gather=collect,
        max_items=40,
        need=need,
        concurrency=concurrency,
    )
    return graph.chain(each).build()


def list_cases(topics: Topics) -> list[Case]:
    return [Case(topic=topic) for topic in topics.topics]


def collect(cases: list[Case]) -> Done:
    return Done(done=[case.verdict for case in cases])
