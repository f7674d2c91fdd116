"""Edits, outputs and answers of a person are validated, and refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field

from graphorch import Approval, Graph, InputError, node
from graphorch.debugger.inputs import parse_answer, parse_output, parse_update
from tests.debugger.stepping import opened
from tests.scenarios.flows import FLOWS, Log, Number, State


@pytest.mark.parametrize(
    "change, message",
    [
        ({"nn": 1}, r"'nn' is not a field of State\. Did you mean 'n'\?"),
        (
            {"n": "many"},
            r"'n' of State does not fit: Input should be a valid integer, "
            r"unable to parse string as an integer \(got 'many'\)",
        ),
        ([1], r"edit\(\) takes a slice or a mapping of fields, got list"),
    ],
)
def test_wrong_edit_changes_nothing(change: Any, message: str) -> None:
    """An edit that does not fit is refused with a reason."""
    with opened("chain") as session:
        session.step()
        with pytest.raises(InputError, match=message):
            session.edit(change)
        assert (session.state.n, session.next, len(session.history)) == (1, "b", 1)


@pytest.mark.parametrize(
    "node, output, message",
    [
        (
            "hedaer",
            Number(n=1),
            r"'hedaer' does not name a node of 'loop'\. Did you mean 'header'\?",
        ),
        ("header", Log(log=[]), r"That is not an output of 'header': .*declares Number"),
        ("header", {"m": 1}, r"'header' does not write a field 'm'\. Known: n\."),
        ("header", {"n": "x"}, r"The output of 'header' does not fit at n"),
    ],
)
def test_wrong_pin_is_refused(node: str, output: Any, message: str) -> None:
    """The error names the node or the field that does not fit."""
    with opened("loop_with_join") as session, pytest.raises(InputError, match=message):
        session.pin(node, output)


def test_values_are_found_by_name_of_field() -> None:
    """An output and an answer that are given by fields are not looked for under their aliases."""

    class Aliased(BaseModel):
        first_name: str = Field("nobody", alias="firstName")

    class Whole(Number, Aliased): ...

    @node
    def name(number: Number) -> Aliased:
        return Aliased(firstName="ann")

    step = Graph("names", Whole).chain(name).build().plan.steps[0]
    given = {"first_name": "bob"}
    assert parse_output(step, given)[0] == parse_answer(Aliased, given) == Aliased(firstName="bob")


def test_update_takes_only_set_fields() -> None:
    """A slice changes the fields that were given to it, not those with a default."""
    plan = FLOWS["chain"]().plan
    index = plan.schema.by_name["n"].index
    assert parse_update(plan, State(n=4)) == parse_update(plan, {"n": 4}) == {index: 4}


def test_output_from_fields_becomes_slice() -> None:
    plan = FLOWS["loop_with_join"]().plan
    step = next(step for step in plan.steps if step.name == "header")
    assert parse_output(step, {"n": 3}) == parse_output(step, Number(n=3))
    assert parse_output(step, {"n": 3})[0] == Number(n=3)


def test_answer_from_fields_is_validated() -> None:
    """A model passes as it is: `answer` checks its type later."""
    approval = Approval(approved=True)
    assert parse_answer(Approval, {"approved": True}) == approval
    assert parse_answer(Approval, approval) is approval
    with pytest.raises(
        InputError, match=r"The Approval does not fit at approved: .* \(got 'maybe'\)"
    ):
        parse_answer(Approval, {"approved": "maybe"})
