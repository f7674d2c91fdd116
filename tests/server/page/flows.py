"""Flows whose runs the tests of the page look at."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel

from graphorch import Flow, Graph, agent, append, node

AnyFlow = Flow[Any, Any, Any]

MARKUP = "<img src=x onerror=window.hit=1>"
HOSTILE = [
    MARKUP,
    "<svg/onload=window.hit=1>",
    "javascript:window.hit=1",
    '" onmouseover=window.hit=1 x="',
    "safe\u202egpj.exe\u2066\u200b",
    "bell\u0007 and\ttab",
    "https://elsewhere.example/track.png",
    "</textarea></title><script>window.hit=1</script>",
]


class Text(BaseModel):
    text: str = ""


class Words(BaseModel):
    words: Annotated[list[str], append] = []


class Draft(BaseModel):
    draft: str = ""


class State(Text, Words, Draft): ...


@node
def spread(text: Text) -> Words:
    return Words(words=[*HOSTILE, text.text])


@agent(output=Draft, model="openai/gpt-5-mini", instructions=MARKUP)
def write(text: Text) -> str:
    return "\n".join(HOSTILE)


@node
def fail(words: Words) -> Draft:
    raise ValueError(f"{MARKUP}\u202e javascript:window.hit=1")


def letter() -> AnyFlow:
    """Return a flow with one agent."""
    return Graph("letter", State, input=Text, output=Draft).chain(write).build()


def hostile() -> AnyFlow:
    """Names and values that would be markup, were they ever read as such; it fails at the end."""
    graph = Graph(MARKUP, State)
    first = spread.named('" onfocus=window.hit=1 x="')
    graph.chain(first, write, fail.named("<b>javascript:hit()"))
    return graph.build()


def waiting_flow(steps: Sequence[threading.Event]) -> AnyFlow:
    """Three nodes, one after the other, each of which waits for its event."""

    def wait(at: int) -> Any:
        def run(text: Text) -> Words:
            steps[at].wait(60)
            return Words(words=[text.text])

        return node(run).named(("one", "two", "three")[at])

    graph = Graph("waiting", State)
    graph.chain(*(wait(at) for at in range(3)))
    return graph.build()


class Item(BaseModel):
    number: int = 0


class Items(BaseModel):
    count: int = 0


class Total(BaseModel):
    total: int = 0


class Sums(Items, Total): ...


@node
def dig(item: Item) -> Item:
    if item.number % 997 == 996:
        raise ValueError(f"nothing at {item.number}")
    return Item(number=item.number + 1)


@node
def sift(item: Item) -> Item:
    return Item(number=item.number * 2)


def crawling() -> AnyFlow:
    """A map whose items run two nodes each; every 997th fails and is left out."""
    inner = Graph("inner", Item)
    inner.chain(dig, sift)
    graph = Graph("crawling", Sums)

    def add(items: list[Item]) -> Total:
        return Total(total=sum(item.number for item in items))

    def number(items: Items) -> list[Item]:
        return [Item(number=at) for at in range(items.count)]

    each = graph.map(
        "each", inner.build(), over=number, gather=add, max_items=10_000, on_item_error="skip"
    )
    graph.chain(each)
    return graph.build()
