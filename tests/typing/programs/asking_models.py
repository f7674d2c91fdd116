"""Agents and nodes that ask a model, a client of one's own, resources, and the options of a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, assert_type

from pydantic import BaseModel

from graphorch import (
    Cache,
    Context,
    Graph,
    Message,
    ModelClient,
    Node,
    Prompt,
    Request,
    Response,
    Retry,
    Usage,
    agent,
    node,
)


class Topic(BaseModel):
    topic: str


class Facts(BaseModel):
    facts: str


class Draft(BaseModel):
    draft: str


class Grade(BaseModel):
    points: int = 0
    remark: str = ""


class Article(Topic, Facts, Draft, Grade): ...


@dataclass
class Library:
    books: dict[str, str]
    lent: list[str] = field(default_factory=list[str])


class Echo:
    """A model client needs no base class: it is whatever has this one method."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def complete(self, request: Request, on_text: Callable[[str], None] | None = None) -> Response:
        self.asked.append(request.model)
        text = '{"points": 9, "remark": "fine"}' if request.schema is Grade else f"about {request.messages[-1].content}"
        return Response(text, request.model, Usage(1, 1), 0.0, "free", "stop", 1, 0.0, None)


@agent(output=Facts, model="vendor/large", instructions="Only what is certain.", retry=Retry(2))
def research(t: Topic) -> str:
    return t.topic


def length_of(text: str) -> int:
    """The length of a text in letters."""
    return len(text)


@agent(output=Draft, tools=[length_of], max_tokens=400, temperature=0.2, timeout=60)
def write(t: Topic, f: Facts, g: Grade | None) -> Prompt:
    return [Message(role="system", content="Be brief."), Message(content=f.facts)]


@agent(output=Grade)
def judge(t: Topic, d: Draft) -> None:
    """Grade the draft."""  # no prompt of one's own: the slices are written out


@node(concurrency=2)
async def look_up(ctx: Context[Library], t: Topic) -> Draft:
    ctx.resources.lent.append(t.topic)
    return Draft(draft=ctx.resources.books[t.topic])


@node(effect="idempotent", retry=Retry(3), deadline=20)
async def polish(ctx: Context, d: Draft) -> tuple[Draft, Facts]:
    text = await ctx.complete(d.draft, model="vendor/small")
    assert_type(text, str)
    grade = await ctx.complete([Message(content=text)], output=Grade, model="vendor/small")
    assert_type(grade, Grade)
    return Draft(draft=f"{text} ({grade.points}, try {ctx.attempt})"), Facts(facts=ctx.path)


@node(cache=Cache(ttl=60))
def keep(d: Draft, g: Grade) -> Draft | None:
    return d if g.points > 5 else None


graph = Graph("article", Article, input=Topic, output=Draft)
graph.chain(research, write, judge.with_model("vendor/careful"), look_up, polish, keep)
flow = graph.build()
any_node: Node[Any] = write

ANSWER = ("about a shelf (9, try 1)", ["vendor/large", "default", "vendor/careful", "vendor/small", "vendor/small"], ["sea"], "sea")


def main() -> tuple[str, list[str], list[str], object]:
    echo = Echo()
    client: ModelClient = echo
    library = Library({"sea": "a shelf"})
    result = flow.run_sync(Topic(topic="sea"), client=client, resources=library)
    assert_type(result.cost, float)
    return result.output.draft, echo.asked, library.lent, research.prompt(Topic(topic="sea"))
