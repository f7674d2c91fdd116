"""Undos count at worst, one after the other, and not in a usual run."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, Retry, node


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
