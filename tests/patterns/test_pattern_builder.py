"""Pattern builder: nodes with memory beside the state, and changes to nodes of an author."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, agent, append, node
from graphorch.graph.options import NodeBudget
from graphorch.graph.signature import Read, StateFunction
from graphorch.patterns.pattern_builder import (
    InputSlices,
    PatternBuilder,
    format_slice,
    restore_slice,
)
from graphorch.testing.virtual_clock import run_virtual
from tests.patterns.helpers import Models, asked


class Topic(BaseModel):
    topic: str


class Draft(BaseModel):
    draft: str = ""


class Notes(BaseModel):
    notes: Annotated[list[str], append] = []
    count: int = 0


class Desk(Topic, Draft, Notes): ...


@node
def begin(t: Topic) -> Notes:
    return Notes(notes=[t.topic])


@agent(output=Draft, model="vendor/write", timeout=7)
def write(t: Topic) -> str:
    return f"Write about {t.topic}"


def build() -> tuple[Graph[Any, Any, Any], PatternBuilder]:
    """Return a graph with two nodes, and the part of it that patterns use."""
    graph = Graph("desk", Desk, input=Topic, output=Draft)
    graph.chain(begin, write)
    return graph, PatternBuilder(graph)


def test_functions_share_read_slices() -> None:
    """Each function gets its own part of the arguments of the node."""
    slices = InputSlices()
    first = slices.bind(
        StateFunction(lambda a, b: (a, b), (Read(Topic), Read(Draft))), "first", [Draft]
    )
    second = slices.add(Notes, optional=True)
    third = slices.bind(StateFunction(lambda a: a, (Read(Topic),)), "third")
    arguments = ["t", "d", "n", "t again"]
    assert (first(arguments), arguments[second], third(arguments)) == (
        ("t", "d"),
        ["n"],
        "t again",
    )
    assert slices.reads == [Read(Topic), Read(Draft, True), Read(Notes, True), Read(Topic)]


def test_memories_have_free_names() -> None:
    """Memory has a name that no other field has, and keeps any value."""
    _, pattern = build()
    memories = [pattern.add_memory(owner, int, int) for owner in ("draft", "draft", "a-b!", "??")]
    assert [memory.name for memory in memories] == ["draft_2", "draft_3", "a_b", "pattern"]
    assert memories[0].unwrap(memories[0].wrap(7)) == 7
    assert memories[0].unwrap(memories[0].model()) == 0


def test_defaults_leave_given_options() -> None:
    """An option that the author gave stays, and None is not an option."""
    _, pattern = build()
    pattern.set_defaults("write", timeout=3, retry=None)
    pattern.set_defaults("begin", timeout=3)
    assert [pattern.node(name).options.timeout for name in ("write", "begin")] == [7, 3]
    assert write.options.timeout == 7
    assert begin.options.timeout is None


def test_budget_changes_copy_of_node() -> None:
    """The node of the author has no budget in other graphs."""
    _, pattern = build()
    budget = NodeBudget("team", usd=1.0)
    pattern.set_budget("write", budget)
    assert pattern.node("write").options.budget == budget
    assert pattern.node("write").options.timeout == 7
    assert write.options.budget is None


def test_prompt_is_extended_for_agents() -> None:
    """An agent reads a last message of the pattern, unless it is empty; other nodes have none."""
    graph, pattern = build()

    def list_notes(notes: Notes | None) -> str:
        return f"Notes: {notes.notes}" if notes is not None else ""

    assert not pattern.extend_prompt("begin", [Notes], list_notes)
    assert pattern.extend_prompt("write", [Notes], list_notes)
    assert pattern.extend_prompt("write", [Draft], lambda draft: "")
    models = Models(lambda _: "done")
    run_virtual(graph.build().run(Topic(topic="tides"), client=models))
    assert [message.content for message in models.requests[0].messages] == [
        "Write about tides",
        "Notes: ['tides']",
    ]
    assert asked(models.requests[0]).endswith("['tides']")


def test_restored_slice_skips_reducers_and_taken() -> None:
    """Plain fields are restored once; fields with a reducer and those of no value never."""
    taken: set[str] = {"draft"}
    restored = restore_slice(Notes, Notes(notes=["a"], count=3), taken)
    assert restored.model_dump(exclude_unset=True) == {"count": 3}
    assert taken == {"draft", "count"}
    assert restore_slice(Notes, Notes(count=4), taken).model_fields_set == set()
    assert restore_slice(Topic, None, taken).model_fields_set == set()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Draft(draft="a text"), "a text"),
        (Notes(notes=["a"]), '{\n  "notes": [\n    "a"\n  ],\n  "count": 0\n}'),
    ],
)
def test_slice_is_text_or_json(value: BaseModel, expected: str) -> None:
    """A slice of one text is that text, and any other one JSON."""
    assert format_slice(value) == expected
