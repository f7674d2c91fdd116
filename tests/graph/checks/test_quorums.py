"""The region that a `need=k` join cancels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from graphorch.graph.build import build_plan
from graphorch.graph.checks import check
from graphorch.graph.node import END, Node
from graphorch.graph.options import NodeSettings
from graphorch.graph.topology import build_topology
from tests.graph.content import (
    Sketch,
    dig,
    jobs_of,
    list_codes,
    list_problems,
    look,
    no_notes,
    note,
    notes_of,
    to_topic,
    weak,
)

ADVICE = "    fix: put the branches into a sub-flow, which has no other way in or out"
a, b, c, last = note.named("a"), note.named("b"), note.named("c"), look.named("last")


def with_options(node: Node[Any], **options: Any) -> Node[Any]:
    return type(node)(
        node.fn,
        node.signature,
        name=node.name,
        kind=node.kind,
        options=replace(NodeSettings(), **options),
    )


def racing(need: int = 1) -> Sketch:
    sketch = Sketch()
    sketch.chain(look, [a, b], last)
    sketch.join(last, need=need)
    return sketch


def regions(sketch: Sketch) -> dict[str, set[str]]:
    shape = build_topology(sketch.spec)
    return {
        shape.name(join): {shape.name(node) for node in nodes}
        for join, nodes in check(sketch.spec, shape).regions.items()
    }


def test_region_lies_between_fork_and_join() -> None:
    """The region is what lies between the fork and the join."""
    sketch = racing()
    sketch.chain(c, look)
    sketch.chain(last, note)
    assert list_problems(sketch) == []
    assert regions(sketch) == {"last": {"a", "b"}}


def test_plan_holds_region() -> None:
    """The plan holds the region of a join."""
    step = next(step for step in build_plan(racing(2).spec).steps if step.name == "last")
    assert (step.need, step.region) == (2, (1, 2))


def test_region_from_start_to_end() -> None:
    """A region may reach from START to END."""
    sketch = Sketch()
    sketch.chain([a, b], END)
    sketch.join(END, need=1)  # type: ignore[arg-type]
    assert list_problems(sketch) == []
    assert regions(sketch) == {"END": {"a", "b"}}


def test_edge_out_of_region_is_refused() -> None:
    """An edge out of the region is refused."""
    sketch = racing()
    sketch.chain(a, c)
    assert list_problems(sketch) == [
        f"QUORUM_REGION at join of 'last': 'a' → 'c' leads out of what need=1 may cancel\n{ADVICE}"
    ]


def test_edge_into_region_moves_fork() -> None:
    """An edge into the region makes an earlier node the fork, and so the region larger."""
    sketch = racing()
    sketch.chain(c, a)
    assert list_codes(sketch) == []
    assert regions(sketch) == {"last": {"look", "a", "b", "c"}}


def test_loop_into_region_is_refused() -> None:
    """A loop into the region is refused."""
    sketch = racing()
    sketch.chain(last, c, note)
    sketch.loop(c, back_to=a, while_=weak, max_iterations=2)
    assert list_codes(sketch) == ["LOOP_ENTRY", "QUORUM_REGION"]
    assert (
        list_problems(sketch)[1]
        == f"QUORUM_REGION at join of 'last': 'c' → 'a' leads into what need=1 may cancel\n{ADVICE}"
    )


def test_error_edge_out_of_region_is_refused() -> None:
    """An error edge out of the region is refused."""
    sketch = racing()
    sketch.on_error(a, c)
    assert list_problems(sketch) == [
        f"QUORUM_REGION at join of 'last': 'a' → 'c' leads out of what need=1 may cancel\n{ADVICE}"
    ]


def test_once_effect_in_region_is_refused() -> None:
    """An effect that happens once must not be cancelled."""
    sketch = Sketch()
    sketch.chain(look, [with_options(a, effect="once"), b], last)
    sketch.join(last, need=1)
    assert list_problems(sketch) == [
        "QUORUM_REGION at join of 'last': 'a' has effect=\"once\", so it must not be "
        f"cancelled\n{ADVICE}"
    ]


def test_once_effect_may_finish() -> None:
    """An effect is legal in a region that finishes, but not if a region around it is cancelled."""
    sketch = Sketch()
    sketch.chain(look, [with_options(a, effect="once"), b], last)
    sketch.join(last, need=1, rest="finish")
    assert list_problems(sketch) == []
    inner = build_plan(sketch.spec)
    sketch = Sketch()
    team = sketch.sub("team", inner, to_topic, no_notes)
    sketch.chain(look, [team, b], last)
    sketch.join(last, need=1)
    assert [line.splitlines()[0] for line in list_problems(sketch)] == [
        "QUORUM_REGION at join of 'last': 'team/a' has effect=\"once\", so it must not be cancelled"
    ]


def test_finishing_region_is_cut_off_too() -> None:
    """A region that finishes has no other way in or out either."""
    sketch = Sketch()
    sketch.chain(look, [a, b], last).chain(a, c, note).chain(last, note)
    sketch.join(last, need=1, rest="finish")
    assert list_problems(sketch) == [
        "QUORUM_REGION at join of 'last': 'a' → 'c' leads out of what need=1 may leave behind\n"
        f"{ADVICE}"
    ]


def test_nested_once_effect_is_refused() -> None:
    """An effect inside a map or sub flow counts too."""
    inner = build_plan(Sketch().chain(with_options(note, effect="once")).spec)
    sketch = Sketch()
    team = sketch.sub("team", inner, to_topic, no_notes)
    digs = sketch.map("digs", with_options(dig, effect="once"), jobs_of, notes_of)
    sketch.chain(look, [team, digs], last)
    sketch.join(last, need=1)
    assert [line.splitlines()[0] for line in list_problems(sketch)] == [
        "QUORUM_REGION at join of 'last': 'team/note' has effect=\"once\", so it must "
        "not be cancelled",
        "QUORUM_REGION at join of 'last': 'digs/dig' has effect=\"once\", so it must not "
        "be cancelled",
    ]


def test_loop_inside_or_around_is_fine() -> None:
    """A loop inside the region is fine, and so is one around region and join."""
    sketch = racing()
    sketch.loop(a, back_to=a, while_=weak, max_iterations=2)
    sketch.chain(last, note)
    sketch.loop(last, back_to=look, while_=weak, max_iterations=2)
    assert list_problems(sketch) == []


def test_loop_from_region_around_join_is_refused() -> None:
    """A loop around the join that starts in the region is refused."""
    sketch = Sketch()
    sketch.chain(look, [a, b], last, note)
    sketch.join(last, need=1)
    sketch.loop([a, last], back_to=look, while_=weak, max_iterations=2)
    what = "the way back of a loop around 'last' starts at 'a', which need=1 may cancel"
    assert f"QUORUM_REGION at join of 'last': {what}\n{ADVICE}" in list_problems(sketch)


def test_quorum_as_loop_header_is_refused() -> None:
    """A quorum of several cannot be the header of a loop."""
    sketch = racing(2)
    sketch.chain(last, c, note)
    sketch.loop(c, back_to=last, while_=weak, max_iterations=2)
    what = "a loop goes back to 'last', and brings it one token where need=2 waits for more"
    assert list_problems(sketch) == [f"QUORUM_REGION at join of 'last': {what}\n{ADVICE}"]
