"""`graphorch render`: draw a flow, into a file or on standard output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Literal, TypeAlias

import typer

from graphorch.cli.exit_codes import DONE, FAILED, exit_on_error
from graphorch.cli.files import check_writable, read_text, write_or_print
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.shared_options import Debug, FlowName, ThemeName
from graphorch.cli.terminal import print_status
from graphorch.errors import InputError

PictureFormat: TypeAlias = Literal["svg", "dot", "mermaid"]

_FORMATS: Mapping[str, PictureFormat] = {
    ".svg": "svg",
    "": "svg",
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
            help="A .svg, .dot or .mmd file; without it, SVG goes to standard output.",
        ),
    ] = "",
    theme: ThemeName = "auto",
    engine: Annotated[
        Literal["auto", "dot", "builtin"],
        typer.Option(help="Layout by Graphviz's dot, or the builtin one, equal on every machine."),
    ] = "auto",
    depth: Annotated[
        int | None,
        typer.Option(min=0, help="Open this many levels of sub-flows and maps. Default: all."),
    ] = None,
    is_check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; exit with 1 if FILE is not what would be written."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Draw a flow.

    Exit codes: 0 done, 1 with --check: the file is out of date, 2 wrong usage, 3 the graph does
    not build.
    """
    with exit_on_error(debug=debug):
        if is_check and not output:
            raise InputError("--check compares with a file. Name it with -o.")
        picture_format = _choose_format(output)
        if output and not is_check:
            check_writable(output)
        loaded = load_flow(flow).flow
        if picture_format == "svg":
            picture = loaded.svg(theme=theme, engine=engine, depth=depth)
        elif picture_format == "dot":
            picture = loaded.to_dot(depth=depth)
        else:
            picture = loaded.to_mermaid(depth=depth)
        if is_check:
            raise typer.Exit(_compare_file(output, picture))
        write_or_print(output, picture)


def _choose_format(output: str) -> PictureFormat:
    suffix = PurePath(output).suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(
            f"'{output}' ends in '{suffix}', which is not a format of pictures. "
            "Use .svg, .dot or .mmd."
        )
    return _FORMATS[suffix]


def _compare_file(output: str, picture: str) -> int:
    """Say whether a file holds this picture, and return the exit code."""
    if read_text(output, "-o") == picture:
        print_status(f"{output} is up to date")
        return DONE
    print_status(f"{output} is out of date; write it with the same command without --check")
    return FAILED
