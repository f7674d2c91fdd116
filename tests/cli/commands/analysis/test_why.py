"""`graphorch why`: reasons for what happened in a run."""

from __future__ import annotations

import json

from tests.cli.flows import finish_run
from tests.cli.shell import Shell


def test_why_finds_fault_three_levels_deep(shop_shell: Shell) -> None:
    """One command leads to the node inside a sub-flow that failed the run."""
    assert (
        "'fulfilment/stock/count' failed in attempt 1: ValueError: only 9 on the shelf"
        in shop_shell("why", "shop.py", "bad").out
    )
    assert (
        "fulfilment/stock/count  [failed, attempt 1; for good]"
        in shop_shell("conversation", "bad").out
    )


def test_why_shows_reads_and_routes(shop_shell: Shell) -> None:
    """A node that ran is explained by what it read, another one by the route that left it out."""
    ran_there = shop_shell("why", "shop.py", "good", "count").out
    assert 'saw Order: { "order": "tides", "amount": 3 }' in ran_there
    assert (
        "its route went to count (label here), not here"
        in shop_shell("why", "shop.py", "good", "reorder").out
    )
    report = json.loads(shop_shell("why", "shop.py", "good", "plan", "--json").out)
    assert report["reasons"][0]["saw"]["Order"]["amount"] == 3


def test_why_tells_what_was_taken_over(shell: Shell) -> None:
    """A rerun says where it began, and that what it took over did not run in it."""
    old, db = finish_run(shell), ("--db", "r.sqlite")
    change = ("--from", "approve", "--set", "approved=false", "--json")
    run_id = json.loads(shell("rerun", "ask.py", old, *change, *db).out)["run_id"]
    explained = shell("why", "ask.py", run_id, *db).out
    assert f"it began as run {old} at 'approve', and took over 1 activation of it" in explained
    kept = shell("why", "ask.py", run_id, "write", *db).out
    assert f"did not run here: it was taken over from run {old}" in kept
    assert "taken over" not in shell("why", "ask.py", run_id, "end", *db).out


def test_amounts_and_headers_are_never_empty(shop_shell: Shell) -> None:
    """A window without runs has the header of its CSV, and names the columns of a comparison."""
    empty = shop_shell(
        "stats", "calls", "--by", "model", "--until", "2001-01-01", "--format", "csv"
    )
    full = shop_shell("stats", "calls", "--by", "model", "--format", "csv")
    assert empty.out.splitlines() == full.out.splitlines()[:1]
    assert empty.out.startswith("model,calls,failed,")
