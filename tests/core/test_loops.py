"""Loops: bounds, counters, several sources, several loops on one header, nesting, exhaustion."""

from __future__ import annotations

from typing import Literal

import pytest

from graphorch.graph.node import END
from tests.core.drill import Drill, graph, plan_of, step


def always(state) -> bool:
    return True


def rounds(made, node="head", **options) -> int:
    drill = Drill(plan_of(made), **options).finish_all()
    return drill.log.count(node)


def test_loop_bound_includes_first():
    """A loop runs its body as often as its bound, the first time included."""
    head, tail = step("head"), step("tail")
    made = (
        graph()
        .chain(head, tail, step("after"))
        .loop(tail, back_to=head, while_=always, max_iterations=4)
    )
    drill = Drill(plan_of(made)).finish_all()
    assert drill.log == ["head", "tail"] * 4 + ["after"]
    assert drill.run.exhausted == [("tail", "head")]


def test_loop_ends_with_condition():
    """A loop ends when its condition does not hold."""
    head, tail = step("head"), step("tail")
    made = (
        graph()
        .chain(head, tail, step("after"))
        .loop(tail, back_to=head, while_=lambda s: s.log.count("head") < 3, max_iterations=9)
    )
    drill = Drill(plan_of(made)).finish_all()
    assert drill.log.count("head") == 3
    assert not drill.run.exhausted


def test_loop_on_one_node():
    """A node may loop on itself."""
    alone = step("alone")
    made = (
        graph()
        .chain(alone, step("after"))
        .loop(alone, back_to=alone, while_=always, max_iterations=3)
    )
    assert Drill(plan_of(made)).finish_all().log == ["alone"] * 3 + ["after"]


def test_nested_loops_multiply():
    """Nested loops of five and five run 25 times."""
    outer, inner, tail, last = step("outer"), step("head"), step("tail"), step("last")
    made = graph().chain(outer, inner, tail, last, END)
    made.loop(tail, back_to=inner, while_=always, max_iterations=5).loop(
        last, back_to=outer, while_=always, max_iterations=5
    )
    drill = Drill(plan_of(made)).finish_all()
    assert (drill.log.count("head"), drill.log.count("outer"), drill.log.count("last")) == (
        25,
        5,
        5,
    )


def test_loops_of_one_source():
    """Two loops of one source count separately, and give at most nine iterations."""
    head, tail = step("head"), step("tail")
    made = graph().chain(head, tail, END)
    for _ in range(2):
        made.loop(tail, back_to=head, while_=always, max_iterations=5)
    assert rounds(made) == 9


def test_loops_on_header_in_a_row():
    """Two loops on one header from sources in a row give at most nine iterations."""
    head, first, second = step("head"), step("first"), step("second")
    made = graph().chain(head, first, second, END)
    made.loop(first, back_to=head, while_=always, max_iterations=5).loop(
        second, back_to=head, while_=always, max_iterations=5
    )
    assert rounds(made) == 9


def test_loops_on_header_side_by_side():
    """Sources that a route chooses between: each loop has room for its own four ways back."""
    head, left, right = step("head"), step("left"), step("right")
    made = graph()

    def pick(state):
        return "left" if state.log.count("head") % 2 else "right"

    pick.__annotations__["return"] = Literal["left", "right"]
    made._route(head, pick).when("left", left).when("right", right).exhaustive()
    made.chain(left, END).chain(right, END)
    made.loop(left, back_to=head, while_=always, max_iterations=3).loop(
        right, back_to=head, while_=always, max_iterations=5
    )
    drill = Drill(plan_of(made)).finish_all()
    assert drill.log.count("left") == 3  # two ways back, and the third time it leaves
    assert drill.log.count("right") == 2


def test_loop_with_two_sources():
    """A loop with two sources has one counter."""
    head, left, right = step("head"), step("left"), step("right")
    made = (
        graph()
        .chain(head, [left, right])
        .loop([left, right], back_to=head, while_=always, max_iterations=3)
    )
    drill = Drill(plan_of(made)).finish_all()
    assert (drill.log.count("head"), drill.log.count("left"), drill.log.count("right")) == (3, 3, 3)


@pytest.mark.parametrize("order", ["left right", "right left"])
def test_header_waits_for_every_source(order):
    """The header waits for every source of the iteration."""
    head, left, right = step("head"), step("left"), step("right")
    made = (
        graph()
        .chain(head, [left, right])
        .loop([left, right], back_to=head, while_=always, max_iterations=3)
    )
    first, second = order.split()
    drill = Drill(plan_of(made)).finish("head", first)
    assert drill.running == [second]
    drill.finish(second)
    assert drill.running == ["head"]


def test_first_open_loop_is_taken():
    """The first loop whose condition holds and whose bound has room is taken."""
    outer, head, tail = step("outer"), step("head"), step("tail")
    made = graph().chain(outer, head, tail, END)
    made.loop(tail, back_to=head, while_=always, max_iterations=2).loop(
        tail, back_to=outer, while_=always, max_iterations=2
    )
    assert Drill(plan_of(made)).finish_all().log == ["outer", "head", "tail", "head", "tail"] * 2


def test_counter_restarts_on_entry():
    """A counter starts anew when the loop is entered again."""
    outer, head, tail, last = step("outer"), step("head"), step("tail"), step("last")
    made = graph().chain(outer, head, tail, last, END)
    made.loop(tail, back_to=head, while_=lambda s: s.log.count("head") % 2 == 1, max_iterations=2)
    made.loop(last, back_to=outer, while_=always, max_iterations=3)
    assert Drill(plan_of(made)).finish_all().log.count("head") == 6


def test_exhausted_loop_takes_named_node():
    """An exhausted loop goes to the node that it names, and nowhere else."""
    head, tail, give_up = step("head"), step("tail"), step("give up")
    made = (
        graph()
        .chain(head, tail, step("good"))
        .loop(tail, back_to=head, while_=always, max_iterations=2, exhausted=give_up)
    )
    drill = Drill(plan_of(made)).finish_all()
    assert drill.log == ["head", "tail", "head", "tail", "give up"]
    assert drill.run.exhausted == [("tail", "head")]


def test_exhausted_loop_fails_run():
    """A loop with `exhausted="fail"` ends the run at its bound."""
    head, tail = step("head"), step("tail")
    made = (
        graph()
        .chain(head, tail, END)
        .loop(tail, back_to=head, while_=always, max_iterations=2, exhausted="fail")
    )
    drill = Drill(plan_of(made)).finish_all()
    assert drill.ends == ["failed"]
    assert type(drill.run.failed()[0].failure).__name__ == "LoopExhausted"


def test_loop_at_bound_without_condition():
    """A loop at its bound is not exhausted if its condition does not hold."""
    head, tail, give_up = step("head"), step("tail"), step("give up")
    made = graph().chain(head, tail, step("good"))
    made.loop(
        tail,
        back_to=head,
        while_=lambda s: s.log.count("head") < 2,
        max_iterations=2,
        exhausted=give_up,
    )
    assert Drill(plan_of(made)).finish_all().log == ["head", "tail", "head", "tail", "good"]


def test_latch_holds_back_header():
    """A token that came back does not start the header before all of the last iteration ended."""
    head, fast, slow, merge = step("head"), step("fast"), step("slow"), step("merge")
    made = (
        graph()
        .chain(head, [fast, slow], merge, END)
        .loop(merge, back_to=head, while_=always, max_iterations=2)
    )
    drill = Drill(plan_of(made)).finish("head", "fast")
    assert drill.running == ["slow"]
    assert drill.finish_all().log == ["head", "fast", "slow", "merge"] * 2


def test_join_after_loop_waits():
    """A join after a loop waits until the loop is left."""
    start, head, tail, after = step("start"), step("head"), step("tail"), step("after")
    made = (
        graph()
        .chain(start, head, tail, after, END)
        .chain(start, after)
        .loop(tail, back_to=head, while_=always, max_iterations=3)
    )
    drill = Drill(plan_of(made)).finish("start")
    for _ in range(3):
        assert drill.running == ["head"]
        drill.finish("head", "tail")
    assert drill.running == ["after"]
