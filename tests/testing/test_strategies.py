"""Hypothesis strategies: values are valid, and flows end alike under every schedule."""

from __future__ import annotations

from typing import Annotated, Any

from hypothesis import find, given, settings
from pydantic import BaseModel, Field, field_validator

from graphorch.testing import (
    Drawn,
    Schedule,
    check_flow,
    flows,
    run_under,
    schedules,
    slices,
    updates,
)


class Verdict(BaseModel):
    score: Annotated[float, Field(ge=0, le=10)] = 0
    remarks: list[str] = []
    even: int

    @field_validator("even")
    @classmethod
    def is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("odd")
        return value


@given(slices(Verdict))
def test_slices_are_valid_and_whole(verdict: Verdict) -> None:
    assert 0 <= verdict.score <= 10
    assert verdict.even % 2 == 0
    assert verdict.model_fields_set == {"score", "remarks", "even"}


@given(updates(Verdict))
def test_updates_have_required_fields(verdict: Verdict) -> None:
    """Updates always have the required fields."""
    assert "even" in verdict.model_fields_set


def test_updates_may_omit_defaults() -> None:
    """Updates may leave out fields that have a default."""
    assert find(updates(Verdict), lambda item: item.model_fields_set == {"even"})


@settings(max_examples=30)
@given(flows(), schedules())
def test_schedules_change_no_result(flow: Any, schedule: Schedule) -> None:
    """No schedule changes the state or the steps of a run."""
    calm = run_under(Schedule(0, longest=0.0), flow, Drawn(), run_id="r")
    other = run_under(schedule, flow, Drawn(), run_id="r")
    assert other.state == calm.state
    assert {step.activation for step in other.steps} == {step.activation for step in calm.steps}


@settings(max_examples=4)
@given(flows(depth=2))
def test_drawn_flows_keep_every_promise(flow: Any) -> None:
    check_flow(flow, Drawn(), runs=8)


def test_flows_draw_every_part() -> None:
    """Drawn flows have loops, routes and sub-flows."""
    drawn: set[str] = set()

    @settings(max_examples=40)
    @given(flows())
    def look(flow: Any) -> None:
        plan = flow.plan
        parts = {
            "loops": plan.topology.loops,
            "routes": [edge for edge in plan.topology.edges if edge.kind == "routed"],
            "sub-flows": [step for step in plan.steps if step.inner_plan is not None],
        }
        drawn.update(name for name, items in parts.items() if items)

    look()
    assert drawn == {"loops", "routes", "sub-flows"}
