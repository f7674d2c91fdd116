"""Timelines as text."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.cli.commands.analysis.timeline_text import format_timeline
from graphorch.render.timeline import Bar
from tests.cli.shell import PROGRAM, Shell

BARS = [
    Bar("a", "", "plan", 0.0, 1.0),
    Bar("b", "", "write", 1.0, 4.0),
    Bar("c", "b", "[0]/draft", 1.0, 2.5),
    Bar("d", "b", "[1]/draft", 2.0, 4.0, "failed"),
]


def test_bars_lie_where_they_ran() -> None:
    """Each bar begins and ends at its part of the width; what ran inside is indented."""
    assert format_timeline(BARS, "shop", 55) == [
        "shop",
        "plan        █████                    1.00 s",
        "write            ███████████████     3.00 s",
        "  [0]/draft      ███████▌            1.50 s",
        "  [1]/draft           ██████████     2.00 s failed",
    ]


def test_many_items_are_counted() -> None:
    """Of many items the first are shown, and the rest counted, with how many of them failed."""
    items = [
        Bar(str(n), "a", f"[{n}]/x", n, n + 1.0, "failed" if n == 30 else "done") for n in range(50)
    ]
    lines = format_timeline([Bar("a", "", "dig", 0.0, 50.0), *items], "t", 80)
    assert len(lines) == 11
    assert lines[-1] == "  … 42 more bars, 1 of them failed"


def test_long_run_is_cut_and_says_so() -> None:
    """A run with very many bars shows the first ones, and names the way to see all."""
    bars = [Bar(str(n), "", f"n{n}", n, n + 1.0) for n in range(100)]
    lines = format_timeline(bars, "t", 80)
    assert lines[-1] == "and 40 more; -o timeline.svg draws them all"
    assert format_timeline([], "t", 80) == ["t", "nothing has happened yet"]


@given(
    st.lists(
        st.tuples(
            st.text("ab/[0]", min_size=1, max_size=50),
            st.floats(0, 1e6),
            st.floats(0, 1e6),
            st.integers(-1, 20),
        ),
        max_size=30,
    ),
    st.integers(50, 200),
)
def test_lines_fit_width(drawn: list[tuple[str, float, float, int]], width: int) -> None:
    """No line of any run is wider than the terminal, and each bar shows at least a trace."""
    bars = [
        Bar(str(place), str(parent), name, begin, begin + seconds)
        for place, (name, begin, seconds, parent) in enumerate(drawn)
        if parent < place
    ]
    lines = format_timeline(bars, "title", width)
    assert max(map(len, lines)) <= width
    with_bar = [line for line in lines[1:] if line.endswith(" s")]
    assert all(set("▏▎▍▌▋▊▉█") & set(line) for line in with_bar)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
def test_terminal_gets_text(shop_shell: Shell) -> None:
    """On a terminal a timeline is text as wide as the terminal, and SVG is for files and pipes."""
    leader, terminal = os.openpty()
    subprocess.run([*PROGRAM, "timeline"], cwd=shop_shell.here, stdout=terminal, check=True)
    os.close(terminal)
    seen = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "█" in seen
    assert "<svg" not in seen
    assert "<svg" in shop_shell("timeline", "good").out
