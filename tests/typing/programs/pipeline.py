"""A pipeline: three steps in a row, each of them reading what the one before it wrote."""

from __future__ import annotations

from typing import assert_type

from pydantic import BaseModel

from graphorch import Flow, Graph, Result, node


class Raw(BaseModel):
    raw: str


class Words(BaseModel):
    words: list[str] = []


class Title(BaseModel):
    title: str = ""


class Headline(Raw, Words, Title): ...


@node
def split(r: Raw) -> Words:
    return Words(words=r.raw.split())


@node(pool="gpu")
def shorten(w: Words) -> Words:
    return Words(words=w.words[:3])


@node(isolation="worker", timeout=60)
async def print_out(w: Words) -> Title:
    return Title(title=" ".join(w.words).title())


flow = Graph("headline", Headline, input=Raw, output=Title).chain(split, shorten, print_out).build()
assert_type(flow, Flow[Raw, Title, Headline])
assert_type(Graph("all out", Headline, input=Raw), Graph[Headline, Raw, Headline])
assert_type(Graph("all in", Headline, output=Title), Graph[Headline, Headline, Title])

ANSWER = "Tide Tables For"


def main() -> str:
    result = flow.run_sync(Raw(raw="tide tables for busy sailors"))
    assert_type(result, Result[Title, Headline])
    assert_type(result.state, Headline)
    return result.output.title
