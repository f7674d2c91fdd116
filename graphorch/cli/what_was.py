"""`graphorch replay`, `rerun` and `fork`: what a run in a journal did, and what it would have done with something changed."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.arguments import (
    Activations,
    AsJson,
    Db,
    Debug,
    FlowName,
    From,
    Output,
    Quiet,
    RunId,
    Seconds,
    Usd,
)
from graphorch.cli.ending import ending


def replay(
    flow: FlowName, run: RunId = "", db: Db = "", as_json: AsJson = False, debug: Debug = False
) -> None:
    """Read a run again, and show what it gave. No node runs and no model is asked.

    Every route, loop and mapping is asked again and has to say what it said then; the first difference is named.

    Exit codes: 0 it is as it was, 1 it diverged or the run had failed, 2 wrong usage or journal, 3 the graph does not build, 4 the run waits.
    """
    with ending(debug=debug, as_json=as_json):
        from graphorch.cli.finding import find
        from graphorch.cli.journals import check_order, existing, run_named
        from graphorch.cli.what_if import replayed
        from graphorch.cli.wishes import Wishes, form_of

        check_order("replay", flow, run)
        journal = existing(db)
        run = run_named(journal, run)
        found = find(flow).flow
        code = replayed(
            found,
            run,
            Wishes(form_of(as_json=as_json, as_events=False), flow=flow, journal=journal),
        )
    raise typer.Exit(code)


def rerun(
    flow: FlowName,
    run: RunId = "",
    start: From = "",
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="Run the node again with this model.")
    ] = "",
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Do not run the node; change this field of what it wrote. Repeatable.",
        ),
    ] = None,
    effects: Annotated[
        str,
        typer.Option(
            metavar="refuse|repeat|serve",
            help="For what would act again: do not, do, or use what it returned.",
        ),
    ] = "refuse",
    output: Output = "",
    usd: Usd = None,
    seconds: Seconds = None,
    activations: Activations = None,
    db: Db = "",
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run what depends on one node anew, with another model or another output of it, and compare.

    Everything else is taken from the record. The result is a new run beside the old one, which stays as it is; the difference in path, state,
    cost and time is shown. Without --model and --set, the node simply runs again.

    Exit codes are those of `graphorch run`.
    """
    with ending(debug=debug, as_json=as_json):
        from graphorch.cli.finding import find
        from graphorch.cli.journals import check_order, existing, one_of, run_named
        from graphorch.cli.what_if import Change, rerun_with
        from graphorch.cli.wishes import Wishes, form_of

        check_order("rerun", flow, run)
        change = Change(
            start,
            model,
            tuple(values or ()),
            one_of(effects, "--effects", ("refuse", "repeat", "serve")),
        )
        journal = existing(db)
        run = run_named(journal, run)
        found = find(flow).flow
        wishes = Wishes(
            form_of(as_json=as_json, as_events=False),
            quiet,
            output,
            "",
            usd,
            seconds,
            activations,
            flow,
            journal,
        )
        code = rerun_with(found, run, change, wishes)
    raise typer.Exit(code)


def fork(
    flow: FlowName,
    run: RunId = "",
    start: From = "",
    db: Db = "",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make a new run that is an old one up to a node, stopped there, and print its id. The old one stays as it is.

    Exit codes: 0 done, 2 wrong usage or journal, 3 the graph does not build.
    """
    with ending(debug=debug, as_json=as_json):
        from graphorch.cli.finding import find
        from graphorch.cli.journals import check_order, existing, run_named
        from graphorch.cli.what_if import forked
        from graphorch.cli.wishes import Wishes, form_of

        check_order("fork", flow, run)
        journal = existing(db)
        run = run_named(journal, run)
        found = find(flow).flow
        forked(
            found,
            run,
            start,
            Wishes(form_of(as_json=as_json, as_events=False), flow=flow, journal=journal),
        )
