"""`graphorch heat`: figures of runs on their flow."""

from __future__ import annotations

import pytest

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
