"""Ids and paths derive from the run, the node and the consumed tokens alone."""

from __future__ import annotations

from graphorch.core.tree import token_id
from tests.core.drill import Drill, graph, map_over, plan_of, step, sub


def test_id_independent_of_first_use():
    """An id depends on the tokens, not on when it is first read."""
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


def test_id_format():
    """Ids are 32 hexadecimal digits."""
    activation = Drill(plan_of(graph().chain(step("a"), step("b")))).activation("a")
    assert len(activation.id) == 32
    assert int(activation.id, 16) >= 0


def test_token_ids_of_one_commit():
    """Tokens of one commit have ids of their own."""
    drill = Drill(plan_of(graph().chain(step("a"), [step("b"), step("c")], step("d")))).finish("a")
    left, right = drill.activation("b").tokens[0], drill.activation("c").tokens[0]
    assert token_id(left, drill.run.root) != token_id(right, drill.run.root)


def test_item_id_depends_on_index():
    """The id of an item depends on its index and the map."""
    made = graph()
    made.chain([map_over(made, "left", 2), map_over(made, "right", 2)], step("merge"))
    drill = Drill(plan_of(made))
    ids = {drill.activation(path).id for path in drill.running}
    assert len(ids) == 4


def test_paths_of_flows_and_items():
    """Paths name flows and items."""
    made, inner = graph(), graph()
    inner.chain(map_over(inner, "workers", 2))
    made.chain(sub(made, "team", plan_of(inner)))
    assert Drill(plan_of(made)).running == ["team/workers[0]/work", "team/workers[1]/work"]


def test_id_differs_by_iteration():
    """An activation in the second iteration of a loop has another id."""
    head = step("head")
    made = (
        graph()
        .chain(head, step("after"))
        .loop(head, back_to=head, while_=lambda s: True, max_iterations=3)
    )
    drill = Drill(plan_of(made)).finish_all()
    assert len({*drill.ids()["head"]}) == 3


def test_story_at_every_level():
    """The story says what happened at every level."""
    made = graph()
    made.chain(sub(made, "team", plan_of(graph().chain(step("x"), step("y")))))
    drill = Drill(plan_of(made)).finish("team/x")
    drill.activation("team/y").add_to_story("it went wrong")
    assert drill.run.story("team/y") == ["it went wrong", "team/y attempt 1: running"]
    assert drill.run.story("x") == ["team/x attempt 1: done"]
