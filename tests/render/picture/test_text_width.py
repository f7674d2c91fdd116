"""How wide words are and what is cut of them; figures in few characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.render.picture.model import Box
from graphorch.render.picture.overlay import (
    Mark,
    format_count,
    format_seconds,
    format_usd,
    second_line,
)
from graphorch.render.picture.sizes import box_size, box_text, fitting_detail
from graphorch.render.picture.text_width import clean, is_measured, shorten, to_one_line, width


def test_widths_of_helvetica() -> None:
    """Widths are those of helvetica."""
    assert width("Hello", 10) == pytest.approx((722 + 556 + 222 + 222 + 556) / 100)
    assert width("Hello", 10, bold=True) == pytest.approx((722 + 556 + 278 + 278 + 611) / 100)
    assert width("é", 10) == width("e", 10)
    assert width("日本", 10) == 20
    assert width("e\u0301", 10) == width("e", 10)


@given(st.text(), st.floats(20, 300))
def test_shortened_text_fits_one_line(text: str, limit: float) -> None:
    """Shortened text fits and is one clean line."""
    short = shorten(text, 10, limit)
    assert width(short, 10) <= limit
    assert short == to_one_line(short) == clean(short)


def test_fitting_text_is_kept() -> None:
    """Text that fits is left alone and other is cut."""
    assert shorten("short", 10, 100) == "short"
    assert shorten("a very long name", 10, 50) == "a very lo…"


def test_forbidden_characters_are_removed() -> None:
    """Characters that no file may hold and marks that reorder words are removed."""
    assert clean("a\x00b\x1bc\ud800d\ufffee\u202ef\u2066g\x85h") == "abcdefgh"
    assert to_one_line(" a\n\tb\r\n c ") == "a b c"


@pytest.mark.parametrize(
    "text, known", [("plain · text…", True), ("日本", False), ("Привет", False), ("", True)]
)
def test_widths_are_latin_only(text: str, known: bool) -> None:
    """Widths are known for latin only."""
    assert is_measured(text) is known


@pytest.mark.parametrize(
    "seconds, shown",
    [
        (0.0, "0 ms"),
        (0.045, "45 ms"),
        (0.9996, "1.0 s"),
        (1.24, "1.2 s"),
        (99.96, "1 min 40 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    """Durations."""
    assert format_seconds(seconds) == shown


@pytest.mark.parametrize(
    "count, shown",
    [
        (0, "0"),
        (940, "940"),
        (1000, "1.0k"),
        (1400, "1.4k"),
        (12_300, "12k"),
        (999_900, "1.0M"),
        (3_100_000, "3.1M"),
    ],
)
def test_counts(count: int, shown: str) -> None:
    """Counts."""
    assert format_count(count) == shown


@pytest.mark.parametrize(
    "usd, shown",
    [(1234.5, "$1,234.50"), (0.011, "$0.011"), (0.0021, "$0.0021"), (0.00001, "<$0.0001")],
)
def test_dollars(usd: float, shown: str) -> None:
    """Dollars."""
    assert format_usd(usd) == shown


@pytest.mark.parametrize(
    "mark, shown",
    [
        (Mark("done", 1), "1×"),
        (Mark("done", 3, 1.2, 1400, 0.011), "3× · 1.2 s · 1.4k tok · $0.011"),
        (Mark("waiting"), "waiting"),
        (Mark("not_reached", 3), "not reached"),
        (Mark("running", 2, 1.0, note="round 2 of 4"), "round 2 of 4"),
    ],
)
def test_mark_second_line(mark: Mark, shown: str) -> None:
    """The second line of a mark holds what is known."""
    assert second_line(mark) == shown


@given(
    st.text(),
    st.text(),
    st.sampled_from(["node", "agent", "map", "sub", "ask", "decision", "join", "start", "end"]),
)
def test_boxes_hold_their_words(name: str, detail: str, kind: str) -> None:
    """Boxes hold their words."""
    box = Box("id", name, kind, detail)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text = box_text(box)
    wide, high = box_size(box)
    assert text.name
    assert width(text.name, 10) < wide <= 700
    assert 20 <= high <= 64


@given(
    st.integers(0, 999),
    st.floats(0, 5000),
    st.integers(0, 10**7),
    st.floats(0, 100),
    st.floats(80, 300),
)
def test_figures_fit_any_box(
    visits: int, seconds: float, tokens: int, usd: float, wide: float
) -> None:
    """Figures are made to fit any box."""
    line = fitting_detail(Box("a", "a", "agent"), Mark("done", visits, seconds, tokens, usd), wide)
    assert width(line, 10) <= wide - 39
