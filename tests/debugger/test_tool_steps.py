"""Sessions of agents with tools: each call is a step, which is asked about, undone and edited."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from graphorch import InputError, tool
from graphorch.debugger.session import Session
from tests.engine.tool_calls.test_loop import Model, Topic, flow_of

AnySession = Session[Any, Any]
CALLS = [("act", '{"number": 1}'), ("ask", '{"number": 2}'), ("see", '{"number": 3}')]


class Desk:
    """A session of an agent whose model calls three tools and then one, and what they did."""

    def __init__(self) -> None:
        self.acted: list[str] = []
        self.model = Model(CALLS, [("see", '{"number": 4}')], "done")

        def make(name: str, **options: Any) -> Any:
            def act(number: int) -> str:
                self.acted.append(f"{name} {number}")
                return f"did {number}"

            return tool(name=name, **options)(act)

        tools = make("act"), make("ask", approve=True), make("see", effect="pure")
        self.session: AnySession = flow_of(*tools).debug(Topic(), client=self.model)

    def step_all(self, step: Callable[[], Any]) -> list[str]:
        """Step to the end, approve all questions, and return what happened at each step."""
        steps: list[str] = []
        while self.session.status not in ("succeeded", "failed"):
            if self.session.status == "waiting":
                self.session.answer({"approved": True})
                continue
            last = step()
            steps.append(f"{last.path} {last.kind}")
        return steps


@pytest.fixture
def desk() -> Generator[Desk]:
    desk = Desk()
    yield desk
    desk.session.close()


ALL = [
    "write entered",
    "write/r1/act#0 done",
    "write/r1/ask#1 asked",
    "write/r1/ask#1 done",
    "write/r1/see#2 done",
    "write/r2/see#0 done",
    "write done",
]


def test_each_call_is_a_step(desk: Desk) -> None:
    """Stepping into an agent stops before each call, in the order of the calls."""
    steps = desk.step_all(desk.session.step_into)
    assert steps == [*ALL[:5], "write done"]
    assert [f"{step.path} {step.kind}" for step in desk.session.history] == ALL
    assert desk.acted == ["act 1", "ask 2", "see 3", "see 4"]
    assert len(desk.model.asked) == 3


def test_step_runs_agent_with_its_calls(desk: Desk) -> None:
    """A step over an agent runs its calls, up to a question."""
    assert desk.session.step().kind == "asked"
    assert desk.acted == ["act 1"]
    desk.step_all(desk.session.step)
    assert desk.session.result.output.draft == "done"
    assert [f"{step.path} {step.kind}" for step in desk.session.history] == ALL


def test_run_until_stops_at_the_question(desk: Desk) -> None:
    """`run_until` goes through the calls of an agent as through the nodes of a sub-flow."""
    assert desk.session.run_until().path == "write/r1/ask#1"
    assert desk.session.status == "waiting"


def test_undone_calls_do_not_act_again(desk: Desk) -> None:
    """Going back over a call that acts is refused, or serves what it returned."""
    desk.step_all(desk.session.step_into)
    for _ in range(2):
        desk.session.step_back()
    with pytest.raises(InputError, match="write/r1/ask#1"):
        desk.session.step_back()
    desk.session.step_back(effects="serve")
    for _ in range(3):  # the answer, too
        desk.session.step_back(effects="serve")
    assert [step.path for step in desk.session.history] == ["write"]
    desk.step_all(desk.session.step_into)
    assert desk.session.result.output.draft == "done"
    assert desk.acted == ["act 1", "ask 2", "see 3", "see 4", "see 3", "see 4"]


def test_result_of_call_is_edited(desk: Desk) -> None:
    """What a call returned is changed, and the model reads the changed text."""
    desk.session.step_into()
    desk.session.step_into()
    desk.session.edit({"text": "did it well"})
    desk.step_all(desk.session.step_into)
    results = [item.content for item in desk.model.asked[1].messages if item.role == "tool"]
    assert results == ["did it well", "did 2", "did 3"]
    assert desk.session.result.output.draft == "done"
