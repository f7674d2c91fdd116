"""Defaults that differ from call to call: made once for each scope, as pydantic would make them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from graphorch.errors import Unassigned, WrongOutput
from graphorch.state.defaults import find_constant
from graphorch.state.reducers import append
from graphorch.state.slices import Schema
from graphorch.state.version import UNSET, InputUpdate, Version
from tests.state.orders import order_of

NUMBERS: Iterator[int] = itertools.count(1)


class Name(BaseModel):
    name: str = ""


class Nested(BaseModel):
    names: list[str] = []
    inner: Name = Field(default_factory=Name)


class Numbered(BaseModel):
    number: int = Field(default_factory=lambda: next(NUMBERS))


class Made(BaseModel):
    id: uuid.UUID = Field(default_factory=uuid.uuid4)
    slug: str = Field(default_factory=lambda data: f"{data['name']}-{data['id']}")
    log: Annotated[list[str], append] = Field(default_factory=lambda: ["begun"])
    cents: Annotated[float, BeforeValidator(lambda cents: cents / 100)] = Field(
        default=199, validate_default=True
    )


class State(Made, Name): ...


REDUCERS = frozenset({3})


def begin(schema: Schema, given: BaseModel) -> Version:
    """The version in which a scope begins."""
    update = schema.input_writer(type(given)).update(given)
    version = Version({}, {})
    if isinstance(update, InputUpdate):
        version.take_defaults(update.defaults, REDUCERS)
    version.take(update, REDUCERS, 0, "input")
    return version


def test_made_defaults_are_equal_for_all_readers() -> None:
    """All readers of a scope read the defaults that were made when it began."""
    schema = Schema(State)
    left, right = begin(schema, Name(name="n")).split(2)
    first = schema.reader(State).read(left)
    assert schema.reader(Made).read(right).model_dump().items() <= first.model_dump().items()
    assert (first.slug, first.log, first.cents) == (f"n-{first.id}", ["begun"], 1.99)
    first.log.append("leak")
    assert schema.reader(Made).read(left).log == ["begun"]


def test_made_defaults_are_those_of_input() -> None:
    """What the instance of the input holds is kept, although it counts as not written."""
    schema, given = Schema(State), State(name="n")
    version = begin(schema, given)
    read = schema.reader(State).read(version)
    assert (read.id, read.slug) == (given.id, given.slug)
    assert schema.reader(State).result(version).model_fields_set == {"name"}
    assert not schema.reader(Made).is_assigned(version)
    chosen = uuid.UUID(int=1)
    assert schema.reader(State).read(begin(schema, State(name="n", id=chosen))).id == chosen


def test_made_default_is_below_writes() -> None:
    """A write replaces the default, or is folded into it."""
    schema = Schema(State)
    version = begin(schema, Name(name="n"))
    version.take({1: uuid.UUID(int=2), 3: ["next"]}, REDUCERS, order_of(1, 0), "n")
    read = schema.reader(Made).read(version)
    assert (read.id, read.log) == (uuid.UUID(int=2), ["begun", "next"])
    assert schema.reader(Made).is_assigned(version)
    assert schema.reader(Made).result(version).model_fields_set == {"id", "log"}


def test_default_without_its_fields_is_unassigned() -> None:
    """A default that is made of a field without a value has none; its reader is told why."""

    class Titled(BaseModel):
        title: str
        slug: str = Field(default_factory=lambda data: data["title"].lower())

    class Whole(Name, Titled): ...

    schema = Schema(Whole)
    version = begin(schema, Name())
    version.take({0: "T"}, frozenset(), order_of(1, 0), "n")
    with pytest.raises(Unassigned, match=r"'Titled.slug' was read, .* Its default_factory needs"):
        schema.reader(Titled).read(version)
    assert schema.reader(Titled).read(begin(schema, Whole(title="T"))).slug == "t"


def test_failing_factory_is_named() -> None:
    """A factory that raises is named with its field."""

    class Broken(BaseModel):
        broken: int = Field(default_factory=lambda: int("x"))

    class Whole(Name, Broken): ...

    with pytest.raises(WrongOutput, match=r"default of 'Whole.broken' cannot be made: ValueError"):
        begin(Schema(Whole), Name())


def test_known_defaults_are_completed() -> None:
    """Defaults that a journal holds are kept, and those that it lacks are made."""
    schema, known = Schema(State), uuid.UUID(int=3)
    completed = schema.defaults.complete({0: "n"}, {1: known})
    assert completed == {0: "n"}
    assert completed.defaults == {1: known, 2: f"n-{known}", 3: ["begun"], 4: 1.99}
    assert schema.defaults.complete({1: uuid.UUID(int=4)}, {1: known}).defaults.keys() == {2, 3, 4}


@pytest.mark.parametrize(
    "model, is_constant",
    [(Name, True), (Nested, True), (Numbered, False)],
)
def test_factory_of_plain_model_is_constant(model: type[BaseModel], is_constant: bool) -> None:
    """A factory that makes equal values in every call is a constant, which costs a run nothing."""

    class Holder(BaseModel):
        value: Any = Field(default_factory=model)
        table: dict[str, list[int]] = Field(default_factory=dict[str, list[int]])

    infos = Holder.model_fields
    assert (find_constant(Holder, infos["value"]) is not UNSET) == is_constant
    assert find_constant(Holder, infos["table"]) == {}
    assert Schema(Holder).defaults.is_needed != is_constant


def test_validated_default_is_made() -> None:
    """A default that is validated is made by validation, also by the configuration of the model."""

    class Strict(BaseModel):
        model_config = ConfigDict(validate_default=True)
        number: int = Field(default="3")  # type: ignore[assignment]
        names: list[str] = []

    class Whole(Strict, Name): ...

    schema = Schema(Whole)
    for given in (Whole(), Name()):
        read = schema.reader(Strict).read(begin(schema, given))
        assert (read.number, read.names) == (3, [])
