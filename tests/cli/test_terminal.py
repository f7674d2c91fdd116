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
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    """A character that acts on a terminal is written out."""
    assert sanitize(text) == shown


@pytest.mark.parametrize(
    "text", ["größe – 潮汐 😀\n\tindented", "<script>alert(1)</script>", "[bold]x[/bold]", "\\x1b"]
)
def test_plain_text_is_unchanged(text: str) -> None:
    """Text that only shows is left as it is."""
    assert sanitize(text) == text


def test_windows_line_ends_are_line_ends() -> None:
    """Line ends of Windows are line ends."""
    assert sanitize("a\r\nb") == "a\nb"


def test_long_line_is_cut() -> None:
    """A text is put on one line, and cut if it is long."""
    assert sanitize_line("a\n  b\tc") == "a b c"
    assert sanitize_line("x" * 100, 10) == "x" * 9 + "…"
