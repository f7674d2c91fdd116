"""Undos act, write nothing, read what is there after their node, and ask nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, GraphError, agent, node
from graphorch.graph.options import Cache, Retry
from graphorch.graph.payloads import Failure


class Trip(BaseModel):
    trip: str = ""


class Booking(BaseModel):
    booking: str


class Other(BaseModel):
    other: str


class State(Trip, Booking, Other): ...


def take_back(trip: Trip, booking: Booking) -> None: ...


def list_problems(undo: Any, **options: Any) -> list[str]:
    """Return the problems of a graph with one node that has this undo."""

    def book(trip: Trip) -> Booking:
        return Booking(booking=trip.trip)

    settings: Any = {"effect": "once", "undo": undo, **options}
    try:
        Graph("trip", State, input=Trip, output=Booking).chain(node(**settings)(book)).build()
    except GraphError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_undo_may_read_own_write() -> None:
    """An undo may read what its node wrote, and what it read."""
    assert list_problems(take_back) == []
    assert list_problems(node(effect="idempotent", retry=Retry(3))(take_back)) == []


def test_undo_reads_what_is_assigned() -> None:
    """What an undo reads is assigned once its node has committed, or the graph does not build."""

    def read_other(other: Other) -> None: ...

    (problem,) = list_problems(read_other)
    assert problem.startswith(
        "UNASSIGNED at undo of 'book': it reads Other.other, which has no default, and nothing "
        "writes it"
    )


def test_undo_reads_slices_of_state() -> None:
    """An undo reads slices that the state has."""

    class Foreign(BaseModel):
        foreign: str = ""

    def read_foreign(foreign: Foreign) -> None: ...

    (problem,) = list_problems(read_foreign)
    assert problem.startswith("SLICE_MISSING at undo of 'book': it reads Foreign")


def rebook(trip: Trip) -> Booking:
    return Booking(booking="")


def explain(failure: Failure) -> None: ...


@agent(output=Booking)
def negotiate(trip: Trip) -> str:
    return trip.trip


CASES: list[tuple[Any, dict[str, Any], str]] = [
    (node(effect="once")(rebook), {}, "'rebook' writes Booking, which nothing could read"),
    (node(effect="once")(explain), {}, "'explain' reads a Failure, but what it undoes has"),
    (node(take_back), {}, "'take_back' has effect=\"pure\", so it would undo nothing"),
    (negotiate, {}, "'negotiate' is of kind 'agent'; an undo neither asks a model nor a person"),
    (take_back, {"effect": "pure"}, "'book' has effect=\"pure\", so there is nothing to undo"),
    (node(effect="once", gate="before")(take_back), {}, "it cannot have gate: it runs without"),
    (node(effect="once", retry=Retry(2))(take_back), {}, "it cannot have retry: a second attempt"),
    (node(effect="once", cache=Cache(5))(take_back), {}, "it cannot have cache: a result from"),
    (node(effect="once", hedge_after=1)(take_back), {}, "it cannot have hedge_after: two attempts"),
    (node(effect="once", pool="gpu")(take_back), {}, 'it cannot have pool="gpu": undos run where'),
    (node(effect="once", undo=take_back)(take_back), {}, "it cannot have undo: what it takes back"),
]


@pytest.mark.parametrize(("undo", "options", "message"), CASES, ids=[case[2] for case in CASES])
def test_undo_is_checked(undo: Any, options: dict[str, Any], message: str) -> None:
    """What cannot be an undo is a problem that says why."""
    assert any(
        problem.startswith(f"UNDO at undo of 'book': {message}")
        for problem in list_problems(undo, **options)
    )


@pytest.mark.parametrize("wrong", ["take_back", 5, State])
def test_undo_is_function_or_node(wrong: Any) -> None:
    """Anything but a function or a node is refused where the node is declared."""
    make: Callable[..., Any] = node
    with pytest.raises(GraphError, match=r"NODE_OPTION|NODE_SIGNATURE"):
        make(effect="once", undo=wrong)(rebook)


def test_worker_undo_reads_item_and_result() -> None:
    """The undo of a map's worker reads an item and its result, and nothing else."""

    class Done(BaseModel):
        done: int = 0

    def read_all(booking: Booking, trip: Trip, other: Other) -> None: ...

    @node(effect="once", undo=read_all)
    def work(trip: Trip) -> Booking:
        return Booking(booking=trip.trip)

    def list_items(state: State) -> list[Trip]:
        return []

    def collect(results: list[Booking]) -> Other:
        return Other(other="")

    graph = Graph("trips", State, input=Trip, output=Other)
    each = graph.map("each", work, over=list_items, gather=collect, max_items=3)
    with pytest.raises(GraphError, match="it reads Other, but a worker has an item and its result"):
        graph.chain(each).build()


def test_region_without_undos_is_warned_about() -> None:
    """`compensate=True` where nothing has an undo is a warning."""
    graph = Graph("trip", State, input=Trip, output=Booking, compensate=True)
    (warning,) = graph.chain(node(rebook)).build().warnings
    assert (warning.code, warning.where) == ("COMPENSATE", "graph 'trip'")


def test_compensate_is_true_or_false() -> None:
    """Anything else than True or False is a problem."""
    options: Any = {"compensate": "yes"}
    graph: Any = Graph("trip", State, input=Trip, output=Booking, **options)
    with pytest.raises(GraphError, match="COMPENSATE at graph 'trip': compensate='yes' is neither"):
        graph.chain(node(rebook)).build()
