"""Entry of the command line: a table of commands, each imported only when it is chosen.

`graphorch --help` prints the table and imports no command; `graphorch COMMAND --help` imports one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from graphorch import __version__
from graphorch.cli.terminal import prepare_streams

_COMMANDS = "graphorch.cli.commands"

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": (f"{_COMMANDS}.runs.run:run", "Run a flow."),
    "resume": (
        f"{_COMMANDS}.runs.resume:resume",
        "Resume a run that failed, was stopped, waits or crashed.",
    ),
    "answer": (
        f"{_COMMANDS}.runs.answer:answer",
        "Answer a question of a run, and resume it.",
    ),
    "send": (f"{_COMMANDS}.runs.send:send", "Send a signal to a run, and resume it."),
    "follow": (
        "graphorch.cli.follow.command:follow",
        "Watch a run that another process drives.",
    ),
    "serve": (
        f"{_COMMANDS}.server.serve:serve",
        "Show runs in a browser, and offer them to programs.",
    ),
    "worker": (
        f"{_COMMANDS}.workers.worker:work",
        "Take runs that were submitted to a database, beside other workers.",
    ),
    "submit": (f"{_COMMANDS}.workers.submit:submit", "Leave a run to workers."),
    "workers": (
        f"{_COMMANDS}.workers.workers:list_workers",
        "Show the workers of a database, and which versions have runs.",
    ),
    "db": (
        f"{_COMMANDS}.workers.database:check_tables",
        "Say whether a PostgreSQL database is ready; prepare or upgrade it.",
    ),
    "db init": (
        f"{_COMMANDS}.workers.database:init",
        "Make the tables of graphorch in a database.",
    ),
    "db upgrade": (
        f"{_COMMANDS}.workers.database:upgrade",
        "Bring the tables of a database to this version.",
    ),
    "check": (
        f"{_COMMANDS}.flows.check:check",
        "Build flows without running them; show all problems.",
    ),
    "show": (
        f"{_COMMANDS}.flows.show:show",
        "Describe a flow: input, nodes, loops, joins, worst case.",
    ),
    "render": (f"{_COMMANDS}.flows.render:render", "Draw a flow as SVG, DOT or Mermaid."),
    "estimate": (
        f"{_COMMANDS}.flows.estimate:estimate",
        "Estimate what a run costs, at most and usually.",
    ),
    "compare": (
        "graphorch.cli.compare.command:compare",
        "Compare two flows: quality, cost, latency, errors.",
    ),
    "mcp": (f"{_COMMANDS}.flows.mcp:mcp", "Serve flows as tools of an MCP client."),
    "runs": (
        f"{_COMMANDS}.runs.runs:list_runs",
        "List the runs in a journal; show, stop, cancel or delete them.",
    ),
    "runs show": (
        f"{_COMMANDS}.runs.run_details:show",
        "Show one run: its steps, costs and open questions.",
    ),
    "runs diff": (
        f"{_COMMANDS}.analysis.difference:diff",
        "Show in what two runs differ: way, fields, calls, cost.",
    ),
    "runs export": (
        f"{_COMMANDS}.runs.export:export",
        "Write a run as one HTML file to share.",
    ),
    "runs stop": (f"{_COMMANDS}.runs.stop:stop", "Stop a run that another process drives."),
    "runs cancel": (f"{_COMMANDS}.runs.cancel:cancel", "Cancel a run for good."),
    "runs erase": (f"{_COMMANDS}.runs.erase:erase", "Delete the content of one run for good."),
    "runs prune": (f"{_COMMANDS}.runs.prune:prune", "Delete old runs."),
    "replay": (
        f"{_COMMANDS}.runs.replay:replay",
        "Replay a run from its journal; no node runs.",
    ),
    "rerun": (
        f"{_COMMANDS}.runs.rerun:rerun",
        "Rerun from a node with something changed, and compare.",
    ),
    "fork": (f"{_COMMANDS}.runs.fork:fork", "Copy a run up to a node as a new run."),
    "stats": (
        "graphorch.cli.stats.command:stats",
        "Show cost, latency, errors and more over many runs.",
    ),
    "conversation": (
        f"{_COMMANDS}.analysis.conversation:conversation",
        "Show a run as a conversation: who said what to whom.",
    ),
    "why": (
        f"{_COMMANDS}.analysis.why:why",
        "Explain why a node ran or did not, or how a run ended.",
    ),
    "critical": (
        f"{_COMMANDS}.analysis.critical_path:critical",
        "Show the critical path of a run, and what would shorten it.",
    ),
    "timeline": (f"{_COMMANDS}.analysis.timeline:timeline", "Draw a run as bars over time."),
    "heat": (
        f"{_COMMANDS}.analysis.heat:heat",
        "Draw cost, latency or errors of runs onto their flow.",
    ),
    "policies": (
        f"{_COMMANDS}.models.policies:policies",
        "Show what a policy or model name resolves to.",
    ),
    "trust": (
        f"{_COMMANDS}.models.trust:trust",
        "Trust the configuration file here: its endpoints, keys and paths.",
    ),
    "trust list": (f"{_COMMANDS}.models.trust:list_trusted", "List the files that you trust."),
    "trust revoke": (f"{_COMMANDS}.models.trust:revoke", "Trust a file no longer."),
}
"""Words of a command → the function that it is (`module:function`), and its line in `--help`.

A name of two words is a command of the group that the first word names.
"""

# the fields of an input, an answer or a signal are options that only the flow knows
_TAKES_FIELDS = frozenset({"run", "submit", "answer", "send"})


class LazyCommand(TyperCommand):
    """A command that is known by its name and short help, and imported when it is chosen."""

    def __init__(self, words: str) -> None:
        super().__init__(words.split()[-1], short_help=COMMANDS[words][1])
        self.words = words

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Import the command, and let it parse the arguments: from here on it stands for itself."""
        return load_command(self.words).make_context(*args, **options)


def load_command(words: str) -> TyperCommand | TyperGroup:
    """Import a command of the table, or a group with lazy subcommands."""
    module, _, name = COMMANDS[words][0].partition(":")
    function = getattr(import_module(module), name)
    app = _new_app()
    subcommands = [other for other in COMMANDS if other.startswith(f"{words} ")]
    if subcommands:
        app.callback(invoke_without_command=True)(function)
        return _build_group(app, subcommands)
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(context_settings=settings if words in _TAKES_FIELDS else None)(function)
    command = get_command(app)
    assert isinstance(command, TyperCommand)
    return command


def _new_app(*, add_completion: bool = False, no_args_is_help: bool = False) -> typer.Typer:
    return typer.Typer(
        add_completion=add_completion,
        no_args_is_help=no_args_is_help,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def _build_group(app: typer.Typer, commands: Sequence[str]) -> TyperGroup:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for words in commands:
        group.add_command(LazyCommand(words))
    return group


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"graphorch {__version__}")
        raise typer.Exit


def about(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Typed graphs of agents: run them, check them, draw them.

    FLOW is path.py, path.py:name or module:name. OPENAI_BASE_URL and OPENAI_API_KEY name the
    endpoint for models, GRAPHORCH_MODEL the model of agents that name none.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit with its code."""
    prepare_streams()
    app = _new_app(add_completion=True, no_args_is_help=True)
    app.callback()(about)
    group = _build_group(app, [words for words in COMMANDS if " " not in words])
    group(args=None if arguments is None else list(arguments), prog_name="graphorch")
