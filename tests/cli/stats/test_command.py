"""`graphorch stats`: tables and charts over the runs in a journal."""

from __future__ import annotations

import csv
import io
import json
import sqlite3

from tests.cli.flows import start_desk
from tests.cli.shell import Shell


def test_overview_has_all_tables(shop_shell: Shell) -> None:
    """The overview has runs, calls, steps and errors."""
    ended = shop_shell("stats")
    assert ended.code == 0
    for line in (
        "order  3     2          1",
        "plan    openai/gpt-5   3",
        "fulfilment/stock/count  attempt  ValueError  1",
    ):
        assert line in ended.out


def test_tools_have_a_table_and_a_chart(shell: Shell) -> None:
    """Calls of tools are counted by agent and tool, and drawn."""
    start_desk(shell)
    ended = shell("stats", "tools", "--db", "r.sqlite", "--chart", "tools.svg")
    assert (ended.code, ended.out.splitlines()[0].split()[:6]) == (
        0,
        ["AGENT", "TOOL", "CALLS", "FAILED", "TOLD", "REFUSED"],
    )
    assert "write · search" in shell.here.joinpath("tools.svg").read_text("utf-8")


def test_json_and_csv_have_equal_rows(shop_shell: Shell) -> None:
    """JSON and CSV hold the same rows."""
    rows = json.loads(shop_shell("stats", "calls", "--by", "user,model", "--format", "json").out)
    read = list(
        csv.DictReader(
            io.StringIO(shop_shell("stats", "calls", "--by", "user,model", "--format", "csv").out)
        )
    )
    assert [(row["user"], row["model"], row["usd"]) for row in rows] == [
        (row["user"], row["model"], float(row["usd"])) for row in read
    ]
    assert sum(row["calls"] for row in rows) == 5


def test_filters_windows_and_comparisons(shop_shell: Shell) -> None:
    """Conditions and windows select; `--compare` adds the window before."""
    rows = json.loads(shop_shell("stats", "calls", "--where", "user=bob", "--format", "json").out)
    assert [(row["agent"], row["calls"]) for row in rows] == [("plan", 1)]
    assert "nothing in this window" in shop_shell("stats", "calls", "--until", "2020-01-01").err
    compared = json.loads(
        shop_shell("stats", "runs", "--since", "1h", "--compare", "--format", "json").out
    )
    assert (compared[0]["runs"], compared[0]["runs_before"]) == (3, None)


def test_chart_is_written_as_svg(shop_shell: Shell) -> None:
    """Charts of each kind are SVG files."""
    for topic, by in (
        ("calls", "agent"),
        ("calls", "day,agent"),
        ("steps", "step"),
        ("runs", "flow"),
    ):
        assert shop_shell("stats", topic, "--by", by, "--chart", "chart.svg").code == 0
        assert "</svg>" in (shop_shell.here / "chart.svg").read_text()


def test_damaged_run_is_left_out(shop_shell: Shell) -> None:
    """A damaged run is left out and named."""
    raw = sqlite3.connect(shop_shell.here / "graphorch.sqlite")
    raw.execute("UPDATE records SET body = x'7b7d' WHERE run = 1 AND seq = 2")
    raw.commit()
    raw.close()
    ended = shop_shell("stats")
    assert ended.code == 0
    assert "run good is damaged and left out" in ended.err
    assert shop_shell("conversation", "good").code in (1, 2)
