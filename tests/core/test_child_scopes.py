"""What runs inside a node: maps over items, and flows within flows."""

from __future__ import annotations

import pytest

from graphorch.core.events import LeaveScope, NodeFailed, Resumed, RetryDue
from graphorch.core.tree import Status
from graphorch.graph.node import END
from tests.core.drill import Drill, graph, map_over, plan_of, step, sub


def mapped(items: int, **options):
    made = graph()
    made.chain(map_over(made, "map", items, **options), step("after"))
    return plan_of(made)


def chain(*names: str):
    return plan_of(graph().chain(*[step(name) for name in names]))


# ---- maps ----------------------------------------------------------------------------------------
def test_map_of_empty_list():
    """A map over an empty list completes at once."""
    drill = Drill(mapped(0))
    assert drill.running == ["after"]
    assert drill.finish_all().log == ["map[]", "after"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (2, 1, 0)])
def test_map_gathers_in_input_order(order):
    """Results are gathered in input order, whatever ends first."""
    drill = Drill(mapped(3))
    drill.finish(*(f"map[{at}]/work" for at in order))
    assert drill.finish_all().log == ["map[0,10,20]", "after"]


def test_map_concurrency_limit():
    """No more items run at once than the limit allows."""
    drill = Drill(mapped(5, concurrency=2))
    assert drill.running == ["map[0]/work", "map[1]/work"]
    drill.finish("map[1]/work")
    assert drill.running == ["map[0]/work", "map[2]/work"]
    assert drill.finish_all().log == ["map[0,10,20,30,40]", "after"]


def test_map_need_cancels_rest():
    """The needed number of items decides, and the rest is cancelled."""
    drill = Drill(mapped(4, concurrency=3, need=2)).finish("map[1]/work", "map[2]/work")
    assert drill.running == ["after"]
    assert sorted(drill.cancelled) == ["map[0]/work", "map[3]/work"]
    assert drill.finish_all().log == ["map[10,20]", "missing 0", "missing 3", "after"]


def test_map_need_not_met():
    """Fewer successes than needed fail the map."""
    drill = Drill(mapped(2, need=2)).fail("map[0]/work").finish("map[1]/work")
    assert drill.ends == ["failed"]
    assert "QuorumNotMet" in [type(activation.failure).__name__ for activation in drill.run.errors]


@pytest.mark.parametrize("policy", ["skip", "collect"])
def test_map_skips_failed_item(policy):
    """An item that fails is left out."""
    drill = (
        Drill(mapped(3, on_item_error=policy))
        .fail("map[1]/work")
        .finish("map[0]/work", "map[2]/work")
    )
    assert drill.finish_all().log == ["map[0,20]", "missing 1", "after"]
    assert drill.ends == ["succeeded"]


def test_map_failed_item_frees_slot():
    """An item that fails makes room for the next one."""
    drill = Drill(mapped(3, concurrency=1, on_item_error="skip")).fail("map[0]/work")
    assert drill.running == ["map[1]/work"]


def test_map_fails_with_item():
    """An item that fails fails the map, and nothing new starts in it."""
    drill = Drill(mapped(4, concurrency=2)).fail("map[0]/work")
    assert drill.running == ["map[1]/work"]
    drill.finish("map[1]/work")
    assert drill.ends == ["failed"]


def test_map_resumes_unfinished_items():
    """A map that failed repeats only the unfinished items."""
    drill = (
        Drill(mapped(4, concurrency=2))
        .finish("map[0]/work")
        .fail("map[1]/work")
        .finish("map[2]/work")
        .resume()
    )
    assert drill.running == ["map[1]/work", "map[3]/work"]
    assert drill.finish_all().log == ["map[0,10,20,30]", "after"]
    assert drill.done.count("map[0]/work") == 1


def test_map_stopped_after_resuming():
    """A map that failed, was resumed and then stopped is only stopped."""
    drill = Drill(mapped(2, concurrency=2)).finish("map[0]/work").fail("map[1]/work").resume()
    assert drill.running == ["map[1]/work"]
    drill.stop()
    assert drill.ends == ["failed", "stopped: asked to"]
    assert drill.run.failed() == []
    assert drill.resume().finish_all().log == ["map[0,10]", "after"]


def test_map_failed_gather_starts_nothing():
    """A map whose `gather` failed does not start items beyond its need."""
    drill = Drill(mapped(3, concurrency=1, need=1))
    activation = drill.activation("map[0]/work").scope.parent
    assert activation is not None
    drill._answer = lambda: None  # type: ignore[method-assign]
    drill.finish("map[0]/work")
    drill.jobs.clear()
    drill.tell(NodeFailed(activation, activation.attempt, ValueError("gather")))
    commands = drill.tell(Resumed())
    assert [type(command) for command in commands] == [LeaveScope]


def test_map_item_retry_survives_stop():
    """An item that waits for a retry when the run stops is not left out."""
    drill = Drill(mapped(2, on_item_error="skip", flow=chain("x", "y")))
    drill.finish("map[0]/x").fail("map[0]/y", retry_after=9).stop(now=False).finish("map[1]/x")
    assert drill.ends == ["stopped: asked to"]
    assert drill.resume().finish_all().log == ["map[x y,x y]", "after"]


def test_map_items_wait_for_people():
    """Items that are flows may wait for people."""
    drill = Drill(mapped(2, flow=chain("x", "y")))
    questions = [drill.ask("map[0]/x"), drill.ask("map[1]/x")]
    assert drill.ends == ["waiting"]
    drill.answer(questions[1], "second")
    assert drill.running == ["map[1]/y"]
    drill.finish("map[1]/y")
    drill.answer(questions[0], "first")
    assert drill.finish_all().log == ["map[first y,second y]", "after"]


def test_map_need_cancels_waiting_item():
    """An item that waits for a person is cancelled when enough others are done."""
    drill = Drill(mapped(2, need=1, flow=chain("x", "y")))
    question = drill.ask("map[0]/x")
    drill.finish("map[1]/x", "map[1]/y")
    assert question.status is Status.CANCELLED
    assert drill.answer(question, "late") == []
    assert drill.finish_all().ends == ["succeeded"]


def test_failed_item_withdraws_question():
    """A question in an item that failed is withdrawn."""
    flow = plan_of(graph().chain(step("fork"), [step("ask"), step("work")], step("merge")))
    drill = Drill(mapped(2, on_item_error="skip", flow=flow)).finish("map[0]/fork")
    question = drill.ask("map[0]/ask")
    drill.fail("map[0]/work")
    assert question.status is Status.CANCELLED
    assert drill.answer(question, "late") == []
    assert drill.finish_all().log == ["map[fork ask work merge]", "missing 0", "after"]


# ---- sub-flows -----------------------------------------------------------------------------------
def three_deep():
    third = chain("dig", "sort")
    second = graph()
    second.chain(sub(second, "third", third), step("check"))
    first = graph()
    first.chain(step("plan"), sub(first, "second", plan_of(second)))
    made = graph()
    made.chain(sub(made, "first", plan_of(first)), step("report"))
    return plan_of(made)


def test_sub_flows_three_levels():
    """Flows run three levels deep."""
    drill = Drill(three_deep()).finish("first/plan")
    assert drill.running == ["first/second/third/dig"]
    assert drill.finish_all().log == ["first(plan second(third(dig sort) check))", "report"]
    assert drill.done[1] == "first/second/third/dig"


def test_sub_flow_deep_failure():
    """A failure three levels deep fails the run once, and resuming repeats only it."""
    drill = (
        Drill(three_deep())
        .finish("first/plan", "first/second/third/dig")
        .fail("first/second/third/sort")
    )
    assert drill.ends == ["failed"]
    assert [activation.path for activation in drill.run.failed()] == ["first/second/third/sort"]
    drill.resume()
    assert drill.running == ["first/second/third/sort"]
    assert drill.finish_all().log == ["first(plan second(third(dig sort) check))", "report"]
    assert drill.done.count("first/second/third/dig") == 1


def test_sub_flow_error_edge():
    """An error edge of a sub-flow takes a failure inside."""
    made = graph()
    team = sub(made, "team", chain("x", "y"))
    made.chain(team, END).on_error(team, step("handler"))
    drill = Drill(plan_of(made)).finish("team/x").fail("team/y")
    assert drill.running == ["handler"]
    assert drill.finish_all().ends == ["succeeded"]


def test_sub_flow_retry_resumes_inside():
    """A sub-flow that is retried resumes what is inside."""
    made = graph()
    made.chain(sub(made, "team", chain("x", "y")))
    drill = Drill(plan_of(made)).finish("team/x")
    activation = drill.activation("team/y").scope.parent
    assert activation is not None
    answer = drill._answer
    drill._answer = lambda: None  # type: ignore[method-assign]
    drill.fail("team/y")
    assert [type(job) for job in drill.jobs] == [LeaveScope]
    drill.jobs.clear()
    drill.tell(NodeFailed(activation, 1, ValueError("inside"), retry_after=1.0))
    drill._answer = answer  # type: ignore[method-assign]
    drill.tell(RetryDue(activation, 1))
    assert drill.running == ["team/y"]
    assert drill.finish_all().log == ["team(x y)"]
    assert drill.done.count("team/x") == 1


def test_sub_flow_fresh_each_iteration():
    """A sub-flow in a loop starts afresh in every iteration."""
    made = graph()
    team = sub(made, "team", chain("x"))
    made.chain(team, END).loop(team, back_to=team, while_=lambda s: True, max_iterations=3)
    drill = Drill(plan_of(made)).finish_all()
    assert drill.log == ["team(x)"] * 3
    assert len({*drill.ids()["team/x"]}) == 3


def test_sub_flow_resumes_after_interrupt():
    """An interrupted sub-flow continues where it was."""
    drill = Drill(three_deep()).finish("first/plan", "first/second/third/dig").stop()
    assert drill.cancelled == ["first/second/third/sort"]
    drill.resume()
    assert drill.running == ["first/second/third/sort"]
    assert drill.finish_all().ends == ["stopped: asked to", "succeeded"]


def test_quorum_cancels_sub_flow():
    """A `need=k` join cancels everything inside a sub-flow of its region."""
    made = graph()
    merge = step("merge")
    made.chain(step("fork"), [sub(made, "team", chain("x", "y")), step("quick")], merge).join(
        merge, need=1
    )
    drill = Drill(plan_of(made)).finish("fork", "team/x", "quick")
    assert drill.cancelled == ["team/y"]
    assert drill.finish_all().log == ["fork", "quick", "merge"]


def test_lost_branch_keeps_run_whole():
    """An item that failed in a branch that lost a race does not make the run partial."""
    made = graph()
    merge = step("merge")
    made.chain(
        step("fork"), [map_over(made, "map", 2, on_item_error="skip"), step("quick")], merge
    ).join(merge, need=1)
    drill = Drill(plan_of(made)).finish("fork").fail("map[0]/work").finish("quick")
    assert drill.finish_all().ends == ["succeeded"]


def test_map_failure_interrupts_items():
    """Where failures cancel, an item that fails interrupts the items that run."""
    drill = Drill(mapped(2), on_failure="cancel").fail("map[0]/work")
    assert (drill.cancelled, drill.ends) == (["map[1]/work"], ["failed"])
    assert drill.resume().finish_all().log == ["map[0,10]", "after"]


@pytest.mark.parametrize("limit", range(2, 9))
def test_map_items_beyond_limit(limit):
    """Items beyond a limit are not left out: they start when there is more room."""
    flow = plan_of(graph().chain(step("x"), step("y"), step("z")))
    drill = Drill(
        mapped(4, concurrency=3, on_item_error="skip", flow=flow), max_activations=limit
    ).finish_all()
    for _ in range(40):
        if drill.run.status != "stopped":
            break
        drill.run.activations_left = 1
        drill.resume().finish_all()
    assert drill.log == ["map[x y z,x y z,x y z,x y z]", "after"]
