"""What each call of the builder writes down, and what it notes as wrong without stopping."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import pytest

from graphorch.graph.builder import gather_takes_missing, read_labels
from graphorch.graph.node import END, START
from graphorch.graph.spec import ErrorSpec
from tests.graph.content import (
    Kind,
    Sketch,
    dash,
    judge,
    kind_of,
    look,
    note,
    notes_of,
    notes_of_some,
    tidy,
    weak,
)

Alias = Literal["a", "b"]


class Level(Enum):
    LOW = 1
    HIGH = 2


def literal(k: Kind) -> Literal["a", "b"]:
    return "a"


def alias(k: Kind) -> Alias:
    return "a"


def enum(k: Kind) -> Level:
    return Level.LOW


def union(k: Kind) -> Literal["a"] | Level:
    return "a"


def many(k: Kind) -> frozenset[Literal["a", "b"]]:
    return frozenset()


def text(k: Kind) -> str:
    return "a"


def perhaps(k: Kind) -> Literal["a"] | None:
    return None


def test_chain_connects_all_neighbors() -> None:
    """A chain connects all nodes of a step with all nodes of the next step."""
    sketch = Sketch().chain(look, [note, dash], tidy)
    assert sketch.spec.edges == [
        ("look", "note"),
        ("look", "dash"),
        ("note", "tidy"),
        ("dash", "tidy"),
    ]
    assert list(sketch.spec.nodes) == ["look", "note", "dash", "tidy"]
    assert sketch.spec.connected == {"look", "note", "dash", "tidy"}


def test_markers_are_shared() -> None:
    """START and END are not copied."""
    sketch = Sketch().chain(START, look, END)
    assert sketch.spec.edges == [("START", "look"), ("look", "END")]
    assert sketch.spec.problems == []


def test_route_collects_cases_in_order() -> None:
    """A route collects its cases in order."""
    sketch = Sketch()
    sketch.route(look, kind_of).when("math", [note, dash]).otherwise(tidy)
    (spec,) = sketch.spec.routes
    assert (spec.source, spec.labels, spec.is_multi) == ("look", ("math", "prose"), False)
    assert (spec.cases, spec.otherwise, spec.exhaustive) == (
        [("math", ("note", "dash"))],
        ("tidy",),
        False,
    )


def test_loop_keeps_declaration() -> None:
    """A loop keeps its sources, its bound, and where it leads when exhausted."""
    sketch = Sketch()
    sketch.loop([judge, look], back_to=dash, while_=weak, max_iterations=3, exhausted=tidy)
    (spec,) = sketch.spec.loops
    assert (spec.sources, spec.header, spec.max_iterations) == (("judge", "look"), "dash", 3)
    assert (spec.exhausted, spec.exhausted_is_node) == ("tidy", True)


def test_on_error_keeps_exceptions_as_tuple() -> None:
    """An error edge keeps its exceptions as a tuple."""
    sketch = Sketch()
    sketch.on_error(look, note)
    sketch.on_error(look, dash, when=(TimeoutError, ValueError))
    assert sketch.spec.errors == [
        ErrorSpec("look", "note", (Exception,)),
        ErrorSpec("look", "dash", (TimeoutError, ValueError)),
    ]
    assert sketch.spec.connected == {"look", "note", "dash"}


@pytest.mark.parametrize("when", [ValueError("an instance"), (), "TimeoutError", BaseException])
def test_on_error_notes_wrong_exceptions(when: Any) -> None:
    """A class that is not an exception is noted as a problem."""
    sketch = Sketch()
    sketch.on_error(look, note, when=when)
    assert [problem.code for problem in sketch.spec.problems] == ["ERROR_TYPE"]


def test_wrong_call_is_noted_and_next_counts() -> None:
    """A wrong call is noted and the next one still counts."""
    sketch = Sketch()
    sketch.route([look, note], kind_of).when("math", dash).exhaustive()  # type: ignore[arg-type,misc]
    sketch.loop([], back_to=[note, dash], while_=weak, max_iterations=2)  # type: ignore[arg-type]
    sketch.chain(look, note)
    assert [problem.code for problem in sketch.spec.problems] == [
        "ONE_NODE",
        "NOT_A_NODE",
        "ONE_NODE",
    ]
    assert sketch.spec.edges == [("look", "note")]


def test_function_without_slices_is_noted() -> None:
    """A function that reads no slices is noted where it was given."""

    async def later(k: Kind) -> bool:
        return True

    sketch = Sketch()
    sketch.loop(look, back_to=look, while_=later, max_iterations=2)  # type: ignore[arg-type]
    assert [(problem.code, problem.where) for problem in sketch.spec.problems] == [
        ("PURE_SIGNATURE", "loop 'look' → 'look'")
    ]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (literal, (("a", "b"), False)),
        (alias, (("a", "b"), False)),
        (enum, ((Level.LOW, Level.HIGH), False)),
        (union, (("a", Level.LOW, Level.HIGH), False)),
        (many, (("a", "b"), True)),
        (text, (None, False)),
        (perhaps, (None, False)),
        (lambda kind: "a", (None, False)),
    ],
)  # fmt: skip
def test_read_labels_from_return_type(selector: Any, expected: object) -> None:
    """Labels are read off the return type."""
    assert read_labels(selector) == expected


def test_gather_with_second_parameter_takes_missing() -> None:
    """A `gather` with a second parameter takes the missing items."""
    assert gather_takes_missing(notes_of_some)
    assert not gather_takes_missing(notes_of)
