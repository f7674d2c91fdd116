"""Compensation: what was committed is undone once, the last first, and then the failure goes on."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch.core.compensation import list_kept
from graphorch.core.events import NodeCancelled, NodeSucceeded
from graphorch.core.tree import Status
from graphorch.graph.node import END
from graphorch.graph.plan import Plan
from tests.core.drill import Drill, about, acting, graph, map_over, plan_of, step, sub
from tests.core.undoing import booking, drive_undos

SEEDS = 50


def region(
    undone: list[str] | None = None, *, handled: bool = True, compensate: bool = True
) -> Plan:
    """Return a sub-flow that is undone if it fails, with an error edge to `instead`."""
    made = graph()
    trip = sub(made, "trip", booking(undone), compensate=compensate)
    made.chain(step("first"), trip, END)
    if handled:
        made.on_error(trip, step("instead"))
    return plan_of(made)


# ---- the whole run -------------------------------------------------------------------------------
def test_undos_run_in_reverse_order():
    """What was committed is undone one after the other, the last first."""
    drill = Drill(booking()).finish("book", "pay").fail("ship").undo()
    assert drill.running == ["pay/undo"]
    assert drill.finish("pay/undo").running == ["book/undo"]
    drill.finish("book/undo")
    assert drill.ends == ["failed", "cancelled: undo it"]
    assert list_kept(drill.run) == []


def test_undo_reads_state_after_commit():
    """An undo sees what its node read and wrote, and nothing that came after."""
    undone: list[str] = []
    Drill(booking(undone)).finish("book", "pay").fail("ship").undo().finish_all()
    assert undone == ["book pay", "book"]


def test_cancelled_run_undoes_at_once():
    """A run under way that is cancelled interrupts what runs, and undoes what was committed."""
    drill = Drill(booking()).finish("book").undo()
    assert (drill.cancelled, drill.running) == (["pay"], ["book/undo"])
    assert drill.finish_all().ends == ["cancelled: undo it"]


def test_run_without_work_is_cancelled():
    """A run that committed nothing that could be undone is cancelled at once."""
    assert Drill(booking()).undo().ends == ["cancelled: undo it"]


def test_waiting_run_is_undone():
    """Open questions are withdrawn when a run is undone, and an answer to them changes nothing."""
    drill = Drill(booking()).finish("book")
    asker = drill.ask("pay")
    drill.undo()
    assert drill.running == ["book/undo"]
    assert drill.answer(asker, "late") == []
    assert drill.finish_all().ends == ["waiting", "cancelled: undo it"]


def test_second_cancellation_changes_nothing():
    """A run that is being undone is not cancelled once more."""
    drill = Drill(booking()).finish("book", "pay").undo()
    assert drill.undo().running == ["pay/undo"]
    assert drill.finish_all().ends == ["cancelled: undo it"]


def test_cancellation_without_undo_leaves_work():
    """A run that is cancelled without undoing leaves what it committed, and knows what."""
    drill = Drill(booking()).finish("book", "pay").stop(status="cancelled")
    assert drill.ends == ["cancelled: asked to"]
    assert [activation.path for activation in list_kept(drill.run)] == ["pay", "book"]


def test_undos_are_given_up():
    """A cancellation without undoing ends a run that is being undone, and keeps what is left."""
    drill = Drill(booking()).finish("book", "pay").undo().stop(status="cancelled")
    assert drill.ends == ["cancelled: asked to"]
    undoing = drill.run.undoing
    assert undoing is not None
    assert [activation.path for activation in undoing.list_left()] == ["pay", "book"]


def test_committed_route_failure_is_undone():
    """A node whose result was committed is undone although its route failed."""
    book = acting("book")
    made = graph().chain(book, step("ship"))
    made.loop(book, back_to=book, while_=lambda s: bool(1 // s.number), max_iterations=2)
    drill = Drill(plan_of(made)).finish("book")
    assert drill.ends == ["failed"]
    assert drill.undo().running == ["book/undo"]


def test_served_result_is_not_undone():
    """A node that was given its result did nothing that could be undone."""
    drill = Drill(booking())
    activation = drill.activation("book")
    drill.tell(NodeSucceeded(activation, {}, served=True))
    assert drill.undo().ends == ["cancelled: undo it"]


def test_loop_is_undone_per_iteration():
    """Each iteration of a loop is undone once, the last one first."""
    undone: list[str] = []
    book = acting("book", undone)
    made = graph().chain(book, END)
    made.loop(book, back_to=book, while_=lambda s: True, max_iterations=3)
    drill = Drill(plan_of(made.chain(book, step("ship"))))
    drill.finish("book", "book", "book").undo().finish_all()
    assert undone == ["book book book", "book book", "book"]


def test_parallel_work_is_undone_in_one_order():
    """The order of the undos does not depend on that of the commits."""
    plan = plan_of(graph().chain(acting("fork"), [acting("a"), acting("b")], step("merge")))
    orders: set[tuple[str, ...]] = set()
    for first, second in (("a", "b"), ("b", "a")):
        drill = Drill(plan).finish("fork", first, second).undo()
        order: list[str] = []
        while drill.running:
            order += drill.running
            drill.finish(*drill.running)
        orders.add(tuple(order))
    assert orders == {("b/undo", "a/undo", "fork/undo")}


def test_inner_work_is_undone_at_its_place():
    """What is inside a sub-flow or map is undone at its place, the last item first."""
    made = graph()
    team = sub(made, "team", booking())
    each = map_over(made, "each", 2, flow=booking())
    drill = Drill(plan_of(made.chain(acting("first"), team, each, step("last"))))
    drill.finish("first")
    while drill.running != ["last"]:
        drill.finish(drill.running[0])
    drill.undo()
    order: list[str] = []
    while drill.running:
        order += drill.running
        drill.finish(*drill.running)
    assert order == [
        "each[1]/pay/undo",
        "each[1]/book/undo",
        "each[0]/pay/undo",
        "each[0]/book/undo",
        "team/pay/undo",
        "team/book/undo",
        "first/undo",
    ]


# ---- undos that fail -----------------------------------------------------------------------------
def test_failed_undo_lets_others_run():
    """An undo that fails for good is remembered, and the next one runs."""
    drill = Drill(booking()).finish("book", "pay").undo().fail("pay/undo")
    assert drill.running == ["book/undo"]
    drill.finish_all()
    undoing = drill.run.undoing
    assert undoing is not None
    assert [activation.path for activation in undoing.failed] == ["pay/undo"]
    assert drill.ends == ["cancelled: undo it"]


def test_undo_is_retried():
    """An undo is repeated after a failure, if its options say so."""
    drill = Drill(booking()).finish("book").undo().fail("book/undo", retry_after=1.0)
    drill.retry("book/undo")
    assert drill.activation("book/undo").attempt == 2
    assert drill.finish_all().ends == ["cancelled: undo it"]


def test_skipped_undo_lets_others_run():
    """An undo that cannot read its input counts as failed."""
    drill = Drill(booking()).finish("book", "pay").undo().skip("pay/undo")
    assert drill.finish_all().ends == ["cancelled: undo it"]


# ---- stopping ------------------------------------------------------------------------------------
@pytest.mark.parametrize("now", [True, False])
def test_undo_is_stopped_and_resumed(now: bool):
    """A run that is stopped while it undoes goes on with it when it is resumed."""
    drill = Drill(booking()).finish("book", "pay").undo().stop(now=now)
    if not now:
        drill.finish("pay/undo")
    assert drill.ends == ["stopped: asked to"]
    drill.resume()
    assert drill.running == (["pay/undo"] if now else ["book/undo"])
    assert drill.finish_all().ends == ["stopped: asked to", "cancelled: undo it"]


def test_stopped_retry_of_undo_is_resumed():
    """An undo that waited for its next attempt is attempted again after a resume."""
    drill = Drill(booking()).finish("book").undo().fail("book/undo", retry_after=1.0).stop()
    assert drill.ends == ["stopped: asked to"]
    assert drill.resume().running == ["book/undo"]
    assert drill.finish_all().ends[-1] == "cancelled: undo it"


def test_failure_while_stopping_waits():
    """An undo that fails while the run stops is attempted again if it may be repeated."""
    drill = Drill(booking()).finish("book").undo().stop(now=False)
    drill.fail("book/undo", retry_after=1.0)
    assert drill.ends == ["stopped: asked to"]
    assert drill.resume().running == ["book/undo"]


def test_interrupted_undo_is_repeated():
    """An undo whose attempt was interrupted runs again after a resume."""
    drill = Drill(booking()).finish("book").undo()
    drill.tell(NodeCancelled(about(drill.jobs.pop())))
    drill.stop()
    assert drill.resume().finish_all().ends[-1] == "cancelled: undo it"


def test_cancelled_stop_goes_on_undoing():
    """A run that was stopped while it undoes goes on with it when it is cancelled."""
    drill = Drill(booking()).finish("book", "pay").undo().stop().undo()
    assert drill.running == ["pay/undo"]
    assert drill.finish_all().ends == ["stopped: asked to", "cancelled: undo it"]


# ---- regions -------------------------------------------------------------------------------------
def test_failed_region_is_undone_first():
    """What was committed in a sub-flow is undone before its failure takes its error edge."""
    drill = Drill(region()).finish("first", "trip/book", "trip/pay").fail("trip/ship")
    assert drill.running == ["trip/pay/undo"]
    assert drill.finish("trip/pay/undo", "trip/book/undo").running == ["instead"]
    assert drill.finish_all().log == ["first", "instead"]


def test_region_without_option_keeps_work():
    """A sub-flow without `compensate` keeps what was committed in it."""
    drill = Drill(region(compensate=False)).finish("first", "trip/book").fail("trip/pay")
    assert drill.running == ["instead"]


def test_succeeded_region_is_undone_with_run():
    """What a region committed is undone with the run, once."""
    drill = Drill(region()).finish("first", "trip/book", "trip/pay").undo()
    assert drill.finish("trip/pay/undo", "trip/book/undo").ends == ["cancelled: undo it"]


def test_undone_region_is_not_undone_again():
    """What was undone with a region is not undone with the run."""
    drill = Drill(region()).finish("first", "trip/book").fail("trip/pay").finish_all()
    assert drill.ends == ["succeeded"]
    drill = Drill(region()).finish("first", "trip/book").fail("trip/pay").finish("trip/book/undo")
    assert drill.running == ["instead"]
    assert drill.undo().ends == ["cancelled: undo it"]


def test_run_is_cancelled_while_region_undoes():
    """A run that is cancelled while a region is undone lets that end, and undoes the rest."""
    made = graph()
    trip = sub(made, "trip", booking(), compensate=True)
    drill = Drill(plan_of(made.chain(acting("first"), trip, END)))
    drill.finish("first", "trip/book", "trip/pay").fail("trip/ship").undo()
    assert drill.running == ["trip/pay/undo"]
    assert "trip/pay/undo" not in drill.cancelled
    drill.finish("trip/pay/undo", "trip/book/undo", "first/undo")
    assert drill.ends == ["cancelled: undo it"]


def test_region_begins_anew_after_resume():
    """A region that was undone begins anew when the run is resumed, with other ids."""
    drill = Drill(region(handled=False)).finish("first", "trip/book").fail("trip/pay")
    drill.finish("trip/book/undo")
    assert drill.ends == ["failed"]
    old = {activation.id for activation in drill.run.history}
    drill.resume()
    assert drill.running == ["trip/book"]
    assert drill.activation("trip/book").id not in old
    assert drill.finish_all().log == ["first", "trip(book pay ship)"]
    assert drill.ends == ["failed", "succeeded"]


def test_stopped_region_goes_on_undoing():
    """A run that is stopped while a region is undone goes on with it when it is resumed."""
    drill = Drill(region()).finish("first", "trip/book", "trip/pay").fail("trip/ship").stop()
    assert drill.ends == ["stopped: asked to"]
    assert drill.resume().running == ["trip/pay/undo"]
    assert drill.finish_all().log == ["first", "instead"]


def test_stopped_region_is_undone_with_run():
    """A run that was stopped while a region was undone goes on with it when it is cancelled."""
    drill = Drill(region()).finish("first", "trip/book", "trip/pay").fail("trip/ship")
    drill.stop().undo()
    drill.finish("trip/pay/undo", "trip/book/undo")
    assert drill.ends == ["stopped: asked to", "cancelled: undo it"]


def test_region_inside_region_is_undone_once():
    """A region inside a region is undone first, and the outer one undoes what is left."""
    inner = graph()
    team = sub(inner, "team", booking(), compensate=True)
    outer = graph()
    plan = plan_of(inner.chain(acting("plan"), team, step("last")))
    trip = sub(outer, "trip", plan, compensate=True)
    drill = Drill(plan_of(outer.chain(trip, END).on_error(trip, step("instead"))))
    drill.finish("trip/plan", "trip/team/book").fail("trip/team/pay")
    drill.finish("trip/team/book/undo", "trip/plan/undo")
    assert drill.finish_all().log == ["instead"]


@pytest.mark.parametrize("policy", ["drain", "cancel", "isolate"])
def test_policy_lets_region_undo(policy: Any):
    """A failure elsewhere does not interrupt the undos of a region, whatever the policy."""
    made = graph()
    trip = sub(made, "trip", booking(), compensate=True)
    made.chain(step("fork"), [trip, step("other")], step("merge"))
    drill = Drill(plan_of(made), on_failure=policy).finish("fork", "trip/book").fail("trip/pay")
    drill.fail("other")
    assert drill.running == ["trip/book/undo"]
    drill.finish("trip/book/undo")
    assert drill.ends in (["failed"], ["failed: end not reached"])


def test_retried_region_is_not_undone():
    """A region is undone once its retries are used up."""
    drill = Drill(region()).finish("first", "trip/book")
    inside = drill.activation("trip/pay")
    drill.fail("trip/pay", retry_after=1.0).retry("trip/pay")
    assert about(drill.jobs[0]) is inside


# ---- maps and quorums ----------------------------------------------------------------------------
def test_left_out_item_is_undone():
    """What was committed for an item that is left out is undone beside the others."""
    made = graph()
    each = map_over(made, "each", 2, flow=booking(), on_item_error="skip", compensate=True)
    drill = Drill(plan_of(made.chain(each, END)))
    drill.finish("each[0]/book", "each[1]/book").fail("each[0]/pay")
    assert drill.running == ["each[0]/book/undo", "each[1]/pay"]
    drill.finish("each[1]/pay", "each[1]/ship")
    assert drill.ends == []
    assert drill.finish("each[0]/book/undo").ends == ["succeeded"]


def test_failed_map_is_undone():
    """All items of a map that failed are undone, the last one first."""
    made = graph()
    each = map_over(made, "each", 2, flow=booking(), compensate=True)
    drill = Drill(plan_of(made.chain(each, END)))
    drill.finish("each[0]/book", "each[1]/book").fail("each[0]/pay").finish("each[1]/pay")
    drill.finish("each[1]/pay/undo", "each[1]/book/undo", "each[0]/book/undo")
    assert drill.ends == ["failed"]


def test_unneeded_items_are_undone():
    """Items that a map does not need any more are undone."""
    made = graph()
    each = map_over(made, "each", 2, flow=booking(), need=1, compensate=True)
    drill = Drill(plan_of(made.chain(each, END)))
    drill.finish("each[0]/book", "each[1]/book", "each[1]/pay", "each[1]/ship")
    assert drill.running == ["each[0]/book/undo"]
    assert drill.finish_all().ends == ["succeeded"]


def quorum(*, compensate: bool) -> Plan:
    made = graph()
    trip = sub(made, "trip", booking(), compensate=compensate)
    merge = step("merge")
    made.chain(step("fork"), [trip, step("fast")], merge).join(merge, need=1)
    return plan_of(made)


def test_region_that_quorum_cancels_is_undone():
    """A region that a join cancels is undone beside what follows."""
    drill = Drill(quorum(compensate=True)).finish("fork", "trip/book", "fast")
    assert drill.running == ["merge", "trip/book/undo"]
    drill.finish("merge")
    assert drill.ends == []
    assert drill.finish("trip/book/undo").ends == ["succeeded"]
    assert Drill(quorum(compensate=False)).finish("fork", "trip/book", "fast").running == ["merge"]


def test_stop_keeps_undos_of_losers():
    """A run that reached END is stopped while losers are undone, and resumed."""
    drill = Drill(quorum(compensate=True)).finish("fork", "trip/book", "fast", "merge").stop()
    assert drill.ends == ["stopped: asked to"]
    assert drill.resume().running == ["trip/book/undo"]
    assert drill.finish_all().ends[-1] == "succeeded"


def test_cancelled_region_goes_on_undoing():
    """A region that a join cancels while it is undone is undone to the end."""
    drill = Drill(quorum(compensate=True)).finish("fork", "trip/book").fail("trip/pay")
    drill.finish("fast")
    assert drill.running == ["merge", "trip/book/undo"]
    trip = drill.run.history[-1]
    assert (trip.path, trip.status) == ("trip", Status.CANCELLED)
    assert drill.finish_all().ends == ["succeeded"]


# ---- all of it -----------------------------------------------------------------------------------
@pytest.mark.parametrize("part", range(4))
def test_everything_is_undone_once(part: int):
    """Whatever happens, committed work is undone once, and all of it in a run that is undone."""
    for seed in range(part * SEEDS, part * SEEDS + SEEDS):
        drill = drive_undos(seed)
        run = drill.run
        acted = [
            item for item in run.history if item.step.undo is not None and item.update is not None
        ]
        undos = [item for item in run.history if item.scope.is_undo]
        assert len({undo.id for undo in undos}) == len(undos)
        if run.status == "cancelled" and run.undoing is not None and run.undoing.is_whole:
            assert len(undos) == len(acted), seed
            assert list_kept(run) == []


def test_region_that_fails_while_undos_are_stopped():
    """A region that fails after a stop is undone when the run is resumed, which comes to rest."""
    made = graph()
    trips = [sub(made, name, booking(), compensate=True) for name in ("one", "two")]
    made.chain(step("fork"), trips, END)
    for trip in trips:
        made.on_error(trip, step(f"instead of {trip.name}"))
    drill = Drill(plan_of(made)).finish("fork", "one/book", "two/book").fail("one/pay")
    assert drill.running == ["one/book/undo", "two/pay"]
    drill.stop(now=False).finish("one/book/undo").fail("two/pay")
    assert (drill.running, drill.ends) == ([], ["stopped: asked to"])
    drill.resume()
    assert drill.running == ["instead of one", "two/book/undo"]
    assert drill.finish_all().ends == ["stopped: asked to", "succeeded"]
