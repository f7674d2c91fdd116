"""Runs: failures, retries, stopping and resuming, questions, limits, late events, size."""

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
from graphorch.graph.compiler import compile_plan
from graphorch.graph.node import END
from graphorch.graph.topology import build_topology
from tests.core.drill import Drill, Log, count, graph, map_over, plan_of, step, sub


def diamond():
    return plan_of(graph().chain(step("fork"), [step("a"), step("b")], step("merge")))


def begun(run: Run) -> Activation:
    """Return the first activation of a run that starts with one node."""
    (start,) = run.handle(RunStarted({}))
    assert isinstance(start, Activation)
    return start


def chain(*names: str):
    return plan_of(graph().chain(*[step(name) for name in names]))


# ---- failures ------------------------------------------------------------------------------------
def test_failure_drains_run():
    """After a failure siblings finish, and nothing new starts."""
    drill = Drill(diamond()).finish("fork").fail("a")
    assert drill.ends == []
    drill.finish("b")
    assert drill.ends == ["failed"]
    assert drill.done == ["fork", "b"]
    assert drill.running == []


def test_resume_repeats_failed_node():
    """Resuming a failed run repeats the failed node, and nothing else."""
    drill = Drill(diamond()).finish("fork").fail("a").finish("b").resume()
    assert drill.running == ["a"]
    assert drill.activation("a").attempt == 2
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]
    assert drill.ends == ["failed", "succeeded"]


def test_drain_reports_every_failure():
    """Every failure of a drain is reported, in the order of failing."""
    drill = Drill(diamond()).finish("fork").fail("b").fail("a")
    assert [activation.path for activation in drill.run.failed()] == ["b", "a"]


def test_cancel_policy_interrupts_siblings():
    """The policy `cancel` interrupts the siblings."""
    drill = Drill(diamond(), on_failure="cancel").finish("fork").fail("a")
    assert (drill.cancelled, drill.ends) == (["b"], ["failed"])
    assert drill.resume().running == ["a", "b"]
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]


def test_isolate_policy_ends_partial():
    """The policy `isolate` lets the rest finish, and the run is partial."""
    drill = Drill(diamond(), on_failure="isolate").finish("fork").fail("a").finish("b")
    assert drill.running == ["merge"]
    assert drill.finish_all().log == ["fork", "b", "merge"]
    assert drill.ends == ["partial: succeeded"]


def test_isolated_failure_before_end():
    """An isolated failure that cuts off END fails the run."""
    drill = Drill(chain("a", "b"), on_failure="isolate").fail("a")
    assert drill.ends == ["failed: end not reached"]


def test_error_edge_carries_failure():
    """An error edge carries the failure on, without an update."""
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


def test_error_edge_of_other_kind():
    """A failure of another kind does not take the error edge."""
    first, handler = step("first"), step("handler")
    made = graph().chain(first, END).on_error(first, handler, when=KeyError)
    assert Drill(plan_of(made)).fail("first", ValueError("no")).ends == ["failed"]


def test_unreadable_node_is_skipped():
    """A node that cannot read what it needs is a dead path."""
    drill = Drill(diamond()).finish("fork").skip("a").finish("b")
    assert drill.finish_all().log == ["fork", "b", "merge"]


def test_write_conflict_names_writers():
    """Two unordered writes fail the join, and both writers are named."""
    made = graph().chain(step("fork"), [count("left"), count("right")], step("merge"))
    drill = Drill(plan_of(made)).finish("fork", "left", "right")
    failure = drill.activation("merge").failure
    assert "'left'" in str(failure)
    assert "'right'" in str(failure)
    assert drill.finish("merge").ends == ["failed"]


def test_write_conflict_skips_error_edge():
    """A conflict fails the run despite an error edge: there is no state to continue with."""
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
def test_retry_keeps_id_and_input():
    """An attempt that failed is repeated with an equal id and input."""
    drill = Drill(chain("a", "b"))
    activation = drill.activation("a")
    before = activation.id
    drill.fail("a", retry_after=1.5)
    assert drill.running == []
    drill.retry("a")
    assert drill.activation("a") is activation
    assert (activation.id, activation.attempt) == (before, 2)
    assert drill.finish_all().log == ["a", "b"]


def test_retry_of_selector():
    """A selector that failed is evaluated again, not its node."""
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


def test_resume_repeats_failed_selector():
    """A selector that failed for good is evaluated again when the run is resumed."""
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


def test_drain_defers_retry():
    """An activation that waits for its next attempt stays undone in a drain."""
    drill = Drill(diamond()).finish("fork").fail("a", retry_after=5).fail("b")
    assert drill.ends == ["failed"]
    assert sorted(drill.resume().running) == ["a", "b"]
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]


def test_resume_runs_deferred_retry():
    """An attempt that fails in a drain and may be repeated is repeated after resuming."""
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


# ---- stopping and going on -----------------------------------------------------------------------
def undisturbed(plan) -> tuple[list[str], dict[str, list[str]]]:
    drill = Drill(plan).finish_all()
    return drill.log, drill.ids()


def busy_plan():
    """Return a graph with something of everything that can be under way at a stop."""
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
def test_stop_anywhere_and_resume(now, after):
    """A run that is stopped anywhere and resumed ends like one that is not."""
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
def test_stop_during_retry_and_resume(
    after,
):
    """A run that is stopped while anything waits for a retry ends like one that is not."""
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
def test_failures_in_drain_and_resume(after):
    """Attempts that fail in a drain with tries left do not change the result."""
    drill = Drill(busy_plan())
    for _ in range(after):
        drill.finish(drill.running[0])
    drill.stop(now=False)
    for path in drill.running:
        drill.fail(path, retry_after=1)
    assert drill.ends == ["stopped: asked to"]
    drill.resume().finish_all()
    assert (drill.log, drill.ids()) == undisturbed(busy_plan())


def test_stop_now_drops_late_results():
    """Stopping at once cancels what runs, and its late results are not accepted."""
    drill = Drill(diamond()).finish("fork")
    late = drill.activation("a")
    drill.stop()
    assert (sorted(drill.cancelled), drill.ends) == (["a", "b"], ["stopped: asked to"])
    assert drill.tell(NodeSucceeded(late, {})) == []
    assert drill.done == ["fork"]


def test_driver_reports_cancelled_attempt():
    """The driver may report itself that an attempt was stopped."""
    drill = Drill(diamond()).finish("fork").stop(now=False)
    drill.tell(NodeCancelled(drill.activation("a")))
    drill.finish("b")
    assert drill.ends == ["stopped: asked to"]
    assert drill.resume().running == ["a"]


def test_cancelled_run_is_final():
    """A cancelled run is over for good."""
    drill = Drill(diamond()).finish("fork").stop(status="cancelled")
    assert drill.ends == ["cancelled: asked to"]
    assert drill.tell(Resumed()) == []
    assert drill.run.status == "cancelled"


def test_stop_of_cancelled_run():
    """Stopping a cancelled run changes nothing."""
    drill = Drill(diamond()).finish("fork").stop(status="cancelled")
    assert drill.tell(StopRequested("again")) == []
    assert drill.ends == ["cancelled: asked to"]


def test_cancel_of_stopped_run():
    """A stopped run may be cancelled for good."""
    drill = Drill(diamond()).finish("fork").stop().stop(status="cancelled")
    assert drill.ends == ["stopped: asked to", "cancelled: asked to"]
    assert drill.tell(Resumed()) == []


# ---- questions -----------------------------------------------------------------------------------
def test_answer_while_others_run():
    """A question is answered while other nodes run."""
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.answer(question, "yes")
    assert drill.ends == []
    assert drill.finish("b", "merge").log == ["fork", "yes", "b", "merge"]


def test_run_waits_for_answer():
    """A run waits when only questions are left, and continues with the answer."""
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.finish("b")
    assert drill.ends == ["waiting"]
    drill.answer(question, "yes")
    assert drill.run.status == "running"
    assert drill.finish_all().log == ["fork", "yes", "b", "merge"]
    assert drill.ends == ["waiting", "succeeded"]


def test_answer_inside_sub_flow():
    """A question inside a sub-flow is answered."""
    made = graph()
    made.chain(sub(made, "team", chain("ask", "tell")), step("after"))
    drill = Drill(plan_of(made))
    question = drill.ask("team/ask")
    assert drill.ends == ["waiting"]
    drill.answer(question, "yes")
    assert drill.finish_all().log == ["team(yes tell)", "after"]


def test_answer_to_stopped_run():
    """An answer to a stopped run commits, and acts when the run is resumed."""
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.stop(now=False).finish("b")
    drill.answer(question, "yes")
    assert question.status is Status.DONE
    assert (drill.running, drill.run.status) == ([], "stopped")
    assert drill.ends == ["stopped: asked to"]
    assert drill.resume().finish_all().log == ["fork", "yes", "b", "merge"]


def test_answer_to_stopped_run_is_routed():
    """An answer to a stopped run that has to be routed is routed."""
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
def test_answer_to_final_run(status):
    """An answer to a run that is over changes nothing."""
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.finish("b").stop(status=status)
    assert drill.answer(question, "yes") == []
    assert drill.done == ["fork", "b"]
    assert drill.run.status == status


def test_answer_is_accepted_once():
    """An answer is accepted once."""
    drill = Drill(diamond()).finish("fork")
    question = drill.ask("a")
    drill.answer(question, "yes")
    assert drill.answer(question, "no") == []
    assert drill.finish_all().log == ["fork", "yes", "b", "merge"]


def test_handled_sub_flow_withdraws_question():
    """A question inside a failed sub-flow is withdrawn when an error edge carries on."""
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


def test_drain_keeps_questions_open():
    """A question stays open in a drain."""
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


# ---- limits --------------------------------------------------------------------------------------
def test_limit_stops_run():
    """A limit on activations stops the run, and keeps what was done."""
    drill = Drill(chain("a", "b", "c"), max_activations=2).finish("a", "b")
    assert drill.ends == ["stopped: limit:activations"]
    assert drill.done == ["a", "b"]


def test_limit_exactly_enough():
    """A limit that is exactly enough is enough."""
    drill = Drill(chain("a", "b", "c"), max_activations=3).finish_all()
    assert drill.ends == ["succeeded"]
    assert drill.run.activations_left == 0


def test_limit_counts_inside():
    """A limit counts activations inside sub-flows and maps, and not their ENDs."""
    made = graph()
    made.chain(sub(made, "team", chain("x", "y")), map_over(made, "workers", 2))
    drill = Drill(plan_of(made), max_activations=6).finish_all()
    assert (drill.ends, drill.run.started) == (["succeeded"], 6)


@pytest.mark.parametrize("limit", range(1, 13))
def test_limit_raised_and_resumed(limit):
    """A run that met its limit and gets more ends like one that did not."""
    drill = Drill(busy_plan(), max_activations=limit).finish_all()
    if drill.run.status == "stopped":
        assert drill.run.started == limit
        drill.run.activations_left = 100
        drill.resume().finish_all()
    assert (drill.log, drill.ids()) == undisturbed(busy_plan())


def test_failure_by_limit_stops_run():
    """A failure that names a limit stops the run."""
    drill = Drill(diamond()).finish("fork").fail("a", limit="usd").finish("b")
    assert drill.ends == ["stopped: limit:usd"]
    assert drill.resume().finish_all().log == ["fork", "a", "b", "merge"]


# ---- late, doubled, wrong ------------------------------------------------------------------------
def test_doubled_events():
    """Doubled events change nothing."""
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


def test_result_of_earlier_attempt():
    """A result of an earlier attempt is not accepted."""
    drill = Drill(chain("a"))
    activation = drill.activation("a")
    drill.fail("a", retry_after=0).retry("a")
    assert drill.tell(NodeFailed(activation, 1, ValueError("late"))) == []
    assert drill.tell(RetryDue(activation, 1)) == []
    assert activation.status is Status.RUNNING


def test_late_success_of_lost_attempt():
    """A late success of a lost attempt is not taken for the one that runs."""
    drill = Drill(chain("a")).stop().resume()
    activation = drill.activation("a")
    assert activation.attempt == 2
    assert drill.tell(NodeSucceeded(activation, {}, attempt=1)) == []
    assert drill.finish_all().log == ["a"]


def test_gate_after_keeps_first_result():
    """A result that waits at a gate cannot be replaced by a second one."""
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


# ---- gates ---------------------------------------------------------------------------------------
def test_gate_before_approved():
    """A node starts when a person lets it pass its gate."""
    drill = Drill(diamond()).finish("fork")
    gate = drill.ask("a")
    drill.finish("b")
    drill.tell(Approved(gate))
    assert drill.running == ["a"]
    assert gate.approved
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]


def test_gate_before_refused():
    """A person who refuses fails the node."""
    drill = Drill(diamond()).finish("fork")
    gate = drill.ask("a")
    drill.finish("b")
    drill.tell(NodeFailed(gate, 1, PermissionError("no")))
    assert drill.ends == ["waiting", "failed"]


def test_gate_approved_in_stopped_run():
    """A node approved in a stopped run starts when the run is resumed."""
    drill = Drill(diamond()).finish("fork")
    gate = drill.ask("a")
    drill.stop(now=False).finish("b")
    assert drill.tell(Approved(gate)) == []
    drill.resume()
    assert drill.running == ["a"]
    assert drill.finish_all().log == ["fork", "a", "b", "merge"]


def test_grace_expired_interrupts():
    """The time to finish after a failure ends."""
    drill = Drill(diamond()).finish("fork").fail("a")
    drill.tell(GraceExpired())
    assert (drill.cancelled, drill.ends) == (["b"], ["failed"])
    assert drill.tell(GraceExpired()) == []
    assert drill.resume().finish_all().log == ["fork", "a", "b", "merge"]


def test_grace_expired_without_failure():
    """The end of the grace time means nothing to a run without a failure."""
    drill = Drill(diamond()).finish("fork")
    assert drill.tell(GraceExpired()) == []
    assert drill.running == ["a", "b"]


def test_route_beyond_bound():
    """A loop beyond its bound is a bug of the driver, and changes nothing."""
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


# ---- ids -----------------------------------------------------------------------------------------
def test_ids_equal_in_every_schedule():
    """Ids are equal in every schedule."""
    first = Drill(busy_plan()).finish_all(min)
    second = Drill(busy_plan()).finish_all(max)
    assert first.ids() == second.ids()
    assert first.done != second.done


def test_ids_differ_between_runs():
    """Ids differ between runs and between items."""
    first, second = (
        [activation.id for activation in Drill(busy_plan(), run_id=name).finish_all().run.history]
        for name in ("one", "other")
    )
    assert not {*first} & {*second}
    assert len({*first}) == len(first)


def test_ids_inside_survive_retry():
    """A retry does not change the ids inside a sub-flow."""
    made = graph()
    made.chain(sub(made, "team", chain("x", "y")))
    drill = Drill(plan_of(made)).finish("team/x").fail("team/y")
    drill.resume().finish_all()
    made = graph()
    made.chain(sub(made, "team", chain("x", "y")))
    assert drill.ids() == Drill(plan_of(made)).finish_all().ids()


# ---- size ----------------------------------------------------------------------------------------
def test_chain_of_10_000_nodes():
    """A chain of ten thousand nodes runs without recursion."""
    blueprint = graph().chain(*[count(f"n{at}") for at in range(10_000)]).spec
    drill = Drill(compile_plan(blueprint, build_topology(blueprint), {}), checked=False)
    for at in range(10_000):
        drill.finish(f"n{at}")
    assert (drill.number, drill.ends) == (10_000, ["succeeded"])
    assert len(drill.run.history[-1].id) == 32


def test_fan_out_of_10_000_nodes():
    """A fan-out of ten thousand nodes joins once."""
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
