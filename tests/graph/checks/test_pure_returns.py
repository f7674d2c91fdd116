"""Pure functions are annotated to return what is expected where they are given."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NewType

import numpy
import pytest
from pydantic import BaseModel
from typing_extensions import TypeIs

from graphorch import Graph, GraphError, node
from graphorch.graph.checks.annotations import format_hint, is_clash
from graphorch.patterns import GateVerdict, Repeat, Stop

Flag = NewType("Flag", bool)


class Topic(BaseModel):
    topic: str = ""


class Draft(BaseModel):
    draft: str = ""


class Review(BaseModel):
    score: float = 0


class State(Topic, Draft, Review): ...


@node
def write(topic: Topic, review: Review) -> Draft: ...
@node
def judge(draft: Draft) -> Review: ...
@node
def end(review: Review) -> Draft: ...


def good(review: Review) -> bool:
    return review.score > 1


def text(review: Review) -> str: ...
def nothing(review: Review) -> None: ...
def maybe(review: Review) -> bool | None: ...
def either(review: Review) -> GateVerdict: ...
def bare(review: Review): ...  # type: ignore[no-untyped-def]
def number(review: Review) -> float: ...


def graph() -> Graph[State, Topic, Draft]:
    return Graph("g", State, input=Topic, output=Draft)


def loop(fn: Any) -> Graph[Any, Any, Any]:
    return graph().chain(write, judge, end).loop(judge, back_to=write, while_=fn, max_iterations=2)


def accept(fn: Any) -> Graph[Any, Any, Any]:
    return graph().evaluator_loop(write, judge, accept=fn, max_rounds=2)


def gate(fn: Any) -> Graph[Any, Any, Any]:
    return graph().pipeline(write, judge, end, gates={judge: fn})


def score(fn: Any) -> Graph[Any, Any, Any]:
    return graph().evaluator_loop(write, judge, accept=good, score=fn, max_rounds=2)


def confidence(fn: Any) -> Graph[Any, Any, Any]:
    def kind(draft: Draft) -> Literal["a", "b"]: ...

    made = graph().chain(write, judge)
    made.router(judge, kind, {"a": end}, default=end.named("b"), confidence=fn, threshold=0.5)  # type: ignore[arg-type]
    return made


ROLES: dict[Callable[[Any], Graph[Any, Any, Any]], tuple[str, set[Any]]] = {
    loop: ("loop 'judge' → 'write'", {good, bare}),
    accept: ("evaluator_loop of 'write' and 'judge'", {good, bare}),
    gate: ("gate of 'judge'", {good, bare, either}),
    score: ("evaluator_loop of 'write' and 'judge'", {number, bare}),
    confidence: ("router of 'judge'", {number, bare}),
}


@pytest.mark.parametrize("fn", [good, text, nothing, maybe, either, bare, number])
@pytest.mark.parametrize("role", ROLES)
def test_wrong_return_annotation_is_refused(role: Callable[..., Any], fn: Any) -> None:
    """What a function is annotated to return fits its role, or the graph does not build."""
    where, fitting = ROLES[role]
    if fn in fitting:
        role(fn).build()
        return
    with pytest.raises(GraphError) as caught:
        role(fn).build()
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("PURE_RETURN", where)
    assert f"'{fn.__name__}' is annotated to return " in problem.what
    assert problem.fix.startswith("return ")


@pytest.mark.parametrize(
    ("given", "wanted", "clashes"),
    [
        (bool, (bool,), False),
        (str, (bool,), True),
        (int, (bool,), True),
        (type(None), (bool,), True),
        (bool | None, (bool,), True),
        (Any, (bool,), False),
        (object, (bool,), False),
        (None, (bool,), False),  # without an annotation
        (Literal[True, False], (bool,), False),
        (Literal["no"], (bool,), True),
        (Annotated[bool, "sure"], (bool,), False),
        (Annotated[str, "sure"], (bool,), True),
        (Flag, (bool,), False),
        (NewType("Word", str), (bool,), True),
        (typing.TypeGuard[int], (bool,), False),
        (TypeIs[int], (bool,), False),
        (numpy.bool_, (bool,), False),
        (list[bool], (bool,), False),  # not known to be a class
        (bool | Repeat, (bool, Repeat, Stop), False),
        (str | Repeat, (bool, Repeat, Stop), True),
        (bool, (float, int), True),
        (int, (float, int), False),
        (numpy.float32, (float, int), False),
        (float, (bool,), True),
    ],
)
def test_clash_is_known_or_not(given: Any, wanted: tuple[type, ...], clashes: bool) -> None:
    """A type clashes if some value of it is of none of the wanted types, and never if in doubt."""
    assert is_clash(given, *wanted) is clashes


def test_hint_is_written_as_by_author() -> None:
    """An annotation is shown as its author wrote it."""
    assert format_hint(list[Topic]) == "list[Topic]"
    assert format_hint(type(None)) == "None"
    assert format_hint(bool | None) == "bool | None"
    assert format_hint(Literal["no", 1]) == "Literal['no', 1]"
