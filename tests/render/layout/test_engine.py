"""Places of boxes, lines and frames, by the builtin layout and by dot."""

from __future__ import annotations

import cProfile
import itertools
import random
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphorch.errors import InputError
from graphorch.render.layout.back_edges import ways_back_are_free
from graphorch.render.layout.engine import Direction, Engine, layout
from graphorch.render.layout.fans import WIDEST
from graphorch.render.layout.graphviz import DotFailed, dot_layout
from graphorch.render.layout.group_titles import points_on
from graphorch.render.picture.model import Box, Group, Line, Picture, group_chains
from graphorch.render.picture.overlay import Mark, Overlay
from graphorch.render.picture.placement import Curve, Layout, Point, Rect
from graphorch.render.picture.sizes import TITLE_SIZE, box_size, mark_title, title_width
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
DIRECTIONS: tuple[Direction, ...] = ("TB", "LR")


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
    points = {line: list(points_on(curve)) for line, curve in placed.lines.items()}
    return [
        (line.id, id_)
        for line in picture.lines
        for id_, rect in shrunk.items()
        if id_ not in (line.source, line.target) and any(runs_into(rect, points[line.id]))
    ]


def runs_into(rect: Rect, points: Sequence[Point]) -> Iterator[bool]:
    right, bottom = rect.right, rect.bottom
    return (rect.x < x < right and rect.y < y < bottom for x, y in points)


def crossing_titles(picture: Picture, placed: Layout) -> list[tuple[str, str]]:
    """Lines that run through the words of a frame's title."""
    words: dict[str, Rect] = {}
    for group in picture.groups:
        if group.id in placed.groups:
            x, baseline = placed.titles[group.id]
            words[group.id] = Rect(x, baseline - TITLE_SIZE, title_width(group), TITLE_SIZE)
    return [
        (line.id, group)
        for line in picture.lines
        for group, rect in words.items()
        if any(runs_into(rect, list(points_on(placed.lines[line.id]))))
    ]


def fanned(branches: int, length: int, seed: int) -> Picture:
    """A fan of branches with boxes of random widths, of which some fail over to one box."""
    dice = random.Random(seed)
    boxes = [Box("source", "source", "node"), Box("target", "target", "node")]
    lines: list[Line] = []

    def lead(source: str, target: str, label: str = "") -> None:
        lines.append(Line(f"{len(lines)}", source, target, "always", label))

    for number in range(branches):
        names = [f"{number}/{step}" for step in range(dice.randint(1, length))]
        boxes += [Box(name, "n" * dice.randint(1, 24), "node") for name in names]
        lead("source", names[0], dice.choice(("", "", "some label")))
        for source, target in itertools.pairwise([*names, "target"]):
            lead(source, target)
        if dice.random() < 0.1:
            lead(names[0], "target", "error")
    return Picture("fanned", tuple(boxes), tuple(lines))


PLANS = {"essay": essay, "support": support, "company": company, "fan": lambda: fan(8)}


@settings(max_examples=60)
@given(
    st.integers(1, 40),
    st.integers(0, 60),
    st.integers(0, 10_000),
    st.booleans(),
    st.sampled_from(DIRECTIONS),
)
def test_builtin_boxes_never_overlap(
    boxes: int, lines: int, seed: int, grouped: bool, direction: Direction
) -> None:
    """Boxes never overlap and nothing is missing in the builtin layout."""
    picture = tangled(boxes, lines, seed, grouped=grouped)
    placed = layout(picture, "builtin", direction)
    assert set(placed.boxes) == {box.id for box in picture.boxes}
    assert set(placed.lines) == {line.id for line in picture.lines}
    assert overlapping(placed) == []
    assert all(
        touches(placed.lines[line.id], placed.boxes[line.source], placed.boxes[line.target])
        for line in picture.lines
    )


@settings(max_examples=60)
@given(st.integers(2, 30), st.integers(0, 40), st.integers(0, 10_000), st.sampled_from(DIRECTIONS))
def test_builtin_frames_hold_their_boxes(
    boxes: int, lines: int, seed: int, direction: Direction
) -> None:
    """Frames hold their boxes and no others in the builtin layout."""
    picture = tangled(boxes, lines, seed)
    placed = layout(picture, "builtin", direction)
    chains = group_chains(picture)
    for box in picture.boxes:
        for group, frame in placed.groups.items():
            if group in chains[box.group]:
                assert inside(placed.boxes[box.id], frame)
            else:
                assert not placed.boxes[box.id].overlaps(frame)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 30), st.integers(0, 40), st.integers(0, 10_000), st.sampled_from(DIRECTIONS))
def test_lines_never_cross_titles(boxes: int, lines: int, seed: int, direction: Direction) -> None:
    """No line runs through the title of a frame."""
    picture = tangled(boxes, lines, seed)
    placed = layout(picture, "builtin", direction)
    assert crossing_titles(picture, placed) == []


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_lines_never_cross_marked_titles(direction: Direction) -> None:
    """No line runs through a title that is longer for what a run did in the frame."""
    picture = draw_plan(company())
    marks = {group.id: Mark("done", note="37 of 50 items · 1.2 s") for group in picture.groups}
    overlay = Overlay(marks)
    placed = layout(picture, "auto", direction, overlay=overlay)
    marked = replace(picture, groups=tuple(mark_title(group, overlay) for group in picture.groups))
    assert {group.detail for group in marked.groups} == {"37 of 50 items · 1.2 s"}
    assert crossing_titles(marked, placed) == []


@needs_dot
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("seed", range(4))
def test_auto_lines_never_cross_titles(seed: int, direction: Direction) -> None:
    """Auto takes the places of dot only where lines leave titles free."""
    picture = tangled(14, 16, seed)
    assert crossing_titles(picture, layout(picture, "auto", direction)) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 40), st.integers(1, 3), st.integers(0, 10_000), st.sampled_from(DIRECTIONS))
def test_wide_fans_are_wrapped(branches: int, length: int, seed: int, direction: Direction) -> None:
    """Branches that are too many for one row go into several, and stay clean."""
    picture = fanned(branches, length, seed)
    placed = layout(picture, "builtin", direction)
    assert overlapping(placed) == []
    assert through_boxes(picture, placed) == []
    assert all(
        touches(placed.lines[line.id], placed.boxes[line.source], placed.boxes[line.target])
        for line in picture.lines
    )
    across = placed.width if direction == "TB" else placed.height
    assert across < 2 * WIDEST


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_wrapped_fan_has_columns(direction: Direction) -> None:
    """The branches of a wrapped fan stand in rows and columns, in their order."""
    placed = layout(draw_plan(fan(40)), "builtin", direction)
    rects = [placed.boxes[f"branch_{number}"] for number in range(40)]
    rows, columns = {rect.y for rect in rects}, {round(rect.x) for rect in rects}
    if direction == "LR":
        rows, columns = columns, rows
    assert 1 < len(rows) * len(columns) < 50
    assert max(placed.width, placed.height) < 2000


@needs_dot
def test_auto_wraps_wide_fans() -> None:
    """Auto is builtin where branches do not fit into one row."""
    assert layout(draw_plan(fan(40))).engine == "builtin"
    assert layout(draw_plan(fan(8))).engine == "dot"


@needs_dot
def test_auto_of_loops_to_the_right() -> None:
    """Auto is builtin for loops from left to right, where dot keeps no room for ways back."""
    assert layout(draw_plan(essay()), direction="LR").engine == "builtin"
    assert layout(draw_plan(fan(8)), direction="LR").engine == "dot"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PLANS)
def test_lines_lead_right(name: str, engine: Engine) -> None:
    """From left to right, all lines but ways back lead to the right, and nothing overlaps."""
    picture = draw_plan(PLANS[name]())
    placed = layout(picture, engine, "LR")
    assert placed.engine == engine
    assert overlapping(placed) == []
    for line in picture.lines:
        if line.kind != "loop":
            assert placed.boxes[line.source].right < placed.boxes[line.target].x
        assert touches(placed.lines[line.id], placed.boxes[line.source], placed.boxes[line.target])


@pytest.mark.parametrize("name", ["essay", "support", "company"])
def test_ways_back_run_below(name: str) -> None:
    """From left to right, ways back run below their boxes, with their labels in the frame."""
    picture = draw_plan(PLANS[name]())
    placed = layout(picture, "builtin", "LR")
    groups = {box.id: box.group for box in picture.boxes}
    for line in picture.lines:
        if line.kind == "loop":
            curve, frame = placed.lines[line.id], placed.groups[groups[line.target] or ""]
            lowest = max(y for _, y in curve.points)
            assert lowest > max(placed.boxes[end].bottom for end in (line.source, line.target))
            assert curve.label is not None
            assert inside(curve.label, frame)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PLANS)
def test_layout_of_plans_is_clean(name: str, engine: str) -> None:
    """Plans are placed without overlaps or lines through boxes."""
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
def test_labels_overlap_nothing(name: str, engine: str) -> None:
    """Labels lie on no box and on no other label."""
    picture = draw_plan(PLANS[name]())
    placed = layout(picture, engine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    labels = [curve.label for curve in placed.lines.values() if curve.label]
    assert [
        (label, rect) for label in labels for rect in placed.boxes.values() if label.overlaps(rect)
    ] == []
    assert [pair for pair in itertools.combinations(labels, 2) if pair[0].overlaps(pair[1])] == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["essay", "support", "company"])
def test_ways_back_run_inside_frame(name: str, engine: str) -> None:
    """Ways back run at the right inside the frame of their loop."""
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
def test_fan_is_centred(engine: str) -> None:
    """The parts of a fan stand around what they leave and meet."""
    placed = layout(draw_plan(fan(8)), engine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    branches = [rect for id_, rect in placed.boxes.items() if id_.startswith("branch")]
    middle = (min(rect.x for rect in branches) + max(rect.right for rect in branches)) / 2
    assert len({rect.y for rect in branches}) == 1
    assert placed.boxes["split"].center[0] == pytest.approx(middle, abs=60)
    assert placed.boxes["merge"].center[0] == pytest.approx(middle, abs=60)


def test_layout_is_deterministic() -> None:
    """The same picture gets the same places."""
    assert layout(workflow(5), "builtin") == layout(workflow(5), "builtin")


@pytest.mark.parametrize("picture", [workflow(28), layered(200, 7)], ids=["blocks", "branches"])
def test_layout_of_200_boxes_is_fast(picture: Picture) -> None:
    """Two hundred boxes are placed within a second."""
    start = time.process_time()
    placed = layout(picture, "builtin")
    assert time.process_time() - start < 1
    assert len(placed.boxes) >= 198
    assert overlapping(placed) == []


def test_layout_grows_linearly() -> None:
    """Four times the boxes, lines and frames take about four times the calls."""

    def count_calls(blocks: int) -> int:
        profile = cProfile.Profile()
        profile.runcall(layout, workflow(blocks), "builtin")
        return sum(entry.callcount for entry in profile.getstats())

    assert count_calls(40) < 4.5 * count_calls(10)


@needs_dot
@pytest.mark.parametrize("seed", range(6))
def test_dot_places_tangles(seed: int) -> None:
    """Dot places tangles too if need be without room for ways back."""
    picture = tangled(25, 35, seed)
    placed = layout(picture, "dot")
    assert placed.engine == "dot"
    assert overlapping(placed) == []


def test_builtin_ways_back_from_one_row() -> None:
    """Ways back from one row run beside their boxes in the builtin layout."""
    picture = draw_plan(supervisor())
    placed = layout(picture, "builtin")
    assert through_boxes(picture, placed) == []
    assert ways_back_are_free(picture, placed)


@needs_dot
def test_auto_falls_back_for_ways_back() -> None:
    """Auto is builtin where ways back would run behind boxes."""
    picture = draw_plan(supervisor())
    assert not ways_back_are_free(picture, layout(picture, "dot"))
    assert layout(picture).engine == "builtin"


@needs_dot
def test_auto_uses_dot() -> None:
    """Auto takes dot where it is."""
    assert layout(draw_plan(essay())).engine == "dot"


def test_auto_of_many_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Auto asks dot below 1,500 boxes, and takes builtin at once from there on."""
    asked = tmp_path / "asked"
    dot = tmp_path / "dot"
    dot.write_text(f"#!/bin/sh\necho once >> {asked}\nexit 1\n")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    many = tuple(Box(str(number), "a", "node") for number in range(1500))
    assert layout(Picture("many", many)).engine == "builtin"
    assert not asked.exists()
    assert layout(Picture("fewer", many[1:])).engine == "builtin"
    assert asked.exists()


def test_auto_without_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Auto is builtin where dot is missing."""
    monkeypatch.setenv("PATH", "")
    assert layout(draw_plan(essay())).engine == "builtin"


def test_missing_dot_names_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dot where it is missing says how to get it."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        InputError, match=r"engine='dot' needs Graphviz.*Install it.*engine='builtin'"
    ):
        layout(draw_plan(essay()), "dot")


def test_unknown_style_is_refused() -> None:
    """An unknown engine or direction is refused."""
    with pytest.raises(InputError, match=r"no direction 'RL'.*'TB'.*'LR'"):
        layout(draw_plan(essay()), direction="RL")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="no layout engine 'neato'"):
        layout(draw_plan(essay()), "neato")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@needs_dot
def test_slow_dot_is_given_up() -> None:
    """Dot is given up after its time."""
    picture = layered(300, 1)
    with pytest.raises(DotFailed, match=re.escape("within 0.001 s")):
        dot_layout(picture, {box.id: box_size(box) for box in picture.boxes}, timeout=0.001)


def test_overlay_widens_boxes() -> None:
    """An overlay widens boxes for its figures."""
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
    """Odd pictures are placed."""
    placed = layout(picture, engine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert set(placed.boxes) == {box.id for box in picture.boxes}
    assert set(placed.lines) == {line.id for line in picture.lines}
