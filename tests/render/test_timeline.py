"""Timelines: lanes never overlap, and children lie below their parents."""

from __future__ import annotations

import itertools
import random
import re
from xml.etree import ElementTree

import pytest

from graphorch.errors import InputError
from graphorch.render.timeline import Bar, timeline


def rows(svg: str) -> list[tuple[float, float, float]]:
    """Where bars are: y, x, right end."""
    found = re.findall(r'<rect class="go_shape" x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)"', svg)
    return [(float(y), float(x), float(x) + float(width)) for x, y, width in found]


def test_timeline_bars_never_overlap() -> None:
    """Bars of one lane never overlap."""
    rng = random.Random(1)
    bars = [
        Bar(
            str(number),
            "",
            f"n{number}",
            begin := rng.random() * 100,
            begin + 3 + rng.random() * 10,
        )
        for number in range(120)
    ]
    svg = timeline(bars, name="run")
    ElementTree.fromstring(svg)
    lanes: dict[float, list[tuple[float, float]]] = {}
    for y, left, right in rows(svg):
        lanes.setdefault(y, []).append((left, right))
    assert sum(map(len, lanes.values())) == 120
    assert len(lanes) < 30
    for spans in lanes.values():
        spans.sort()
        assert all(item[1] <= other[0] + 0.2 for item, other in itertools.pairwise(spans))


def test_timeline_lanes() -> None:
    """What runs at the same time has lanes of its own and what follows shares one."""
    both = rows(timeline([Bar("a", "", "a", 0, 2), Bar("b", "", "b", 1, 3)], name="run"))
    one_after_the_other = rows(
        timeline([Bar("a", "", "a", 0, 1), Bar("b", "", "b", 1, 3)], name="run")
    )
    assert len({y for y, _, _ in both}) == 2
    assert len({y for y, _, _ in one_after_the_other}) == 1


def test_timeline_children_lie_below() -> None:
    """What is inside lies below."""
    svg = timeline(
        [
            Bar("in", "out", "in", 1, 2),
            Bar("out", "", "out", 0, 3),
            Bar("lost", "nobody", "lost", 0, 1),
        ],
        name="run",
    )
    at = {name: svg.index(f"<title>{name} ·") for name in ("in", "out", "lost")}
    assert at["out"] < at["in"]
    assert len(rows(svg)) == 3


@pytest.mark.parametrize(
    "bars",
    [
        [],
        [Bar("a", "", "a", 0, 0)],
        [Bar("a", "", "<&>\u202e" * 50, 0, 1e6, "failed", "<x>", "<told>", ((0, 1e5),))],
    ],
)
def test_timeline_of_any_length(bars: list[Bar]) -> None:
    """A run of any length has a timeline."""
    for theme in ("auto", "light", "dark"):
        ElementTree.fromstring(timeline(bars, name="run", theme=theme))


def test_timeline_of_10_000_bars() -> None:
    """Ten thousand bars stay a picture."""
    svg = timeline([Bar(str(number), "", "n", 0, 1) for number in range(10_000)], name="run")
    assert "9,600 bars further down are left out" in svg


def test_timeline_unknown_theme() -> None:
    """An unknown theme is refused."""
    with pytest.raises(InputError, match="no theme 'blue'"):
        timeline([], name="run", theme="blue")  # pyright: ignore[reportArgumentType]
