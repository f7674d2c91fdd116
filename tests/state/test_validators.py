"""Validators of single fields agree with pydantic on the model, and return values of their own."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from graphorch.state.validators import field_validators

T = TypeVar("T")


class Inner(BaseModel):
    names: list[str] = []
    at: int = Field(default=0, ge=0)


class More(Inner):
    extra: list[int] = []


class Tree(BaseModel):
    value: int = 0
    children: list[Tree] = []


class Box(BaseModel, Generic[T]):
    item: T


class Everything(BaseModel):
    number: int = Field(default=0, ge=0)
    tag: Annotated[str, AfterValidator(str.lower)] = ""
    checked: int = 0
    inner: Inner = Inner()
    inners: dict[str, list[Inner]] = {}
    tree: Tree = Tree()
    box: Box[int] = Box[int](item=0)
    free: Any = None

    @field_validator("checked")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("odd")
        return value


def validated(name: str, value: Any) -> Any:
    return field_validators(Everything)[name].check(value)


# ---- what is valid -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name, value, valid",
    [
        ("number", "3", 3),
        ("checked", 4, 4),
        ("inner", {"at": "1"}, Inner(at=1)),
        ("box", {"item": "7"}, Box[int](item=7)),
        ("tree", {"children": [{"value": "1"}]}, Tree(children=[Tree(value=1)])),
    ],
)
def test_validator_coerces_like_model(name: str, value: Any, valid: Any) -> None:
    """A value is coerced as the model would."""
    assert (
        validated(name, value) == valid == getattr(Everything.model_validate({name: value}), name)
    )


@pytest.mark.parametrize(
    "name, value",
    [
        ("number", -1),
        ("number", "many"),
        ("checked", 3),
        ("inner", {"at": -1}),
        ("inners", {"a": [{"at": "x"}]}),
        ("box", {"item": "x"}),
    ],
)
def test_validator_refuses_like_model(name: str, value: Any) -> None:
    """What the model refuses the field refuses with the same words."""
    with pytest.raises(ValidationError) as alone:
        validated(name, value)
    with pytest.raises(ValidationError) as whole:
        Everything.model_validate({name: value})
    assert [details["msg"] for details in alone.value.errors()] == [
        details["msg"] for details in whole.value.errors()
    ]


def test_validator_keeps_configuration() -> None:
    """The configuration of the model holds."""

    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)
        number: int = 0

    class Trimmed(BaseModel):
        model_config = ConfigDict(str_strip_whitespace=True)
        text: str = ""

    with pytest.raises(ValidationError):
        field_validators(Strict)["number"].check("3")
    assert field_validators(Trimmed)["text"].check(" a ") == "a"


def test_model_validators_do_not_run() -> None:
    """Validators of the whole model do not run on a single field."""

    class Guarded(BaseModel):
        number: int = 0

        @model_validator(mode="before")
        @classmethod
        def before(cls, data: Any) -> Any:
            return data

        @model_validator(mode="wrap")
        @classmethod
        def around(cls, data: Any, handler: Any) -> Any:
            return handler(data)

        @model_validator(mode="after")
        def after(self) -> Guarded:
            return self

    assert field_validators(Guarded)["number"].check("3") == 3


def test_validators_of_recursive_and_generic_models() -> None:
    """Recursive and generic models have a validator per field."""
    assert field_validators(Tree)["children"].check([{"children": [{"value": "2"}]}]) == [
        Tree(children=[Tree(value=2)])
    ]
    assert field_validators(Box[int])["item"].check("2") == 2


def test_validators_of_forward_references() -> None:
    """A model that names a later one is finished first."""
    validators = field_validators(Early)
    assert validators["late"].check({"n": "1"}) == Late(n=1)


class Early(BaseModel):
    late: Late


class Late(BaseModel):
    n: int


# ---- what it is ----------------------------------------------------------------------------------
def test_valid_instance_is_kept() -> None:
    """A nested instance that is valid stays the same one; whoever keeps it copies it."""
    given = Inner(names=["a"])
    assert validated("inner", given) is given
    assert validated("inners", {"k": [given]})["k"][0] is given


def test_nested_change_is_found() -> None:
    """A nested instance that was changed without validation is found."""
    given = Inner()
    given.at = -1
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        validated("inner", given)
    with pytest.raises(ValidationError):
        validated("inners", {"k": [Inner.model_construct(names="no list")]})


def test_subclass_instance_keeps_its_type() -> None:
    """An instance of a subclass stays what it is, as pydantic leaves it."""
    given = More(at=2, extra=[1])
    assert validated("inner", given) is given
    given.at = -1
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        validated("inner", given)


def test_value_of_closed_type_is_rebuilt() -> None:
    """A value is made anew in one go where its type says all that is inside."""
    validators = field_validators(Plain)
    assert {name: validator.rebuild is not None for name, validator in validators.items()} == {
        "number": True,
        "table": True,
        "metadata": True,
        "inner": True,
        "free": False,
        "tag": False,
        "hidden": False,
    }
    given = {"a": [1]}
    rebuild = validators["table"].rebuild
    assert rebuild is not None
    made = rebuild(given)
    assert made == given
    assert made is not given
    assert made["a"] is not given["a"]
    assert rebuild is validators["table"].check
    with pytest.raises(ValidationError):
        validators["inner"].rebuild(More())  # type: ignore[misc]


class Hidden(BaseModel):
    serialization: Any = None


class Plain(BaseModel):
    number: int = 0
    table: dict[str, list[int]] = {}
    metadata: dict[str, str] = {}
    inner: Inner = Inner()
    free: Any = None
    tag: Annotated[str, AfterValidator(str.lower)] = ""
    hidden: Hidden = Hidden()


def test_arbitrary_class_is_not_rebuilt() -> None:
    """An instance of an arbitrary class is not the engines own."""

    class Thing: ...

    class Holder(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        things: list[Thing] = []

    thing = Thing()
    validator = field_validators(Holder)["things"]
    assert validator.check([thing])[0] is thing
    assert validator.rebuild is None
