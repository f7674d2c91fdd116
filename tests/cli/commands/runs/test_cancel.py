"""`graphorch runs cancel`."""

from __future__ import annotations

from tests.cli.flows import (
    copy_crashed_run,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import Shell


def test_cancelled_run_takes_no_answer(shell: Shell) -> None:
    """A cancelled run cannot be answered, resumed or cancelled again."""
    run_id = start_waiting_run(shell)
    ended = shell("runs", "cancel", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.err) == (0, f"run {run_id[:8]} was waiting, and is cancelled now\n")
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")["questions"] == []
    for command in (
        ["answer", "ask.py", run_id, "approve", "yes"],
        ["resume", "ask.py", run_id],
        ["runs", "cancel", run_id],
    ):
        ended = shell(*command, "--db", "r.sqlite")
        assert (ended.code, ended.out) == (2, "")
        assert "cancel" in ended.err


def test_cancel_with_flow(shell: Shell) -> None:
    """A run can also be cancelled by its flow."""
    run_id = start_waiting_run(shell)
    assert shell("runs", "cancel", run_id, "--flow", "ask.py", "--db", "r.sqlite").code == 0
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")["status"] == "cancelled"


def test_crashed_run_needs_flow(shell: Shell) -> None:
    """A crashed run can only be cancelled by its flow."""
    run_id = copy_crashed_run(shell)
    ended = shell("runs", "cancel", run_id, "--db", "r.sqlite")
    assert ended.code == 2
    assert "Only its flow can cancel it: flow.cancel(…), or name it with --flow." in ended.err
    assert shell("runs", "cancel", run_id, "--flow", "crashing.py", "--db", "r.sqlite").code == 0
    assert shell("runs", "--db", "r.sqlite").out.splitlines()[1].split()[1] == "cancelled"


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
    print("taken back:", booking.booking)

@node(effect="once", undo=take_back)
def book(trip: Trip) -> Booking:
    return Booking(booking=f"room in {trip.trip}")

@node
def pay(booking: Booking) -> Trip:
    raise ValueError("no money")

flow = Graph("trip", State, input=Trip, output=Booking).chain(book, pay).build()
"""


def start_failed_trip(shell: Shell, *options: str) -> str:
    shell.here.joinpath("trip.py").write_text(UNDOING, "utf-8")
    assert shell("run", "trip.py", *options, "--db", "r.sqlite").code == 1
    return run_json(shell, "runs", "--db", "r.sqlite")["runs"][0]["run_id"]


def test_cancel_undoes_what_was_committed(shell: Shell) -> None:
    """A run whose nodes have undos is cancelled by its flow, which undoes what was committed."""
    run_id = start_failed_trip(shell)
    ended = shell("runs", "cancel", run_id, "--db", "r.sqlite")
    assert ended.code == 2
    assert "only its flow can do that" in ended.err
    ended = shell("runs", "cancel", run_id, "--flow", "trip.py", "--db", "r.sqlite")
    assert (ended.code, ended.out) == (0, "taken back: room in Oslo\n")


def test_cancel_may_leave_what_was_committed(shell: Shell) -> None:
    """With --no-undo nothing is undone, and what stays committed is said if the flow is named."""
    run_id = start_failed_trip(shell)
    ended = shell("runs", "cancel", run_id, "--no-undo", "--flow", "trip.py", "--db", "r.sqlite")
    assert (ended.code, ended.out) == (0, "")
    assert "left as it is: book" in ended.err
    run_id = start_failed_trip(shell)
    assert shell("runs", "cancel", run_id, "--no-undo", "--db", "r.sqlite").code == 0


def test_cancel_says_what_could_not_be_undone(shell: Shell) -> None:
    """An undo that fails is in the message, and the exit code says so."""
    run_id = start_failed_trip(shell, "--undo-fails", "true")
    ended = shell("runs", "cancel", run_id, "--flow", "trip.py", "--db", "r.sqlite")
    assert ended.code == 1
    assert "What 'book' committed is not undone: its undo failed after 1 attempt" in ended.err
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")["status"] == "cancelled"
