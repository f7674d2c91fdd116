"""What a run does in each situation: failures, retries, stopping and going on, questions, limits, late events, size."""

from __future__ import annotations

import pytest

from graphorch.core.events import (
    Approved,
    EvaluateRoute,
    GraceExpired,
    NodeCancelled,
    NodeFailed,
    NodeSucceeded,
    PersonAsked,
    Resumed,
    RetryDue,
    Routed,
    RouteDecision,
    RunStarted,
    StopRequested,
)
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status
from graphorch.errors import InternalError
from graphorch.graph.node import END
from graphorch.graph.plan import compile_plan
from graphorch.graph.topology import build_topology
from tests.core.drill import Drill, Log, count, graph, map_over, plan_of, step, sub


def diamond():
    return plan_of(graph().chain(step("fork"), [step("a"), step("b")], step("merge")))


def begun(run: Run) -> Activation:
    """The first activation of a run that starts with one node."""
    (start,) = run.handle(RunStarted({}))
    assert isinstance(start, Activation)
    return start


def chain(*names: str):
    return plan_of(graph().chain(*[step(name) for name in names]))


# ---- failures ------------------------------------------------------------------------------------
def test_a_failure_drains_the_siblings_finish_and_nothing_new_starts():
    drill = Drill(diamond()).finish("fork").fail("a")
    assert drill.ends == []
    drill.finish("b")
    assert drill.ends == ["failed"]
    assert drill.done == ["fork", "b"]
    assert drill.running == []


def test_a_failed_run_that_is_resumed_tries_the_failed_node_again_and_nothing_else():
    drill = Drill(diamond()).finish("fork").fail("a").finish("b").resume()
    assert drill.running == ["a"]
    assert drill.activation("a").attempt == 2
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]
    assert drill.ends == ["failed", "succeeded"]


def test_every_failure_of_a_drain_is_reported_in_the_order_of_failing():
    drill = Drill(diamond()).finish("fork").fail("b").fail("a")
    assert [activation.path for activation in drill.run.failed()] == ["b", "a"]


def test_the_cancel_policy_interrupts_the_siblings():
    drill = Drill(diamond(), on_failure="cancel").finish("fork").fail("a")
    assert (drill.cancelled, drill.ends) == (["b"], ["failed"])
    assert drill.resume().running == ["a", "b"]
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]


def test_the_isolate_policy_lets_the_rest_finish_and_says_so():
    drill = Drill(diamond(), on_failure="isolate").finish("fork").fail("a").finish("b")
    assert drill.running == ["merge"]
    assert drill.finish_all().log == ["fork", "b", "merge"]
    assert drill.ends == ["partial: succeeded"]


def test_an_isolated_failure_that_cuts_off_end_fails_the_run():
    drill = Drill(chain("a", "b"), on_failure="isolate").fail("a")
    assert drill.ends == ["failed: end not reached"]


def test_an_error_edge_carries_on_with_a_failure_and_without_an_update():
    handler = step("handler")
    first = step("first")
    made = (
        graph()
        .chain(first, step("next"))
        .on_error(first, handler, when=ValueError)
        .chain(handler, END)
    )
    drill = Drill(plan_of(made)).fail("first", ValueError("no"))
    assert drill.running == ["handler"]
    assert str(drill.activation("handler").tokens[0].failure) == "no"
    assert drill.finish_all().log == ["handler"]
    assert drill.ends == ["succeeded"]


def test_a_failure_of_another_kind_does_not_take_the_error_edge():
    first, handler = step("first"), step("handler")
    made = graph().chain(first, END).on_error(first, handler, when=KeyError)
    assert Drill(plan_of(made)).fail("first", ValueError("no")).ends == ["failed"]


def test_a_node_that_cannot_read_what_it_needs_is_a_dead_path():
    drill = Drill(diamond()).finish("fork").skip("a").finish("b")
    assert drill.finish_all().log == ["fork", "b", "merge"]


def test_two_writes_at_once_fail_the_join_with_both_writers_named():
    made = graph().chain(step("fork"), [count("left"), count("right")], step("merge"))
    drill = Drill(plan_of(made)).finish("fork", "left", "right")
    failure = drill.activation("merge").failure
    assert "'left'" in str(failure)
    assert "'right'" in str(failure)
    assert drill.finish("merge").ends == ["failed"]


def test_a_conflict_that_an_error_edge_would_take_fails_the_run_since_there_is_no_state_to_go_on_with():
    merge = step("merge")
    made = (
        graph()
        .chain(step("fork"), [count("left"), count("right")], merge, END)
        .on_error(merge, step("handler"))
    )
    drill = Drill(plan_of(made)).finish("fork", "left", "right").finish_all()
    assert drill.ends == ["failed"]
    assert [activation.path for activation in drill.run.failed()] == ["merge"]


# ---- retries -------------------------------------------------------------------------------------
def test_an_attempt_that_failed_is_repeated_with_the_same_id_and_input():
    drill = Drill(chain("a", "b"))
    activation = drill.activation("a")
    before = activation.id
    drill.fail("a", retry_after=1.5)
    assert drill.running == []
    drill.retry("a")
    assert drill.activation("a") is activation
    assert (activation.id, activation.attempt) == (before, 2)
    assert drill.finish_all().log == ["a", "b"]


def test_a_selector_that_failed_is_evaluated_again_and_not_the_node():
    head = step("head")
    made = (
        graph()
        .chain(head, step("after"))
        .loop(head, back_to=head, while_=lambda s: False, max_iterations=2)
    )
    plan = plan_of(made)
    run = Run(plan, "r")
    activation = begun(run)
    run.handle(NodeSucceeded(activation, {0: ["head"]}))
    run.handle(NodeFailed(activation, 1, ValueError("selector"), retry_after=1.0))
    (command,) = run.handle(RetryDue(activation, 1))
    assert type(command).__name__ == "EvaluateRoute"
    assert activation.status is Status.ROUTING
    run.handle(Routed(activation, RouteDecision()))
    assert activation.status is Status.DONE


def test_a_selector_that_failed_for_good_is_evaluated_again_when_the_run_is_resumed():
    head = step("head")
    made = (
        graph()
        .chain(head, step("after"))
        .loop(head, back_to=head, while_=lambda s: False, max_iterations=2)
    )
    run = Run(plan_of(made), "r")
    activation = begun(run)
    run.handle(NodeSucceeded(activation, {0: ["head"]}))
    run.handle(NodeFailed(activation, 1, ValueError("selector")))
    assert run.status == "failed"
    (command,) = run.handle(Resumed())
    assert type(command).__name__ == "EvaluateRoute"


def test_what_waits_for_its_next_attempt_stays_undone_in_a_drain():
    drill = Drill(diamond()).finish("fork").fail("a", retry_after=5).fail("b")
    assert drill.ends == ["failed"]
    assert sorted(drill.resume().running) == ["a", "b"]
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]


def test_an_attempt_that_fails_in_a_drain_and_could_be_repeated_is_repeated_after_resuming():
    drill = (
        Drill(diamond(), on_failure="isolate")
        .finish("fork")
        .stop(now=False)
        .fail("a", retry_after=5)
        .finish("b")
    )
    assert drill.ends == ["stopped: asked to"]
    drill.resume()
    assert drill.running == ["a"]
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]


# ---- stopping and going on --------------------------------------------------------------------------
def undisturbed(plan) -> tuple[list[str], dict[str, list[str]]]:
    drill = Drill(plan).finish_all()
    return drill.log, drill.ids()


def busy_plan():
    """A graph with something of everything that can be under way when a run is stopped."""
    made = graph()
    team = plan_of(graph().chain(step("dig"), [step("sort"), step("wash")], step("pack")))
    head, tail = step("head"), step("tail")
    made.chain(
        step("fork"),
        [
            sub(made, "team", team),
            map_over(made, "workers", 3, concurrency=2, on_item_error="skip"),
            head,
        ],
    )
    made.chain(head, tail, step("merge")).chain(made.spec.nodes["team"], made.spec.nodes["merge"])
    made.chain(made.spec.nodes["workers"], made.spec.nodes["merge"]).loop(
        tail, back_to=head, while_=lambda s: True, max_iterations=2
    )
    return plan_of(made)


@pytest.mark.parametrize("now", [True, False])
@pytest.mark.parametrize("after", range(13))
def test_a_run_that_is_stopped_anywhere_and_resumed_ends_like_one_that_is_not(now, after):
    drill = Drill(busy_plan())
    for _ in range(after):
        drill.finish(drill.running[0])
    drill.stop(now=now)
    while drill.running:
        drill.finish(drill.running[-1])
    if (now, after) == (False, 12):
        assert drill.ends == ["succeeded"]  # the last node was running, and END is no work
    else:
        assert drill.ends == ["stopped: asked to"]
        drill.resume().finish_all(max)
    assert (drill.log, drill.ids()) == undisturbed(busy_plan())


@pytest.mark.parametrize("after", range(13))
def test_a_run_in_which_anything_waits_for_a_retry_when_it_is_stopped_ends_like_one_that_is_not(
    after,
):
    drill = Drill(busy_plan())
    for _ in range(after):
        drill.finish(drill.running[0])
    for path in drill.running:
        drill.fail(path, retry_after=1)
    drill.stop(now=False)
    assert drill.ends == ["stopped: asked to"]
    drill.resume().finish_all()
    assert (drill.log, drill.ids()) == undisturbed(busy_plan())


@pytest.mark.parametrize("after", range(13))
def test_attempts_that_fail_in_a_drain_with_tries_left_do_not_change_the_result(after):
    drill = Drill(busy_plan())
    for _ in range(after):
        drill.finish(drill.running[0])
    drill.stop(now=False)
    for path in drill.running:
        drill.fail(path, retry_after=1)
    assert drill.ends == ["stopped: asked to"]
    drill.resume().finish_all()
    assert (drill.log, drill.ids()) == undisturbed(busy_plan())


def test_stopping_at_once_cancels_what_runs_and_what_it_would_have_said_is_not_taken():
    drill = Drill(diamond()).finish("fork")
    late = drill.activation("a")
    drill.stop()
    assert (sorted(drill.cancelled), drill.ends) == (["a", "b"], ["stopped: asked to"])
    assert drill.tell(NodeSucceeded(late, {})) == []
    assert drill.done == ["fork"]


def test_the_driver_may_say_itself_that_an_attempt_was_stopped():
    drill = Drill(diamond()).finish("fork").stop(now=False)
    drill.tell(NodeCancelled(drill.activation("a")))
    drill.finish("b")
    assert drill.ends == ["stopped: asked to"]
    assert drill.resume().running == ["a"]


def test_a_cancelled_run_is_over_for_good():
    drill = Drill(diamond()).finish("fork").stop(status="cancelled")
    assert drill.ends == ["cancelled: asked to"]
    assert drill.tell(Resumed()) == []
    assert drill.run.status == "cancelled"


def test_stopping_a_cancelled_run_changes_nothing():
    drill = Drill(diamond()).finish("fork").stop(status="cancelled")
    assert drill.tell(StopRequested("again")) == []
    assert drill.ends == ["cancelled: asked to"]


def test_a_stopped_run_may_be_cancelled_for_good():
    drill = Drill(diamond()).finish("fork").stop().stop(status="cancelled")
    assert drill.ends == ["stopped: asked to", "cancelled: asked to"]
    assert drill.tell(Resumed()) == []


# ---- questions -------------------------------------------------------------------------------------
def test_a_question_is_answered_while_others_run():
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.answer(question, "yes")
    assert drill.ends == []
    assert drill.finish("b", "merge").log == ["fork", "yes", "b", "merge"]


def test_a_run_waits_when_only_questions_are_left_and_goes_on_with_the_answer():
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.finish("b")
    assert drill.ends == ["waiting"]
    drill.answer(question, "yes")
    assert drill.run.status == "running"
    assert drill.finish_all().log == ["fork", "yes", "b", "merge"]
    assert drill.ends == ["waiting", "succeeded"]


def test_a_question_inside_a_sub_flow_is_answered():
    made = graph()
    made.chain(sub(made, "team", chain("ask", "tell")), step("after"))
    drill = Drill(plan_of(made))
    question = drill.ask("team/ask")
    assert drill.ends == ["waiting"]
    drill.answer(question, "yes")
    assert drill.finish_all().log == ["team(yes tell)", "after"]


def test_an_answer_to_a_stopped_run_commits_and_acts_when_the_run_is_resumed():
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.stop(now=False).finish("b")
    drill.answer(question, "yes")
    assert question.status is Status.DONE
    assert (drill.running, drill.run.status) == ([], "stopped")
    assert drill.ends == ["stopped: asked to"]
    assert drill.resume().finish_all().log == ["fork", "yes", "b", "merge"]


def test_an_answer_to_a_stopped_run_that_has_to_be_routed_is_routed():
    head = step("head")
    made = (
        graph()
        .chain(head, step("after"))
        .loop(head, back_to=head, while_=lambda s: False, max_iterations=2)
    )
    drill = Drill(plan_of(made))
    question = drill.ask("head")
    drill.resume()
    assert drill.ends == ["waiting", "waiting"]
    drill.stop()
    drill.answer(question, "yes")
    assert drill.run.status == "stopped"
    assert drill.resume().finish_all().log == ["yes", "after"]


@pytest.mark.parametrize("status", ["cancelled"])
def test_an_answer_to_a_run_that_is_over_is_refused(status):
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.finish("b").stop(status=status)
    assert drill.answer(question, "yes") == []
    assert drill.done == ["fork", "b"]
    assert drill.run.status == status


def test_an_answer_is_taken_once():
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.answer(question, "yes")
    assert drill.answer(question, "no") == []
    assert drill.finish_all().log == ["fork", "yes", "b", "merge"]


def test_a_question_inside_a_sub_flow_that_failed_is_withdrawn_when_an_error_edge_carries_on():
    made = graph()
    team = sub(
        made,
        "team",
        plan_of(graph().chain(step("fork"), [step("ask"), step("work")], step("merge"))),
    )
    made.chain(team, END).on_error(team, step("handler"))
    drill = Drill(plan_of(made)).finish("team/fork")
    question = drill.ask("team/ask")
    drill.fail("team/work")
    assert drill.running == ["handler"]
    assert question.status is Status.CANCELLED
    drill.finish_all()
    assert drill.answer(question, "yes") == []
    assert drill.ends == ["succeeded"]


def test_a_question_stays_open_in_a_drain():
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.fail("b")
    assert drill.ends == ["failed"]
    assert question.status is Status.AWAITING_ANSWER
    drill.resume()
    assert drill.running == ["b"]
    drill.finish("b")
    assert drill.ends == ["failed", "waiting"]
    drill.answer(question, "yes")
    assert drill.finish_all().log == ["fork", "yes", "b", "merge"]


# ---- limits ----------------------------------------------------------------------------------------
def test_a_limit_on_activations_stops_the_run_and_keeps_what_was_done():
    drill = Drill(chain("a", "b", "c"), max_activations=2).finish("a", "b")
    assert drill.ends == ["stopped: limit:activations"]
    assert drill.done == ["a", "b"]


def test_a_limit_that_is_exactly_enough_is_enough():
    drill = Drill(chain("a", "b", "c"), max_activations=3).finish_all()
    assert drill.ends == ["succeeded"]
    assert drill.run.activations_left == 0


def test_a_limit_counts_what_is_inside_sub_flows_and_maps_and_not_their_ends():
    made = graph()
    made.chain(sub(made, "team", chain("x", "y")), map_over(made, "workers", 2))
    drill = Drill(plan_of(made), max_activations=6).finish_all()
    assert (drill.ends, drill.run.started) == (["succeeded"], 6)


@pytest.mark.parametrize("limit", range(1, 13))
def test_a_run_that_met_its_limit_and_gets_more_ends_like_one_that_did_not(limit):
    drill = Drill(busy_plan(), max_activations=limit).finish_all()
    if drill.run.status == "stopped":
        assert drill.run.started == limit
        drill.run.activations_left = 100
        drill.resume().finish_all()
    assert (drill.log, drill.ids()) == undisturbed(busy_plan())


def test_a_limit_behind_a_failure_stops_the_run():
    drill = Drill(diamond()).finish("fork").fail("a", limit="usd").finish("b")
    assert drill.ends == ["stopped: limit:usd"]
    assert drill.resume().finish_all().log == ["fork", "a", "b", "merge"]


# ---- late, doubled, wrong ------------------------------------------------------------------------------
def test_doubled_events_change_nothing():
    drill = Drill(diamond()).finish("fork")
    a = drill.activation("a")
    drill.finish("a")
    for event in (
        RunStarted({}),
        NodeSucceeded(a, {}),
        NodeFailed(a, 1, ValueError()),
        RetryDue(a, 1),
        Routed(a, RouteDecision()),
        NodeCancelled(a),
    ):
        assert drill.tell(event) == []
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]


def test_a_result_of_an_earlier_attempt_is_not_taken():
    drill = Drill(chain("a"))
    activation = drill.activation("a")
    drill.fail("a", retry_after=0).retry("a")
    assert drill.tell(NodeFailed(activation, 1, ValueError("late"))) == []
    assert drill.tell(RetryDue(activation, 1)) == []
    assert activation.status is Status.RUNNING


def test_a_late_success_of_a_lost_attempt_is_not_taken_for_the_one_that_runs():
    drill = Drill(chain("a")).stop().resume()
    activation = drill.activation("a")
    assert activation.attempt == 2
    assert drill.tell(NodeSucceeded(activation, {}, attempt=1)) == []
    assert drill.finish_all().log == ["a"]


def test_a_result_that_waits_at_a_gate_is_not_given_a_second_time():
    head = step("head")
    made = (
        graph()
        .chain(head, step("after"))
        .loop(head, back_to=head, while_=lambda s: False, max_iterations=2)
    )
    run = Run(plan_of(made), "r")
    activation = begun(run)
    run.handle(NodeSucceeded(activation, activation.step.writes[0].update(Log(log=["head"]))))
    run.handle(PersonAsked(activation, "may it?"))
    assert run.status == "waiting"
    assert (
        run.handle(NodeSucceeded(activation, activation.step.writes[0].update(Log(log=["again"]))))
        == []
    )
    (decide,) = run.handle(Approved(activation))
    assert isinstance(decide, EvaluateRoute)
    (start,) = run.handle(Routed(activation, RouteDecision()))
    assert isinstance(start, Activation)
    assert start.version is not None
    assert run.plan.read_state.read(start.version).log == ["head"]


# ---- gates -------------------------------------------------------------------------------------------------
def test_a_node_starts_when_a_person_lets_it_pass_its_gate():
    drill = Drill(diamond()).finish("fork")
    gate = drill.ask("a")
    drill.finish("b")
    drill.tell(Approved(gate))
    assert drill.running == ["a"]
    assert gate.approved
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]


def test_a_person_who_refuses_fails_the_node():
    drill = Drill(diamond()).finish("fork")
    gate = drill.ask("a")
    drill.finish("b")
    drill.tell(NodeFailed(gate, 1, PermissionError("no")))
    assert drill.ends == ["waiting", "failed"]


def test_a_gate_that_is_passed_in_a_stopped_run_is_passed_when_it_is_resumed():
    drill = Drill(diamond()).finish("fork")
    gate = drill.ask("a")
    drill.stop(now=False).finish("b")
    assert drill.tell(Approved(gate)) == []
    drill.resume()
    assert drill.running == ["a"]
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]


def test_the_time_to_finish_after_a_failure_ends():
    drill = Drill(diamond()).finish("fork").fail("a")
    drill.tell(GraceExpired())
    assert (drill.cancelled, drill.ends) == (["b"], ["failed"])
    assert drill.tell(GraceExpired()) == []
    assert drill.resume().finish_all().log == ["fork", "a", "b", "merge"]


def test_the_time_to_finish_means_nothing_to_a_run_without_a_failure():
    drill = Drill(diamond()).finish("fork")
    assert drill.tell(GraceExpired()) == []
    assert drill.running == ["a", "b"]


def test_a_loop_beyond_its_bound_is_a_bug_of_the_driver_and_changes_nothing():
    head = step("head")
    made = (
        graph().chain(head, END).loop(head, back_to=head, while_=lambda s: True, max_iterations=1)
    )
    run = Run(plan_of(made), "r")
    activation = begun(run)
    run.handle(NodeSucceeded(activation, {}))
    with pytest.raises(InternalError, match="beyond its bound"):
        run.handle(Routed(activation, RouteDecision(loop=0)))
    assert activation.status is Status.ROUTING


# ---- ids ---------------------------------------------------------------------------------------------------
def test_ids_are_equal_in_every_schedule():
    first = Drill(busy_plan()).finish_all(min)
    second = Drill(busy_plan()).finish_all(max)
    assert first.ids() == second.ids()
    assert first.done != second.done


def test_ids_differ_between_runs_and_between_items():
    first, second = (
        [activation.id for activation in Drill(busy_plan(), run_id=name).finish_all().run.history]
        for name in ("one", "other")
    )
    assert not {*first} & {*second}
    assert len({*first}) == len(first)


def test_a_retry_does_not_change_the_ids_inside_a_sub_flow():
    made = graph()
    made.chain(sub(made, "team", chain("x", "y")))
    drill = Drill(plan_of(made)).finish("team/x").fail("team/y")
    drill.resume().finish_all()
    made = graph()
    made.chain(sub(made, "team", chain("x", "y")))
    assert drill.ids() == Drill(plan_of(made)).finish_all().ids()


# ---- size --------------------------------------------------------------------------------------------------
def test_a_chain_of_ten_thousand_nodes_runs_without_recursion():
    blueprint = graph().chain(*[count(f"n{at}") for at in range(10_000)]).spec
    drill = Drill(compile_plan(blueprint, build_topology(blueprint), {}), checked=False)
    for at in range(10_000):
        drill.finish(f"n{at}")
    assert (drill.number, drill.ends) == (10_000, ["succeeded"])
    assert len(drill.run.history[-1].id) == 32


def test_a_fan_out_of_ten_thousand_nodes_joins_once():
    blueprint = (
        graph().chain(step("fork"), [step(f"n{at}") for at in range(10_000)], step("merge")).spec
    )
    plan = compile_plan(blueprint, build_topology(blueprint), {})
    run = Run(plan, "r")
    starts = [
        command
        for command in run.handle(NodeSucceeded(begun(run), {}))
        if isinstance(command, Activation)
    ]
    assert len(starts) == 10_000
    log = plan.schema.by_name["log"].index
    joined = [
        run.handle(NodeSucceeded(activation, {log: [activation.step.name]}))
        for activation in starts
    ]
    assert not any(joined[:-1])
    (merge,) = joined[-1]
    assert isinstance(merge, Activation)
    assert merge.version is not None
    assert plan.read_state.read(merge.version).log == [f"n{at}" for at in range(10_000)]
