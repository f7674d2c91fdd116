"""Joins that cannot be met."""

from __future__ import annotations

import pytest

from tests.graph.content import Sketch, classify, kind_of, list_problems, look, note, weak


def fan() -> Sketch:
    sketch = Sketch()
    sketch.chain(look, [note, note.named("b")], look.named("last"))
    return sketch


@pytest.mark.parametrize("need", [0, 3, -1, True])
def test_need_out_of_range_is_refused(need: int) -> None:
    """A number that the edges cannot reach is refused."""
    sketch = fan()
    sketch.join(look.named("last"), need=need)
    assert list_problems(sketch)[-1] == (
        f"JOIN_NEED at join of 'last': need={need} is out of range: 2 edges lead to it\n  "
        "  fix: give a number from 1 to 2"
    )


def test_unknown_option_and_second_join_are_refused() -> None:
    """Unknown words and a second declaration are refused."""
    sketch = Sketch()
    last = look.named("last")
    sketch.chain(look, [note, note.named("b")], last)
    sketch.join(last, need="some")  # type: ignore[arg-type]
    sketch.join(last, need="all", short="x")  # type: ignore[arg-type]
    assert list_problems(sketch) == [
        "JOIN_OPTION at join of 'last': need='some' is not possible\n    fix: give "
        '"arriving", "all" or a number',
        "JOIN_TWICE at join of 'last': join() is called twice for this node\n    fix: "
        "keep one join() for each node",
        "JOIN_OPTION at join of 'last': short='x' is not possible\n    fix: give "
        '"fail" or "fire"',
    ]


def test_rest_belongs_to_number() -> None:
    """What becomes of the losers is a word, and has a meaning with a number alone."""
    sketch = Sketch()
    last, other = look.named("last"), look.named("other")
    sketch.chain(look, [note, note.named("b")], last, [note.named("c"), note.named("d")], other)
    sketch.join(last, need=1, rest="stop")  # type: ignore[arg-type]
    sketch.join(other, need="arriving", rest="finish")
    assert list_problems(sketch) == [
        "JOIN_OPTION at join of 'last': rest='stop' is not possible\n    fix: give "
        '"cancel" or "finish"',
        "JOIN_OPTION at join of 'other': rest=\"finish\" has no meaning with need='arriving', "
        "which leaves nothing unfinished\n    fix: give need a number, or leave rest out",
    ]


def test_all_is_met_by_plain_branches() -> None:
    """`need="all"` is met by plain branches of any length."""
    sketch = Sketch()
    last = look.named("last")
    sketch.chain(look, note, note.named("b"), last)
    sketch.chain(look, last)
    sketch.join(last, need="all")
    assert list_problems(sketch) == []


def test_all_cannot_wait_for_route() -> None:
    """`need="all"` cannot wait for an edge of a route."""
    sketch = Sketch()
    last = look.named("last")
    sketch.route(classify, kind_of).when("math", note).when("prose", look).exhaustive()
    sketch.chain([note, look], last)
    sketch.join(last, need="all")
    assert list_problems(sketch) == [
        f"JOIN_ALL at join of 'last': need=\"all\" waits for '{name}' → 'last', which not "
        "every run takes\n"
        '    fix: use the default need="arriving", which waits for what can still arrive'
        for name in ("note", "look")
    ]


def test_all_is_met_after_complete_route() -> None:
    """The edges of a join after a route are plain, since the choice lies before them."""
    sketch = Sketch()
    middle, side, last = look.named("middle"), note.named("side"), look.named("last")
    sketch.route(classify, kind_of).when("math", note).when("prose", look).exhaustive()
    sketch.chain([note, look], middle, side, last)
    sketch.chain(middle, last)
    sketch.join(last, need="all")
    assert list_problems(sketch) == []


def test_all_cannot_wait_for_error_edge() -> None:
    """`need="all"` cannot wait for a node that may fail elsewhere."""
    sketch = Sketch()
    last = look.named("last")
    sketch.chain(look, [note, note.named("b")], last)
    sketch.on_error(note, look.named("rescue"))
    sketch.join(last, need="all")
    assert [line.split(",")[0] for line in list_problems(sketch)] == [
        "JOIN_ALL at join of 'last': need=\"all\" waits for 'note' → 'last'"
    ]


def test_all_waits_for_loop_end_only() -> None:
    """`need="all"` cannot wait for a loop, but for its end."""
    sketch = Sketch()
    last = look.named("last")
    sketch.chain(look, note, note.named("b"), last)
    sketch.chain(look, last)
    sketch.loop(sketch.spec.nodes["b"], back_to=note, while_=weak, max_iterations=2)
    sketch.join(last, need="all")
    assert list_problems(sketch) == []
    sketch.join(note, need="all")
    assert [line.split(",")[0] for line in list_problems(sketch)] == [
        "JOIN_ALL at join of 'note': need=\"all\" waits for 'b' → 'note'"
    ]
