"""`graphorch send`: send a signal to a run, and resume the run."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from graphorch.cli.answer_parser import parse_answer
from graphorch.cli.commands.runs.owned_run import has_owner, report_sent, require_no_output
from graphorch.cli.commands.runs.stored_run import open_stored_run
from graphorch.cli.execution import RunCoroutine, execute
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.input_options import SEND_OPTIONS
from graphorch.cli.journals import check_argument_order, query_store
from graphorch.cli.run_request import choose_output_format
from graphorch.cli.shared_options import (
    AsEvents,
    AsJson,
    ConfigFile,
    Db,
    Debug,
    FlowName,
    Model,
    NoWait,
    Output,
    Quiet,
    RunId,
)
from graphorch.engine.mailbox.expected_signals import find_signal
from graphorch.errors import InputError


def send(
    context: typer.Context,
    flow: FlowName,
    run: RunId = "",
    signal: Annotated[
        str,
        typer.Argument(
            metavar="SIGNAL", help="The name of a signal of the flow.", show_default=False
        ),
    ] = "",
    key: Annotated[
        str,
        typer.Option(
            "--key",
            metavar="KEY",
            help="Which of the nodes that wait for this signal is meant, if they have keys.",
        ),
    ] = "",
    id: Annotated[
        str,
        typer.Option(
            "--id",
            metavar="ID",
            help="A name for what happened: sent again with the same one, it counts once.",
        ),
    ] = "",
    output: Output = "",
    model: Model = "",
    config: ConfigFile = "",
    db: Db = "",
    as_json: AsJson = False,
    as_events: AsEvents = False,
    no_wait: NoWait = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Send a signal to a run, and resume the run: graphorch send FLOW RUN SIGNAL VALUE.

    VALUE is a JSON object, @file.json, or - for standard input; the text or number if the signal
    carries one field; yes or no for a truth value; nothing if it carries no field. The fields of
    the value are options too. `graphorch runs show RUN` lists what a run waits for.

    If nothing waits for the signal yet, it is kept, as many as the flow says; what cannot be kept
    is refused with the reason. If another process drives the run, that process takes the signal in
    and goes on, and prints what comes of it.

    Exit codes are those of `graphorch run`; 0 if another process took the signal in.
    """
    with exit_on_error(debug=debug, as_json=as_json or as_events):
        check_argument_order("send", flow, run)
        if not signal:
            raise InputError(
                f"SIGNAL is missing. Write `graphorch send {flow} {run} SIGNAL VALUE`; "
                f"`graphorch runs show {run}` lists what the run waits for."
            )
        stored = open_stored_run(flow, run, db=db, config=config, model=model)
        run_id, resumed = stored.run_id, stored.flow
        value_type = find_signal(resumed.plan, signal).value
        value = parse_answer(value_type, context.args, f"value of '{signal}'", SEND_OPTIONS)
        if no_wait or query_store(stored.journal, lambda store: has_owner(store, run_id)):
            require_no_output(output, model)
            durable = stored.journal.durable
            asyncio.run(
                resumed.send_signal(
                    run_id, signal, value, key=key, id=id, durable=durable, wait=not no_wait
                )
            )
            report_sent(
                run_id,
                f"signal '{signal}'" + (f" with key '{key}'" if key else ""),
                {"signal": signal, "key": key},
                as_json=as_json or as_events,
                is_taken_in=not no_wait,
            )
            raise typer.Exit(0)
        output_format = choose_output_format(as_json=as_json, as_events=as_events)
        request = stored.build_request(output_format, output, model=model, quiet=quiet)

        def start(options: dict[str, Any]) -> RunCoroutine:
            return resumed.send(run_id, signal, value, key=key, id=id, **options)

        code = execute(resumed, run_id, start, request)
    raise typer.Exit(code)
