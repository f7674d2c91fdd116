"""Names of other frameworks lead to ours; unknown names stay what Python says."""

from __future__ import annotations

import copy
import re

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, Result, node
from graphorch.errors import NoSuchName, WrongCall
from graphorch.flow.foreign_names import FLOW_NAMES, GRAPH_NAMES


class Topic(BaseModel):
    topic: str = ""


class Draft(BaseModel):
    draft: str = ""


class State(Topic, Draft): ...


@node
def write(topic: Topic) -> Draft:
    return Draft(draft=topic.topic)


def build() -> Graph[State, Topic, Draft]:
    return Graph("g", State, input=Topic, output=Draft).chain(write)


@pytest.mark.parametrize(("kind", "names"), [(Graph, GRAPH_NAMES), (Flow, FLOW_NAMES)])
def test_foreign_name_is_explained(kind: type, names: dict[str, str]) -> None:
    """A name of another framework says what to write, and none of them hides a real one."""
    thing = build() if kind is Graph else build().build()
    for name, advice in names.items():
        assert not hasattr(kind, name), name
        with pytest.raises(NoSuchName, match=re.escape(advice)):
            getattr(thing, name)


@pytest.mark.parametrize(("kind", "names"), [(Graph, GRAPH_NAMES), (Flow, FLOW_NAMES)])
def test_advice_names_real_methods(kind: type, names: dict[str, str]) -> None:
    """What a message says to write exists."""
    of_graph, of_flow = "|".join(dir(Graph)), "|".join(dir(Flow))
    for advice in names.values():
        for owner, name in re.findall(r"\b(graph|flow)\.(\w+)\(", advice):
            assert name in (of_graph if owner == "graph" else of_flow).split("|"), advice


@pytest.mark.parametrize("thing", [build(), build().build(), build().build().run_sync(Topic())])
def test_unknown_name_is_left_to_python(thing: object) -> None:
    """Any other name is an ordinary `AttributeError`, so that `hasattr` and copies work."""
    assert not hasattr(thing, "dreft")
    with pytest.raises(AttributeError, match="object has no attribute 'dreft'") as caught:
        thing.dreft  # type: ignore[attr-defined]
    assert caught.value.name == "dreft"
    copy.copy(thing)


def test_field_of_result_is_explained() -> None:
    """A field that is looked for at the result is shown where it is."""
    result: Result[Draft, State] = build().build().run_sync(Topic(topic="tides"))
    with pytest.raises(NoSuchName, match=r"no 'draft'\. Write result\.output\.draft\."):
        result.draft  # type: ignore[attr-defined]
    with pytest.raises(NoSuchName, match=r"no 'topic'\. Write result\.state\.topic\."):
        result.topic  # type: ignore[attr-defined]
    with pytest.raises(WrongCall, match=r"result\['draft'\] is not possible"):
        result["draft"]  # type: ignore[index]
