"""Colours that can be told apart: WCAG 2.2 AA, computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import pytest

from graphorch.render.picture.overlay import Status
from graphorch.render.svg.theme import DARK, LIGHT, Palette

KINDS = (
    *("node", "agent", "map", "sub", "ask", "signal", "timer", "first"),
    *("decision", "terminal", "join"),
)
STATUSES: tuple[str, ...] = get_args(Status)


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


def test_contrast_formula() -> None:
    """Contrast is computed as the standard says."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("kind", [*KINDS, *STATUSES])
def test_contrast_of_text(colours: Mapping[str, str], kind: str) -> None:
    """Words can be read and outlines seen."""
    fill, line = colours[f"{kind}_fill"], colours[f"{kind}_line"]
    assert contrast(colours["text"], fill) >= 4.5
    assert contrast(colours["muted"], fill) >= 4.5
    assert contrast(line, colours["canvas"]) >= 3
    assert contrast(line, colours["panel_fill"]) >= 3
    assert contrast(line, fill) >= 3


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["canvas", "panel_fill"])
def test_contrast_of_lines(colours: Mapping[str, str], ground: str) -> None:
    """Words and lines between boxes can be read and seen."""
    words = ("text", "muted", "loop", "error", "exhausted", "untrusted", "secret")
    assert [word for word in words if contrast(colours[word], colours[ground]) < 4.5] == []
    assert contrast(colours["edge"], colours[ground]) >= 3


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("status", STATUSES)
def test_contrast_of_badges(colours: Mapping[str, str], status: str) -> None:
    """The sign on a badge can be seen."""
    assert contrast(colours["canvas"], colours[f"{status}_line"]) >= 3


def test_themes_have_all_colours() -> None:
    """Both themes have all colours."""
    assert LIGHT.keys() == DARK.keys()


def test_used_colours_become_variables() -> None:
    """Only the colours that are used become variables."""
    palette = Palette("auto")
    assert palette("fill", "text") == f"fill:{LIGHT['text']};fill:var(--go_text);"
    variables = palette.variables(".go_1")
    assert f"--go_text:{DARK['text']}" in variables
    assert "--go_edge" not in variables
