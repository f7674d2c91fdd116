"""`graphorch why`: reasons for what happened in a run."""

from __future__ import annotations

import json

from tests.cli.shell import Shell


def test_one_command_leads_to_the_fault_three_levels_deep(shop_shell: Shell) -> None:
    assert (
        "'fulfilment/stock/count' failed in attempt 1: ValueError: only 9 on the shelf"
        in shop_shell("why", "shop.py", "bad").out
    )
    assert (
        "fulfilment/stock/count  [failed, attempt 1; for good]"
        in shop_shell("conversation", "bad").out
    )


def test_why_tells_what_a_node_saw_and_why_another_did_not_run(shop_shell: Shell) -> None:
    ran_there = shop_shell("why", "shop.py", "good", "count").out
    assert 'saw Order: { "order": "tides", "amount": 3 }' in ran_there
    assert (
        "its route went to count (label here), not here"
        in shop_shell("why", "shop.py", "good", "reorder").out
    )
    told = json.loads(shop_shell("why", "shop.py", "good", "plan", "--json").out)
    assert told["reasons"][0]["saw"]["Order"]["amount"] == 3
