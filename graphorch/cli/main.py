"""The entry of the command line. What a command needs is imported when it runs, so that `--help` comes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from graphorch import __version__
from graphorch.cli.check import check
from graphorch.cli.compare import compare
from graphorch.cli.conversation import conversation
from graphorch.cli.critical import critical
from graphorch.cli.critical_timeline import timeline
from graphorch.cli.estimate import estimate
from graphorch.cli.going_on import answer, resume
from graphorch.cli.policies import policies
from graphorch.cli.render import render
from graphorch.cli.run import run
from graphorch.cli.runs import runs
from graphorch.cli.safe import prepare_streams
from graphorch.cli.show import show
from graphorch.cli.stats import stats
from graphorch.cli.stats_heat import heat
from graphorch.cli.what_was import fork, replay, rerun
from graphorch.cli.why import why

# the fields of an input or an answer are options too
_WITH_FIELDS = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    name="graphorch",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run", short_help="Run a flow.", context_settings=_WITH_FIELDS)(run)
app.command("check", short_help="Build flows without running them; show all problems.")(check)
app.command("render", short_help="Draw a flow as SVG, DOT or Mermaid.")(render)
app.command("show", short_help="Describe a flow: input, nodes, loops, joins, worst case.")(show)
app.command("estimate", short_help="Say what a run costs at most, and usually, before it runs.")(
    estimate
)
app.command("compare", short_help="Two flows on the same inputs: quality, cost, latency, errors.")(
    compare
)
app.add_typer(
    runs, name="runs", short_help="List the runs in a journal; show, cancel and delete them."
)
app.command("resume", short_help="Go on with a run that failed, was stopped, waits or crashed.")(
    resume
)
app.command(
    "answer",
    short_help="Answer a question of a run that waits, and go on.",
    context_settings=_WITH_FIELDS,
)(answer)
app.command("replay", short_help="Read a run again, without running anything.")(replay)
app.command(
    "rerun", short_help="Run what depends on one node anew, with something changed, and compare."
)(rerun)
app.command("fork", short_help="Make a new run of an old one, up to a node.")(fork)
app.command("stats", short_help="Cost, latency, errors and more over the runs in a journal.")(stats)
app.command("conversation", short_help="Tell a run as a conversation: who said what to whom.")(
    conversation
)
app.command("why", short_help="Say why a node ran or did not, or why a run ended as it did.")(why)
app.command(
    "critical", short_help="The critical path of a run, slack, and what a change would give."
)(critical)
app.command("timeline", short_help="Draw a run as bars over time, in parallel lanes.")(timeline)
app.command(
    "heat", short_help="Draw cost, latency or errors on a flow; or the difference of two runs."
)(heat)
app.command("policies", short_help="Say what the name of a policy or model resolves to.")(policies)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"graphorch {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Typed graphs of agents: run them, check them, draw them.

    FLOW is path.py, path.py:name or module:name. The endpoint for models is named by OPENAI_BASE_URL and OPENAI_API_KEY, the model of agents
    that name none by GRAPHORCH_MODEL.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit with its code."""
    prepare_streams()
    app(args=None if arguments is None else list(arguments), prog_name="graphorch")
