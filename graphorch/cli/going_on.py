"""`graphorch resume` and `graphorch answer`: going on with a run that is in a journal."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.arguments import (
    Activations,
    AsEvents,
    AsJson,
    Db,
    Debug,
    FlowName,
    Model,
    Output,
    Quiet,
    RunId,
    Seconds,
    Usd,
)
from graphorch.cli.ending import ending


def resume(
    flow: FlowName,
    run: RunId = "",
    output: Output = "",
    model: Model = "",
    usd: Usd = None,
    seconds: Seconds = None,
    activations: Activations = None,
    ambiguous: Annotated[
        str,
        typer.Option(
            metavar="stop|repeat|fail",
            help="For a node that must not act twice, and perhaps did act.",
        ),
    ] = "stop",
    db: Db = "",
    as_json: AsJson = False,
    as_events: AsEvents = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Go on with a run that failed, was stopped, waits, or whose process is gone.

    Nothing that was committed runs again, and no model call that was answered is paid for again. Limits replace those that the run had, and
    count what was done before: a run that reached one goes on with a larger one. A run that succeeded meanwhile is only shown. If a node
    that must not act twice began and did not finish, the run stays stopped until --ambiguous says whether to run it again or to fail it.

    Exit codes are those of `graphorch run`.
    """
    with ending(debug=debug, as_json=as_json or as_events):
        from graphorch.cli.finding import find
        from graphorch.cli.journals import check_order, existing, one_of, run_named
        from graphorch.cli.running import carry_out
        from graphorch.cli.wishes import Wishes, form_of

        check_order("resume", flow, run)
        doubtful = one_of(ambiguous, "--ambiguous", ("stop", "repeat", "fail"))
        journal = existing(db)
        run = run_named(journal, run)
        found = find(flow).flow
        wishes = Wishes(
            form_of(as_json=as_json, as_events=as_events),
            quiet,
            output,
            model,
            usd,
            seconds,
            activations,
            flow,
            journal,
        )
        code = carry_out(
            found, run, lambda options: found.resume(run, ambiguous=doubtful, **options), wishes
        )
    raise typer.Exit(code)


def answer(
    context: typer.Context,
    flow: FlowName,
    run: RunId = "",
    question: Annotated[
        str,
        typer.Argument(
            metavar="QUESTION",
            help="The path of what asks, or the question's id.",
            show_default=False,
        ),
    ] = "",
    output: Output = "",
    db: Db = "",
    as_json: AsJson = False,
    as_events: AsEvents = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Answer a question of a run that waits, and go on with it: graphorch answer FLOW RUN QUESTION VALUE.

    VALUE is yes or no where that is asked (a gate takes `no --reason TEXT`), the text or number if the answer has one field, or a JSON object,
    @file.json, or - for standard input. The fields of the answer are options too. `graphorch runs show RUN` lists open questions.

    No node runs again because of an answer, and a question is answered once. Exit codes are those of `graphorch run`.
    """
    with ending(debug=debug, as_json=as_json or as_events):
        from graphorch.cli.answering import answer_of, find_question
        from graphorch.cli.finding import find
        from graphorch.cli.journals import ask, check_order, existing, run_named
        from graphorch.cli.running import carry_out
        from graphorch.cli.wishes import Wishes, form_of
        from graphorch.errors import InputError

        check_order("answer", flow, run)
        if not question:
            raise InputError(
                f"QUESTION is missing. Write `graphorch answer FLOW RUN QUESTION VALUE`; `graphorch runs show {run}` lists the open ones."
            )
        journal = existing(db)
        run = run_named(journal, run)
        found = find(flow).flow
        open_one = ask(journal, lambda store: find_question(store, found.plan, run, question))
        value = answer_of(open_one.answer_type, context.args)
        wishes = Wishes(
            form_of(as_json=as_json, as_events=as_events), quiet, output, flow=flow, journal=journal
        )
        code = carry_out(
            found, run, lambda options: found.answer(run, open_one.id, value, **options), wishes
        )
    raise typer.Exit(code)
