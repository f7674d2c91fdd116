"""`graphorch critical`: the critical path of a run."""

from __future__ import annotations

import json

from tests.cli.shell import Shell


def test_critical_path_for_people_and_programs(shop_shell: Shell) -> None:
    """People read the path; a program also gets the time for each concurrency limit."""
    assert "its critical path is" in shop_shell("critical", "shop.py", "good").out
    path = json.loads(shop_shell("critical", "shop.py", "good", "--json").out)
    assert set(path["with_limit"]) == {"1", "2", "4", "8", "16"}
