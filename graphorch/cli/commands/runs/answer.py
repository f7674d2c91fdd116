"""`graphorch answer`: answer a question of a waiting run, and resume it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from graphorch.cli.answer_parser import parse_answer
from graphorch.cli.commands.runs.stored_run import open_stored_run
from graphorch.cli.execution import RunCoroutine, execute
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.journals import (
    check_argument_order,
    query_store,
)
from graphorch.cli.run_request import RunRequest, choose_output_format
from graphorch.cli.shared_options import (
    AsEvents,
    AsJson,
    ConfigFile,
    Db,
    Debug,
    FlowName,
    Model,
    Output,
    Quiet,
    RunId,
)
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError
from graphorch.graph.plan import Plan
from graphorch.journal.store import Store
from graphorch.runs.clients import ReplayClient
from graphorch.runs.durable import rebuild_run
from graphorch.runs.result import Question, build_question, find_asker


def answer(
    context: typer.Context,
    flow: FlowName,
    run: RunId = "",
    question: Annotated[
        str,
        typer.Argument(
            metavar="QUESTION",
            help="The path of the node that asks, or the id of the question.",
            show_default=False,
        ),
    ] = "",
    output: Output = "",
    model: Model = "",
    config: ConfigFile = "",
    db: Db = "",
    as_json: AsJson = False,
    as_events: AsEvents = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Answer a question of a waiting run, and resume it: graphorch answer FLOW RUN QUESTION VALUE.

    VALUE is yes or no for a yes-or-no question (a gate takes `no --reason TEXT`), the text or
    number if the answer has one field, or a JSON object, @file.json, or - for standard input. The
    fields of the answer are options too. `graphorch runs show RUN` lists open questions.

    An answer makes no node run again, and a question is answered once.

    Exit codes are those of `graphorch run`.
    """
    with exit_on_error(debug=debug, as_json=as_json or as_events):
        check_argument_order("answer", flow, run)
        if not question:
            raise InputError(
                f"QUESTION is missing. Write `graphorch answer {flow} {run} QUESTION VALUE`; "
                f"`graphorch runs show {run}` lists the open ones."
            )
        stored = open_stored_run(flow, run, db=db, config=config, model=model)
        run_id, resumed = stored.run_id, stored.flow
        asked = query_store(
            stored.journal, lambda store: find_question(store, resumed.plan, run_id, question)
        )
        value = parse_answer(asked.answer_type, context.args)
        request = RunRequest(
            output_format=choose_output_format(as_json=as_json, as_events=as_events),
            quiet=quiet,
            output_file=output,
            model=model,
            flow=flow,
            config=config,
            client=stored.client,
            journal=stored.journal,
        )

        def start(options: dict[str, Any]) -> RunCoroutine:
            return resumed.answer(run_id, asked.id, value, **options)

        code = execute(resumed, run_id, start, request)
    raise typer.Exit(code)


async def find_question(store: Store, plan: Plan, run_id: str, name: str) -> Question:
    """Return the open question of a run with this path or id; the run is only read.

    Raises `InputError` and `JournalError`.
    """
    _, rebuilt = await rebuild_run(store, plan, run_id)
    settings = RunSettings(client=ReplayClient(), run_id=run_id)
    scheduler = Scheduler.from_records(plan, settings, rebuilt, None)
    return build_question(find_asker(scheduler, name))
