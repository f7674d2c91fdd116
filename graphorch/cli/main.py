"""The entry of the command line. What a command needs is imported when it runs, so that `--help` comes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from graphorch import __version__
from graphorch.cli.check import check
from graphorch.cli.render import render
from graphorch.cli.run import run
from graphorch.cli.safe import prepare_streams
from graphorch.cli.show import show

app = typer.Typer(name="graphorch", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command("run", short_help="Run a flow.", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(run)
app.command("check", short_help="Build flows without running them; show all problems.")(check)
app.command("render", short_help="Draw a flow as SVG, DOT or Mermaid.")(render)
app.command("show", short_help="Describe a flow: input, nodes, loops, joins, worst case.")(show)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"graphorch {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Typed graphs of agents: run them, check them, draw them.

    FLOW is path.py, path.py:name or module:name. The endpoint for models is named by OPENAI_BASE_URL and OPENAI_API_KEY, the model of agents
    that name none by GRAPHORCH_MODEL.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit with its code."""
    prepare_streams()
    app(args=None if arguments is None else list(arguments), prog_name="graphorch")
