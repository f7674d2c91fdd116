"""`graphorch timeline`: a run as bars over time."""

from __future__ import annotations

from tests.cli.shell import Shell


def test_timeline_prints_svg(shop_shell: Shell) -> None:
    """The picture goes to standard output without `-o`."""
    ended = shop_shell("timeline", "good")
    assert (ended.code, ended.out.rstrip().endswith("</svg>")) == (0, True), ended.err
