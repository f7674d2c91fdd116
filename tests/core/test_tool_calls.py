"""Tool calls inside an activation: turns, questions, failures, stops and resumes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphorch.core.events import NodeFailed, Resumed, StopRequested
from graphorch.core.tree import Status
from tests.core.calling import Caller, Wanted

PURE, ONCE, ASKED = Wanted(), Wanted(is_barrier=True), Wanted(is_barrier=True, asks=True)

wanted = st.builds(Wanted, st.booleans(), st.booleans())
rounds = st.lists(st.lists(wanted, min_size=1, max_size=5), min_size=1, max_size=3)


def expected(calls: list[list[Wanted]]) -> list[str]:
    return [f"r{n + 1}/tool#{i}" for n, round in enumerate(calls) for i in range(len(round))]


def require_turns(log: list[str], calls: list[list[Wanted]]) -> None:
    """Require that no call ended before one that had to end before it."""
    place = {name: position for position, name in enumerate(log)}
    for number, round in enumerate(calls):
        names = [f"r{number + 1}/tool#{index}" for index in range(len(round))]
        for early in range(len(round)):
            for late in range(early + 1, len(round)):
                if (round[early].is_barrier or round[late].is_barrier) and not (
                    round[early].asks or round[late].asks
                ):
                    assert place[names[early]] < place[names[late]], log


@settings(max_examples=60)
@given(rounds, st.integers(0, 2**32))
def test_every_schedule_makes_every_call_once(calls: list[list[Wanted]], seed: int) -> None:
    """Whatever ends first, and however people answer, each call has one outcome in its turn."""
    caller, chance = Caller(calls), random.Random(seed)
    while caller.move_at_random(chance):
        pass
    assert caller.run.status == "succeeded"
    assert sorted(caller.log) == sorted(expected(calls))
    require_turns(caller.log, calls)


@settings(max_examples=60)
@given(rounds, st.integers(0, 2**32))
def test_stops_and_failures_repeat_no_outcome(calls: list[list[Wanted]], seed: int) -> None:
    """A run that is stopped and fails at any moment, and is resumed, makes each call once."""
    caller, chance = Caller(calls), random.Random(seed)
    moves = 0
    while caller.move_at_random(chance, faults=0.2 if moves < 200 else 0.0):
        moves += 1
    assert caller.run.status == "succeeded"
    assert sorted(caller.log) == sorted(expected(calls))


def test_call_after_barrier_waits() -> None:
    """What is behind a call that has its turn alone begins when that has ended."""
    caller = Caller([[PURE, ONCE, PURE]])
    assert [call.step.name for call in caller.running] == ["tool#0"]
    caller.step_call(caller.running[0])
    assert [call.step.name for call in caller.running] == ["tool#1"]
    caller.step_call(caller.running[0])
    assert [call.step.name for call in caller.running] == ["tool#2"]


def test_calls_ask_at_once() -> None:
    """All calls that need a person ask at the same time, whatever is before them."""
    caller = Caller([[ASKED, ASKED, ASKED]])
    for call in list(caller.running):
        caller.step_call(call)
    assert len(caller.questions) == 3
    assert (caller.run.status, caller.agent.status) == ("waiting", Status.ENTERED)
    assert not caller.is_attempted


def test_approved_call_waits_for_its_turn() -> None:
    """A call that was approved early is held until the calls before it have outcomes."""
    caller = Caller([[ASKED, ASKED]])
    for call in list(caller.running):
        caller.step_call(call)
    first, second = caller.questions
    caller.approve(second)
    assert (second.status, caller.run.status) == (Status.HELD, "waiting")
    caller.answer(first)
    assert second.status is Status.RUNNING
    assert caller.is_attempted


def test_question_lets_others_finish() -> None:
    """An attempt is suspended only when nothing but questions is left in it."""
    caller = Caller([[Wanted(asks=True), PURE]])
    asking, other = caller.running
    caller.step_call(asking)
    assert (caller.is_attempted, caller.run.status) == (True, "running")
    caller.step_call(other)
    assert (caller.is_attempted, caller.run.status) == (False, "waiting")


def test_failed_call_fails_agent() -> None:
    """A call that fails for good ends its round, once the calls beside it have ended."""
    caller = Caller([[PURE, PURE]])
    first, second = caller.running
    caller.step_call(first, fails=True)
    assert caller.run.status == "running"
    caller.step_call(second)
    assert caller.run.status == "failed"


def test_resumed_agent_repeats_failed_call_only() -> None:
    """A resume repeats the call that failed, and serves what the others returned."""
    caller = Caller([[PURE, PURE]])
    first, second = caller.running
    caller.step_call(first, fails=True)
    caller.step_call(second)
    caller.take(Resumed())
    assert [call.step.name for call in caller.running] == ["tool#0"]
    assert caller.running[0].attempt == 2


def test_failed_attempt_interrupts_its_calls() -> None:
    """The calls of an attempt that fails are interrupted, and taken up by the next one."""
    caller = Caller([[PURE, Wanted(asks=True)]])
    caller.step_call(caller.running[1])
    caller.take(NodeFailed(caller.agent, 1, "late"))
    assert (caller.run.status, caller.running) == ("failed", [])
    caller.take(Resumed())
    assert [call.step.name for call in caller.running] == ["tool#0"]
    assert len(caller.questions) == 1


def test_draining_agent_goes_on_with_its_rounds() -> None:
    """An attempt that may finish may also call further tools."""
    caller = Caller([[PURE], [ONCE]])
    caller.take(StopRequested("asked to", "stopped", now=False))
    caller.step_call(caller.running[0])
    caller.step_call(caller.running[0])
    assert caller.log == ["r1/tool#0", "r2/tool#0"]
    assert caller.run.status in ("stopped", "succeeded")


@pytest.mark.parametrize("approves", [True, False])
def test_answer_to_stopped_run_acts_on_resume(approves: bool) -> None:
    """A decision about a call of a stopped run is kept, and acts when the run is resumed."""
    caller = Caller([[ASKED]])
    caller.step_call(caller.running[0])
    caller.take(StopRequested("asked to"))
    (question,) = caller.questions
    (caller.approve if approves else caller.answer)(question)
    caller.take(Resumed())
    for call in list(caller.running):
        caller.step_call(call)
    assert caller.run.status == "succeeded"
    assert caller.log == ["r1/tool#0"]


def test_calls_count_towards_no_limit() -> None:
    """A limit on activations is about the nodes of the graph: calls of tools have their own."""
    caller = Caller([[PURE] * 5])
    assert caller.run.started == 1
