"""`graphorch timeline`: a run as bars over time."""

from __future__ import annotations

from tests.cli.flows import start_desk
from tests.cli.shell import Shell


def test_tool_calls_lie_below_their_agent(shell: Shell) -> None:
    """A tool call is a bar below its agent's, with its arguments in the hint."""
    start_desk(shell)
    svg = shell("timeline", "--db", "r.sqlite").out
    for text in (
        "write/r1/search#1\nerror told",
        '{"query": "nowhere"}',
        "<title>r2/send#0 ·",
        '<g class="go_is_waiting"><title>write ·',
    ):
        assert text in svg, text


def test_timeline_prints_svg(shop_shell: Shell) -> None:
    """The picture goes to standard output without `-o`."""
    ended = shop_shell("timeline", "good")
    assert (ended.code, ended.out.rstrip().endswith("</svg>")) == (0, True), ended.err
