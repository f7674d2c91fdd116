"""`graphorch critical`: the critical path of a run."""

from __future__ import annotations

import json

from graphorch.cli.commands.analysis.critical_path import format_critical_path
from graphorch.trace.analysis.critical_path import CriticalPath, LimitGain, Slack
from tests.cli.shell import Shell


def test_critical_path_for_people_and_programs(shop_shell: Shell) -> None:
    """People read the path; a program also gets the time for each concurrency limit."""
    assert "its critical path is" in shop_shell("critical", "shop.py", "good").out
    path = json.loads(shop_shell("critical", "shop.py", "good", "--json").out)
    assert set(path["with_limit"]) == {"1", "2", "4", "8", "16"}


def test_critical_path_names_limits() -> None:
    """People read which limit cost time, and what a wider one would save."""
    path = CriticalPath(
        seconds=1.2,
        measured=1.25,
        busy=1.2,
        path=(("each[0]/work", 0.4),),
        steps=(Slack("each/work", 3, 1.2, 1.2, 0.0, 0.6),),
        limits=(LimitGain("map 'each'", 1, 0.8, 0.4),),
        with_limit={1: 1.2},
        without_limit=1.2,
    )
    assert format_critical_path(path).splitlines()[-2:] == [
        "map 'each' runs 1 at once; with 2 the run would take 0.800 s, without a limit 0.400 s",
        "with this many nodes of the run at once: 1: 1.200 s; without such a limit: 1.200 s",
    ]
