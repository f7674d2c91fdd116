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
    codes,
    dig,
    jobs_of,
    look,
    no_notes,
    note,
    notes_of,
    said,
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


def test_the_region_is_what_lies_between_the_fork_and_the_join() -> None:
    sketch = racing()
    sketch.chain(c, look)
    sketch.chain(last, note)
    assert said(sketch) == []
    assert regions(sketch) == {"last": {"a", "b"}}


def test_the_plan_knows_the_region() -> None:
    step = next(step for step in build_plan(racing(2).spec).steps if step.name == "last")
    assert (step.need, step.region) == (2, (1, 2))


def test_a_region_from_start_to_end_is_possible() -> None:
    sketch = Sketch()
    sketch.chain([a, b], END)
    sketch.join(END, need=1)  # type: ignore[arg-type]
    assert said(sketch) == []
    assert regions(sketch) == {"END": {"a", "b"}}


def test_an_edge_out_of_the_region_is_refused() -> None:
    sketch = racing()
    sketch.chain(a, c)
    assert said(sketch) == [
        f"QUORUM_REGION at join of 'last': 'a' → 'c' leads out of what need=1 may cancel\n{ADVICE}"
    ]


def test_an_edge_into_the_region_moves_its_fork() -> None:
    """The nearest node that all ways pass is the fork, so what looked like an entry belongs to a larger region."""
    sketch = racing()
    sketch.chain(c, a)
    assert codes(sketch) == []
    assert regions(sketch) == {"last": {"look", "a", "b", "c"}}


def test_a_loop_into_the_region_is_refused() -> None:
    sketch = racing()
    sketch.chain(last, c, note)
    sketch.loop(c, back_to=a, while_=weak, max_iterations=2)
    assert codes(sketch) == ["LOOP_ENTRY", "QUORUM_REGION"]
    assert (
        said(sketch)[1]
        == f"QUORUM_REGION at join of 'last': 'c' → 'a' leads into what need=1 may cancel\n{ADVICE}"
    )


def test_an_error_edge_out_of_the_region_is_refused() -> None:
    sketch = racing()
    sketch.on_error(a, c)
    assert said(sketch) == [
        f"QUORUM_REGION at join of 'last': 'a' → 'c' leads out of what need=1 may cancel\n{ADVICE}"
    ]


def test_an_effect_that_happens_once_must_not_be_cancelled() -> None:
    sketch = Sketch()
    sketch.chain(look, [with_options(a, effect="once"), b], last)
    sketch.join(last, need=1)
    assert said(sketch) == [
        f"QUORUM_REGION at join of 'last': 'a' has effect=\"once\", so it must not be cancelled\n{ADVICE}"
    ]


def test_an_effect_inside_a_map_or_sub_flow_counts_too() -> None:
    inner = build_plan(Sketch().chain(with_options(note, effect="once")).spec)
    sketch = Sketch()
    team = sketch.sub("team", inner, to_topic, no_notes)
    digs = sketch.map("digs", with_options(dig, effect="once"), jobs_of, notes_of)
    sketch.chain(look, [team, digs], last)
    sketch.join(last, need=1)
    assert [line.splitlines()[0] for line in said(sketch)] == [
        "QUORUM_REGION at join of 'last': 'team/note' has effect=\"once\", so it must not be cancelled",
        "QUORUM_REGION at join of 'last': 'digs/dig' has effect=\"once\", so it must not be cancelled",
    ]


def test_a_loop_inside_the_region_is_fine_and_one_around_the_join_is_fine_from_outside() -> None:
    sketch = racing()
    sketch.loop(a, back_to=a, while_=weak, max_iterations=2)
    sketch.chain(last, note)
    sketch.loop(last, back_to=look, while_=weak, max_iterations=2)
    assert said(sketch) == []


def test_a_loop_around_the_join_that_starts_in_the_region_is_refused() -> None:
    sketch = Sketch()
    sketch.chain(look, [a, b], last, note)
    sketch.join(last, need=1)
    sketch.loop([a, last], back_to=look, while_=weak, max_iterations=2)
    what = "the way back of a loop around 'last' starts at 'a', which need=1 may cancel"
    assert f"QUORUM_REGION at join of 'last': {what}\n{ADVICE}" in said(sketch)


def test_a_quorum_of_several_cannot_be_the_header_of_a_loop() -> None:
    sketch = racing(2)
    sketch.chain(last, c, note)
    sketch.loop(c, back_to=last, while_=weak, max_iterations=2)
    what = "a loop goes back to 'last', and brings it one token where need=2 waits for more"
    assert said(sketch) == [f"QUORUM_REGION at join of 'last': {what}\n{ADVICE}"]
