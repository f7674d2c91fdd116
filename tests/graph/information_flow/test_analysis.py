"""Marks in a graph that runs itself: they go into the next level, and come out of it."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, GraphError, Secret, Untrusted, node
from graphorch.graph.edges import MarkedFlow


class Topic(BaseModel):
    topic: str = ""


class Page(BaseModel):
    page: Untrusted[str] = ""


class Found(BaseModel):
    found: str = ""


class Part(BaseModel):
    part: str = ""


class Search(Topic, Page, Found, Part): ...


@node
def look(topic: Topic) -> None: ...


@node
def fetch(topic: Topic) -> Page:
    return Page(page=topic.topic)


@node
def read(page: Page) -> Found:
    return Found(found=page.page)


@node(declassify="it is a number")
def read_number(page: Page) -> Found:
    return Found(found=page.page)


@node(effect="once")
def act(part: Part) -> Found:
    return Found(found=part.part)


def is_small(topic: Topic) -> Literal["small", "large"]:
    return "small"


def same_topic(topic: Topic) -> Topic:
    return topic


def topic_of_page(page: Page) -> Topic:
    return Topic(topic=page.page)


def as_part(found: Found) -> Part:
    return Part(part=found.found)


def build(reader: Any, *, enter: Any = same_topic, act: Any = act) -> Flow[Any, Any, Any]:
    """Build a search: a small one is read off a page, a large one is a search, and acts on it."""
    graph = Graph("search", Search, input=Topic, output=Found)
    deeper = graph.sub("deeper", graph.itself(max_depth=3), enter=enter, leave=as_part)
    graph.route(look, is_small).when("small", fetch).when("large", deeper).exhaustive()
    graph.chain(fetch, reader).chain(deeper, act)
    return graph.build()


def test_mark_comes_out_of_recursion() -> None:
    """What a level gives back is untrusted if any level below may give it back so."""
    with pytest.raises(GraphError) as failed:
        build(read)
    (problem,) = failed.value.problems
    assert problem.where == "node 'act'"
    assert "deeper" in problem.what


def test_check_at_bottom_ends_mark_of_all_levels() -> None:
    """A check where the recursion ends lets what comes out of it reach an effect."""
    assert build(read_number).plan.marked is not None


def test_mark_goes_into_recursion() -> None:
    """A level that is entered with an untrusted value is untrusted inside; its place says so."""

    @node(effect="once")
    def order(topic: Topic) -> Found:
        return Found(found=topic.topic)

    graph = Graph("search", Search, input=Topic, output=Found)
    deeper = graph.sub("deeper", graph.itself(max_depth=3), enter=topic_of_page, leave=as_part)
    graph.route(look, is_small).when("small", order).when("large", fetch).exhaustive()
    graph.chain(fetch, deeper)
    with pytest.raises(GraphError) as failed:
        graph.build()
    problems = failed.value.problems
    assert [problem.where for problem in problems] == ["node 'deeper/order'"] * 2
    assert "'fetch' (writes page) → 'deeper' (reads page)" in problems[0].what
    assert "decide whether" in problems[1].what


def test_person_at_each_end_vouches_for_recursion() -> None:
    """A recursion in which a person decides wherever it ends is vouched for, at every level."""
    graph = Graph("search", Search, input=Topic, output=Found)
    asked = graph.ask("asked", question=lambda state: state.page, answer=Found)
    deeper = graph.sub("deeper", graph.itself(max_depth=3), enter=same_topic, leave=as_part)
    graph.route(look, is_small).when("small", fetch).when("large", deeper).exhaustive()
    graph.chain(fetch, asked).chain(deeper, act)
    assert graph.build().warnings == ()


def test_secret_is_hidden_at_every_level() -> None:
    """The marked fields of a level that is inside itself are known at any depth."""

    class Key(BaseModel):
        key: Secret[str] = ""

    class Locked(Topic, Found, Key): ...

    @node
    def unlock(key: Key) -> Found:
        return Found(found="open")

    @node
    def close(topic: Topic) -> Key:
        return Key(key="k")

    def as_found(found: Found) -> Found:
        return found

    graph = Graph("locked", Locked, input=Topic, output=Found)
    deeper = graph.sub("deeper", graph.itself(max_depth=2), enter=same_topic, leave=as_found)
    graph.route(look, is_small).when("small", close).when("large", deeper).exhaustive()
    graph.chain(close, unlock)
    with pytest.raises(GraphError, match="secret"):
        graph.build()

    @node
    def forget(key: Key) -> None: ...

    @node
    def found(topic: Topic) -> Found:
        return Found(found="nothing")

    graph = Graph("locked", Locked, input=Topic, output=Found)
    deeper = graph.sub("deeper", graph.itself(max_depth=2), enter=same_topic, leave=as_found)
    graph.route(look, is_small).when("small", close).when("large", deeper).exhaustive()
    graph.chain(close, forget, found)
    marked: MarkedFlow | None = graph.build().plan.marked
    for _ in range(5):
        assert marked is not None
        assert marked.secrets == {"key"}
        marked = next(iter(marked.inside.values()))
