"""`graphorch heat`: figures of runs on their flow."""

from __future__ import annotations

import pytest

from tests.cli.flows import finish_run, run_json
from tests.cli.shell import Shell


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--by", "errors", "--theme", "dark"],
        ["--run", "good"],
        ["--run", "far", "--against", "good"],
    ],
)
def test_heat_map_prints_svg(shop_shell: Shell, options: list[str]) -> None:
    """Heat maps of all runs and of a run, and the difference of two runs, are pictures."""
    ended = shop_shell("heat", "shop.py", *options)
    assert (ended.code, ended.out.rstrip().endswith("</svg>")) == (0, True), ended.err


def test_heat_of_rerun_names_what_was_taken_over(shell: Shell) -> None:
    """Of a rerun, what it took over is not hot, against the run that it was made of."""
    run_id = finish_run(shell)
    again = run_json(shell, "rerun", "ask.py", run_id, "--from", "end", "--db", "r.sqlite")[
        "run_id"
    ]
    drawn = shell("heat", "ask.py", "--run", again, "--against", run_id, "--db", "r.sqlite").out
    assert "taken over without running" in drawn
    assert "ran again, same result" in drawn
    assert "only before" not in drawn
