"""`graphorch heat`: figures of one run or of many on the topology of their flow, or what two runs did differently."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from graphorch.cli.arguments import Db, Debug, FlowName, Output
from graphorch.cli.ending import ending


def heat(
    flow: FlowName,
    measure: Annotated[
        Literal["cost", "p50", "p95", "errors", "visits"],
        typer.Option("--by", help="What makes a box red."),
    ] = "cost",
    run: Annotated[
        str,
        typer.Option(
            "--run", metavar="RUN", help="Of one run; without it of all runs of the flow."
        ),
    ] = "",
    against: Annotated[
        str,
        typer.Option(
            "--against", metavar="RUN", help="With --run: what it did otherwise than this one."
        ),
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="TIME", help="From this time on: 2026-03-31, or 12h, 30d ago."
        ),
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Before this time.")] = "",
    theme: Annotated[
        Literal["auto", "light", "dark"],
        typer.Option(help="auto follows whoever shows the picture."),
    ] = "auto",
    output: Output = "",
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Draw a heat map: cost, latency, errors or visits on the topology, for one run or a window of runs.

    Exit codes: 0 done, 2 wrong usage or journal, 3 the graph does not build.
    """
    with ending(debug=debug):
        from graphorch.cli.stats_pictures import Heated, heat_svg, write

        write(
            heat_svg(flow, Heated(measure, run, against, since, until, theme), output, db), output
        )
