"""Colours that can be told apart: WCAG 2.2 AA, computed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from graphorch.render.svg.theme import DARK, LIGHT, Palette

KINDS = ("node", "agent", "map", "sub", "ask", "decision", "terminal", "join")
STATUSES = ("done", "running", "failed", "waiting", "not_reached")


def contrast(text: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2, relative luminance of sRGB)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(text), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("kind", [*KINDS, *STATUSES])
def test_words_can_be_read_and_outlines_seen(colours: Mapping[str, str], kind: str) -> None:
    fill, line = colours[f"{kind}_fill"], colours[f"{kind}_line"]
    assert contrast(colours["text"], fill) >= 4.5
    assert contrast(colours["muted"], fill) >= 4.5
    assert contrast(line, colours["canvas"]) >= 3
    assert contrast(line, colours["panel_fill"]) >= 3
    assert contrast(line, fill) >= 3


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["canvas", "panel_fill"])
def test_words_and_lines_between_boxes_can_be_read_and_seen(
    colours: Mapping[str, str], ground: str
) -> None:
    words = ("text", "muted", "loop", "error", "exhausted")
    assert [word for word in words if contrast(colours[word], colours[ground]) < 4.5] == []
    assert contrast(colours["edge"], colours[ground]) >= 3


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("status", STATUSES)
def test_the_sign_on_a_badge_can_be_seen(colours: Mapping[str, str], status: str) -> None:
    assert contrast(colours["canvas"], colours[f"{status}_line"]) >= 3


def test_both_themes_have_all_colours() -> None:
    assert LIGHT.keys() == DARK.keys()


def test_only_the_colours_that_are_used_become_variables() -> None:
    palette = Palette("auto")
    assert palette("fill", "text") == f"fill:{LIGHT['text']};fill:var(--go_text);"
    variables = palette.variables(".go_1")
    assert f"--go_text:{DARK['text']}" in variables
    assert "--go_edge" not in variables
