"""Loops: bounds, counters, several sources, several loops on one header, nesting, what happens when one is exhausted."""

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


def test_a_loop_runs_its_body_as_often_as_it_is_allowed_the_first_time_included():
    head, tail = step("head"), step("tail")
    made = (
        graph()
        .chain(head, tail, step("after"))
        .loop(tail, back_to=head, while_=always, max_iterations=4)
    )
    drill = Drill(plan_of(made)).finish_all()
    assert drill.log == ["head", "tail"] * 4 + ["after"]
    assert drill.run.exhausted == [("tail", "head")]


def test_a_loop_ends_when_its_condition_does_not_hold():
    head, tail = step("head"), step("tail")
    made = (
        graph()
        .chain(head, tail, step("after"))
        .loop(tail, back_to=head, while_=lambda s: s.log.count("head") < 3, max_iterations=9)
    )
    drill = Drill(plan_of(made)).finish_all()
    assert drill.log.count("head") == 3
    assert not drill.run.exhausted


def test_a_node_may_loop_on_itself():
    alone = step("alone")
    made = (
        graph()
        .chain(alone, step("after"))
        .loop(alone, back_to=alone, while_=always, max_iterations=3)
    )
    assert Drill(plan_of(made)).finish_all().log == ["alone"] * 3 + ["after"]


def test_nested_loops_of_five_and_five_run_twenty_five_times():
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


def test_two_loops_of_one_source_count_separately_and_give_at_most_nine_rounds():
    head, tail = step("head"), step("tail")
    made = graph().chain(head, tail, END)
    for _ in range(2):
        made.loop(tail, back_to=head, while_=always, max_iterations=5)
    assert rounds(made) == 9


def test_two_loops_on_one_header_from_sources_in_a_row_give_at_most_nine_rounds():
    head, first, second = step("head"), step("first"), step("second")
    made = graph().chain(head, first, second, END)
    made.loop(first, back_to=head, while_=always, max_iterations=5).loop(
        second, back_to=head, while_=always, max_iterations=5
    )
    assert rounds(made) == 9


def test_two_loops_on_one_header_from_sources_side_by_side_share_their_rounds():
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


def test_a_loop_with_two_sources_has_one_counter():
    head, left, right = step("head"), step("left"), step("right")
    made = (
        graph()
        .chain(head, [left, right])
        .loop([left, right], back_to=head, while_=always, max_iterations=3)
    )
    drill = Drill(plan_of(made)).finish_all()
    assert (drill.log.count("head"), drill.log.count("left"), drill.log.count("right")) == (3, 3, 3)


@pytest.mark.parametrize("order", ["left right", "right left"])
def test_the_header_waits_for_every_source_of_the_round(order):
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


def test_the_first_loop_that_holds_and_has_room_is_taken():
    outer, head, tail = step("outer"), step("head"), step("tail")
    made = graph().chain(outer, head, tail, END)
    made.loop(tail, back_to=head, while_=always, max_iterations=2).loop(
        tail, back_to=outer, while_=always, max_iterations=2
    )
    assert Drill(plan_of(made)).finish_all().log == ["outer", "head", "tail", "head", "tail"] * 2


def test_a_counter_starts_anew_when_the_loop_is_entered_again():
    outer, head, tail, last = step("outer"), step("head"), step("tail"), step("last")
    made = graph().chain(outer, head, tail, last, END)
    made.loop(tail, back_to=head, while_=lambda s: s.log.count("head") % 2 == 1, max_iterations=2)
    made.loop(last, back_to=outer, while_=always, max_iterations=3)
    assert Drill(plan_of(made)).finish_all().log.count("head") == 6


def test_an_exhausted_loop_goes_to_the_node_that_was_named_and_nowhere_else():
    head, tail, give_up = step("head"), step("tail"), step("give up")
    made = (
        graph()
        .chain(head, tail, step("good"))
        .loop(tail, back_to=head, while_=always, max_iterations=2, exhausted=give_up)
    )
    drill = Drill(plan_of(made)).finish_all()
    assert drill.log == ["head", "tail", "head", "tail", "give up"]
    assert drill.run.exhausted == [("tail", "head")]


def test_an_exhausted_loop_that_shall_fail_ends_the_run():
    head, tail = step("head"), step("tail")
    made = (
        graph()
        .chain(head, tail, END)
        .loop(tail, back_to=head, while_=always, max_iterations=2, exhausted="fail")
    )
    drill = Drill(plan_of(made)).finish_all()
    assert drill.ends == ["failed"]
    assert type(drill.run.failed()[0].failure).__name__ == "LoopExhausted"


def test_a_loop_that_is_not_exhausted_for_lack_of_its_condition_goes_on_as_usual():
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


def test_a_slow_branch_of_a_round_holds_back_the_next_round():
    """The latch: a token that came back must not start the header while a branch of the round before it is under way."""
    head, fast, slow, merge = step("head"), step("fast"), step("slow"), step("merge")
    made = (
        graph()
        .chain(head, [fast, slow], merge, END)
        .loop(merge, back_to=head, while_=always, max_iterations=2)
    )
    drill = Drill(plan_of(made)).finish("head", "fast")
    assert drill.running == ["slow"]
    assert drill.finish_all().log == ["head", "fast", "slow", "merge"] * 2


def test_what_follows_the_loop_waits_until_the_loop_is_left():
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
