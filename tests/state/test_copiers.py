"""Copies share nothing that could be changed, whatever the type; other values are shared."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import pathlib
import threading
import uuid
from functools import cached_property
from typing import Annotated, Any, Literal, NewType, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from graphorch.state.copiers import compile_copier, compile_maker, has_plain_instances


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Loose(BaseModel):
    names: list[str] = []
    at: int = 0


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    name: str = ""
    pair: tuple[int, str] = (0, "")


class FrozenShell(BaseModel):
    """Frozen itself, but not what it holds."""

    model_config = ConfigDict(frozen=True)
    names: list[str] = []


class Tree(BaseModel):
    value: int = 0
    children: list[Tree] = []


class Secretive(BaseModel):
    value: int = 0
    _seen: list[int] = PrivateAttr(default_factory=lambda: [1])


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    value: int = 0


class Outer(BaseModel):
    loose: Loose = Loose()
    frozen: Frozen = Frozen()
    table: dict[str, list[Loose]] = {}
    either: Loose | int = 0


UserId = NewType("UserId", int)
Names = NewType("Names", list)


# ---- the law -----------------------------------------------------------------------------------
def mutables(value: Any) -> dict[int, Any]:
    """Every object inside a value that could be changed in place, by identity."""
    found: dict[int, Any] = {}

    def walk(entry: Any) -> None:
        match entry:
            case list() | set():
                found[id(entry)] = entry
                for item in entry:
                    walk(item)
            case dict():
                found[id(entry)] = entry
                for key, item in entry.items():
                    walk(key)
                    walk(item)
            case tuple() | frozenset():
                for item in entry:
                    walk(item)
            case BaseModel():
                if not entry.model_config.get("frozen"):
                    found[id(entry)] = entry
                for item in (
                    *entry.__dict__.values(),
                    *(entry.__pydantic_extra__ or {}).values(),
                    *(entry.__pydantic_private__ or {}).values(),
                ):
                    walk(item)
            case _:
                pass

    walk(value)
    return found


ATOMS: list[tuple[Any, Any]] = [
    (int, 3),
    (str, "x"),
    (bytes, b"x"),
    (float, 0.5),
    (bool, True),
    (type(None), None),
    (complex, 1j),
    (Color, Color.RED),
    (Literal["a", 1], "a"),
    (UserId, UserId(4)),
    (decimal.Decimal, decimal.Decimal("1.5")),
    (fractions.Fraction, fractions.Fraction(1, 3)),
    (uuid.UUID, uuid.UUID(int=1)),
    (pathlib.Path, pathlib.Path("a")),
    (datetime.date, datetime.date(2024, 1, 2)),
    (datetime.timedelta, datetime.timedelta(1)),
    (Annotated[int, Field(gt=0)], 1),
]
OTHERS: list[tuple[Any, Any]] = [
    (Frozen, Frozen(name="f")),
    (Loose, Loose(names=["a"])),
    (FrozenShell, FrozenShell(names=["a"])),
    (Tree, Tree(children=[Tree(value=1)])),
    (Secretive, Secretive(value=2)),
    (Open, Open.model_validate({"value": 1, "more": [1]})),
    (Outer, Outer(loose=Loose(names=["b"]), table={"t": [Loose(at=2)]}, either=Loose())),
    (Any, [1, {"a": [2]}]),
    (list, [[1]]),
    (dict, {"a": [1]}),
    (object, {"a": {1}}),
    (Names, [["n"]]),
    (bytearray | None, None),
]


@st.composite
def typed(draw: st.DrawFn, depth: int = 3) -> tuple[Any, Any]:
    """A type, and a value of it."""
    kinds = (
        ["atom", "other"]
        if depth == 0
        else [
            "atom",
            "other",
            "list",
            "set",
            "frozenset",
            "dict",
            "many",
            "pair",
            "either",
            "optional",
        ]
    )
    kind = draw(st.sampled_from(kinds))
    if kind == "atom":
        return draw(st.sampled_from(ATOMS))
    if kind == "other":
        annotation, value = draw(st.sampled_from(OTHERS))
        return annotation, value.model_copy(deep=True) if isinstance(value, BaseModel) else value
    if kind in ("set", "frozenset"):
        annotation, value = draw(st.sampled_from(ATOMS[:8]))
        return (
            (set[annotation], {value})
            if kind == "set"
            else (frozenset[annotation], frozenset({value}))
        )
    annotation, value = draw(typed(depth=depth - 1))
    if kind == "pair":
        second, other = draw(typed(depth=depth - 1))
        return tuple[annotation, second], (value, other)
    return {
        "list": (list[annotation], [value]),
        "dict": (dict[str, annotation], {"k": value}),
        "many": (tuple[annotation, ...], (value, value)),
        "either": (Union[annotation, list[int]], value),  # noqa: UP007
        "optional": (Optional[annotation], value),  # noqa: UP045
    }[kind]


@given(typed())
def test_copy_shares_nothing_mutable(drawn: tuple[Any, Any]) -> None:
    """A copy is equal and shares nothing mutable."""
    annotation, value = drawn
    copy = compile_copier(annotation)
    if copy is None:
        assert mutables(value) == {}
        return
    made = copy(value)
    assert made == value
    assert type(made) is type(value)
    assert mutables(made).keys() & mutables(value).keys() == set()
    assert len(mutables(made)) == len(mutables(value))


@pytest.mark.parametrize("annotation", [item for item, _ in ATOMS], ids=str)
def test_immutable_values_are_shared(annotation: Any) -> None:
    """What cannot change is shared."""
    assert compile_copier(annotation) is None
    assert compile_copier(tuple[annotation, ...]) is None
    assert compile_copier(Optional[annotation]) is None  # noqa: UP045
    assert compile_copier(list[annotation]) is not None


def test_union_copies_what_is_mutable() -> None:
    """A union copies what needs it and shares the rest."""
    copy = compile_copier(str | list[str])
    assert copy is not None
    text = "".join(["a", "b"])
    assert copy(text) is text
    names = ["a"]
    assert copy(names) is not names


# ---- models ------------------------------------------------------------------------------------
def test_copy_keeps_fields_set() -> None:
    """A model keeps which of its fields were set."""
    copy = compile_copier(Loose)
    assert copy is not None
    original = Loose(at=3)
    made = copy(original)
    assert made.model_fields_set == {"at"}
    made.names = []
    assert made.model_fields_set == {"at", "names"}
    assert original.model_fields_set == {"at"}


def test_copy_of_subclass_instance() -> None:
    """A subclass where its base is declared is copied whole."""

    class More(Loose):
        extra: list[int] = []

    copy = compile_copier(Loose)
    assert copy is not None
    given = More(extra=[1])
    made = copy(given)
    assert type(made) is More
    assert made == given
    assert made.extra is not given.extra


def test_copy_keeps_private_and_extra() -> None:
    """Private attributes and extra fields come along."""
    secretive, wide = Secretive(), Open.model_validate({"more": [1]})
    secretive._seen.append(2)
    for item in (secretive, wide):
        copy = compile_copier(type(item))
        assert copy is not None
        assert copy(item) == item
    assert compile_copier(Secretive)(secretive)._seen == [1, 2]  # type: ignore[misc]
    assert compile_copier(Open)(wide).more is not wide.more  # type: ignore[misc,attr-defined]


def test_frozen_instance_is_shared() -> None:
    """An immutable instance is shared, but one of a subclass is copied, since it may be mutable."""

    class Loosened(Frozen):
        names: list[str] = []

    copy = compile_copier(Frozen)
    assert copy is not None
    frozen, loosened = Frozen(name="f"), Loosened(names=["a"])
    assert copy(frozen) is frozen
    assert copy(loosened) == loosened
    assert copy(loosened).names is not loosened.names


def test_copy_computes_cached_property_anew() -> None:
    """A cached property does not come along, since the copy may be changed."""

    class Words(BaseModel):
        words: list[str] = []

        @cached_property
        def loud(self) -> list[str]:
            return [word.upper() for word in self.words]

    copy = compile_copier(Words)
    assert copy is not None
    words = Words(words=["a"])
    assert words.loud == ["A"]
    made = copy(words)
    made.words.append("b")
    assert made.loud == ["A", "B"]


def test_copy_runs_no_hook() -> None:
    """A copy is not made by `model_post_init`, and keeps what that has made."""

    class Counting(BaseModel):
        count: int = 0
        _seen: int = PrivateAttr(default=0)

        def model_post_init(self, context: Any, /) -> None:
            self.count += 1
            self._seen = self.count

    copy = compile_copier(Counting)
    assert copy is not None
    made = copy(Counting(count=1))
    assert (made.count, made._seen) == (2, 2)


def test_copy_by_method_of_model() -> None:
    """A model that copies itself may share what cannot be copied."""

    class Shared(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        lock: Any = None

        def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Shared:
            return Shared(lock=self.lock)

    copy = compile_copier(Shared)
    assert copy is not None
    shared = Shared(lock=threading.Lock())
    assert copy(shared).lock is shared.lock


def test_copy_of_recursive_model() -> None:
    """A recursive model is copied to its last leaf."""
    tree = Tree(children=[Tree(children=[Tree(value=7)])])
    copy = compile_copier(Tree)
    assert copy is not None
    made = copy(tree)
    made.children[0].children[0].value = 8
    assert tree.children[0].children[0].value == 7


def test_plain_instances_are_their_fields() -> None:
    """A model with a constructor, private attributes or a copy of its own is not plain."""

    class Copied(BaseModel):
        def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Copied:
            return self

    class Built(BaseModel):
        def __new__(cls, *args: Any, **kwargs: Any) -> Built:
            return super().__new__(cls)

    assert [
        has_plain_instances(model) for model in (Loose, Frozen, Tree, Secretive, Copied, Built)
    ] == [True, True, True, False, False, False]


def test_maker_makes_equal_instance() -> None:
    """A made instance is one like any other."""
    made = compile_maker(Loose)({"names": ["a"], "at": 1}, {"at"})
    assert made == Loose(names=["a"], at=1)
    assert made.model_fields_set == {"at"}
    assert made.model_dump(exclude_unset=True) == {"at": 1}
    assert made.model_copy() == made
    assert repr(made) == "Loose(names=['a'], at=1)"
