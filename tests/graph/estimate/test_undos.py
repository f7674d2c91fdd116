"""Undos count at worst, one after the other, and not in a usual run."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, Retry, agent, node, tool
from graphorch.graph.estimate.undos import sum_undo_seconds


class Trip(BaseModel):
    trip: str = ""


class Trips(BaseModel):
    trips: list[str] = []


class State(Trip, Trips): ...


@node(effect="idempotent", retry=Retry(2, first=1.0), timeout=5.0)
def take_back(trip: Trip) -> None: ...


@node(effect="once", undo=take_back)
def book(trip: Trip) -> Trip:
    return trip


def test_undos_count_at_worst() -> None:
    """Each commit is undone at worst: the rounds of a loop and the items of a map count."""

    def list_trips(trips: Trips) -> list[Trip]:
        return [Trip(trip=trip) for trip in trips.trips]

    def collect(trips: list[Trip]) -> Trips:
        return Trips(trips=[trip.trip for trip in trips])

    graph = Graph("trips", State, compensate=True)
    each = graph.map("each", book, over=list_trips, gather=collect, max_items=4, concurrency=2)
    again = book.named("again")
    graph.chain(each, again)
    graph.loop(again, back_to=again, while_=lambda state: False, max_iterations=3)
    estimate = graph.build().estimate()
    assert estimate.worst.activations == 1 + 4 + 4 + 3 + 3
    assert estimate.expected.activations < 1 + 4 + 3
    rows = {row.path: row for row in estimate.nodes}
    assert (rows["again/undo"].kind, rows["again/undo"].worst.activations) == ("undo", 3)
    assert rows["each/book/undo"].worst.activations == 4
    # Two attempts of 5 s with a pause of 1 s between them, for seven commits.
    assert estimate.worst.seconds == 7 * 11


def test_usual_run_undoes_nothing() -> None:
    """A usual run undoes nothing."""
    estimate = Graph("trip", Trip).chain(book).build().estimate()
    assert (estimate.worst.activations, estimate.expected.activations) == (2, 1)


def give_back(order: str) -> None: ...


def test_undos_of_tools_count_at_worst() -> None:
    """Each call of a tool is undone at worst: as many as it, or the rounds of its agent, allow."""

    @tool(effect="idempotent", undo=give_back, max_calls=3, timeout=2.0)
    def pay(order: str) -> str:
        return order

    @tool(effect="idempotent", undo=give_back, timeout=2.0)
    def book(order: str) -> str:
        return order

    @agent(output=Trip, tools=[pay, book], rounds=2, max_tokens=100, timeout=10.0)
    def plan(trip: Trip) -> str:
        return trip.trip

    graph = Graph("trips", Trip).chain(plan)
    graph.loop(plan, back_to=plan, while_=lambda trip: False, max_iterations=2)
    flow = graph.build()
    rows = {row.path: row for row in flow.estimate().nodes}
    assert (rows["plan/pay/undo"].kind, rows["plan/pay/undo"].worst.activations) == ("undo", 2 * 3)
    assert rows["plan/book/undo"].worst.activations == 2 * 2 * 64
    assert rows["plan/pay/undo"].expected.activations == 0
    assert flow.estimate().worst.activations == 2 + 2 * 3 + 2 * 128


def test_undos_in_flow_tools_take_time() -> None:
    """The undos inside of a flow that a model calls as a tool count, as often as it may call it."""
    inner = Graph("trip", Trip).chain(book).build()

    @agent(output=Trip, tools=[inner.as_tool("travel", description="Travel.", max_calls=3)])
    def plan(trip: Trip) -> str:
        return trip.trip

    assert sum_undo_seconds(Graph("trips", Trip).chain(plan).build().plan) == 3 * 11
