"""Breakpoints stop a session before nodes, after routes and errors, and on conditions."""

from __future__ import annotations

import pytest

from graphorch import InputError
from graphorch.debugger.breakpoints import AtNode, OnError, OnRoute, When, holds_now
from tests.debugger.stepping import opened
from tests.scenarios.flows import State


def test_run_until_stops_before_node() -> None:
    """It stops each time that the node is next."""
    with opened("loop_with_join") as session:
        session.run_until(until="last")
        assert (session.next, session.stop_reason) == ("last", "before 'last'")
        session.run_until(until="last")
        assert (session.next, session.state.n) == ("last", 2)


def test_run_until_stops_on_condition() -> None:
    """It stops after the step that leaves the condition true."""

    def second_round(state: State) -> bool:
        return state.n == 2

    with opened("loop_with_join") as session:
        assert session.run_until(until=second_round).path == "header"
        assert session.stop_reason == "when second_round holds"


def test_breakpoints_stop_run_until() -> None:
    """Breakpoints on nodes, routes, errors and predicates all stop it."""
    with opened("routes") as session:
        at = session.break_at("end")
        route = session.break_on_route("first", "second")
        session.run_until()
        assert (session.stop_reason, session.next) == ("on 'first' → 'second'", "second")
        session.unbreak(route)
        session.run_until()
        assert (session.stop_reason, session.next, session.breakpoints) == (
            "before 'end'",
            "end",
            (at,),
        )
    with opened("rescued") as session:
        session.break_on_error(ValueError)
        assert session.run_until().path == "bad"
        assert session.stop_reason == "on ValueError"
    with opened("nested_loops") as session:
        session.break_when(lambda state: state.n > 3)
        session.run_until()
        assert session.state.n == 4
        session.run_until()
        assert session.status == "succeeded"


def test_breakpoint_in_map_meets_every_item() -> None:
    """A path without item numbers stands for all items."""
    with opened("mapped_flows") as session:
        session.break_at("each/two")
        for item in range(3):
            session.run_until()
            assert session.next == f"each[{item}]/two"


def test_raising_condition_is_named() -> None:
    """The session can continue after the error."""
    with opened("chain") as session:
        with pytest.raises(
            InputError, match=r"The condition '<lambda>' raised AttributeError: .*'scroe'"
        ):
            session.run_until(until=lambda state: state.scroe > 3)
        assert session.next == "b"
        session.run_until()
        assert session.status == "succeeded"


def test_breakpoints_describe_themselves() -> None:
    """Their text is the reason that a session shows."""

    def is_late(state: State) -> bool:
        return state.n > 3

    breakpoints = AtNode("team/a"), OnRoute("a", "b"), OnError(KeyError), When(is_late)
    assert [str(breakpoint) for breakpoint in breakpoints] == [
        "before 'team/a'",
        "on 'a' → 'b'",
        "on KeyError",
        "when is_late holds",
    ]


def test_condition_returns_truth_as_bool() -> None:
    assert holds_now(lambda state: state.log, State(log=["a"])) is True
    assert holds_now(lambda state: state.log, State(log=[])) is False
