"""`graphorch render`: the picture of a flow, as a file or on standard output."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from graphorch.cli.ending import DONE, FAILED, ending
from graphorch.cli.safe import result, say
from graphorch.errors import InputError

if TYPE_CHECKING:
    from graphorch.cli.finding import AnyFlow

_ENDINGS = {
    ".svg": "svg",
    "": "svg",
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
}


def render(
    flow: Annotated[
        str,
        typer.Argument(
            metavar="FLOW", help="path.py, path.py:name or module:name", show_default=False
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="topology.svg, or .dot or .mmd; without it, SVG on standard output.",
        ),
    ] = "",
    theme: Annotated[
        Literal["auto", "light", "dark"],
        typer.Option(help="auto follows whoever shows the picture."),
    ] = "auto",
    engine: Annotated[
        Literal["auto", "dot", "builtin"],
        typer.Option(
            help="The layout: Graphviz's dot, or the builtin one, which is the same everywhere."
        ),
    ] = "auto",
    depth: Annotated[
        int | None,
        typer.Option(min=0, help="Open so many levels of sub-flows and maps; all by default."),
    ] = None,
    is_check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; exit with 1 if FILE is not what would be written."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Draw a flow.

    Exit codes: 0 done, 1 with --check: the file is out of date, 2 wrong usage, 3 the graph does not build.
    """
    with ending(debug=debug):
        from graphorch.cli.files import check_writable, write_text
        from graphorch.cli.finding import find

        if is_check and not output:
            raise InputError("--check compares with a file. Name it with -o.")
        form = _form(output)
        if output and not is_check:
            check_writable(output)
        found = find(flow).flow
        text = (
            found.svg(theme=theme, engine=engine, depth=depth)
            if form == "svg"
            else _text(found, form, depth)
        )
        if is_check:
            raise typer.Exit(_compared(output, text))
        if output:
            write_text(output, text)
            say(f"written to {output}")
        else:
            result(text)


def _form(output: str) -> str:
    ending = PurePath(output).suffix.lower()
    if ending not in _ENDINGS:
        raise InputError(
            f"'{output}' ends in '{ending}', which is no picture of ours. Use .svg, .dot or .mmd."
        )
    return _ENDINGS[ending]


def _text(flow: AnyFlow, form: str, depth: int | None) -> str:
    return flow.to_dot(depth=depth) if form == "dot" else flow.to_mermaid(depth=depth)


def _compared(output: str, text: str) -> int:
    from graphorch.cli.files import read_text

    if read_text(output, "-o") == text:
        say(f"{output} is up to date")
        return DONE
    say(f"{output} is out of date; write it anew with the same command without --check")
    return FAILED
