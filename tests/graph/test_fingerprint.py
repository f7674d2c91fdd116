"""The fingerprint of a graph depends on what stored runs depend on, and on nothing else."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from graphorch import Flow, Graph, append, node
from graphorch.graph.fingerprint import FORMAT, compute_fingerprint, describe, list_differences
from graphorch.graph.schema_identity import strip_names

AnyFlow = Flow[Any, Any, Any]


def make_flow(
    *,
    part: str = "Part",
    doc: str = "",
    title: str | None = None,
    kind: Any = int,
    slice: str = "Parts",
) -> AnyFlow:
    """Build a flow of one node and a sub-flow, whose state holds a list of models."""
    make: Any = create_model
    part_model = make(
        part, __doc__=doc, size=(kind, Field(0, title=title, description=doc or None))
    )
    parts = make(slice, __doc__=doc, parts=(Annotated[list[part_model], append], []))
    state = make("State" + slice, __base__=parts, __doc__=doc)

    def grow(read: Any) -> Any:
        return parts(parts=[part_model()])

    grow.__annotations__ = {"read": parts, "return": parts}
    grow_node: Any = node(grow)
    inner: AnyFlow = Graph("inner", state).chain(grow_node).build()
    outer: Any = Graph("outer", state)
    team = outer.sub("team", inner, enter=lambda s: s, leave=lambda s: parts(parts=s.parts))
    return outer.chain(grow_node, team).build()


def test_fingerprint_ignores_names_and_docstrings() -> None:
    """Renaming a class, editing a docstring, a title or a description does not lock stored runs."""
    before = compute_fingerprint(make_flow().plan)
    after = compute_fingerprint(
        make_flow(part="Piece", doc="Other words.", title="Size!", slice="Pieces").plan
    )
    assert before == after


def test_fingerprint_of_format_1_includes_names() -> None:
    """A run of format 1 is compared as it was when it was begun."""
    before, after = make_flow().plan, make_flow(part="Piece").plan
    assert compute_fingerprint(before, 1) != compute_fingerprint(after, 1)


def test_fingerprint_tells_what_becomes_of_losers() -> None:
    """A join or a map that lets its losers finish is another graph, which says so; others stay."""
    cancels, finishes = make_race("cancel").plan, make_race("finish").plan
    assert compute_fingerprint(cancels) != compute_fingerprint(finishes)
    assert compute_fingerprint(cancels, 5) != compute_fingerprint(finishes, 5)
    assert "rest" not in str(describe(cancels))
    assert list_differences(describe(cancels), finishes) == [
        "'each' lets its losers finish",
        "'last' lets its losers finish",
    ]
    assert list_differences(describe(finishes), cancels) == [
        "'each' cancels its losers",
        "'last' cancels its losers",
    ]


def make_race(rest: Literal["cancel", "finish"]) -> AnyFlow:
    """Build a flow whose join and whose map need one of two."""

    class Size(BaseModel):
        size: int = 0

    class State(Size): ...

    def grow(read: Any) -> Any:
        return Size(size=1)

    grow.__annotations__ = {"read": Size, "return": Size}
    first, second, last = (node(grow).named(name) for name in ("first", "second", "last"))
    graph: Any = Graph("race", State)
    each = graph.map(
        "each",
        node(grow).named("work"),
        over=lambda s: [Size(), Size()],
        gather=lambda sizes: sizes[0],
        max_items=2,
        need=1,
        rest=rest,
    )
    graph.chain(first, [second, each], last).join(last, need=1, rest=rest)
    return graph.build()


def test_fingerprint_depends_on_field_types() -> None:
    """Another type of a field is another fingerprint."""
    before, after = make_flow().plan, make_flow(kind=str).plan
    assert compute_fingerprint(before) != compute_fingerprint(after)
    assert list_differences(describe(before), before) == ["its order, joins or inner flows changed"]
    assert list_differences(
        {**describe(before), "state": {"properties": {"parts": {}}}}, before
    ) == ["field 'parts' has another type"]


def test_description_has_latest_format() -> None:
    """A new description has the latest format."""
    assert FORMAT == 7
    assert describe(make_flow().plan)["format"] == FORMAT


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    title: str = "a field that is called title"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    color: Color = Color.RED


class Tree(BaseModel):
    children: list[Tree] = []
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Cat()


def rename(schema: Any, names: dict[str, str]) -> Any:
    """Return a schema as other class names would have made it."""
    if isinstance(schema, str):
        head, _, name = schema.rpartition("/")
        return f"{head}/{names[name]}" if head == "#/$defs" else schema
    if isinstance(schema, list):
        return [rename(item, names) for item in schema]
    if isinstance(schema, dict):
        renamed = {key: rename(value, names) for key, value in schema.items()}
        if "$defs" in renamed:
            renamed["$defs"] = {
                names[name]: value for name, value in reversed(renamed["$defs"].items())
            }
        return renamed
    return schema


def test_strip_names_ignores_class_names() -> None:
    """Definitions are numbered by first reference, so neither names nor their order matter."""
    schema = Tree.model_json_schema()
    names = {name: f"Z{number}" for number, name in enumerate(schema["$defs"])}
    stripped = strip_names(schema)
    assert stripped == strip_names(rename(schema, names))
    assert "Cat" not in str(stripped).replace("'cat'", "")


def test_strip_names_keeps_fields_called_title() -> None:
    """`title` and `description` are dropped from the schema, but not as names of fields."""
    assert set(strip_names(Cat.model_json_schema())["properties"]) == {"kind", "title"}


@pytest.mark.parametrize(
    "change", [{"default": "blue"}, {"enum": ["red"]}, {"type": "integer"}, {"minLength": 1}]
)
def test_strip_names_keeps_constraints(change: dict[str, Any]) -> None:
    """Constraints of a field stay."""
    schema = {"properties": {"a": {"type": "string", "title": "A"}}}
    changed = {"properties": {"a": {"type": "string", "title": "A", **change}}}
    assert strip_names(schema) != strip_names(changed)
