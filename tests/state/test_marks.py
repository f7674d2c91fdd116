"""Marks are found anywhere in a type, and change nothing else about it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypeVar

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType, TypedDict

from graphorch import Graph, append, node
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.state.marks import Mark, Secret, Untrusted, find_field_marks, find_marks
from graphorch.state.reducers import find_reducer

V = TypeVar("V")


@dataclass
class Hit:
    text: Untrusted[str]


class Row(TypedDict):
    key: Secret[str]


class Pair(NamedTuple):
    key: Secret[str]


class Tree(BaseModel):
    text: Untrusted[str] = ""
    children: list[Tree] = []


class Plain(BaseModel):
    text: str = ""


class Box(BaseModel, Generic[V]):
    value: V


Text = TypeAliasType("Text", Untrusted[str])
Many = TypeAliasType("Many", list[V], type_params=(V,))
Deep = TypeAliasType("Deep", "list[Deep] | Untrusted[str]")
Name = NewType("Name", Hit)


@pytest.mark.parametrize(
    ("hint", "marks"),
    [
        (str, set()),
        (Untrusted[str], {"untrusted"}),
        (Secret[str], {"secret"}),
        (Untrusted[Secret[str]], {"untrusted", "secret"}),
        (Untrusted[str] | None, {"untrusted"}),
        (list[Untrusted[str]], {"untrusted"}),
        (dict[str, tuple[Secret[int], ...]], {"secret"}),
        (Annotated[Untrusted[list[str]], append], {"untrusted"}),
        (Untrusted[Annotated[list[str], append]], {"untrusted"}),
        (Annotated[str, "Secret"], set()),
        (Literal["Secret", "Untrusted"], set()),
        (Callable[[Untrusted[str]], int], {"untrusted"}),
        (Hit, {"untrusted"}),
        (list[Row], {"secret"}),
        (Pair | None, {"secret"}),
        (Tree, {"untrusted"}),
        (Plain, set()),
        (Box[Secret[str]], {"secret"}),
        (Box[str], set()),
        (Text, {"untrusted"}),
        (list[Text], {"untrusted"}),
        (Many[Secret[str]], {"secret"}),
        (Many[str], set()),
        (Deep, {"untrusted"}),
        (Name, {"untrusted"}),
        ("list[Secret[str]]", {"secret"}),
        (Any, set()),
    ],
    ids=itertools.count(),
)
def test_marks_are_found_at_any_depth(hint: Any, marks: set[str]) -> None:
    """A mark counts in lists, unions, aliases and whatever has annotated fields."""
    assert find_marks(hint) == marks


def test_local_type_that_cannot_be_found_counts_by_its_text() -> None:
    """A class whose annotations name something local keeps its marks all the same."""

    @dataclass
    class Local:
        value: Untrusted[Nowhere]  # type: ignore[name-defined]  # noqa: F821

    assert find_marks(Local) == {"untrusted"}


def test_field_marks_stand_beside_others() -> None:
    """A reducer and a description live in the same annotation as a mark."""

    class Notes(BaseModel):
        notes: Annotated[Untrusted[list[str]], append, Field(description="of others")] = []

    info = Notes.model_fields["notes"]
    assert find_field_marks(info) == {"untrusted"}
    assert find_reducer(info) is append
    assert info.description == "of others"


def test_marks_change_no_value_schema_or_fingerprint() -> None:
    """A field can be marked later: stored runs, schemas and values stay as they are."""

    class Marked(BaseModel):
        text: Untrusted[str] = ""
        keys: list[Secret[str]] = []

    class Bare(BaseModel):
        text: str = ""
        keys: list[str] = []

    assert Marked(text="a", keys=["b"]).model_dump_json() == '{"text":"a","keys":["b"]}'
    marked, bare = Marked.model_json_schema(), Bare.model_json_schema()
    assert {**marked, "title": ""} == {**bare, "title": ""}
    assert type(Marked(text="a").text) is str

    @node
    def keep(state: Marked) -> Marked: ...
    @node(name="keep")
    def keep_bare(state: Bare) -> Bare: ...

    plans = [
        Graph("kept", Marked, output=Marked).chain(keep).build,
        Graph("kept", Bare, output=Bare).chain(keep_bare).build,
    ]
    with pytest.raises(Exception, match="SECRET_FLOW"):
        plans[0]()

    class Open(BaseModel):
        text: Untrusted[str] = ""
        keys: list[str] = []

    @node(name="keep")
    def keep_open(state: Open) -> Open: ...

    flows = (Graph("kept", Open).chain(keep_open).build(), plans[1]())
    assert len({compute_fingerprint(flow.plan) for flow in flows}) == 1


def test_mark_is_a_value() -> None:
    """Two marks of one name are equal, so that equal types are."""
    assert Untrusted[str] == Untrusted[str]
    assert Mark("secret") == Mark("secret") != Mark("untrusted")
