"""Warnings: slices that are read before anything can have written them."""

from __future__ import annotations

from uuid import uuid4

import pytest
from pydantic import BaseModel, Field

from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.checks.early_reads import check
from graphorch.graph.node import node
from graphorch.graph.payloads import Failure
from graphorch.graph.topology import build_topology
from tests.graph.content import Sketch, list_problems
from tests.graph.drawn import random_drawing


class Topic(BaseModel):
    topic: str = ""


class Draft(BaseModel):
    draft: str = ""


class Review(BaseModel):
    score: int = 0
    remarks: str = ""


class Essay(Topic, Draft, Review): ...


@node
def write(topic: Topic) -> Draft: ...
@node
def judge(draft: Draft) -> Review: ...
@node
def rewrite(topic: Topic, review: Review) -> Draft: ...
@node
def perhaps(topic: Topic, review: Review | None) -> Draft: ...
@node
def rate(review: Review) -> Review: ...
@node
def rescue(failure: Failure, draft: Draft) -> Review: ...
@node
def look(topic: Topic) -> None: ...
def is_weak(review: Review) -> bool:
    return review.score < 3


def essay(output: type[BaseModel] = Review) -> Sketch:
    return Sketch(Essay, Topic, output)


def warn(sketch: Sketch) -> list[str]:
    """Return the warnings of this check alone."""
    graph = CheckedGraph(sketch.spec, build_topology(sketch.spec))
    return [f"{problem.code} at {problem.where}" for problem in check(graph)]


def test_read_before_write_names_writers() -> None:
    """A node that reads what only a later node writes is told which one, and what it gets."""
    sketch = essay()
    sketch.chain(rewrite, judge)
    assert list_problems(sketch, warnings=True) == [
        "READ_BEFORE_WRITE at node 'rewrite': it reads Review before anything writes it, so it "
        "always gets its defaults: 'judge' can never run before that\n"
        "    fix: connect a node that writes Review before it, or make it part of the input"
    ]


def test_slice_without_writer_is_never_written() -> None:
    """A slice that nothing writes, of which nothing is given, is a warning; so is an output."""
    sketch = essay()
    sketch.chain(rewrite)
    assert warn(sketch) == [
        "NEVER_WRITTEN at node 'rewrite'",
        "NEVER_WRITTEN at output of graph 'content'",
    ]
    assert "reads Review, which nothing writes" in list_problems(sketch, warnings=True)[-2]


def test_optional_read_gets_none() -> None:
    """A reader that may get None always does."""
    sketch = essay()
    sketch.chain(perhaps, judge)
    (warning,) = list_problems(sketch, warnings=True)
    assert "so it always gets None" in warning


def test_branches_do_not_see_each_other() -> None:
    """A node beside the reader, and one on another way of a route, are no writers before it."""
    sketch = essay()
    sketch.chain(write, [judge, rewrite.named("again")])
    assert warn(sketch) == ["READ_BEFORE_WRITE at node 'again'"]


def test_loop_brings_what_its_end_writes() -> None:
    """The beginning of a loop may read what its end writes, also over loops around it."""
    sketch = essay()
    sketch.chain(look, rewrite, judge, look.named("last"))
    sketch.loop(judge, back_to=rewrite, while_=is_weak, max_iterations=2)
    assert warn(sketch) == []
    sketch = essay()
    sketch.chain(look, rewrite, look.named("in"), judge, look.named("out"), look.named("last"))
    sketch.loop(
        "in" and sketch.spec.nodes["in"], back_to=rewrite, while_=lambda s: True, max_iterations=2
    )
    sketch.loop(sketch.spec.nodes["out"], back_to=look, while_=is_weak, max_iterations=2)
    assert warn(sketch) == []


def test_condition_reads_what_its_own_node_writes() -> None:
    """A condition sees the writes of the node that it follows; one of an earlier node does not."""
    sketch = essay()
    sketch.chain(write, judge, look)
    sketch.loop(judge, back_to=write, while_=is_weak, max_iterations=2)
    assert warn(sketch) == []
    sketch = essay()
    sketch.chain(write, look, judge)
    sketch.loop(look, back_to=write, while_=is_weak, max_iterations=2)
    assert warn(sketch) == ["READ_BEFORE_WRITE at loop 'look' → 'write'"]


def test_own_write_is_a_starting_value() -> None:
    """A node that writes what it reads begins with the defaults, and is fine."""
    sketch = essay()
    sketch.chain(rate, look)
    assert warn(sketch) == []


def test_handler_does_not_get_what_failed() -> None:
    """What a failed node would have written is not there for its handler."""
    sketch = essay()
    sketch.chain(write, look)
    sketch.on_error(write, rescue)
    assert warn(sketch) == ["READ_BEFORE_WRITE at node 'rescue'"]
    sketch = essay()
    sketch.chain(write, judge)
    sketch.on_error(judge, rescue)
    assert warn(sketch) == []


def test_given_slice_is_no_early_read() -> None:
    """What the input brings is there from the beginning; so is what a flow remembers."""
    sketch = Sketch(Essay, Essay, Draft)
    sketch.chain(rewrite)
    assert warn(sketch) == []
    sketch = essay(Draft)
    sketch.spec.remember.append(Review)
    sketch.chain(rewrite, judge)
    assert warn(sketch) == []


class Ticket(BaseModel):
    ticket: str = Field(default_factory=lambda: uuid4().hex)
    seen: list[str] = Field(default_factory=list)


class Seen(BaseModel):
    seen: list[str] = Field(default_factory=list)


class Tickets(Topic, Ticket): ...


class Seens(Topic, Seen): ...


@node
def show(ticket: Ticket) -> None: ...
@node
def count(seen: Seen) -> None: ...


def test_made_default_is_no_early_read() -> None:
    """A default that is made for each run is a value for all its readers; an empty list is none."""
    sketch = Sketch(Tickets, Topic, Topic)
    sketch.chain(show)
    assert warn(sketch) == []
    sketch = Sketch(Seens, Topic, Topic)
    sketch.chain(count)
    assert warn(sketch) == ["NEVER_WRITTEN at node 'count'"]


def test_whole_state_is_no_early_read() -> None:
    """A reader of the whole state may be after any of it."""
    sketch = essay(Draft)
    sketch.chain(write)
    sketch.loop(write, back_to=write, while_=lambda state: state.score < 1, max_iterations=2)
    assert warn(sketch) == []


@pytest.mark.parametrize("seed", range(30))
def test_reported_reader_is_behind_no_writer(seed: int) -> None:
    """In any graph, a reader is reported only if no writer of its slice leads to it."""
    drawing = random_drawing(seed, size=12)
    topology = build_topology(drawing.blueprint)
    graph = CheckedGraph(drawing.blueprint, topology)
    for problem in check(graph):
        reader = next(use for use in graph.uses if use.where == problem.where)
        assert reader.model is not None
        behind = topology.find_reachable([reader.node], backwards=True) - {reader.node}
        own = [edge.source for edge in topology.entering[reader.node]]
        behind |= {reader.node} & set(own)
        for source in behind & set(range(topology.end)):
            ways = [
                edge for edge in topology.leaving[source] if edge.target in behind | {reader.node}
            ]
            if any(edge.kind != "error" for edge in ways):
                assert not graph.may_write[source] & graph.mask(reader.model)
