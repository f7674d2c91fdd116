"""`graphorch why`: reasons for what happened in a run."""

from __future__ import annotations

import json

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
