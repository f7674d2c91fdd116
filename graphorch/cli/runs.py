"""`graphorch runs`: what is in a journal. No flow is needed, and nothing of one is run."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.arguments import AsJson, Db, Debug, RunId
from graphorch.cli.ending import ending

runs = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@runs.callback(invoke_without_command=True)
def list_runs(
    context: typer.Context,
    status: Annotated[
        str,
        typer.Option(
            metavar="STATUS",
            help="running, waiting, stopped, failed, succeeded, partial or cancelled.",
        ),
    ] = "",
    flow: Annotated[
        str, typer.Option("--flow", metavar="NAME", help="Of the flow of this name.")
    ] = "",
    tag: Annotated[str, typer.Option("--tag", metavar="KEY=VALUE", help="With this tag.")] = "",
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Begun at this time or later: 2026-03-31, 2026-03-31T18:00, or 12h, 30d ago.",
        ),
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="Begun before this time.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="NUMBER", help="How many at most.")] = 20,
    after: Annotated[
        str, typer.Option("--after", metavar="PLACE", help="The next page: what the last one said.")
    ] = "",
    db: Db = "",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the runs in a journal, the newest first. The commands below show, cancel and delete them.

    Exit codes: 0 done, 2 wrong usage or journal.
    """
    if context.invoked_subcommand is not None:
        context.obj = db
        return
    with ending(debug=debug, as_json=as_json):
        from graphorch.cli.journals import existing
        from graphorch.cli.run_list import query_of, tell_page

        query = query_of(
            status=status, flow=flow, tag=tag, since=since, until=until, limit=limit, after=after
        )
        tell_page(existing(db), query, as_json=as_json)


@runs.command("show", short_help="Show one run: its steps, what it spent, open questions.")
def show(
    context: typer.Context,
    run: RunId,
    db: Db = "",
    as_json: AsJson = False,
    as_records: Annotated[
        bool, typer.Option("--records", help="Every record of the journal as a line of JSON.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Show what a run did, as its records say: each step with attempts, time, model calls and dollars, and what it waits for.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run.
    """
    with ending(debug=debug, as_json=as_json or as_records):
        from graphorch.cli.journals import existing, run_named
        from graphorch.cli.run_show import tell_records, tell_run

        journal = existing(db or context.obj)
        if as_records:
            tell_records(journal, run_named(journal, run))
        else:
            tell_run(journal, run_named(journal, run), as_json=as_json)


@runs.command("cancel", short_help="Cancel a run for good that waits, failed or was stopped.")
def cancel(
    context: typer.Context,
    run: RunId,
    flow: Annotated[
        str,
        typer.Option(
            "--flow",
            metavar="FLOW",
            help="Its flow; needed only if the run's process ended in the middle.",
        ),
    ] = "",
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Cancel a run: nobody goes on with it, and its questions take no answer any more. What it did stays to be read.

    Exit codes: 0 done, 2 wrong usage or journal, or the run is over or under way.
    """
    with ending(debug=debug):
        from graphorch.cli.journals import existing, run_named
        from graphorch.cli.run_changes import cancelled

        journal = existing(db or context.obj)
        cancelled(journal, run_named(journal, run), flow)


@runs.command("erase", short_help="Delete the content of one run for good.")
def erase(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The whole id of a run.", show_default=False)
    ],
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Delete everything that a run read and wrote, for good. Its place in the list stays, with hashes that can still be verified.

    Exit codes: 0 done, 2 wrong usage or journal, or the run is under way.
    """
    with ending(debug=debug):
        from graphorch.cli.journals import ask, existing
        from graphorch.cli.safe import say

        ask(existing(db or context.obj), lambda store: store.erase(run))
        say(
            f"the content of run {run} was deleted; what is left of it are its name, its times and hashes"
        )


@runs.command("prune", short_help="Delete old runs.")
def prune(
    context: typer.Context,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Changed last before that: 90s, 15m, 12h, 30d, 2w.",
            show_default=False,
        ),
    ],
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="Of this status; repeatable. Without it succeeded, partial and cancelled ones.",
        ),
    ] = None,
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Delete runs that are over and old. Those that could go on (failed, stopped, waiting) are deleted only if --status names them.

    Exit codes: 0 done, 2 wrong usage or journal.
    """
    with ending(debug=debug):
        from graphorch.cli.journals import existing
        from graphorch.cli.run_changes import pruned

        pruned(existing(db or context.obj), older_than, status or [])
