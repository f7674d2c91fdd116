"""Exclusive regions of a graph: their names and members."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from graphorch import END, START, Graph, GraphError, node


class Count(BaseModel):
    count: int = 0


class Text(BaseModel):
    text: str = ""


class State(Count, Text): ...


@node
async def load(count: Count) -> Text:
    return Text(text=str(count.count))


@node
async def save(count: Count) -> None:
    pass


@node
async def other(count: Count) -> None:
    pass


def list_problems(graph: Graph[State, State, State]) -> list[str]:
    with pytest.raises(GraphError) as raised:
        graph.build()
    return [str(problem) for problem in raised.value.problems]


def branches() -> Graph[State, State, State]:
    return Graph("branches", State).chain(START, [load, save, other], END)


def test_name_of_region_is_checked():
    """A name that is no line of text is refused."""
    (problem,) = list_problems(branches().exclusive("", [load, save]))
    assert "EXCLUSIVE_NAME at exclusive region ''" in problem
    (problem,) = list_problems(branches().exclusive(7, [load, save]))  # pyright: ignore[reportArgumentType]
    assert "exclusive region 7" in problem


def test_region_is_declared_once():
    """Two declarations of one name are refused, rather than united or replaced."""
    graph = branches().exclusive("db", [load, save]).exclusive("db", [save, other])
    (problem,) = list_problems(graph)
    assert "it is declared twice in this graph" in problem


def test_two_names_of_one_region_are_refused():
    """Two regions of the same nodes are a mistake: one of them would do nothing."""
    graph = branches().exclusive("db", [load, save]).exclusive("disk", [save, load])
    (problem,) = list_problems(graph)
    assert "exclusive region 'disk'" in problem
    assert "it has the same nodes as region 'db'" in problem


def test_member_is_named_once():
    """A node that is named twice in one call is refused."""
    (problem,) = list_problems(branches().exclusive("db", [load, save, load]))
    assert "node 'load' is named 2 times" in problem


def test_marker_is_no_member():
    """START and END run nothing."""
    (problem,) = list_problems(branches().exclusive("db", [load, END]))
    assert "END is not a node" in problem


def test_member_is_connected():
    """A node that only an exclusive region names is not part of the graph."""
    graph = Graph("one", State).chain(START, load, END).exclusive("db", [load, save])
    (problem,) = list_problems(graph)
    assert "NOT_CONNECTED" in problem
    assert "'save'" in problem


def test_empty_region_is_refused():
    """A region without nodes is refused."""
    (problem,) = list_problems(branches().exclusive("db", []))
    assert "an empty list of nodes" in problem


def test_name_of_node_is_no_member():
    """A node is given as itself, not by its name."""
    (problem,) = list_problems(branches().exclusive("db", ["load"]))  # pyright: ignore[reportArgumentType]
    assert "'load' is a name, not a node" in problem


def test_region_of_one_node_builds():
    """A region of one node is right: in a map, all items share it."""
    branches().exclusive("db", load).build()
