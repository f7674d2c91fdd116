"""Arguments and options that several commands share, each written once; it imports nothing of ours, so that `--help` comes at once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

FlowName: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="FLOW", help="path.py, path.py:name or module:name", show_default=False),
]
RunId: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="The id of a run, or its beginning, or `last`.", show_default=False
    ),
]
Db: TypeAlias = Annotated[
    str,
    typer.Option(
        "--db",
        metavar="PATH",
        help="The journal, a SQLite file; without it GRAPHORCH_DB, or graphorch.sqlite here.",
    ),
]
Output: TypeAlias = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write the output to a file, whole or not at all."
    ),
]
Model: TypeAlias = Annotated[
    str,
    typer.Option("--model", metavar="NAME", help="Replaces the model of every agent for this run."),
]
Usd: TypeAlias = Annotated[
    float | None, typer.Option("--usd", help="Spend at most so many US dollars.")
]
Seconds: TypeAlias = Annotated[
    float | None, typer.Option("--seconds", help="Stop after so many seconds.")
]
Activations: TypeAlias = Annotated[
    int | None,
    typer.Option("--activations", help="Run at most so many nodes, repetitions included."),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="For programs: one JSON object on standard output.")
]
AsEvents: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--events", help="For programs: every event as a line of JSON, the result as the last one."
    ),
]
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show neither progress nor a summary.")
]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
From: TypeAlias = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="NODE[#n]",
        help="Where to begin anew: node, node#2 for its second time, team/node.",
    ),
]
