"""Ids and paths: they derive from the run, the node and the consumed tokens, and from nothing else."""

from __future__ import annotations

from graphorch.core.tree import token_id
from tests.core.drill import Drill, graph, map_over, plan_of, step, sub


def test_an_id_depends_on_the_tokens_and_not_on_the_time_at_which_somebody_asks():
    made = graph().chain(step("a"), [step("b"), step("c")], step("d"))
    early, late = Drill(plan_of(made)), Drill(plan_of(made))
    asked = [early.activation("a").id]
    early.finish("a")
    asked += [early.activation("b").id, early.activation("c").id]
    early.finish("c", "b")
    asked.append(early.activation("d").id)
    late.finish("a", "b", "c")
    d = late.activation("d")
    assert d.id == asked[3]
    assert [activation.id for activation in late.run.history] == asked[:3]


def test_ids_are_thirty_two_hexadecimal_digits():
    activation = Drill(plan_of(graph().chain(step("a"), step("b")))).activation("a")
    assert len(activation.id) == 32
    assert int(activation.id, 16) >= 0


def test_tokens_of_one_commit_have_ids_of_their_own():
    drill = Drill(plan_of(graph().chain(step("a"), [step("b"), step("c")], step("d")))).finish("a")
    left, right = drill.activation("b").tokens[0], drill.activation("c").tokens[0]
    assert token_id(left, drill.run.root) != token_id(right, drill.run.root)


def test_the_id_of_an_item_depends_on_its_index_and_the_map():
    made = graph()
    made.chain([map_over(made, "left", 2), map_over(made, "right", 2)], step("merge"))
    drill = Drill(plan_of(made))
    ids = {drill.activation(path).id for path in drill.running}
    assert len(ids) == 4


def test_paths_name_flows_and_items():
    made, inner = graph(), graph()
    inner.chain(map_over(inner, "workers", 2))
    made.chain(sub(made, "team", plan_of(inner)))
    assert Drill(plan_of(made)).running == ["team/workers[0]/work", "team/workers[1]/work"]


def test_an_activation_in_the_second_round_of_a_loop_has_another_id():
    head = step("head")
    made = (
        graph()
        .chain(head, step("after"))
        .loop(head, back_to=head, while_=lambda s: True, max_iterations=3)
    )
    drill = Drill(plan_of(made)).finish_all()
    assert len({*drill.ids()["head"]}) == 3


def test_the_story_tells_what_happened_at_every_level():
    made = graph()
    made.chain(sub(made, "team", plan_of(graph().chain(step("x"), step("y")))))
    drill = Drill(plan_of(made)).finish("team/x")
    drill.activation("team/y").add_to_story("it went wrong")
    assert drill.run.story("team/y") == ["it went wrong", "team/y attempt 1: running"]
    assert drill.run.story("x") == ["team/x attempt 1: done"]
