"""`graphorch timeline`: a run as bars over time, with what ran at the same time in lanes beside each other."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from graphorch.cli.arguments import Db, Debug, Output
from graphorch.cli.conversation import RunName
from graphorch.cli.ending import ending


def timeline(
    run: RunName,
    theme: Annotated[
        Literal["auto", "light", "dark"],
        typer.Option(help="auto follows whoever shows the picture."),
    ] = "auto",
    output: Output = "",
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Draw the timeline of a run as SVG.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run.
    """
    with ending(debug=debug):
        from graphorch.cli.stats_pictures import timeline_svg, write

        write(timeline_svg(run, theme, output, db), output)
