"""Forms in a real browser: form, JSON and model hold the same value, and known mistakes of forms.

Every control of a form is typed into anew with what it shows, so that whatever it shows must read
back as the value that it stands for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from tests.server.page.browser import needs_browser, open_page, serve
from tests.server.page.flows import hostile

pytestmark = needs_browser

MAKE = """async ([schema, text]) => {
  const { Form } = await import("/forms/form.js");
  const { readJson } = await import("/parts/json.js");
  const value = text === null ? undefined : readJson(text);
  window.form = new Form({ schema: readJson(schema), value, label: "Value" });
  document.querySelector("main").replaceChildren(form.el);
  return form.text;
}"""
TYPE_ALL = """() => {
  const isSet = (control) => {
    let value = form.value;
    for (const part of control.closest(".form-field").dataset.place.split("/").slice(1))
      value = value?.[part.replaceAll("~1", "/").replaceAll("~0", "~")];
    return value !== undefined;
  };
  const controls = form.body.querySelectorAll("input, textarea, select:not(.field-kind)");
  for (const control of [...controls].filter(isSet))
    for (const name of ["input", "change"])
      control.dispatchEvent(new Event(name, { bubbles: true }));
  return [form.text, form.broken];
}"""


class Opened:
    """A page that makes one form after another."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def make(self, model: type[BaseModel], value: Any = None) -> Any:
        """Show the form of a model, and return the value that it begins with."""
        text = None if value is None else json.dumps(value)
        return json.loads(self.page.evaluate(MAKE, [json.dumps(model.model_json_schema()), text]))

    def type_all(self) -> Any:
        """Type into every control what it shows, and return the value of the form."""
        text, broken = self.page.evaluate(TYPE_ALL)
        assert broken == ""
        return json.loads(text)

    def read(self) -> Any:
        """Return the value of the form."""
        return json.loads(self.page.evaluate("form.text"))

    def at(self, place: str, control: str = "input, textarea, select:not(.field-kind)") -> Any:
        """Return the control of a place."""
        return self.page.locator(f'[data-place="{place}"]').locator(control).first


@pytest.fixture(scope="module")
def forms(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder: Path = tmp_path_factory.mktemp("journal")
    with serve(folder, hostile()) as server, open_page(browser, server.url) as opened:
        yield Opened(opened.go("/inbox", ".state"))
        opened.check()


# ---- form → JSON → model → form is the identity --------------------------------------------------
class Tone(Enum):
    plain = "plain"
    warm = 2


class Point(BaseModel):
    x: int
    y: float = 0.5


class Branch(BaseModel):
    label: str
    children: list[Branch] = []


_KINDS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=12),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    date: st.dates(),
    datetime: st.datetimes(),
    timedelta: st.timedeltas(),
    UUID: st.uuids(),
    Tone: st.sampled_from(Tone),
    Literal["a", 1, None]: st.sampled_from(["a", 1, None]),
    Point: st.builds(Point, x=st.integers(), y=st.floats(-1, 1)),
    Branch: st.recursive(
        st.builds(Branch, label=st.text(max_size=4)),
        lambda inner: st.builds(
            Branch, label=st.text(max_size=4), children=st.lists(inner, max_size=2)
        ),
        max_leaves=4,
    ),
    Any: st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=4,
    ),
}
Case: TypeAlias = tuple[type[BaseModel], Any]


@st.composite
def typed_values(draw: st.DrawFn, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    """A type, and the strategy of its values."""
    wraps = ["plain", "optional", "list", "dict", "tuple", "union"] if depth else ["plain"]
    wrap = draw(st.sampled_from(wraps))
    if wrap == "plain":
        kind = draw(st.sampled_from(list(_KINDS)))
        return kind, _KINDS[kind]
    kind, values = draw(typed_values(depth - 1))
    if wrap == "optional":
        return kind | None if kind is not Any else Any, st.none() | values
    if wrap == "list":
        return list[kind], st.lists(values, max_size=3)
    if wrap == "dict":
        return dict[str, kind], st.dictionaries(st.text(max_size=4), values, max_size=3)
    other, more = draw(typed_values(depth - 1))
    if wrap == "tuple":
        return tuple[kind, other], st.tuples(values, more)
    return kind | other if Any not in (kind, other) else Any, values | more


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A model, and JSON of a value of it; fields may be left out where they have a default."""
    fields: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for at in range(draw(st.integers(1, 4))):
        kind, strategy = draw(typed_values())
        value = draw(strategy)
        is_required = draw(st.booleans())
        fields[f"f{at}"] = (kind, ... if is_required else value)
        if is_required or draw(st.booleans()):
            values[f"f{at}"] = value
    model = create_model("Made", **fields)
    made = model.model_construct(**values)
    dumped = made.model_dump_json(exclude_unset=True, warnings=False)
    return model, json.loads(dumped)


def check_case(forms: Opened, case: Case) -> None:
    model, value = case
    assert forms.make(model, value) == value
    assert forms.type_all() == value
    forms.page.evaluate("form.turn('json')")
    forms.page.evaluate("form.turn('fields')")
    again = forms.type_all()
    assert again == value
    try:
        expected = model.model_validate_json(json.dumps(value))
    except ValueError:
        return  # such as a text that no model of a union reads back
    assert model.model_validate_json(json.dumps(again)) == expected


_SETTINGS = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=True,
    database=None,
)


@given(case=cases())
@settings(_SETTINGS, max_examples=10)
def test_form_keeps_every_value(forms: Opened, case: Case) -> None:
    """What a form shows reads back as the value that it was given, in a few examples."""
    check_case(forms, case)


@pytest.mark.slow
@given(case=cases())
@settings(_SETTINGS, max_examples=300)
def test_form_keeps_many_values(forms: Opened, case: Case) -> None:
    """What a form shows reads back as the value that it was given, in many examples."""
    check_case(forms, case)


# ---- mistakes that forms are known for -----------------------------------------------------------
class Inner(BaseModel):
    name: str = "inner"
    size: int = 1


class Known(BaseModel):
    inner: Inner = Inner()
    copies: int = 3
    note: str | None = "preset"
    limit: int | None = None
    either: int | str | list[int] = 1
    number: Annotated[int, Field(le=2**70)] = 2**64


def test_nested_models_have_fields_of_their_own(forms: Opened) -> None:
    """A nested model is a group of typed fields, not one box of text."""
    forms.make(Known, {"inner": {"size": 2}})
    forms.at("/inner/name").fill("x")
    assert forms.read() == {"inner": {"size": 2, "name": "x"}}


def test_defaults_survive_form_and_json(forms: Opened) -> None:
    """Going to the JSON and back neither loses nor adds a default."""
    forms.make(Known, {})
    forms.page.click("[data-mode=json]")
    forms.page.click("[data-mode=fields]")
    assert forms.read() == {}
    assert "default: 3" in forms.page.inner_text('[data-place="/copies"]')


def test_default_of_json_is_kept_by_the_form(forms: Opened) -> None:
    """A default that the JSON tab wrote is still there after the form was changed."""
    forms.make(Known, {})
    forms.page.click("[data-mode=json]")
    forms.page.fill(".json-text", '{"copies": 3, "inner": {"name": "inner", "size": 1}}')
    forms.page.click("[data-mode=fields]")
    forms.at("/inner/size").fill("2")
    assert forms.read() == {"copies": 3, "inner": {"name": "inner", "size": 2}}


def test_null_can_be_chosen(forms: Opened) -> None:
    """A field that may be null is set to null, to a value, and left out again."""
    forms.make(Known, {})
    forms.at("/note", ".field-kind").select_option(label="null")
    assert forms.read() == {"note": None}
    forms.at("/note", ".field-kind").select_option(label="text")
    assert forms.read() == {"note": ""}
    forms.at("/note", ".field-kind").select_option(value="missing")
    assert forms.read() == {}


def test_null_is_not_an_empty_number(forms: Opened) -> None:
    """A number that is emptied is left out, and is not null; null is chosen by itself."""
    forms.make(Known, {"limit": 5})
    forms.at("/limit").fill("")
    assert forms.read() == {}
    forms.at("/limit", ".field-kind").select_option(label="null")
    assert forms.read() == {"limit": None}


def test_value_equal_to_its_default_is_kept(forms: Opened) -> None:
    """What a person typed is sent, also if it is what the default is."""
    forms.make(Known, {})
    forms.at("/copies").fill("3")
    assert forms.read() == {"copies": 3}
    forms.page.click('[data-place="/copies"] button:has-text("Use the default")')
    assert forms.read() == {}


def test_falsy_values_are_values(forms: Opened) -> None:
    """Zero and the empty text are kept beside a default that is neither."""
    forms.make(Known, {})
    forms.at("/copies").fill("0")
    forms.at("/note").fill("x")
    forms.at("/note").fill("")
    assert forms.read() == {"copies": 0, "note": ""}


def test_selector_of_a_union_does_not_jump(forms: Opened) -> None:
    """The chosen member stays while a person types what another member would fit."""
    forms.make(Known, {})
    kind = forms.at("/either", ".field-kind")
    kind.select_option(label="text")
    forms.at("/either").fill("12")
    assert kind.locator("option:checked").inner_text() == "text"
    assert forms.read() == {"either": "12"}
    kind.select_option(label="list")
    kind.select_option(label="text")
    assert forms.read() == {"either": "12"}


def test_large_numbers_are_kept_whole(forms: Opened) -> None:
    """Numbers beyond those of JavaScript stay as they are typed."""
    forms.make(Known, {})
    forms.at("/number").fill(str(2**64 + 1))
    assert forms.read() == {"number": 2**64 + 1}
