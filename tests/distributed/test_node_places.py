"""Places of nodes: found on another machine by numbers, in flows, maps, recursions and tools."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from graphorch import END, START, Graph, agent, node, tool
from graphorch.core.tree import Activation
from graphorch.distributed.node_places import find_place, find_step
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.graph.plan import Plan
from graphorch.testing import ScriptedModel, call, run_virtual
from tests.distributed.cases import Case, Done, Item, Items, Squares, Topic, build


@node
async def write(topic: Topic) -> Done:
    return Done(done=[topic.topic])


def list_activations(plan: Plan, client: Any = None) -> list[Activation]:
    """Run a flow, and return all its activations."""

    async def main() -> list[Activation]:
        settings = RunSettings(client=client or ScriptedModel(), run_id="run")
        scheduler = Scheduler(plan, settings)
        await scheduler.begin(plan.read_input.update(plan.input()))
        assert scheduler.run.status == "succeeded"
        return list(scheduler.run.history)

    return run_virtual(main())


def check_places(make: Any, client: Any = None) -> dict[str, list[int | str]]:
    """Find each activation's node in the same graph, built anew; return the places by path."""
    places: dict[str, list[int | str]] = {}
    twin = make()
    for activation in list_activations(make(), client):
        places[activation.path] = find_place(activation)
        step = find_step(twin, places[activation.path])
        assert step is not None
        assert step.name == activation.step.name
    return places


def test_node_inside_flows_is_found() -> None:
    """A node of a sub-flow or of an item of a map is found by the numbers of the way there."""

    def make() -> Plan:
        graph = Graph("outer", Case, input=Topic, output=Case)
        inner = build(write, name="inner")
        team = graph.sub("team", inner, enter=lambda topic: Topic(topic="x"), leave=keep)
        items = graph.map("items", square, over=split, gather=collect, max_items=3)
        return graph.chain(team, items).build().plan

    assert check_places(make) == {
        "team": [0],
        "team/write": [0, 0],
        "items": [1],
        "items[0]/square": [1, 0],
        "items[1]/square": [1, 0],
    }


def keep(case: Case) -> Done:
    return Done(done=case.done)


@node
async def square(item: Item) -> Item:
    return item


def split(case: Case) -> list[Item]:
    return [Item(number=1), Item(number=2)]


def collect(results: list[Item]) -> Squares:
    return Squares(squares=[item.number for item in results])


def test_node_of_recursion_is_found() -> None:
    """Each level of a flow that runs itself is a number more."""

    def make() -> Plan:
        graph = Graph("deep", Case, input=Topic, output=Case)

        @node
        async def look(topic: Topic) -> Items:
            await asyncio.sleep(0)
            return Items(items=[1])

        def choose(topic: Topic) -> Literal["write", "deeper"]:
            return "write" if len(topic.topic) > 6 else "deeper"

        deeper = graph.sub(
            "deeper",
            graph.itself(max_depth=4),
            enter=lambda case: Topic(topic=case.topic + "s"),
            leave=keep,
        )
        graph.chain(START, look)
        graph.route(look, by=choose).when("write", write).when("deeper", deeper).exhaustive()
        return graph.chain([write, deeper], END).build().plan

    places = check_places(make)
    assert places["deeper/deeper/write"][:2] == [places["deeper"][0]] * 2


def test_call_of_tool_is_found() -> None:
    """A call of a tool is found by its name and number behind its agent."""

    def make() -> Plan:
        @tool(effect="pure")
        async def look_up(word: str) -> str:
            """Look it up."""
            return word

        @agent(output=Topic, tools=[look_up])
        def ask(topic: Topic) -> str:
            return topic.topic

        return build(ask).plan

    model = ScriptedModel(call("look_up", {"word": "moon"}), '{"topic": "found"}')
    assert check_places(make, model)["ask/r1/look_up#0"] == [0, "look_up#0"]


def test_unknown_place_is_none() -> None:
    """A place of another graph is nowhere, whatever it holds."""
    plan = build(write).plan
    for place in ([], [1], [-1], [0, 0], [0, "x#0"], [0, "x"], ["x#0"], [0, "#"]):
        assert find_step(plan, place) is None
