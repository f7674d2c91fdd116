"""Commands about a run whose work was undone."""

from __future__ import annotations

import json
import re

from tests.cli.shell import Shell

UNDOING = """
from pydantic import BaseModel
from graphorch import Graph, node

class Trip(BaseModel):
    trip: str = "Oslo"
    undo_fails: bool = False

class Booking(BaseModel):
    booking: str = ""

class State(Trip, Booking): ...

def take_back(trip: Trip, booking: Booking) -> None:
    if trip.undo_fails:
        raise ValueError("too late")

@node(effect="once", undo=take_back)
def book(trip: Trip) -> Booking:
    return Booking(booking=f"room in {trip.trip}")

@node
def pay(booking: Booking) -> Trip:
    raise ValueError("no money")

graph = Graph("trip", State, input=Trip, output=Booking, compensate=True)
flow = graph.chain(book, pay).build()
"""


def start_undone_trip(shell: Shell, *options: str) -> str:
    shell.write("trip.py", UNDOING, "")
    ended = shell("run", "trip.py", "--trip", "Oslo", *options, "--db", "r.sqlite")
    assert ended.code == 1
    return ended.err


def test_run_says_that_it_was_undone(shell: Shell) -> None:
    """The error of a run that was undone names why, and no way to resume it."""
    told = start_undone_trip(shell)
    assert "was cancelled (compensated after 'pay' failed: ValueError: no money)" in told
    assert "book/undo done" in told
    assert "Resume with" not in told


def test_why_tells_of_undos(shell: Shell) -> None:
    """`why` says what an undo took back and why, and that a node was undone."""
    start_undone_trip(shell)
    told = shell("why", "trip.py", "last", "book/undo", "--db", "r.sqlite").out
    reason = "compensated after 'pay' failed: ValueError: no money"
    assert f"because it takes back what 'book' committed: {reason}" in told
    assert "went on to" not in told
    told = shell("why", "trip.py", "last", "book", "--db", "r.sqlite").out
    assert "was undone by 'book/undo'" in told


def test_why_tells_of_failed_undo(shell: Shell) -> None:
    """`why` says of a run what could not be undone."""
    start_undone_trip(shell, "--undo-fails", "true")
    told = shell("why", "trip.py", "last", "--db", "r.sqlite").out
    assert "'book/undo' failed, so its work is not undone: ValueError: too late" in told


def test_readers_know_undos(shell: Shell) -> None:
    """Lists, timelines, critical paths, replays and pictures know undos."""
    start_undone_trip(shell)
    for command in (
        ["runs", "show", "last"],
        ["timeline", "last"],
        ["critical", "trip.py", "last"],
        ["conversation", "last"],
        ["stats"],
    ):
        ended = shell(*command, "--db", "r.sqlite")
        assert ended.code == 0, command
        assert "book/undo" in ended.out, command
    assert shell("replay", "trip.py", "last", "--db", "r.sqlite").code == 1
    drawn = ("render", "trip.py", "--run", "last", "--db", "r.sqlite", "-o", "run.svg")
    assert shell(*drawn).code == 0
    assert "take_back" in shell.here.joinpath("run.svg").read_text("utf-8")


def test_show_and_estimate_list_undos(shell: Shell) -> None:
    """`show` names the undo of a node, and `estimate` counts it at worst."""
    shell.write("trip.py", UNDOING, "")
    assert re.search(r"book +node, undo take_back", shell("show", "trip.py").out)
    assert re.search(r"book/undo +1 / 0", shell("estimate", "trip.py").out)


def test_undone_run_counts_as_cancelled(shell: Shell) -> None:
    """A run that failed and was undone is cancelled for every reader, and counts as that alone."""
    start_undone_trip(shell)
    counted = json.loads(shell("stats", "runs", "--db", "r.sqlite", "--format", "json").out)
    [row] = counted["runs"] if isinstance(counted, dict) else counted
    assert (row["runs"], row["failed"], row["cancelled"]) == (1, 0, 1)
    listed = json.loads(shell("runs", "--db", "r.sqlite", "--json").out)
    assert [run["status"] for run in listed["runs"]] == ["cancelled"]
    assert "CANCELLED" in shell("stats", "runs", "--db", "r.sqlite").out
