"""What people see while a run runs."""

from __future__ import annotations

import io
import os
import subprocess

import pytest
from rich.console import Console

from graphorch.cli.live.display import (
    build_table,
    format_event,
    is_live,
    select_rows,
    show_progress,
)
from graphorch.cli.live.progress import NodeProgress, Progress
from graphorch.engine import events
from tests.cli.shell import PROGRAM, Shell


def drawn(progress: Progress, width: int = 100, height: int = 20) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False)
    with console.capture() as captured:
        console.print(build_table(progress, width, height))
    return captured.get()


def test_table_shows_time_and_cost() -> None:
    """The table shows each node's status, time and cost."""
    progress = Progress(clock=lambda: 14.0)
    progress.feed(events.Started("research", "research", 1, 10.0))
    progress.feed(events.ModelCalled("research", "research", "m", 1000, 200, 0.5, "table", 1.0, ""))
    progress.feed(events.Committed("research", "research", {}, ("write",), 1.5, 11.5))
    progress.feed(events.Started("team/write", "write", 1, 11.5))
    lines = [" ".join(line.split()) for line in drawn(progress).splitlines()]
    assert lines == [
        "done research 1.5 s 1 call, 1,200 tokens, $0.5000",
        "running team/write 2.5 s",
        "total 0.0 s 1,200 tokens, $0.5000",
    ]


def test_running_node_shows_answer_tail() -> None:
    """A running node shows the end of the answer that it receives."""
    progress = Progress()
    progress.feed(events.Started("write", "write", 1, 0.0))
    progress.feed(events.TextDelta("write", "write", "The tide\nrises \x1b[31m[bold]twice"))
    assert "… The tide rises \\x1b[31m[bold]twice" in drawn(progress)


def test_long_answer_shows_its_newest_words() -> None:
    """Of an answer that is longer than the row the newest words are seen, so the row moves."""
    progress = Progress()
    progress.feed(events.Started("write", "write", 1, 0.0))
    for number in range(200):
        progress.feed(events.TextDelta("write", "write", f" word{number}"))
    shown = drawn(progress, width=80)
    assert "word199" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_map_shows_its_count() -> None:
    """A large map is one row that counts its items."""
    progress = Progress(clock=lambda: 12.0)
    progress.feed(events.Started("dig", "dig", 1, 10.0))
    progress.feed(events.Expanded("dig", "dig", 50, 10.0))
    for index in range(37):
        progress.feed(events.Started(f"dig[{index}]/x", "x", 1, 10.0))
        progress.feed(events.Committed(f"dig[{index}]/x", "x", {}, ("END",), 0.5, 11.0))
    first = " ".join(drawn(progress, width=80).splitlines()[0].split())
    assert first == "running dig 2.0 s 37/50 items, 18/s, 1 s left"


def test_row_says_why_node_did_not_end() -> None:
    """A node that failed, was stopped or waits says why."""
    progress = Progress(clock=lambda: 12.0)
    progress.feed(events.Started("a", "a", 1, 10.0))
    progress.feed(events.Failed("a", "a", 1, "ValueError: no", None, False, 11.0))
    progress.feed(events.Started("b", "b", 1, 10.0))
    progress.feed(events.Cancelled("b", "b", "interrupted"))
    lines = [" ".join(line.split()) for line in drawn(progress).splitlines()]
    assert lines[:2] == ["failed a 1.0 s ValueError: no", "cancelled b 2.0 s interrupted"]


def test_names_are_sanitized() -> None:
    """Names are neither markup nor escape sequences."""
    progress = Progress()
    progress.feed(events.Started("[red]a[/red]\x1b[2J<script>", "a", 1, 0.0))
    assert "[red]a[/red]\\x1b[2J<script>" in drawn(progress)


def test_running_rows_stay_visible() -> None:
    """Nodes that run stay visible among many."""
    rows = [
        NodeProgress(str(number), "running" if number in (3, 90) else "done")
        for number in range(100)
    ]
    assert [row.path for row in select_rows(rows, 4)] == ["3", "90", "98", "99"]
    progress = Progress()
    progress.rows = {row.path: row for row in rows}
    assert "… 96 more" in drawn(progress, height=4)
    assert len(drawn(progress, height=4).splitlines()) == 6


@pytest.mark.parametrize(
    "event, line",
    [
        (events.Started("a", "a", 1, 0.0), "a started"),
        (events.Started("a", "a", 2, 0.0), "a started, attempt 2"),
        (
            events.ModelCalled("a", "a", "m", 1000, 20, 0.5, "table", 1.0, ""),
            "a asked m: 1,020 tokens, $0.5000, 1.00 s",
        ),
        (
            events.ModelCalled("a", "a", "m", 1, 2, 0.0, "none", 1.0, "cut"),
            "a asked m: 3 tokens, price unknown, 1.00 s; cut",
        ),
        (events.Committed("a", "a", {}, ("b", "c"), 1.0, 0.0), "a done in 1.00 s → b, c"),
        (events.Failed("a", "a", 1, "E: no", None, False, 0.0), "a failed, attempt 1: E: no"),
        (
            events.Failed("a", "a", 1, "E: no", 0.5, False, 0.0),
            "a failed, attempt 1: E: no; retry in 0.5 s",
        ),
        (
            events.Failed("a", "a", 1, "E: no", None, True, 0.0),
            "a failed, attempt 1: E: no; its error edge takes over",
        ),
        (events.Skipped("a", "a", "no draft"), "a skipped: no draft"),
        (events.Cancelled("a", "a", "limit"), "a cancelled: limit"),
        (events.QuestionAsked("a", "a", "Publish?"), "a asks: Publish?"),
        (events.TextDelta("a", "a", "text"), ""),
        (events.Ended("succeeded", "succeeded", "r", 0.0), ""),
    ],
)
def test_event_becomes_line(event: events.RunEvent, line: str) -> None:
    """Each event is one line, or none."""
    assert format_event(event) == line


def test_lines_without_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there are plain lines."""
    with show_progress(Progress()) as watcher:
        watcher(events.Started("a\x1b[2J", "a", 1, 0.0))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip().endswith("s  a\\x1b[2J started")


@pytest.mark.parametrize("term, live", [("xterm-256color", True), ("dumb", False), ("", False)])
def test_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch, term: str, live: bool) -> None:
    """A terminal that cannot rewrite lines gets plain ones."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", term)
    assert is_live() is live


def test_terminal_gets_live_table(shell: Shell) -> None:
    """Standard error is a terminal, standard output is not: it gets the output and nothing else."""
    shell.write("essay.py")
    leader, terminal = os.openpty()
    command = [*PROGRAM, "run", "essay.py", "--topic", "tides"]
    settings = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    ended = subprocess.run(
        command,
        cwd=shell.here,
        env=settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
        check=True,
    )
    os.close(terminal)
    seen = os.read(leader, 100_000).decode()
    os.close(leader)
    assert ended.stdout == b"1 words on tides\n"
    assert (
        seen.index("\x1b[?25l")
        < seen.index("done")
        < seen.index("\x1b[?25h")
        < seen.index("succeeded: 'essay'")
    )
    assert "\x1b[3" not in seen
