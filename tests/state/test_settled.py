"""What pydantic made is kept: nothing is converted twice, looked up by alias, or refused."""

from __future__ import annotations

import base64
import collections
import datetime
import decimal
import enum
import hashlib
import ipaddress
import json
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AnyUrl,
    Base64Bytes,
    Base64Str,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    FutureDatetime,
    Json,
    JsonValue,
    PlainValidator,
    PrivateAttr,
    RootModel,
    Secret,
    SecretStr,
    StringConstraints,
    Tag,
    ValidationInfo,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from graphorch.errors import WrongOutput
from graphorch.state.slices import Schema
from graphorch.state.version import Version
from tests.state.orders import order_of

T = TypeVar("T")

Euro = Annotated[float, BeforeValidator(lambda cents: float(cents) / 100)]
Hashed = Annotated[str, AfterValidator(lambda text: hashlib.sha256(text.encode()).hexdigest())]


def strip_prefix(value: str) -> str:
    if not value.startswith("sk-"):
        raise ValueError("must begin with sk-")
    return value[3:]


def split(value: str) -> Any:
    return value.split(",")


def double(value: Any, handler: Any) -> Any:
    return handler(value) * 2


class Person(BaseModel):
    first_name: str = Field("unknown", alias="firstName")


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    home_town: str = ""
    people: list[Person] = []


class Choices(BaseModel):
    name: str = Field("", validation_alias=AliasChoices("Name", "NAME"))
    city: str = Field("", validation_alias=AliasPath("address", 0))


class Clash(BaseModel):
    a: int = Field(0, alias="b")
    b: int = Field(0, alias="c")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    names: tuple[str, ...] = Field((), alias="Names")


class Price(BaseModel):
    price: Euro = 0.0
    note: str = None  # type: ignore[assignment]
    metadata: dict[str, str] = {}


class Cat(BaseModel):
    kind: Literal["cat"] = Field("cat", alias="petKind")
    name: str = Field("", alias="petName")


class Dog(BaseModel):
    kind: Literal["dog"] = Field("dog", alias="petKind")
    name: str = Field("", alias="petName")


class Puppy(Dog):
    age: int = 0


def kind_of(value: Any) -> str:
    return value["petKind"] if isinstance(value, dict) else "none"


class Keyed(TypedDict):
    key: Annotated[int, Field(alias="Key")]


@dataclass
class Plain:
    cents: Annotated[float, BeforeValidator(lambda cents: cents / 100)]
    names: list[str] = dataclass_field(default_factory=list)


class Spot(NamedTuple):
    x: Euro
    y: int


class Between(BaseModel):
    low: int = 0
    high: int = 0

    @field_validator("high")
    @classmethod
    def above(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data["low"]:
            raise ValueError("below low")
        return value


class Totalled(BaseModel):
    parts: list[int] = []
    total: int = 0

    @model_validator(mode="before")
    @classmethod
    def add(cls, data: Any) -> Any:
        return {**data, "total": sum(data["parts"])}

    @model_validator(mode="after")
    def double(self) -> Totalled:
        self.total *= 2
        return self


class Secretive(BaseModel):
    n: int = 0
    _token: str = PrivateAttr("none")

    def model_post_init(self, context: Any, /) -> None:
        self.n += 1
        self._token = "secret"


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int = Field(0, alias="N")


class Root(RootModel[list[Person]]): ...


class Box(BaseModel, Generic[T]):
    item: T = Field(alias="Item")


class Tree(BaseModel):
    value: Euro = Field(0.0, alias="Value")
    children: list[Tree] = Field([], alias="Children")


class Color(enum.Enum):
    RED = "r"


class Named(BaseModel):
    model_config = ConfigDict(use_enum_values=True, str_to_upper=True, str_max_length=2)
    color: Color = Color.RED
    text: str = Field("", pattern="^[a-zß]*$")


TOMORROW = datetime.datetime.now() + datetime.timedelta(days=1)
ADA = {"firstName": "Ada"}

# A type, what a node hands to pydantic, and what pydantic makes of it.
CASES: dict[str, tuple[Any, Any]] = {
    "alias": (Person | None, ADA),
    "alias in list": (list[Person], [ADA]),
    "alias in dict": (dict[str, list[Person]], {"a": [ADA]}),
    "alias in tuple": (tuple[Person, int], (ADA, 3)),
    "alias generator": (Camel, {"homeTown": "London", "people": [ADA]}),
    "alias choices and path": (Choices, {"NAME": "Ada", "address": ["London"]}),
    "alias that is another name": (Clash, {"b": 1, "c": 2}),
    "alias in strict model": (Strict, {"Names": ("a",)}),
    "alias in root model": (Root, [ADA]),
    "alias in generic model": (Box[Person], {"Item": ADA}),
    "alias in recursive model": (Tree, {"Value": 100, "Children": [{"Value": 200}]}),
    "alias in typed dict": (Keyed, {"Key": 3}),
    "alias in extras": (Open, {"N": 1, "more": 2}),
    "alias of discriminator": (
        Annotated[Cat | Dog, Field(discriminator="kind")],
        {"petKind": "dog", "petName": "Rex"},
    ),
    "discriminator function": (
        Annotated[
            Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")],
            Discriminator(kind_of),
        ],
        {"petKind": "cat", "petName": "Tom"},
    ),
    "subclass": (Dog, Puppy.model_validate({"petName": "Rex", "age": 1})),
    "cents": (Euro, 1999),
    "cents in list": (list[Euro], [1999]),
    "cents in model": (Price, {"price": 1999, "metadata": {"a": "b"}}),
    "cents in dataclass": (Plain, {"cents": 1999, "names": ["a"]}),
    "cents in named tuple": (Spot, (1999, 3)),
    "hash": (Hashed, "secret"),
    "prefix": (Annotated[str, AfterValidator(strip_prefix)], "sk-1"),
    "type changed": (Annotated[str, AfterValidator(split)], "a,b"),
    "json loaded": (Annotated[list[int], BeforeValidator(json.loads)], "[1]"),
    "split before": (Annotated[list[str], BeforeValidator(split)], "a,b"),
    "wrapped": (Annotated[str, WrapValidator(double)], "ab"),
    "plain": (Annotated[Any, PlainValidator(lambda value: [value])], 3),
    "bounds before conversion": (
        Annotated[str, Field(max_length=4), AfterValidator(lambda text: text * 2)],
        "abcd",
    ),
    "json": (Json[list[int]], "[1, 2]"),
    "json of models": (Json[list[Person]], '[{"firstName": "Ada"}]'),
    "json of anything": (Json, '{"a": [1]}'),
    "base64": (Base64Str, base64.b64encode(b"aGVsbG8h").decode()),
    "base64 bytes": (Base64Bytes, base64.b64encode(b"x")),
    "sibling read": (Between, {"low": 1, "high": 2}),
    "model validators": (Totalled, {"parts": [1, 2]}),
    "private attribute": (Secretive, {"n": 1}),
    "private attribute in list": (list[Secretive], [{"n": 1}]),
    "enumeration value": (Named, {"color": "r", "text": "aß"}),
    "case": (Annotated[str, StringConstraints(to_upper=True, pattern="^[a-z]+$")], "abc"),
    "future": (FutureDatetime, TOMORROW),
    "secret": (SecretStr, "s"),
    "secret list": (Secret[list[int]], [1]),
    "byte size": (ByteSize, "1kb"),
    "url": (AnyUrl, "http://a.b/c"),
    "address": (ipaddress.IPv4Address, "1.2.3.4"),
    "path": (pathlib.Path, "a/b"),
    "counter": (collections.Counter[str], {"a": 1}),
    "default dict": (collections.defaultdict[str, list[int]], {"a": [1]}),
    "deque": (collections.deque[int], collections.deque([1], maxlen=3)),
    "sequence": (Sequence[int], (1, 2)),
    "json value": (JsonValue, {"a": [1, {"b": None}]}),
    "decimal": (decimal.Decimal, "1.50"),
    "set": (set[int], ["1"]),
}


def make(annotation: Any, raw: Any) -> Any:
    """A slice with one field that pydantic has made from a raw value."""
    slice = type("Slice", (BaseModel,), {"__annotations__": {"value": annotation}})
    return slice.model_validate({"value": raw})  # pyright: ignore[reportAttributeAccessIssue]


def private(value: Any) -> Any:
    return getattr(value, "__pydantic_private__", None)


@pytest.mark.parametrize("annotation, raw", CASES.values(), ids=CASES)
def test_value_is_kept_as_made(annotation: Any, raw: Any) -> None:
    """A value that pydantic made is written and read as it is, also from node to node."""
    made = make(annotation, raw)
    schema, given = Schema(type(made)), made
    for depth in (1, 2):
        update = schema.writer(type(made)).update(given)
        version = Version({}, {})
        version.take(update, frozenset(), order_of(depth, 0), "n")
        read = schema.reader(type(made)).read(version)
        assert read.value == made.value
        assert type(read.value) is type(made.value)
        assert private(read.value) == private(made.value)
        given = type(made).model_construct(value=read.value)


def test_validators_are_not_called_again() -> None:
    """A validator is called where a node makes a slice, and not again when it is written."""
    calls: list[str] = []

    def convert(value: Any) -> Any:
        calls.append("convert")
        return [value]

    class Slice(BaseModel):
        before: Annotated[Any, BeforeValidator(convert)] = None
        after: Annotated[Any, AfterValidator(convert)] = None
        nested: list[Annotated[Any, AfterValidator(convert)]] = []

    made = Slice(before=1, after=2, nested=[3])
    del calls[:]
    assert Schema(Slice).writer(Slice).update(made) == {0: [1], 1: [2], 2: [[3]]}
    assert calls == []


# ---- what pydantic did not make ------------------------------------------------------------------
class Checked(BaseModel):
    score: int = 0
    persons: list[Person] = []
    secretive: Secretive = Secretive()
    price: Euro = 0.0

    @field_validator("score")
    @classmethod
    def is_low(cls, value: int) -> int:
        if value > 10:
            raise ValueError("above 10")
        return value


WRITER = Schema(Checked).writer(Checked)


def test_check_holds_on_assignment() -> None:
    """A function that only checks is called again, since a field may have been assigned."""
    made = Checked(score=10)
    assert WRITER.update(made) == {0: 10}
    made.score = 11
    with pytest.raises(WrongOutput, match=r"'score' = int 11: Value error, above 10"):
        WRITER.update(made)
    made.score = "many"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(WrongOutput, match=r"'score' = str 'many'"):
        WRITER.update(made)


def test_raw_value_is_converted_once() -> None:
    """A value that pydantic cannot have made is converted, as in the making of a slice."""
    assert WRITER.update(Checked.model_construct({"price"}, price="1999")) == {3: 19.99}
    assert WRITER.update(Checked.model_construct({"score"}, score="3")) == {0: 3}


def test_changed_instance_is_found() -> None:
    """An instance with an alias or a hook is checked by the names of its fields."""
    made = Checked(persons=[Person.model_validate(ADA)], secretive=Secretive())
    made.persons[0].first_name = 3  # type: ignore[assignment]
    with pytest.raises(WrongOutput, match=r"'persons.0.first_name' = int 3"):
        WRITER.update(made)
    made.persons[0].first_name = "Ada"
    made.secretive.n = "x"  # type: ignore[assignment]
    with pytest.raises(WrongOutput, match=r"'secretive.n' = str 'x'"):
        WRITER.update(made)


class Owner(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []


def test_changed_instance_of_union_is_named() -> None:
    """An invalid value in a union of models is named by its path, in the model that it is of."""
    made = Owner.model_validate({"pets": [{"petKind": "cat"}, {"petKind": "dog"}]})
    made.pets[1].name = 3  # type: ignore[assignment]
    with pytest.raises(WrongOutput, match=r"'pets.1.name' = int 3: Input should be a valid string"):
        Schema(Owner).writer(Owner).update(made)


def test_raw_mapping_is_no_instance() -> None:
    """Data that only the model itself could convert is refused where an instance belongs."""
    made = Checked.model_construct({"persons"}, persons=[ADA])
    with pytest.raises(WrongOutput, match=r"'persons.0' = dict .*instance of Person"):
        WRITER.update(made)
