"""Losers that finish: a decision lets the rest of its region go on, and waits for none of it."""

from __future__ import annotations

import pytest

from graphorch.core.tree import Status
from graphorch.errors import QuorumNotMet
from graphorch.graph.node import END
from tests.core.drill import Drill, acting, graph, map_over, plan_of, step, sub


def race(need: int = 1, branches: int = 3):
    """Return a race whose losers finish."""
    made = graph()
    merge = step("merge")
    made.chain(step("fork"), [step(name) for name in "abc"[:branches]], merge, step("after"))
    made.join(merge, need=need, rest="finish")
    return plan_of(made)


def long_race():
    """Return a race of a short branch and one with a fork and a join of its own."""
    made = graph()
    fork, slow, join, merge = step("fork"), step("slow"), step("join"), step("merge")
    made.chain(fork, [step("quick"), slow], merge)
    made.spec.edges.remove(("slow", "merge"))
    made.chain(slow, [step("x"), step("y")], join, merge, step("after"))
    made.join(merge, need=1, rest="finish")
    return plan_of(made)


def late(drill: Drill) -> list[str]:
    """Return the nodes whose tokens came too late, in order."""
    return [token.source.step.name for token in drill.run.late_tokens if token.source is not None]


def failed(drill: Drill) -> list[str]:
    return [activation.path for activation in drill.run.failed()]


# ---- joins ---------------------------------------------------------------------------------------
def test_losers_run_on_and_commit():
    """The first arrival starts the join; the losers run on, commit, and their tokens are late."""
    drill = Drill(race()).finish("fork", "b")
    assert drill.running == ["a", "c", "merge"]
    drill.finish("merge", "a", "after")
    assert drill.log == ["fork", "b", "merge", "after"]
    assert drill.ends == []
    drill.finish("c")
    assert drill.ends == ["succeeded"]
    assert drill.cancelled == []
    assert late(drill) == ["a", "c"]
    assert {"a", "c"} < {*drill.done}


def test_losers_have_ids_of_their_own_region():
    """A loser has the id that it has where it wins."""
    first, second = Drill(race()).finish("fork", "b"), Drill(race()).finish("fork", "c")
    for drill in (first, second):
        drill.finish_all()
    for path in "abc":
        assert first.ids()[path] == second.ids()[path]


def test_surplus_token_of_one_commit_is_late():
    """Of what arrives in the commit that decides, the surplus is late."""
    made = graph()
    fork, branch, merge = step("fork"), step("a"), step("merge")
    made.chain(fork, [branch, merge]).chain(branch, merge).join(merge, need=1, rest="finish")
    drill = Drill(plan_of(made)).finish("fork", "merge", "a")
    assert drill.ends == ["succeeded"]
    assert late(drill) == ["a"]


def test_region_still_joins_among_losers():
    """A join inside the region waits for its branches after the decision as before."""
    drill = Drill(long_race()).finish("fork", "slow", "x", "quick")
    assert drill.running == ["merge", "y"]
    drill.finish("merge", "after", "y")
    assert drill.running == ["join"]
    drill.finish("join")
    assert drill.ends == ["succeeded"]
    assert late(drill) == ["join"]


def test_join_behind_waits_for_no_loser():
    """A join behind the decision is not held back by a loser."""
    made = graph()
    fork, merge, last = step("fork"), step("merge"), step("last")
    made.chain(step("start"), [fork, step("other")], last)
    made.spec.edges.remove(("fork", "last"))
    made.chain(fork, [step("a"), step("b")], merge, last).join(merge, need=1, rest="finish")
    drill = Drill(plan_of(made)).finish("start", "fork", "other", "a", "merge")
    assert drill.running == ["b", "last"]


def test_end_as_quorum_lets_losers_finish():
    """An END that needs one branch has its output at once, and the run waits for the losers."""
    made = graph().chain(step("fork"), [step("a"), step("b")], END)
    drill = Drill(plan_of(made.join(END, need=1, rest="finish"))).finish("fork", "b")
    assert (drill.ends, drill.log) == ([], ["fork", "b"])
    drill.finish("a")
    assert (drill.ends, drill.log) == (["succeeded"], ["fork", "b"])


# ---- failures ------------------------------------------------------------------------------------
@pytest.mark.parametrize("policy", ["drain", "cancel", "isolate"])
def test_failed_loser_is_dead_path(policy):
    """A loser that fails ends its path alone, and the run is partial, under every policy."""
    drill = Drill(race(), on_failure=policy).finish("fork", "b").fail("a")
    assert drill.running == ["c", "merge"]
    drill.finish_all()
    assert drill.ends == ["partial: succeeded"]
    assert failed(drill) == ["a"]
    assert drill.log == ["fork", "b", "merge", "after"]


def test_loser_is_retried():
    """A loser is repeated like any node."""
    drill = Drill(race()).finish("fork", "b").fail("a", retry_after=1)
    drill.finish("c", "merge", "after").retry("a").finish("a")
    assert drill.ends == ["succeeded"]


def test_failure_drains_losers():
    """A failure of the run lets no loser start anything; a resumed run goes on with both."""
    drill = Drill(long_race()).finish("fork", "quick")
    drill.fail("merge").finish("slow")
    assert drill.ends == ["failed"]
    drill.resume()
    assert drill.running == ["merge", "x", "y"]
    drill.finish_all()
    assert drill.ends == ["failed", "succeeded"]
    assert drill.log == ["fork", "quick", "merge", "after"]


def test_failed_loser_in_sub_flow_is_reported():
    """A failure of late work counts, though the sub-flow around it succeeded."""
    made = graph()
    made.chain(sub(made, "team", race()), step("last"))
    drill = Drill(plan_of(made)).finish("team/fork", "team/b").fail("team/a").finish_all()
    assert drill.ends == ["partial: succeeded"]
    assert failed(drill) == ["team/a"]


def test_late_work_is_undone_with_run():
    """A run that is undone undoes what losers committed, too, and cancels those that run."""
    made = graph()
    branches = [acting(name) for name in "abc"]
    merge = step("merge")
    made.chain(step("fork"), branches, merge, step("last")).join(merge, need=1, rest="finish")
    drill = Drill(plan_of(made)).finish("fork", "b", "c", "merge").undo()
    assert (drill.cancelled, drill.running) == (["last", "a"], ["c/undo"])
    drill.finish("c/undo", "b/undo")
    assert drill.ends == ["cancelled: undo it"]


# ---- stops, people, the end ----------------------------------------------------------------------
def test_losers_of_stopped_run_go_on_when_resumed():
    """A run that was stopped after its END goes on with its losers, and is over with them."""
    drill = Drill(race()).finish("fork", "b", "merge", "after")
    drill.stop()
    assert drill.ends == ["stopped: asked to"]
    assert sorted(drill.cancelled) == ["a", "c"]
    drill.resume()
    assert drill.running == ["a", "c"]
    drill.finish_all()
    assert drill.ends == ["stopped: asked to", "succeeded"]


def test_tokens_of_closed_losers_are_late():
    """What a loser brings to the join while the run stops is late, and starts nothing on resume."""
    drill = Drill(race()).finish("fork", "b")
    drill.stop(now=False).finish("a", "c", "merge")
    assert late(drill) == ["a", "c"]
    drill.resume()
    assert drill.running == ["after"]


def test_question_of_loser_is_withdrawn_at_end():
    """A loser that only waits for a person when END was reached is withdrawn."""
    drill = Drill(race()).finish("fork", "b")
    question = drill.ask("a")
    drill.finish("merge", "after")
    assert drill.ends == []
    drill.finish("c")
    assert drill.ends == ["succeeded"]
    assert question.status is Status.CANCELLED
    assert drill.answer(question, "too late") == []


def test_answer_to_loser_before_end():
    """A question of a loser is open as long as the run goes on."""
    drill = Drill(race()).finish("fork", "b")
    loser, own = drill.ask("a"), drill.ask("merge")
    drill.finish("c")
    assert drill.ends == ["waiting"]
    assert drill.run.questions() == [own, loser]
    drill.answer(loser, "yes")
    drill.answer(own, "go")
    drill.finish_all()
    assert drill.ends == ["waiting", "waiting", "succeeded"]
    assert drill.log == ["fork", "b", "go", "after"]


def test_loser_whose_turn_comes_goes_on_after_end() -> None:
    """What is withdrawn gives back its exclusive region, and who waits for that goes on."""
    made = graph()
    a, b, c, merge = (step(name) for name in ("a", "b", "c", "merge"))
    made.chain(step("fork"), [a, b, c], merge).join(merge, need=1, rest="finish")
    made.exclusive("desk", [a, c])
    drill = Drill(plan_of(made)).finish("fork")
    question = drill.ask("a")
    drill.finish("b", "merge")
    assert question.status is Status.CANCELLED
    assert (drill.running, drill.ends) == (["c"], [])
    drill.finish("c")
    assert drill.ends == ["succeeded"]


def test_limit_stops_losers_too():
    """The limit on activations counts losers, and stops the run."""
    drill = Drill(long_race(), max_activations=5).finish("fork", "quick", "slow")
    drill.finish_all()
    assert drill.ends == ["stopped: limit:activations"]


# ---- loops and nesting ---------------------------------------------------------------------------
def looped():
    made = graph()
    fork, merge = step("fork"), step("merge")
    made.chain(fork, [step("a"), step("b")], merge).join(merge, need=1, rest="finish")
    made.loop(merge, back_to=fork, while_=lambda s: len(s.log) < 8, max_iterations=3)
    return plan_of(made)


def test_loop_waits_for_losers_of_iteration():
    """The header of a loop starts again once the losers of the iteration before have ended."""
    drill = Drill(looped()).finish("fork", "a", "merge")
    assert drill.running == ["b"]
    drill.finish("b")
    assert drill.running == ["fork"]
    drill.finish("fork", "b", "a", "merge")
    assert drill.running == ["fork"]
    drill.finish_all()
    assert drill.log == ["fork", "a", "merge", "fork", "b", "merge", "fork", "a", "merge"]
    assert drill.ends == ["succeeded"]


def nested(inner_rest, outer_rest):
    made = graph()
    inner_fork, inner, outer = step("inner_fork"), step("inner"), step("outer")
    made.chain(step("fork"), [inner_fork, step("slow")], outer)
    made.spec.edges.remove(("inner_fork", "outer"))
    made.chain(inner_fork, [step("x"), step("y")], inner, outer)
    made.join(inner, need=1, rest=inner_rest).join(outer, need=1, rest=outer_rest)
    return plan_of(made)


def test_outer_decision_cancels_late_work_inside():
    """A join that cancels its region cancels what was detached from inside it."""
    drill = Drill(nested("finish", "cancel")).finish("fork", "inner_fork", "y", "slow")
    assert sorted(drill.cancelled) == ["inner", "x"]
    assert drill.finish_all().log == ["fork", "slow", "outer"]
    assert drill.ends == ["succeeded"]


def test_outer_decision_takes_late_work_along():
    """A join that lets its region finish lets the late work inside it finish too."""
    drill = Drill(nested("finish", "finish")).finish("fork", "inner_fork", "y", "slow")
    assert drill.running == ["inner", "outer", "x"]
    drill.finish_all()
    assert drill.log == ["fork", "slow", "outer"]
    assert late(drill) == ["inner", "x"]


def test_decision_among_losers_cancels():
    """A join inside the region decides among losers, and cancels there."""
    drill = Drill(nested("cancel", "finish")).finish("fork", "inner_fork", "slow")
    assert drill.running == ["outer", "x", "y"]
    drill.finish("x")
    assert drill.cancelled == ["y"]
    assert drill.finish_all().ends == ["succeeded"]


def test_decision_among_losers_lets_finish():
    """A join inside the region decides among losers, and lets its own losers finish."""
    drill = Drill(nested("finish", "finish")).finish("fork", "inner_fork", "slow", "x", "outer")
    assert drill.running == ["inner", "y"]
    drill.finish("inner", "y")
    assert drill.ends == ["succeeded"]
    assert late(drill) == ["inner", "y"]


def test_sub_flow_waits_for_its_losers():
    """A sub-flow is over when its losers have ended."""
    made = graph()
    made.chain(sub(made, "team", race()), step("last"))
    drill = Drill(plan_of(made)).finish("team/fork", "team/b", "team/merge", "team/after")
    assert drill.running == ["team/a", "team/c"]
    drill.finish("team/a", "team/c")
    assert drill.running == ["last"]
    assert drill.finish_all().log == ["team(fork b merge after)", "last"]


def test_loser_may_be_sub_flow_or_map():
    """A sub-flow and a map go on as losers, with all that is inside them."""
    made = graph()
    merge = step("merge")
    inside = [sub(made, "team", race()), map_over(made, "map", 2)]
    made.chain(step("fork"), [step("quick"), *inside], merge).join(merge, need=1, rest="finish")
    drill = Drill(plan_of(made)).finish("fork", "team/fork", "map[1]/work", "quick")
    assert drill.cancelled == []
    drill.finish("merge").finish_all()
    assert drill.ends == ["succeeded"]
    assert {"map", "team"} < {*late(drill)}


# ---- maps ----------------------------------------------------------------------------------------
def mapped(items: int, **options):
    made = graph()
    made.chain(map_over(made, "map", items, rest="finish", **options), step("after"))
    return plan_of(made)


def test_map_leaves_unfinished_items():
    """A map with enough results is left; items that have begun go on, others never begin."""
    drill = Drill(mapped(4, concurrency=3, need=1)).finish("map[1]/work")
    assert drill.running == ["after", "map[0]/work", "map[2]/work"]
    drill.finish("after", "map[2]/work", "map[0]/work")
    assert drill.log == ["map[10]", "missing 0", "missing 2", "missing 3", "after"]
    assert drill.ends == ["succeeded"]


def test_failed_late_item_makes_run_partial():
    """An item that fails after the map has enough is a failure of the run."""
    drill = Drill(mapped(2, need=1)).finish("map[1]/work").fail("map[0]/work").finish_all()
    assert drill.ends == ["partial: succeeded"]
    assert failed(drill) == ["map[0]/work"]
    assert drill.log == ["map[10]", "missing 0", "after"]


def test_late_items_in_loop():
    """A map in a loop begins again once its late items have ended."""
    made = graph()
    each, after = map_over(made, "map", 2, need=1, rest="finish"), step("after")
    made.chain(each, after)
    made.loop(after, back_to=each, while_=lambda s: True, max_iterations=2)
    drill = Drill(plan_of(made)).finish("map[0]/work", "after")
    assert drill.running == ["map[1]/work"]
    drill.finish("map[1]/work")
    assert drill.running == ["map[0]/work", "map[1]/work"]
    assert drill.finish_all().ends == ["succeeded"]


def test_late_items_are_cancelled_with_region():
    """A join that cancels the region of a map cancels the late items of the map too."""
    made = graph()
    fork, quick, behind, merge = step("fork"), step("quick"), step("behind"), step("merge")
    each = map_over(made, "map", 2, need=1, rest="finish")
    made.chain(fork, each, behind, merge).chain(fork, quick, merge).join(merge, need=1)
    drill = Drill(plan_of(made)).finish("fork", "map[0]/work")
    assert drill.running == ["behind", "map[1]/work", "quick"]
    drill.finish("quick")
    assert sorted(drill.cancelled) == ["behind", "map[1]/work"]
    assert drill.finish_all().ends == ["succeeded"]


def test_resumed_map_keeps_late_items():
    """A map that was left stays left; a resume goes on with its late items."""
    drill = Drill(mapped(3, need=1)).finish("map[1]/work")
    drill.stop().resume()
    assert drill.running == ["after", "map[0]/work", "map[2]/work"]
    assert drill.finish_all().log == ["map[10]", "missing 0", "missing 2", "after"]


def test_map_over_too_few_items_fails():
    """A map over fewer items than it needs fails, or goes on with what it has."""
    drill = Drill(mapped(1, need=2)).finish("map[0]/work")
    assert drill.ends == ["failed"]
    assert isinstance(drill.run.failed()[0].failure, QuorumNotMet)
    drill = Drill(mapped(1, need=2, short="fire")).finish("map[0]/work")
    assert drill.finish_all().log == ["map[0]", "after"]
