"""Heat maps and differences: the hotter the redder, every figure told, in both themes."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from graphorch.errors import InputError
from graphorch.render.heat_map import MEASURES, Heat, Measure, difference_map, heat_map
from graphorch.render.picture.model import Box, Line, Picture

PICTURE = Picture(
    "flow",
    (Box("a", "a", "agent"), Box("b", "b", "node"), Box("team/c", "c", "node")),
    (Line("0", "a", "b", "always"), Line("1", "b", "team/c", "always")),
)
HEATS = {"a": Heat(3, 0.5, 0.1, 2.0, 0.0), "b": Heat(1, 0.25, 0.4, 0.5, 1.0)}


def opacity(svg: str, box: str) -> float:
    match = re.search(rf'\[data-box="{box}"\] .go_shape{{fill:rgba\(220,38,38,([0-9.]+)\)', svg)
    return float(match[1]) if match else -1.0


@pytest.mark.parametrize(
    "by, hottest", [("cost", "a"), ("p50", "b"), ("p95", "a"), ("errors", "b"), ("visits", "a")]
)
def test_heat_map_reddest_box(by: Measure, hottest: str) -> None:
    """The largest figure is the reddest box."""
    svg = heat_map(PICTURE, HEATS, by, engine="builtin")
    ElementTree.fromstring(svg)
    other = "b" if hottest == "a" else "a"
    assert opacity(svg, hottest) == 0.55
    assert 0 <= opacity(svg, other) < 0.55
    assert opacity(svg, "team/c") == -1.0


def test_heat_map_shows_every_figure() -> None:
    """Every figure is told beside the box."""
    svg = heat_map(PICTURE, HEATS, "errors", title="7 runs", engine="builtin")
    assert "100% failed · 1× · $0.250 · P50 400 ms · P95 500 ms" in svg
    assert "7 runs · share of failed visits, up to 100.0%" in svg


def test_heat_map_without_measures() -> None:
    """Nothing measured is a picture without colour."""
    for by in MEASURES:
        assert "rgba" not in heat_map(PICTURE, {}, by, engine="builtin")


def test_heat_map_unknown_measure() -> None:
    """Another measure is refused."""
    with pytest.raises(InputError, match=r"no heat 'costs'\. Did you mean 'cost'"):
        heat_map(PICTURE, HEATS, "costs", engine="builtin")  # pyright: ignore[reportArgumentType]


def test_heat_map_difference() -> None:
    """The difference shows what ran only once and what changed."""
    after = {"a": Heat(3, 0.5, 0.1), "team/c": Heat(1, 0.0, 0.2)}
    svg = difference_map(PICTURE, HEATS, after, changed=frozenset({"a"}), engine="builtin")
    assert '[data-box="a"] .go_shape{fill:rgba(217,119,6,0.350)' in svg
    assert '[data-box="b"] .go_shape{fill:rgba(220,38,38,0.550)' in svg
    assert '[data-box="team/c"] .go_shape{fill:rgba(22,163,74,0.550)' in svg
    assert "other result" in svg


def test_heat_map_escapes_ids() -> None:
    """An id cannot leave the style sheet."""
    evil = 'x"]{}</style><script>'
    picture = Picture("flow", (Box(evil, "x", "node"),))
    assert "<script>" not in heat_map(picture, {evil: Heat(1, 1.0)}, "cost", engine="builtin")


def legend_of(svg: str) -> str:
    return svg.partition('class="go_legend"')[2]


def test_reused_steps_are_not_hot() -> None:
    """Of a rerun, what it took over has no colour, and what ran again has; the legend says so."""
    before = {"a": Heat(1, 0.1), "b": Heat(1, 0.2), "team/c": Heat(1, 0.1)}
    after = {"b": Heat(1, 0.2), "team/c": Heat(1, 0.1)}
    svg = difference_map(
        PICTURE,
        before,
        after,
        changed=frozenset({"b"}),
        reused=frozenset({"a"}),
        engine="builtin",
    )
    assert '[data-box="a"] .go_shape' not in svg
    assert "taken over" in svg
    assert '[data-box="b"] .go_shape{fill:rgba(217,119,6,0.350)' in svg
    assert '[data-box="team/c"] .go_shape{fill:rgba(37,99,235,0.300)' in svg
    legend = legend_of(svg)
    for word in ("other result or visits", "ran again, same result", "taken over without running"):
        assert word in legend
    assert "only before" not in legend
    assert "go_taken" not in svg.partition("</style>")[2]


def test_reused_step_may_have_other_result() -> None:
    """What was taken over from a third run differs, and says both."""
    svg = difference_map(
        PICTURE,
        HEATS,
        {},
        changed=frozenset({"a"}),
        reused=frozenset({"a"}),
        engine="builtin",
    )
    assert "taken over · other result" in svg
    assert '[data-box="a"] .go_shape{fill:rgba(217,119,6,0.350)' in svg


def test_heat_map_has_scale() -> None:
    """The legend says what the shades mean, and nothing about statuses."""
    legend = legend_of(heat_map(PICTURE, HEATS, "cost", engine="builtin"))
    most = max(heat.usd for heat in HEATS.values())
    assert f"${most:.2f}" in legend or f"${most:.3f}" in legend
    assert ">0<" in legend
    assert ">done<" not in legend
    reused = heat_map(PICTURE, {"b": Heat(1, 0.1)}, "cost", reused=frozenset({"a"}))
    assert "taken over" in reused
