"""Places: boxes apart, lines between their boxes, frames around theirs; by the builtin layout and by dot."""

from __future__ import annotations

import itertools
import re
import shutil
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphorch.errors import InputError
from graphorch.render.layout.back_edges import ways_back_are_free
from graphorch.render.layout.engine import layout
from graphorch.render.layout.graphviz import DotFailed, dot_layout
from graphorch.render.layout.group_titles import points_on
from graphorch.render.picture.model import Box, Group, Line, Picture, group_chains
from graphorch.render.picture.overlay import Mark, Overlay
from graphorch.render.picture.placement import Curve, Layout, Rect
from graphorch.render.picture.sizes import box_size
from graphorch.render.plan_picture import draw_plan
from tests.render.pictures import (
    company,
    essay,
    fan,
    layered,
    supervisor,
    support,
    tangled,
    workflow,
)

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
ENGINES = ["builtin", pytest.param("dot", marks=needs_dot)]


def overlapping(placed: Layout) -> list[tuple[str, str]]:
    pairs = itertools.combinations(sorted(placed.boxes.items(), key=lambda item: item[1].y), 2)
    return [
        (text, other) for (text, mine), (other, theirs) in pairs if mine.overlaps(theirs, gap=4)
    ]


def inside(inner: Rect, outer: Rect) -> bool:
    return (
        inner.x >= outer.x - 0.5
        and inner.y >= outer.y - 0.5
        and inner.right <= outer.right + 0.5
        and inner.bottom <= outer.bottom + 0.5
    )


def touches(curve: Curve, source: Rect, target: Rect) -> bool:
    near = 2.5
    return Rect(*curve.points[0], 0, 0).overlaps(source, near) and Rect(*curve.tip, 0, 0).overlaps(
        target, near
    )


def through_boxes(picture: Picture, placed: Layout) -> list[tuple[str, str]]:
    """Lines that run through a box that is neither their source nor their target."""
    shrunk = {
        id_: Rect(rect.x + 3, rect.y + 3, rect.width - 6, rect.height - 6)
        for id_, rect in placed.boxes.items()
    }
    return [
        (line.id, id_)
        for line in picture.lines
        for id_, rect in shrunk.items()
        if id_ not in (line.source, line.target)
        and any(
            rect.x < x < rect.right and rect.y < y < rect.bottom
            for x, y in points_on(placed.lines[line.id])
        )
    ]


PLANS = {"essay": essay, "support": support, "company": company, "fan": lambda: fan(12)}


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 10_000), st.booleans())
def test_boxes_never_overlap_and_nothing_is_missing_in_the_builtin_layout(
    boxes: int, lines: int, seed: int, grouped: bool
) -> None:
    picture = tangled(boxes, lines, seed, grouped=grouped)
    placed = layout(picture, "builtin")
    assert set(placed.boxes) == {box.id for box in picture.boxes}
    assert set(placed.lines) == {line.id for line in picture.lines}
    assert overlapping(placed) == []
    assert all(
        touches(placed.lines[line.id], placed.boxes[line.source], placed.boxes[line.target])
        for line in picture.lines
    )


@settings(max_examples=40)
@given(st.integers(2, 30), st.integers(0, 40), st.integers(0, 10_000))
def test_frames_hold_their_boxes_and_no_others_in_the_builtin_layout(
    boxes: int, lines: int, seed: int
) -> None:
    picture = tangled(boxes, lines, seed)
    placed = layout(picture, "builtin")
    chains = group_chains(picture)
    for box in picture.boxes:
        for group, frame in placed.groups.items():
            if group in chains[box.group]:
                assert inside(placed.boxes[box.id], frame)
            else:
                assert not placed.boxes[box.id].overlaps(frame)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PLANS)
def test_plans_are_placed_without_overlaps_or_lines_through_boxes(name: str, engine: str) -> None:
    picture = draw_plan(PLANS[name]())
    placed = layout(picture, engine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    chains = group_chains(picture)
    assert placed.engine == engine
    assert overlapping(placed) == []
    assert through_boxes(picture, placed) == []
    assert all(
        touches(placed.lines[line.id], placed.boxes[line.source], placed.boxes[line.target])
        for line in picture.lines
    )
    assert all(
        inside(placed.boxes[box.id], placed.groups[group])
        for box in picture.boxes
        for group in chains[box.group]
    )
    assert set(placed.titles) == {group.id for group in picture.groups}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PLANS)
def test_labels_lie_on_no_box_and_on_no_other_label(name: str, engine: str) -> None:
    picture = draw_plan(PLANS[name]())
    placed = layout(picture, engine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    labels = [curve.label for curve in placed.lines.values() if curve.label]
    assert [
        (label, rect) for label in labels for rect in placed.boxes.values() if label.overlaps(rect)
    ] == []
    assert [pair for pair in itertools.combinations(labels, 2) if pair[0].overlaps(pair[1])] == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["essay", "support", "company"])
def test_ways_back_run_at_the_right_inside_the_frame_of_their_loop(name: str, engine: str) -> None:
    picture = draw_plan(PLANS[name]())
    placed = layout(picture, engine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    groups = {box.id: box.group for box in picture.boxes}
    loops = [line for line in picture.lines if line.kind == "loop"]
    assert loops
    for line in loops:
        curve, source, target = (
            placed.lines[line.id],
            placed.boxes[line.source],
            placed.boxes[line.target],
        )
        x = max(point[0] for point in curve.points)
        assert x > max(source.right, target.right)
        assert curve.points[0][0] == pytest.approx(source.right)
        frame = placed.groups[groups[line.target] or ""]
        assert x < frame.right
        assert curve.label is None or curve.label.right <= frame.right


@pytest.mark.parametrize("engine", ENGINES)
def test_the_parts_of_a_fan_stand_around_what_they_leave_and_meet(engine: str) -> None:
    placed = layout(draw_plan(fan(12)), engine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    branches = [rect for id_, rect in placed.boxes.items() if id_.startswith("branch")]
    middle = (min(rect.x for rect in branches) + max(rect.right for rect in branches)) / 2
    assert len({rect.y for rect in branches}) == 1
    assert placed.boxes["split"].center[0] == pytest.approx(middle, abs=60)
    assert placed.boxes["merge"].center[0] == pytest.approx(middle, abs=60)


def test_the_same_picture_gets_the_same_places() -> None:
    assert layout(workflow(5), "builtin") == layout(workflow(5), "builtin")


@pytest.mark.parametrize("picture", [workflow(28), layered(200, 7)], ids=["blocks", "branches"])
def test_two_hundred_boxes_are_placed_within_a_second(picture: Picture) -> None:
    start = time.process_time()
    placed = layout(picture, "builtin")
    assert time.process_time() - start < 1
    assert len(placed.boxes) >= 198
    assert overlapping(placed) == []


@needs_dot
@pytest.mark.parametrize("seed", range(6))
def test_dot_places_tangles_too_if_need_be_without_room_for_ways_back(seed: int) -> None:
    picture = tangled(25, 35, seed)
    placed = layout(picture, "dot")
    assert placed.engine == "dot"
    assert overlapping(placed) == []


def test_ways_back_from_one_row_run_beside_their_boxes_in_the_builtin_layout() -> None:
    picture = draw_plan(supervisor())
    placed = layout(picture, "builtin")
    assert through_boxes(picture, placed) == []
    assert ways_back_are_free(picture, placed)


@needs_dot
def test_auto_is_builtin_where_ways_back_would_run_behind_boxes() -> None:
    picture = draw_plan(supervisor())
    assert not ways_back_are_free(picture, layout(picture, "dot"))
    assert layout(picture).engine == "builtin"


@needs_dot
def test_auto_takes_dot_where_it_is() -> None:
    assert layout(draw_plan(essay())).engine == "dot"


def test_auto_is_builtin_where_dot_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert layout(draw_plan(essay())).engine == "builtin"


def test_dot_where_it_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        InputError, match=r"engine='dot' needs Graphviz.*Install it.*engine='builtin'"
    ):
        layout(draw_plan(essay()), "dot")


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(InputError, match="no layout engine 'neato'"):
        layout(draw_plan(essay()), "neato")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@needs_dot
def test_dot_is_given_up_after_its_time() -> None:
    picture = layered(300, 1)
    with pytest.raises(DotFailed, match=re.escape("within 0.001 s")):
        dot_layout(picture, {box.id: box_size(box) for box in picture.boxes}, timeout=0.001)


def test_an_overlay_widens_boxes_for_its_figures() -> None:
    picture = Picture("one", (Box("a", "a", "agent", "agent"),))
    plain = layout(picture, "builtin").boxes["a"]
    marked = layout(
        picture, "builtin", overlay=Overlay({"a": Mark("done", 12, 3.4, 56_000, 0.78)})
    ).boxes["a"]
    assert marked.width > plain.width


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "picture",
    [
        Picture("nothing", ()),
        Picture("one", (Box("a", "a", "node"),)),
        Picture("self", (Box("a", "a", "node"),), (Line("1", "a", "a", "loop", "again"),)),
        Picture("empty group", (Box("a", "a", "node"),), (), (Group("g", "g", "loop"),)),
        Picture(
            "twice",
            (Box("a", "a", "node"), Box("b", "b", "end")),
            (Line("1", "a", "b", "always"), Line("2", "a", "b", "error", "x")),
        ),
    ],
    ids=lambda picture: picture.name,
)
def test_odd_pictures_are_placed(picture: Picture, engine: str) -> None:
    placed = layout(picture, engine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert set(placed.boxes) == {box.id for box in picture.boxes}
    assert set(placed.lines) == {line.id for line in picture.lines}
