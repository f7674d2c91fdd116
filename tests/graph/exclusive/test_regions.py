"""Exclusive regions of a graph: their names and members."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import END, START, Graph, GraphError, node
from graphorch.graph.plan import Across


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


def build_first(*regions: tuple[str, ...]) -> Graph[State, State, State]:
    """Return a graph with a first of two signals and a timer, and regions of these nodes."""
    graph = Graph("events", State)
    events: dict[str, Any] = {name: graph.signal(name, Text) for name in ("paid", "cancelled")}
    events["late"] = graph.timer("late", after=timedelta(days=1))
    graph.chain(START, graph.first("decided", dict.fromkeys(events.values(), save)))
    for number, names in enumerate(regions):
        graph.exclusive(f"r{number}", [events.get(name, save) for name in names])
    return graph


def test_events_of_one_first_share_no_region():
    """Of events in one region only one could wait, so the others would never come."""
    (problem,) = list_problems(build_first(("paid", "save"), ("late", "paid")))
    assert problem.startswith("EXCLUSIVE_EVENTS at exclusive region 'r1': ")
    assert "'paid', 'late' are events of first 'decided', which wait at the same" in problem
    assert "give each its own region" in problem
    build_first(("paid", "save"), ("late", "save")).build()


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


def test_hedged_member_is_refused():
    """Two copies of a hedged node would be under way."""
    hedged = node(name="hedged", hedge_after=1.0)(save.fn)
    graph = Graph("hedged", State).chain(START, [load, hedged], END)
    (problem,) = list_problems(graph.exclusive("db", [load, hedged]))
    assert "node 'hedged' has hedge_after" in problem


# ---- across the runs of a journal ----------------------------------------------------------------
def make_flow(across: Across, name: str = "inner"):
    graph = Graph(name, State).chain(START, load, END)
    return graph.exclusive("db", load, across=across).build()


def as_node(graph: Graph[State, State, State], name: str, across: Across):
    return graph.sub(name, make_flow(across), enter=lambda state: State(), leave=keep_text)


def keep_text(state: State) -> Text:
    return Text(text=state.text)


def test_reach_of_region_is_run_or_journal():
    """Any other reach is refused, with the one that was meant."""
    graph = branches().exclusive("db", [load, save], across="journals")  # pyright: ignore[reportArgumentType]
    (problem,) = list_problems(graph)
    assert "EXCLUSIVE_ACROSS" in problem
    assert "Did you mean 'journal'?" in problem


def test_sub_flow_is_not_exclusive_across_runs():
    """What may wait inside for a person cannot keep out other runs."""
    graph = Graph("outer", State)
    team = graph.sub(
        "team", Graph("in", State).chain(START, load, END).build(),
        enter=lambda state: State(), leave=keep_text,
    )  # fmt: skip
    graph.chain(START, team, END)
    (problem,) = list_problems(graph.exclusive("db", team, across="journal"))
    assert "'team' is a sub-flow, which may wait for long" in problem
    assert "name those inside of it instead" in problem


def test_shared_region_stays_in_its_process():
    """A region that other runs share ends with its process, and a node elsewhere would go on."""
    out = node(name="out", isolation="worker")(save.fn)
    graph = Graph("shared", State).chain(START, out, END)
    (problem,) = list_problems(graph.exclusive("db", out, across="journal"))
    assert "'out' runs on other workers, and the region belongs to the run's process" in problem
    Graph("own", State).chain(START, out, END).exclusive("db", out).build()


def test_region_reaches_equally_far_in_all_flows():
    """A region that is shared with other runs here and not there would keep out nothing."""
    graph = Graph("outer", State)
    graph.chain(START, as_node(graph, "team", "journal"), save, END).exclusive("db", save)
    (problem,) = list_problems(graph)
    assert "across=\"journal\" in flow 'inner' of 'team', and across=\"run\" here" in problem
    graph = Graph("outer", State)
    graph.chain(START, as_node(graph, "a", "run"), as_node(graph, "b", "journal"), END)
    (problem,) = list_problems(graph)
    assert "across=\"journal\" in flow 'inner' of 'b'" in problem
