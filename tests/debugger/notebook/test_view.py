"""State of a session as the page gets it: plain JSON in which every value is text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graphorch.debugger.notebook.view import (
    build_view,
    describe_lines,
    describe_nodes,
    describe_step,
)
from graphorch.debugger.session import Session
from graphorch.runs.background_loop import background_loop
from tests.scenarios.flows import FLOWS, Ledger, State

AnySession = Session[Any, Any]


def opened(name: str) -> AnySession:
    return FLOWS[name]().debug(State(), resources=Ledger())


def viewed(session: AnySession) -> dict[str, Any]:
    async def look() -> dict[str, Any]:
        return build_view(session)

    return background_loop().wait(look())


@pytest.mark.parametrize("name", FLOWS)
def test_view_is_json_everywhere(name: str) -> None:
    """Every point of every flow has a view that is plain JSON."""
    with opened(name) as session:
        while session.next or session.open_questions:
            if session.next:
                session.step_into()
            else:
                session.answer({"approved": True}, session.open_questions[0])
            view = viewed(session)
            assert json.loads(json.dumps(view)) == view
            assert view["step"]["path"] == session.history[-1].path


def test_view_marks_changed_fields() -> None:
    """The state is shown with what the last step changed."""
    with opened("loop_with_join") as session:
        session.step()
        fields = {field["name"]: field for field in viewed(session)["state"]}
        assert (
            fields["n"]["value"],
            fields["n"]["changed"],
            fields["n"]["before"],
            fields["log"]["set"],
        ) == ("1", True, "0", False)


def test_view_shows_inner_state() -> None:
    """Inside a sub-flow, its own state is shown too."""
    with opened("sub_flows") as session:
        session.step()
        session.step_into()
        inside = viewed(session)["inside"]
        assert inside["path"] == "team"
        assert {"name": "n", "value": "10"}.items() <= next(
            field for field in inside["state"] if field["name"] == "n"
        ).items()


def test_view_lists_answer_fields() -> None:
    """A question is shown with the fields of its answer."""
    with opened("asked") as session:
        session.run_until()
        (question,) = viewed(session)["questions"]
        assert (
            question["text"],
            question["fields"][0]["kind"],
            question["fields"][0]["value"],
        ) == ("go on with 1?", "flag", False)


def test_failed_step_shows_error() -> None:
    """A handled failure is shown with its message."""
    with opened("rescued") as session:
        session.run_until(until="end")
        bad = next(step for step in session.history if step.path == "bad")
        shown = describe_step(bad, 3)
        assert (shown["at"], shown["kind"], shown["error"]) == (
            3,
            "handled",
            "ValueError: no 1",
        )


def test_nodes_and_lines_cover_every_level() -> None:
    """Boxes and lines inside sub-flows are described too."""
    plan = FLOWS["sub_flows"]().plan
    nodes, lines = describe_nodes(plan), describe_lines(plan)
    assert nodes["team"]["opens"]
    assert nodes["team/deeper/i2"]["writes"] == [
        {"name": "log", "type": "list[str]", "value": "[]"}
    ]
    assert ["team/up", "i3"] in lines.values()
