"""`graphorch stats`: what the runs in a journal cost, how long they took, and what failed."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.arguments import Db, Debug
from graphorch.cli.ending import ending


def stats(
    topic: Annotated[
        str,
        typer.Argument(
            metavar="[TOPIC]", help="overview, calls, steps, errors, runs, loops or findings."
        ),
    ] = "overview",
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="A,B",
            help="Group by agent, step, level, model, endpoint, policy, error, day, hour, flow, run, status or a tag.",
        ),
    ] = "",
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where", metavar="KEY=VALUE", help="Only these; the same words, repeatable."
        ),
    ] = None,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="TIME",
            help="From this time on: 2026-03-31, 2026-03-31T18:00, or 12h, 30d ago.",
        ),
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Before this time.")] = "",
    is_compared: Annotated[
        bool,
        typer.Option(
            "--compare", help="Beside the window of the same length before it; needs --since."
        ),
    ] = False,
    form: Annotated[
        str, typer.Option("--format", metavar="FORM", help="table, json or csv.")
    ] = "table",
    chart: Annotated[
        str,
        typer.Option(
            "--chart",
            metavar="FILE",
            help="Write a chart as SVG: cost or latency, over time with --by day or hour.",
        ),
    ] = "",
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Add up what the runs in a journal did. Quantiles are exact; "–" stands where there are too few values for one.

    Exit codes: 0 done, 2 wrong usage or journal.
    """
    with ending(debug=debug, as_json=form == "json"):
        from graphorch.cli.stats_telling import Wanted, tell

        tell(
            Wanted.of(
                topic,
                by=by,
                where=where or [],
                since=since,
                until=until,
                is_compared=is_compared,
                form=form,
                chart=chart,
            ),
            db,
        )
