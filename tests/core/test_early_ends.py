"""Sub-flows and maps that a signal or a deadline ends: what is kept, cancelled, and continued."""

from __future__ import annotations

import random
from typing import Any

import pytest

from graphorch.core.events import (
    Command,
    NodeFailed,
    Resumed,
    RetryDue,
    ScheduleRetry,
    SignalReceived,
    StopRequested,
    WaitUntil,
)
from graphorch.core.retry import find_handler
from graphorch.core.state import OnFailure
from graphorch.core.tree import Activation, EventWait, Status
from graphorch.core.waits import find_waiting
from graphorch.errors import Withdrawn
from graphorch.graph.node import END, START
from graphorch.graph.plan import Plan, Rest
from graphorch.statuses import FINAL_STATUSES
from tests.core.drill import Drill, Item, graph, map_over, plan_of, step, sub
from tests.core.undoing import booking

STOP = SignalReceived("stop", "", None)


def inner_plan() -> Plan:
    """Return a flow of two branches, of which one has two nodes."""
    made, a, b, c = graph(), step("a"), step("b"), step("c")
    return plan_of(made.chain(START, [a, b]).chain(a, c, END).chain(b, END))


def sub_drill(*, handled: bool = False, **options: Any) -> Drill:
    """Begin a run of a sub-flow that is ended from outside, with a node after it."""
    made = graph()
    team = sub(made, "team", inner_plan(), **options)
    made.chain(team, step("after"), END)
    if handled:
        made.on_error(team, step("instead"))
    return Drill(plan_of(made))


def map_drill(items: int = 4, **options: Any) -> Drill:
    """Begin a run of a map that is ended from outside, with a node after it."""
    made = graph()
    each = map_over(made, "each", items, **options)
    return Drill(plan_of(made.chain(each, step("after"), END)))


def entered(drill: Drill, name: str) -> Activation:
    """Return the sub-flow or map of that name that is under way."""
    [found] = [each for each in drill.run.unfinished() if each.path == name]
    return found


def end_deadline(drill: Drill, name: str, at: float = 5.0, *, handler: int = -1) -> list[Command]:
    """Report that the deadline of a sub-flow or map is over."""
    activation = entered(drill, name)
    error = TimeoutError("late")
    return drill.tell(NodeFailed(activation, activation.attempt, error, handler=handler, at=at))


# ---- signals -------------------------------------------------------------------------------------
def test_signal_ends_map_with_results_so_far() -> None:
    """Items that are done count, those under way are cancelled by name, others never begin."""
    drill = map_drill(cancel_on="stop", concurrency=2)
    drill.finish("each[1]/work")
    drill.tell(STOP)
    assert drill.cancelled == ["each[0]/work", "each[2]/work"]
    [cancelled] = [each for each in drill.run.history if each.path == "each[0]/work"]
    assert cancelled.story == ["cancelled: 'stop' came"]
    assert drill.finish_all().log == ["each[10]", "missing 0", "missing 2", "missing 3", "after"]


@pytest.mark.parametrize("options", [{"need": 3}, {"on_item_error": "collect"}, {}])
def test_signal_ends_map_before_enough(options: dict[str, Any]) -> None:
    """What the map would have needed does not matter: it was ended."""
    drill = map_drill(cancel_on="stop", **options)
    drill.finish("each[2]/work").tell(STOP)
    assert drill.finish_all().log[0] == "each[20]"


def test_signal_ends_reviewed_map() -> None:
    """A map that grows and decides after its items is ended like any other."""
    drill = map_drill(
        2, cancel_on="stop", until=lambda _: False, grow=lambda done: [Item(item=done.done + 1)]
    )
    drill.finish("each[1]/work").tell(STOP)
    assert drill.cancelled == ["each[0]/work", "each[1.0]/work"]
    assert drill.finish_all().log == ["each[10]", "missing 0", "missing 2", "after"]


def test_signal_keeps_what_was_committed() -> None:
    """`keep` reads what was committed inside: of all branches, whether they go on or wait."""
    drill = sub_drill(cancel_on="stop", keeps=True)
    drill.finish("team/a", "team/b").tell(STOP)
    assert drill.cancelled == ["team/c"]
    assert drill.finish_all().log == ["kept(a b)", "after"]


def test_signal_at_once_keeps_input() -> None:
    """Where nothing was committed, `keep` reads the input of the inner flow."""
    drill = sub_drill(cancel_on="stop", keeps=True)
    drill.tell(STOP)
    assert drill.finish_all().log == ["kept()", "after"]


def test_signal_withdraws_sub_flow_without_keep() -> None:
    """Without `keep` the sub-flow fails as `Withdrawn`, which an error edge takes."""
    drill = sub_drill(cancel_on="stop", handled=True)
    drill.tell(STOP)
    assert drill.running == ["instead"]
    drill = sub_drill(cancel_on="stop")
    drill.tell(STOP)
    assert drill.ends == ["failed"]
    [failed] = drill.run.failed()
    assert isinstance(failed.failure, Withdrawn)


def test_early_signal_ends_at_once() -> None:
    """A signal that was kept ends the sub-flow as soon as it is entered."""
    made = graph()
    team = sub(made, "team", inner_plan(), cancel_on="stop", keeps=True)
    drill = Drill(plan_of(made.chain(step("before"), team, END)))
    drill.tell(STOP)
    assert drill.run.kept_signals == {("stop", ""): [None]}
    drill.finish("before")
    assert drill.run.kept_signals == {("stop", ""): []}
    assert drill.log == ["before", "kept()"]


def test_outer_comes_before_its_inside() -> None:
    """A signal ends the outer of two sub-flows that wait for it, and wakes nothing inside."""
    inside = graph()
    nested = sub(inside, "inner", inner_plan(), cancel_on="stop", keeps=True)
    made = graph()
    outer = sub(made, "outer", plan_of(inside.chain(nested, END)), cancel_on="stop", keeps=True)
    drill = Drill(plan_of(made.chain(outer, END)))
    assert find_waiting(drill.run.root, "stop", "") is entered(drill, "outer")
    drill.tell(STOP)
    assert drill.log == ["kept()"]


def test_signal_cancels_whatever_is_inside() -> None:
    """Questions, waits and retries inside are cancelled, at every depth."""
    inside = graph()
    asks, waits, tries = step("asks"), step("waits"), step("tries")
    inside.chain(START, [asks, waits, tries]).chain(asks, END).chain(waits, END)
    nested = sub(made := graph(), "nested", plan_of(inside.chain(tries, END)))
    whole = graph()
    each = map_over(whole, "each", 1, flow=plan_of(made.chain(nested, END)), cancel_on="stop")
    drill = Drill(plan_of(whole.chain(each, step("after"), END)))
    question = drill.ask("each[0]/nested/asks")
    waiting = drill.activation("each[0]/nested/waits")
    drill.jobs.remove(waiting)
    waiting.wait = EventWait("other")
    drill.fail("each[0]/nested/tries", retry_after=1.0)
    drill.tell(STOP)
    assert question.status is waiting.status is Status.CANCELLED
    assert drill.running == ["after"]


def test_signal_to_stopped_run_acts_on_resume() -> None:
    """In a stopped run the inside is cancelled at once, and the node is left on resume."""
    for options in ({"keeps": True}, {}):
        drill = sub_drill(cancel_on="stop", handled=True, **options)
        drill.finish("team/b").stop().tell(STOP)
        assert drill.run.status == "stopped"
        assert all(each.path == "team" for each in drill.run.unfinished())
        drill.resume()
        assert drill.running == [("after" if options else "instead")]


def test_signal_to_waiting_run_goes_on() -> None:
    """A run that waits for a person inside of a sub-flow goes on when that is ended."""
    drill = sub_drill(cancel_on="stop", keeps=True)
    drill.finish("team/b")
    drill.ask("team/a")
    assert drill.ends == ["waiting"]
    drill.tell(STOP)
    assert drill.finish_all().log == ["kept(b)", "after"]


def test_failing_map_is_not_ended() -> None:
    """A map that fails already is not ended; the signal is kept, and ends it when it is resumed."""
    drill = map_drill(cancel_on="stop", concurrency=2)
    drill.fail("each[0]/work").tell(STOP)
    assert drill.running == ["each[1]/work"]
    drill.finish("each[1]/work")
    assert drill.ends == ["failed"]
    drill.resume()
    assert drill.finish_all().log == ["each[10]", "missing 0", "missing 2", "missing 3", "after"]


# ---- deadlines -----------------------------------------------------------------------------------
def test_driver_learns_of_deadline() -> None:
    """The driver learns when a deadline is over, and so does one that takes the run over."""
    drill = sub_drill(deadline=5.0)
    team = entered(drill, "team")
    assert team.wait == EventWait(due=5.0)
    assert drill.run.list_open_commands()[0] == WaitUntil(team, 5.0)


def test_deadline_takes_error_edge() -> None:
    """With an error edge, what is inside is cancelled for good."""
    drill = sub_drill(deadline=5.0, handled=True)
    drill.finish("team/b")
    end_deadline(drill, "team", handler=0)
    assert drill.cancelled == ["team/a"]
    assert drill.finish_all().log == ["instead"]
    [cancelled] = [each for each in drill.run.history if each.path == "team/a"]
    assert cancelled.story == ["cancelled: the deadline of 'team' was over"]


def test_deadline_fails_run_and_resume_continues() -> None:
    """Without an error edge the run fails; a resume continues inside, with a new deadline."""
    drill = sub_drill(deadline=5.0)
    drill.finish("team/b")
    end_deadline(drill, "team")
    assert drill.ends == ["failed"]
    assert [each.path for each in drill.run.failed()] == ["team"]
    drill.tell(Resumed(at=9.0))
    assert entered(drill, "team").wait == EventWait(due=14.0)
    assert drill.running == ["team/a"]
    assert drill.finish_all().log == ["team(a b c)", "after"]


def test_deadline_is_isolated() -> None:
    """A run that isolates failures ends without what the map would have written."""
    made = graph()
    each = map_over(made, "each", 2, deadline=5.0)
    other = step("other")
    plan = plan_of(made.chain(START, [each, other]).chain(each, END).chain(other, END))
    drill = Drill(plan, on_failure="isolate")
    end_deadline(drill, "each")
    drill.finish("other")
    assert drill.ends == ["partial: succeeded"]


def test_deadline_ends_waiting_inside() -> None:
    """A deadline is over for a sub-flow in which a person is asked, also in a run at rest."""
    drill = sub_drill(deadline=5.0, handled=True)
    drill.finish("team/b")
    question = drill.ask("team/a")
    assert drill.ends == ["waiting"]
    assert drill.run.ending_early() == [entered(drill, "team")]
    end_deadline(drill, "team", handler=0)
    assert question.status is Status.CANCELLED
    assert drill.finish_all().log == ["instead"]


def test_deadline_stands_when_run_is_resumed() -> None:
    """A pause of the run counts: the deadline is a time on the clock."""
    drill = sub_drill(deadline=5.0)
    drill.stop()
    commands = drill.tell(Resumed(at=4.0))
    assert WaitUntil(entered(drill, "team"), 5.0) in commands


def test_deadline_ends_what_fails() -> None:
    """While what runs in a failed map may finish, its deadline still ends it."""
    drill = map_drill(2, deadline=5.0)
    drill.fail("each[0]/work")
    end_deadline(drill, "each")
    assert drill.ends == ["failed"]
    assert drill.running == []


# ---- crossings -----------------------------------------------------------------------------------
def test_quorum_cancels_what_may_end_early() -> None:
    """A join that needs one branch cancels a sub-flow of which a person is asked."""
    made, merge = graph(), step("merge")
    team = sub(made, "team", inner_plan(), cancel_on="stop", deadline=5.0)
    made.chain(step("fork"), [team, step("other")], merge, END).join(merge, need=1)
    drill = Drill(plan_of(made)).finish("fork")
    drill.ask("team/a")
    region = entered(drill, "team")
    drill.finish("other")
    assert drill.run.ending_early() == []
    late = NodeFailed(region, 1, TimeoutError(), at=9.0)
    assert drill.tell(STOP) == drill.tell(late) == []
    assert drill.finish_all().log == ["fork", "other", "merge"]


def test_each_iteration_is_ended_anew() -> None:
    """In a loop each signal ends the sub-flow of one iteration, with a deadline of its own."""
    made = graph()
    team = sub(made, "team", inner_plan(), cancel_on="stop", keeps=True, deadline=5.0)
    made.chain(team, step("judge"), END)
    judge = made.spec.nodes["judge"]
    made.loop(judge, back_to=team, while_=lambda s: len(s.log) < 4, max_iterations=3)
    drill = Drill(plan_of(made))
    for _ in range(2):
        drill.tell(STOP)
        drill.finish("judge")
    assert drill.log == ["kept()", "judge", "kept()", "judge"]


def test_deadline_inside_is_failure_around() -> None:
    """A deadline inside fails what is around it, by the kind of its failure."""
    inside = graph()
    inner = sub(inside, "inner", inner_plan(), deadline=3.0)
    made = graph()
    outer = sub(made, "outer", plan_of(inside.chain(inner, END)), deadline=5.0)
    made.chain(outer, END).on_error(outer, step("instead"), when=TimeoutError)
    drill = Drill(plan_of(made))
    end_deadline(drill, "outer/inner")
    assert drill.running == ["instead"]


def test_policy_interrupts_what_may_end_early() -> None:
    """A failure beside it interrupts what is inside; the deadline stands when it goes on."""
    made = graph()
    team = sub(made, "team", inner_plan(), cancel_on="stop", keeps=True, deadline=5.0)
    made.chain(START, [team, step("other")]).chain(team, END)
    plan = plan_of(made.chain(made.spec.nodes["other"], END))
    drill = Drill(plan, on_failure="cancel").fail("other")
    assert drill.ends == ["failed"]
    drill.tell(Resumed(at=2.0))
    assert entered(drill, "team").wait == EventWait("stop", "", 5.0)
    drill.tell(STOP)
    assert sorted(drill.finish_all().log) == ["kept()", "other"]


def nested_plan(rest: Rest) -> Plan:
    """Return a map of sub-flows in which two branches race; all of them may be ended."""
    race, merge = graph(), step("merge")
    race.chain(step("fork"), [step("a"), step("b")], merge, END).join(merge, need=1, rest=rest)
    item = graph()
    options: dict[str, Any] = {"cancel_on": "halt", "keeps": True, "deadline": 5.0}
    team = sub(item, "team", plan_of(race), **options)
    item.chain(step("first"), team, END).on_error(team, step("instead"), when=TimeoutError)
    made = graph()
    each = map_over(
        made,
        "each",
        3,
        flow=plan_of(item),
        concurrency=2,
        cancel_on="stop",
        deadline=9.0,
        rest=rest,
    )
    return plan_of(made.chain(START, [each, step("beside")], step("after"), END))


@pytest.mark.parametrize("rest", ["cancel", "finish"])
@pytest.mark.parametrize("on_failure", ["drain", "cancel", "isolate"])
def test_any_order_of_events_is_consistent(on_failure: OnFailure, rest: Rest) -> None:
    """Whatever comes in whichever order, the state stays consistent, and the run comes to rest."""
    plan, ends = nested_plan(rest), set[str]()
    for seed in range(60):
        chance = random.Random(seed)
        drill = Drill(plan, on_failure=on_failure)
        asked: list[Activation] = []
        for _ in range(40):
            if drill.run.status in FINAL_STATUSES:
                break
            _move(drill, chance, asked)
        for _ in range(40):
            if drill.run.status in FINAL_STATUSES:
                break
            _bring_on(drill)
        ends.add(drill.run.status)
        if on_failure == "isolate" and drill.run.status == "failed":
            assert drill.run.reason == "end not reached"  # on no path that is not dead
            continue
        assert drill.run.status in FINAL_STATUSES
        assert drill.run.unfinished() == []
    assert "succeeded" in ends


def _move(drill: Drill, chance: random.Random, asked: list[Activation]) -> None:
    """Give a run some event that may come."""
    running = drill.running
    kind = chance.choice(["finish"] * 5 + ["fail", "ask", "answer", "stop", "halt", "late", "rest"])
    if kind in ("finish", "fail", "ask") and running:
        path = chance.choice(running)
        if kind == "finish":
            drill.finish(path)
        elif kind == "fail":
            drill.fail(path, retry_after=chance.choice([None, None, 1.0]))
        else:
            asked.append(drill.ask(path))
    elif kind == "answer" and asked:
        drill.answer(asked.pop(), "yes")
    elif kind in ("stop", "halt"):
        drill.tell(SignalReceived(kind, "", None))
    elif kind == "late" and (ending := drill.run.ending_early()):
        activation, error = chance.choice(ending), TimeoutError()
        handler = find_handler(activation, error)
        drill.tell(NodeFailed(activation, activation.attempt, error, handler=handler, at=9.0))
    elif kind == "rest":
        drill.tell(StopRequested("crashed", keeps_pauses=chance.random() < 0.5))
        drill.tell(Resumed(at=1.0))


def _bring_on(drill: Drill) -> None:
    """Bring a run nearer to its end."""
    drill.finish_all()
    for job in [*drill.jobs]:
        if isinstance(job, ScheduleRetry):
            drill.retry(job.activation.path)
    for activation in drill.run.questions():
        drill.answer(activation, "yes")
    drill.finish_all()
    if drill.run.status != "running":
        drill.tell(Resumed(at=1.0))


# ---- pauses of retries ---------------------------------------------------------------------------
def retried(drill: Drill, at: float) -> list[Command]:
    """Fail the first node with a pause of 10 seconds, and return the commands."""
    activation = drill.activation("a")
    drill.jobs.remove(activation)
    return drill.tell(NodeFailed(activation, activation.attempt, ValueError(), 10.0, at=at))


def test_pause_survives_its_process() -> None:
    """The rest of a pause is waited for after a crash, and the attempts are counted on."""
    drill = Drill(plan_of(graph().chain(step("a"), END)))
    retried(drill, at=100.0)
    drill.tell(StopRequested("crashed", at=103.0, keeps_pauses=True))
    activation = entered(drill, "a")
    assert drill.tell(Resumed(at=104.0)) == [ScheduleRetry(activation, 6.0)]
    assert (activation.attempt, activation.first_attempt) == (1, 1)
    drill.tell(RetryDue(activation, 1, at=110.0))
    assert (activation.attempt, activation.first_attempt) == (2, 1)
    assert drill.finish_all().log == ["a"]


def test_pause_that_is_over_is_not_repeated() -> None:
    """A pause whose end came while no process ran is over."""
    drill = Drill(plan_of(graph().chain(step("a"), END)))
    retried(drill, at=100.0)
    drill.tell(StopRequested("crashed", at=300.0, keeps_pauses=True))
    assert drill.tell(Resumed(at=301.0)) == [ScheduleRetry(entered(drill, "a"), 0.0)]


def test_stop_ends_pause() -> None:
    """A run that was stopped by somebody tries again at once when it is resumed."""
    drill = Drill(plan_of(graph().chain(step("a"), END)))
    retried(drill, at=100.0)
    drill.stop()
    activation = entered(drill, "a")
    assert drill.tell(Resumed(at=104.0)) == [activation]
    assert (activation.attempt, activation.first_attempt) == (2, 2)


def test_signal_cancels_items_that_would_finish() -> None:
    """A signal cancels also the items of a map that would run to their end once it has enough."""
    drill = map_drill(cancel_on="stop", concurrency=2, need=3, rest="finish")
    drill.finish("each[0]/work").tell(STOP)
    assert drill.cancelled == ["each[1]/work", "each[2]/work"]
    drill = map_drill(cancel_on="stop", deadline=5.0, concurrency=2, need=1, rest="finish")
    drill.finish("each[0]/work")
    # The map is left: what finishes late is not ended any more.
    assert drill.tell(STOP) == []
    assert drill.run.ending_early() == []
    assert drill.finish_all().ends == ["succeeded"]


# ---- compensation --------------------------------------------------------------------------------
def test_items_that_were_cancelled_are_undone() -> None:
    """What was committed for items that the map does without is undone, and no other work."""
    made, undone = graph(), list[str]()
    options: dict[str, Any] = {"cancel_on": "stop", "compensate": True, "deadline": 5.0}
    each = map_over(made, "each", 2, flow=booking(undone), **options)
    drill = Drill(plan_of(made.chain(each, step("after"), END)))
    drill.finish("each[0]/book", "each[0]/pay", "each[0]/ship", "each[1]/book").tell(STOP)
    assert drill.finish_all().ends == ["succeeded"]
    assert undone == ["book"]


@pytest.mark.parametrize("ending", ["signal", "deadline"])
def test_sub_flow_that_ends_early_is_undone(ending: str) -> None:
    """A sub-flow that compensates is undone before its failure goes on, and begins anew."""
    made, undone = graph(), list[str]()
    options: dict[str, Any] = {"cancel_on": "stop", "compensate": True, "deadline": 5.0}
    team = sub(made, "team", booking(undone), **options)
    drill = Drill(plan_of(made.chain(team, step("after"), END)))
    drill.finish("team/book", "team/pay")
    if ending == "signal":
        drill.tell(STOP)
    else:
        activation = entered(drill, "team")
        drill.tell(NodeFailed(activation, 1, TimeoutError(), undoes=True, at=5.0))
    assert drill.running == ["team/pay/undo"]
    drill.finish_all()
    assert (undone, drill.ends) == (["book pay", "book"], ["failed"])
    drill.resume()
    assert drill.finish_all().log == ["team(book pay ship)", "after"]
