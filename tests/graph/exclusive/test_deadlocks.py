"""Exclusive regions of which holders could wait for each other."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from graphorch import END, START, Flow, Graph, GraphError, agent, node


class Count(BaseModel):
    count: int = 0


class Text(BaseModel):
    text: str = ""


class State(Count, Text): ...


@node
async def load(count: Count) -> Text:
    return Text(text=str(count.count))


def make_flow(name: str, *regions: str, inner: Flow[State, State, State] | None = None):
    """Return a flow whose first node is in these regions; with `inner`, that node is a sub-flow."""
    graph = Graph(name, State)
    first = load.named("first")
    if inner is not None:
        first = graph.sub("first", inner, enter=lambda state: State(), leave=keep_text)
    graph.chain(START, first, END)
    for region in regions:
        graph.exclusive(region, [first])
    return graph


def keep_text(state: State) -> Text:
    return Text(text=state.text)


def list_problems(graph: Graph[State, State, State]) -> list[str]:
    with pytest.raises(GraphError) as raised:
        graph.build()
    return [str(problem) for problem in raised.value.problems]


def test_region_inside_itself_is_a_deadlock():
    """A sub-flow cannot hold a region that a node inside of it needs."""
    inner = make_flow("inner", "db").build()
    (problem,) = list_problems(make_flow("outer", "db", inner=inner))
    assert "EXCLUSIVE_DEADLOCK at exclusive region 'db'" in problem
    assert "'first' holds 'db' while 'first/first' inside of it waits for 'db'" in problem


def test_region_far_inside_itself_is_a_deadlock():
    """The node inside may be at any depth."""
    deep = make_flow("middle", inner=make_flow("inner", "db").build()).build()
    (problem,) = list_problems(make_flow("outer", "db", inner=deep))
    assert "'first/first/first' inside of it waits for 'db'" in problem


def test_circle_of_regions_is_a_deadlock():
    """Regions that are nested in both orders could wait for each other."""
    graph = Graph("circle", State)
    flows = [make_flow(name, name).build() for name in ("a", "b")]
    one, two = (
        graph.sub(f"over_{flow.name}", flow, enter=lambda state: State(), leave=keep_text)
        for flow in flows
    )
    graph.chain(START, one, two, END).exclusive("b", [one])
    graph.build()
    (problem,) = list_problems(graph.exclusive("a", [two]))
    assert "'over_a' holds 'b' while 'over_a/first' inside of it waits for 'a'" in problem
    assert "'over_b' holds 'a' while 'over_b/first' inside of it waits for 'b'" in problem


def test_circle_inside_two_flows_is_a_deadlock():
    """The orders may both come from inside of flows that are right by themselves."""
    graph = Graph("circle", State)
    subs = [
        graph.sub(
            f"{outer}{inner}",
            make_flow(outer, outer, inner=make_flow(inner, inner).build()).build(),
            enter=lambda state: State(),
            leave=keep_text,
        )
        for outer, inner in ("ab", "ba")
    ]
    (problem,) = list_problems(graph.chain(START, *subs, END))
    assert "'ab/first' holds 'a' while 'ab/first/first' inside of it waits for 'b'" in problem


def test_region_of_flow_that_is_a_tool_counts():
    """A flow that a model may call runs inside its agent."""
    tool = make_flow("look_up", "db").build().as_tool(description="Look it up.")

    @agent(output=Text, tools=[tool])
    def write(count: Count) -> str:
        return f"Write about {count.count}."

    graph = Graph("outer", State).chain(START, write, END).exclusive("db", [write])
    (problem,) = list_problems(graph)
    assert "'write/first' inside of it waits for 'db'" in problem


def test_nested_regions_in_one_order_build():
    """Regions may be nested as long as all flows nest them in the same order."""
    inner = make_flow("inner", "b").build()
    make_flow("outer", "a", inner=inner).build()
