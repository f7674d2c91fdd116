"""`graphorch render`: draw a flow, into a file or on standard output."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Literal, TypeAlias

import typer

from graphorch.cli.exit_codes import DONE, FAILED, exit_on_error
from graphorch.cli.files import check_writable, read_text, write_or_print
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.journals import find_stored_run, query_store, require_journal
from graphorch.cli.shared_options import Db, Debug, FlowName, ThemeName
from graphorch.cli.terminal import print_status
from graphorch.errors import InputError
from graphorch.graph.plan import Plan
from graphorch.journal.store import Store
from graphorch.render.page import draw_page
from graphorch.render.picture_style import PictureStyle
from graphorch.runs.drawing.pictures import draw_topology_svg
from graphorch.runs.drawing.run_picture import draw_run_svg
from graphorch.runs.durable import rebuild_run

PictureFormat: TypeAlias = Literal["svg", "html", "dot", "mermaid"]

_FORMATS: Mapping[str, PictureFormat] = {
    ".svg": "svg",
    "": "svg",
    ".html": "html",
    ".htm": "html",
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
}


def render(
    flow: FlowName,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A .svg, .html (a page with zoom and search), .dot or .mmd file; without it, SVG "
            "goes to standard output.",
        ),
    ] = "",
    theme: ThemeName = "auto",
    engine: Annotated[
        Literal["auto", "dot", "builtin"],
        typer.Option(
            "--engine", help="Layout by Graphviz's dot, or the builtin one, equal on every machine."
        ),
    ] = "auto",
    direction: Annotated[
        Literal["TB", "LR"],
        typer.Option("--direction", help="Lines lead from top to bottom, or from left to right."),
    ] = "TB",
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth", min=0, help="Open this many levels of sub-flows and maps. Default: all."
        ),
    ] = None,
    run: Annotated[
        str,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Draw what this run did on the flow, however it ended: its id, the beginning of "
            "it, or `last`.",
        ),
    ] = "",
    db: Db = "",
    is_check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; exit with 1 if FILE is not what would be written."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Draw a flow, or with --run what a run did on it.

    Exit codes: 0 done, 1 with --check: the file is out of date, 2 wrong usage or journal, 3 the
    graph does not build.
    """
    with exit_on_error(debug=debug):
        if is_check and not output:
            raise InputError("--check compares with a file. Name it with -o.")
        picture_format = _choose_format(output)
        if output and not is_check:
            check_writable(output)
        loaded = load_flow(flow).flow
        style = PictureStyle(theme, engine, depth, direction)
        if run:
            if picture_format not in ("svg", "html"):
                raise InputError(
                    f"--run draws SVG or a page, and '{output}' is none. "
                    "Name a .svg or an .html file."
                )
            picture = draw_stored_run(loaded.plan, run, db, style)
        elif picture_format in ("svg", "html"):
            picture = draw_topology_svg(loaded.plan, style)
        elif picture_format == "dot":
            picture = loaded.to_dot(depth=depth, direction=direction)
        else:
            picture = loaded.to_mermaid(depth=depth, direction=direction)
        if picture_format == "html":
            picture = draw_page(picture, loaded.name, theme)
        if is_check:
            raise typer.Exit(_compare_file(output, picture))
        write_or_print(output, picture)


def draw_stored_run(plan: Plan, word: str, db: str, style: PictureStyle) -> str:
    """Return the SVG of the run that a word stands for.

    Raises `InputError` and `JournalError`, also for a run of another graph.
    """

    async def draw(store: Store) -> str:
        head = await find_stored_run(store, word)
        _, replayed = await rebuild_run(store, plan, head.run_id)
        is_lost = head.status == "running" and not head.is_under_way
        return draw_run_svg(replayed.build_report(time.time()), style, is_lost=is_lost)

    return query_store(require_journal(db), draw)


def _choose_format(output: str) -> PictureFormat:
    suffix = PurePath(output).suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(
            f"'{output}' ends in '{suffix}', which is not a format of pictures. "
            "Use .svg, .html, .dot or .mmd."
        )
    return _FORMATS[suffix]


def _compare_file(output: str, picture: str) -> int:
    """Say whether a file holds this picture, and return the exit code."""
    if read_text(output, "-o") == picture:
        print_status(f"{output} is up to date")
        return DONE
    print_status(f"{output} is out of date; write it with the same command without --check")
    return FAILED
