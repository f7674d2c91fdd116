"""Text that acts on a terminal is shown, not obeyed."""

from __future__ import annotations

import pytest

from graphorch.cli.terminal import sanitize, sanitize_line


@pytest.mark.parametrize(
    "text, shown",
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\rb", "a\\rb"),
        ("abc\u202egnp", "abc\\u202egnp"),
        ("a\x00b", "a\\x00b"),
        ("\ud800", "\\ud800"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_a_character_that_acts_is_written_out(text: str, shown: str) -> None:
    assert sanitize(text) == shown


@pytest.mark.parametrize(
    "text", ["größe – 潮汐 😀\n\tindented", "<script>alert(1)</script>", "[bold]x[/bold]", "\\x1b"]
)
def test_text_that_only_shows_is_left_as_it_is(text: str) -> None:
    assert sanitize(text) == text


def test_line_ends_of_windows_are_line_ends() -> None:
    assert sanitize("a\r\nb") == "a\nb"


def test_a_long_text_on_one_line_is_cut() -> None:
    assert sanitize_line("a\n  b\tc") == "a b c"
    assert sanitize_line("x" * 100, 10) == "x" * 9 + "…"
