"""The invariants notice every way in which the state of a run can contradict itself."""

from __future__ import annotations

import pytest

from graphorch.core.invariants import check_invariants
from graphorch.core.tree import Activation, Status
from graphorch.errors import InternalError
from tests.core.drill import Drill, graph, map_over, plan_of, step


@pytest.fixture
def drill() -> Drill:
    """Return a run with a token at a join, a branch that runs, and a map that is under way."""
    made = graph()
    made.chain(
        step("fork"), [step("a"), step("b"), map_over(made, "map", 3, concurrency=2)], step("merge")
    )
    return Drill(plan_of(made)).finish("fork", "a")


def merge_of(drill: Drill) -> int:
    return next(item.index for item in drill.plan.steps if item.name == "merge")


def map_of(drill: Drill) -> Activation:
    return next(
        activation
        for activation in drill.run.root.active.values()
        if activation.children is not None
    )


def lose_live_position(drill: Drill) -> None:
    drill.run.root.live_positions = 0


def miscount(drill: Drill) -> None:
    drill.run.root.busy_count += 1


def end_early(drill: Drill) -> None:
    drill.run.status = "succeeded"


def stop_early(drill: Drill) -> None:
    drill.run.status = "stopped"


def overspend(drill: Drill) -> None:
    drill.run.activations_left = -1


def double_token(drill: Drill) -> None:
    drill.run.root.waiting[merge_of(drill)] *= 2


def misplace_token(drill: Drill) -> None:
    drill.run.root.waiting[merge_of(drill)] = []


def empty_token(drill: Drill) -> None:
    drill.run.root.waiting[merge_of(drill)][0].version = None


def consume_twice(drill: Drill) -> None:
    drill.activation("b").set_tokens(map_of(drill).tokens)


def hold_back(drill: Drill) -> None:
    drill.plan.steps[merge_of(drill)].blockers = 0


def keep_what_is_over(drill: Drill) -> None:
    drill.activation("b").status = Status.DONE


def forget_version(drill: Drill) -> None:
    drill.activation("b").version = None


def wait_in_a_closed_scope(drill: Drill) -> None:
    drill.activation("b").status = Status.RETRYING
    drill.run.root.closed = True


def lose_an_item(drill: Drill) -> None:
    inner = map_of(drill).children
    assert inner is not None
    inner.running -= 1


def count_an_item_twice(drill: Drill) -> None:
    inner = map_of(drill).children
    assert inner is not None
    inner.succeeded += 1


def too_many_items(drill: Drill) -> None:
    inner = map_of(drill).children
    assert inner is not None
    inner.at_once = 1


def forget_what_is_inside(drill: Drill) -> None:
    map_of(drill).children = None


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lose_live_position, "the live positions are"),
        (miscount, "keep a driver busy, not"),
        (end_early, "it is over, but"),
        (stop_early, "not all work has ended"),
        (overspend, "more than allowed"),
        (double_token, "waits twice"),
        (misplace_token, "do not belong there"),
        (empty_token, "do not belong there"),
        (consume_twice, "hold the same token"),
        (hold_back, "may fire, but does not"),
        (keep_what_is_over, "is not active"),
        (forget_version, "has nothing to read"),
        (wait_in_a_closed_scope, "where nothing starts"),
        (lose_an_item, "counts 1 items that run, and has 2"),
        (count_an_item_twice, "has miscounted"),
        (too_many_items, "2 items under way, and may have 1"),
        (forget_what_is_inside, "has nothing inside"),
    ],
)
def test_contradiction_shows_story(drill, harm, message):
    """Each contradiction is reported, with the stories of the nodes."""
    check_invariants(drill.run)
    drill.activation("b").add_to_story("b was asked nicely")
    harm(drill)
    with pytest.raises(InternalError, match=message) as raised:
        check_invariants(drill.run)
    assert "report this as a bug of graphorch" in str(raised.value)
    assert "b was asked nicely" in str(raised.value)
