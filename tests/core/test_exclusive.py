"""Exclusive regions: of the nodes of a region one runs at a time, wherever in the run they are."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from graphorch.core.events import Approved, NodeHeld, PersonAsked, RunStarted
from graphorch.core.run import Run
from graphorch.core.tree import Status
from graphorch.graph.node import END, Node
from graphorch.graph.plan import Plan
from tests.core.drill import Drill, graph, map_over, plan_of, step, sub


def fork(*regions: str, names: str = "abc") -> Plan:
    """Return a plan of branches side by side; each region is given as `name: nodes`."""
    made = graph()
    nodes = {name: step(name) for name in names}
    made.chain(step("fork"), [*nodes.values()], step("merge"))
    for region in regions:
        name, _, members = region.partition(": ")
        made.exclusive(name, [nodes[member] for member in members])
    return plan_of(made)


def held(drill: Drill) -> list[str]:
    return sorted(item.path for item in drill.run.unfinished() if item.status is Status.HELD)


def worker(region: str = "db", *, before: str = "") -> Plan:
    """Return a flow of one exclusive node, perhaps behind another one."""
    made = graph()
    write = step("write")
    made.chain(*[step(name) for name in before], write).exclusive(region, [write])
    return plan_of(made)


def with_gate(node: Node[Any], gate: Any) -> Node[Any]:
    options = replace(node.options, gate=gate)
    return Node(node.fn, node.signature, name=node.name, kind=node.kind, options=options)


# ---- turns ---------------------------------------------------------------------------------------
def test_region_lets_one_node_run():
    """Of the nodes of a region one runs; other branches go on, and the join waits for all."""
    drill = Drill(fork("db: ab")).finish("fork")
    assert (drill.running, held(drill)) == (["a", "c"], ["b"])
    drill.finish("c")
    assert drill.running == ["a"]
    drill.finish("a")
    assert drill.running == ["b"]
    assert drill.finish("b", "merge").log == ["fork", "a", "b", "c", "merge"]


def test_turns_go_in_order_of_waiting():
    """A region goes to what came to wait for it first."""
    made = graph()
    a, b, c = (step(name) for name in "abc")
    first, second = step("first"), step("second")
    made.chain(step("fork"), [a, second, first], END).chain(second, b).chain(first, c)
    made.exclusive("db", [a, b, c])
    drill = Drill(plan_of(made)).finish("fork", "first", "second")
    assert held(drill) == ["b", "c"]
    assert drill.finish("a").running == ["c"]
    assert drill.finish("c").running == ["b"]


def test_node_that_leads_to_itself_waits_behind_others():
    """A node that a loop starts again does not get ahead of what waits."""
    made = graph()
    a, b = step("a"), step("b")
    made.chain(step("fork"), [a, step("pause")], step("merge")).chain(made.spec.nodes["pause"], b)
    made.loop(a, back_to=a, while_=lambda state: True, max_iterations=2).exclusive("db", [a, b])
    drill = Drill(plan_of(made)).finish("fork", "pause", "a")
    assert (drill.running, held(drill)) == (["b"], ["a"])
    assert drill.finish("b").running == ["a"]
    assert drill.finish_all().ends == ["succeeded"]


def test_regions_are_taken_at_once():
    """A node in two regions waits until it can have both, and keeps none of them meanwhile."""
    drill = Drill(fork("x: ab", "y: bc")).finish("fork")
    assert (drill.running, held(drill)) == (["a", "c"], ["b"])
    assert drill.finish("a").running == ["c"]
    assert drill.finish("c").running == ["b"]
    assert drill.finish_all().ends == ["succeeded"]


def test_order_of_turns_never_shows():
    """Whatever the schedule, the result and the ids are equal, and each region has one holder."""
    results = set[str]()
    for order in itertools.permutations("abc"):
        drill = Drill(fork("x: ab", "y: bc")).finish("fork")
        drill.finish_all(lambda running, order=order: min(running, key=f"{order}m".find))
        results.add(f"{drill.log} {sorted(drill.ids().items())}")
    assert len(results) == 1


# ---- what holds ----------------------------------------------------------------------------------
def test_pause_before_retry_holds():
    """What waits for its next attempt holds its region."""
    drill = Drill(fork("db: ab")).finish("fork").fail("a", retry_after=1.0)
    assert drill.running == ["c"]
    drill.retry("a")
    assert drill.running == ["a", "c"]
    assert drill.finish("a").running == ["b", "c"]


def test_question_holds():
    """What waits for a person holds its region, and the run waits with what is held."""
    drill = Drill(fork("db: ab")).finish("fork", "c")
    question = drill.ask("a")
    assert (drill.ends, held(drill)) == (["waiting"], ["b"])
    drill.answer(question, "a")
    assert drill.running == ["b"]
    assert drill.finish_all().ends == ["waiting", "succeeded"]


def test_handled_failure_gives_region_back():
    """A failure that an error edge carries on ends its holder."""
    made = graph()
    a, b = step("a"), step("b")
    made.chain(step("fork"), [a, b], step("merge"))
    made.on_error(a, step("handler")).exclusive("db", [a, b])
    drill = Drill(plan_of(made)).finish("fork").fail("a")
    assert drill.running == ["b", "handler"]


def test_isolated_failure_gives_region_back():
    """A dead path holds nothing."""
    drill = Drill(fork("db: ab"), on_failure="isolate").finish("fork").fail("a")
    assert drill.running == ["b", "c"]
    assert drill.finish_all().ends == ["partial: succeeded"]


def test_skipped_node_gives_region_back():
    """A node that cannot read what it needs holds nothing."""
    assert Drill(fork("db: ab")).finish("fork").skip("a").running == ["b", "c"]


@pytest.mark.parametrize("policy", ["drain", "cancel"])
def test_failed_node_holds_until_resumed(policy: Any):
    """What failed for good keeps its region, so a resumed run repeats it before the others."""
    drill = Drill(fork("db: ab"), on_failure=policy).finish("fork", "c").fail("a")
    assert (drill.ends, held(drill)) == (["failed"], ["b"])
    drill.resume()
    assert (drill.running, held(drill)) == (["a"], ["b"])
    assert drill.finish_all().ends == ["failed", "succeeded"]


# ---- stops and cancellations ---------------------------------------------------------------------
def test_stopped_run_gives_no_turn():
    """In a run that stops, what is held stays held; resumed, it gets its turn."""
    drill = Drill(fork("db: ab")).finish("fork").stop(now=False).finish("a", "c")
    assert (drill.ends, held(drill), drill.running) == (["stopped: asked to"], ["b"], [])
    drill.resume()
    assert drill.running == ["b"]
    assert drill.finish_all().ends == ["stopped: asked to", "succeeded"]


def test_interrupted_holder_goes_first():
    """A holder that a stop interrupted runs again first when the run is resumed."""
    drill = Drill(fork("db: ab")).finish("fork", "c").stop().resume()
    assert (drill.running, held(drill)) == (["a"], ["b"])


def test_quorum_cancels_what_is_held():
    """What is held in the region of a quorum is cancelled by name, and gets no turn."""
    made = graph()
    nodes = [step(name) for name in "abc"]
    merge = step("merge")
    made.chain(step("fork"), nodes, merge).join(merge, need=1).exclusive("db", nodes)
    drill = Drill(plan_of(made)).finish("fork")
    assert (drill.running, held(drill)) == (["a"], ["b", "c"])
    drill.finish("a")
    assert (drill.running, held(drill), drill.cancelled) == (["merge"], [], [])
    assert drill.finish_all().log == ["fork", "a", "merge"]


def test_quorum_gives_turn_of_cancelled_holder():
    """Where the loser of a race holds a region, a node outside of the race has the next turn."""
    made = graph()
    a, b, c = (step(name) for name in "abc")
    race, merge = step("race"), step("merge")
    made.chain(step("fork"), [race, step("pause")], END).chain(race, [a, b], merge, END)
    made.chain(made.spec.nodes["pause"], c).join(merge, need=1).exclusive("db", [a, c])
    drill = Drill(plan_of(made)).finish("fork", "race", "pause")
    assert (drill.running, held(drill)) == (["a", "b"], ["c"])
    drill.finish("b")
    assert (drill.running, drill.cancelled) == (["c", "merge"], ["a"])


def test_cancelled_run_holds_nothing():
    """A run that is cancelled ends with what is held."""
    drill = Drill(fork("db: ab")).finish("fork").stop(status="cancelled")
    assert drill.ends == ["cancelled: asked to"]
    assert drill.tell(Approved(drill.run.unfinished()[0])) == []


# ---- flows inside --------------------------------------------------------------------------------
def test_items_of_map_share_region():
    """Items of a map run one at a time inside of a region of their flow, whatever its limit."""
    made = graph()
    drill = Drill(plan_of(made.chain(map_over(made, "each", 3, flow=worker(before="r")))))
    assert drill.running == ["each[0]/r", "each[1]/r", "each[2]/r"]
    drill.finish("each[1]/r", "each[0]/r", "each[2]/r")
    assert (drill.running, held(drill)) == (["each[1]/write"], ["each[0]/write", "each[2]/write"])
    assert drill.finish("each[1]/write").running == ["each[0]/write"]
    assert drill.finish_all().log == ["each[r write,r write,r write]"]


def test_inner_flow_shares_region_of_outer_one():
    """The same name is the same region in every flow of a run."""
    made = graph()
    b = step("b")
    made.chain(step("fork"), [sub(made, "team", worker()), b], END).exclusive("db", [b])
    drill = Drill(plan_of(made)).finish("fork")
    assert (drill.running, held(drill)) == (["b"], ["team/write"])
    assert drill.finish("b").running == ["team/write"]


def test_sub_flow_holds_until_it_is_left():
    """A sub-flow in a region makes its nodes one critical section."""
    made = graph()
    inner = plan_of(graph().chain(step("read"), step("write")))
    teams = [sub(made, name, inner) for name in ("one", "two")]
    made.chain(step("fork"), teams, step("merge")).exclusive("db", teams)
    drill = Drill(plan_of(made)).finish("fork")
    assert drill.running == ["one/read"]
    assert drill.finish("one/read").running == ["one/write"]
    assert drill.finish("one/write").running == ["two/read"]
    assert drill.finish_all().ends == ["succeeded"]


def test_held_scope_is_not_stuck():
    """A sub-flow in which everything is held has not failed, however long its turn takes."""
    made = graph()
    b = step("b")
    made.chain(step("fork"), [b, sub(made, "team", worker())], END).exclusive("db", [b])
    drill = Drill(plan_of(made)).finish("fork")
    question = drill.ask("b")
    assert (drill.ends, held(drill)) == (["waiting"], ["team/write"])
    drill.answer(question, "b")
    assert drill.finish_all().ends == ["waiting", "succeeded"]


@pytest.mark.parametrize("on_item_error", ["skip", "fail"])
def test_failed_item_gives_region_back(on_item_error: Any):
    """An item that a map leaves out holds nothing; where it fails the map, nothing else starts."""
    made = graph()
    each = map_over(made, "each", 3, flow=worker(), on_item_error=on_item_error)
    drill = Drill(plan_of(made.chain(each))).fail("each[0]/write")
    if on_item_error == "fail":
        assert (drill.running, drill.ends) == ([], ["failed"])
        drill.resume()
        assert drill.running == ["each[0]/write"]
    else:
        assert drill.running == ["each[1]/write"]
    assert drill.finish_all().ends[-1] == "succeeded"


def test_map_with_enough_items_gives_region_back():
    """A map that has as many results as it needs cancels what is held in the other items."""
    made = graph()
    b = step("b")
    each = map_over(made, "each", 3, flow=worker(), need=1)
    made.chain(step("fork"), [each, step("pause")], END).chain(made.spec.nodes["pause"], b)
    drill = Drill(plan_of(made.exclusive("db", [b]))).finish("fork", "pause")
    assert held(drill) == ["b", "each[1]/write", "each[2]/write"]
    assert drill.finish("each[0]/write").running == ["b"]
    assert drill.finish_all().ends == ["succeeded"]


# ---- gates ---------------------------------------------------------------------------------------
def gated(gate: str) -> Drill:
    made = graph()
    a, b = with_gate(step("a"), gate), step("b")
    made.chain(step("fork"), [a, b], END).exclusive("db", [a, b])
    return Drill(plan_of(made)).finish("fork")


def test_gate_before_comes_before_region():
    """What a person has yet to let pass holds nothing; let pass, it waits for its turn."""
    drill = gated("before")
    assert drill.running == ["a", "b"]
    question = drill.ask("a")
    drill.tell(Approved(question))
    assert (drill.running, question.status) == (["b"], Status.HELD)
    assert drill.finish("b").running == ["a"]
    assert drill.finish("a").ends == ["succeeded"]


def test_gate_before_of_free_region():
    """What a person lets pass begins at once if its region is free."""
    drill = gated("before").finish("b")
    question = drill.ask("a")
    assert drill.ends == ["waiting"]
    drill.tell(Approved(question))
    assert drill.running == ["a"]
    drill.fail("a").resume()
    assert drill.finish_all().ends == ["waiting", "failed", "succeeded"]


def test_approval_of_stopped_run_is_held():
    """What is let pass in a stopped run takes its region when the run is resumed."""
    drill = gated("before")
    question = drill.ask("a")
    drill.stop().tell(Approved(question))
    assert question.status is Status.HELD
    drill.resume()
    assert (drill.running, held(drill)) == (["b"], ["a"])


def test_gate_after_holds():
    """A result that waits for a person's approval holds its region."""
    drill = gated("after")
    assert drill.running == ["a"]
    (route,) = [drill.activation("a")]
    drill.tell(PersonAsked(route, "well?"))
    assert held(drill) == ["b"]


# ---- records that a fork takes over --------------------------------------------------------------
def test_record_of_held_node_comes_first():
    """What a record says began is begun, and a holder that did nothing yet waits instead."""
    run = Run(fork("db: ab", names="ab"), "fork")
    (head,) = (item for item in run.handle(RunStarted({})) if not isinstance(item, NodeHeld))
    commands = run.accept_success(head, {}, 0.0)  # pyright: ignore[reportArgumentType]
    a, b = (item.activation for item in commands if isinstance(item, NodeHeld))
    assert (a.status, b.status) == (Status.RUNNING, Status.HELD)
    run.begin_held(b)
    assert (a.status, b.status) == (Status.HELD, Status.RUNNING)
    run.accept_success(b, {}, 0.0)
    assert a.status is Status.RUNNING


# ---- every schedule ------------------------------------------------------------------------------
def test_stop_anywhere_and_resume_with_regions():
    """A run that was stopped after any number of steps and resumed ends like one that was not."""
    plan = fork("x: ab", "y: bcd", names="abcd")
    whole = Drill(plan).finish_all().log
    for steps, now in itertools.product(range(6), (True, False)):
        drill = Drill(plan)
        for _ in range(steps):
            drill.finish(drill.running[-1])
        drill.stop(now=now)
        while drill.running:
            drill.finish(drill.running[0])
        assert drill.resume().finish_all().log == whole
