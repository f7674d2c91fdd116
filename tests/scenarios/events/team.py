"""Flows with a sub-flow or a map that a signal or a deadline ends."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel

from graphorch import START, Flow, Graph, Retry, Withdrawn, append, node
from graphorch.graph.node import Node


class Topic(BaseModel):
    topic: str = "tea"


class Topics(BaseModel):
    topics: list[Topic] = []


class Notes(BaseModel):
    notes: Annotated[list[str], append] = []


class Found(BaseModel):
    found: list[str] = []


class Inner(Topic, Notes): ...


class State(Topics, Topic, Found): ...


class Stop(BaseModel):
    why: str = ""


TeamFlow: TypeAlias = Flow[Any, Found, Any]


def research(name: str, seconds: float, **options: Any) -> Any:
    """Return a node that takes so many seconds, and notes its name."""

    async def run(topic: Topic) -> Notes:
        await asyncio.sleep(seconds)
        return Notes(notes=[f"{name} {topic.topic}"])

    return node(name=name, **options)(run)


@node
async def instead(topic: Topic) -> Found:
    return Found(found=[f"instead of {topic.topic}"])


@node
async def after(found: Found) -> Found:
    return Found(found=[*found.found, "after"])


def same(topic: Topic) -> Topic:
    return topic


def list_topics(topics: Topics) -> list[Topic]:
    return topics.topics


def leave(notes: Notes) -> Found:
    return Found(found=notes.notes)


def keep(notes: Notes) -> Found:
    return Found(found=["kept", *notes.notes])


def gather(results: list[Notes]) -> Found:
    return Found(found=[text for notes in results for text in notes.notes])


def ask_for(topic: Topic) -> str:
    return f"What of {topic.topic}?"


def inner_flow(*, asks: bool = False, second: float = 1.0) -> Flow[Any, Any, Any]:
    """Build the flow inside: one branch of 1 s, and one of 1 and 10 s or a question."""
    graph = Graph("inner", Inner, input=Topic, output=Notes)
    slow: Node[Any] = research("slow", 10.0 * second)
    if asks:
        slow = graph.ask("slow", question=ask_for, answer=Notes)
    quick, first = research("quick", second), research("first", second)
    return graph.chain(START, [quick, first]).chain(first, slow).build()


def team_flow(
    *,
    keeps: bool = True,
    deadline: float | None = None,
    handled: bool = False,
    asks: bool = False,
    second: float = 1.0,
) -> TeamFlow:
    """Build a flow of a sub-flow that a signal ends, in which a second takes so long."""
    graph: Any = Graph("team", State, input=Topic, output=Found)
    team = graph.sub(
        "team",
        inner_flow(asks=asks, second=second),
        enter=same,
        leave=leave,
        cancel_on=graph.signal("stop", Stop),
        keep=keep if keeps else None,
        deadline=deadline,
    )
    graph.chain(START, team, after)
    if handled:
        graph.on_error(team, instead, when=(Withdrawn, TimeoutError))
    return graph.build()


def crawl_flow(
    *, by_topic: bool = False, deadline: float | None = None, need: Any = "all"
) -> TeamFlow:
    """Build a flow of a map that a signal ends, two items at once."""
    graph: Any = Graph("crawl", State, input=Topics, output=Found)
    item = Graph("item", Inner, input=Topic, output=Notes)
    work = item.chain(START, research("read", 2.0)).build()
    each = graph.map(
        "each",
        work,
        over=list_topics,
        gather=gather,
        max_items=9,
        concurrency=2,
        need=need,
        deadline=deadline,
        cancel_on=graph.signal("stop", Stop, key=(lambda topics: "tea") if by_topic else None),
    )
    return graph.chain(START, each, after).build()


def flaky_flow(tries: list[float], pause: float = 30.0) -> TeamFlow:
    """Build a flow of a node that fails twice, with a pause after each attempt."""

    @node(retry=Retry(4, first=pause, factor=1.0, longest=pause))
    async def flaky(topic: Topic) -> Found:
        tries.append(asyncio.get_running_loop().time())
        if len(tries) < 3:
            raise ConnectionError("not yet")
        return Found(found=[topic.topic])

    return Graph("flaky", State, input=Topic, output=Found).chain(START, flaky).build()
