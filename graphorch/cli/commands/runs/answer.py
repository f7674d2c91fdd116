"""`graphorch answer`: answer a question of a run, and resume the run."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from graphorch.cli.answer_parser import parse_answer
from graphorch.cli.commands.runs.owned_run import has_owner, report_sent, require_no_output
from graphorch.cli.commands.runs.stored_run import StoredRun, open_stored_run
from graphorch.cli.execution import RunCoroutine, execute
from graphorch.cli.exit_codes import exit_on_error
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
from graphorch.errors import InputError
from graphorch.graph.approval import ToolApproval
from graphorch.graph.plan import Plan
from graphorch.journal.store import Store
from graphorch.runs.mailbox import read_run
from graphorch.runs.result import Question, build_question, find_asker
from graphorch.text import join_limited
from graphorch.trace.analysis.explain import find_activations

_MOST_NAMED = 5  # questions in a message


def answer(
    context: typer.Context,
    flow: FlowName,
    run: RunId = "",
    question: Annotated[
        str,
        typer.Argument(
            metavar="QUESTION",
            help="The path or name of what asks, or the id of the question. The path of an agent, "
            "or of a round of its calls of tools, and the name of a tool stand for all calls that "
            "ask.",
            show_default=False,
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
    """Answer a question of a run, and resume it: graphorch answer FLOW RUN QUESTION VALUE.

    VALUE is yes or no for a yes-or-no question (a gate takes `no --reason TEXT`), the text or
    number if the answer has one field, or a JSON object, @file.json, or - for standard input. The
    fields of the answer are options too. `graphorch runs show RUN` lists open questions.

    A call of a tool takes yes; yes --arguments JSON, which changes what it is called with;
    no --reason TEXT, which the model reads; and no --answer TEXT, which the model gets instead of
    a result.

    An answer makes no node run again, and a question is answered once. If another process drives
    the run, that process takes the answer in and goes on, and prints what comes of it.

    Exit codes are those of `graphorch run`; 0 if another process took the answer in.
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
        *others, asked = query_store(
            stored.journal, lambda store: find_questions(store, resumed.plan, run_id, question)
        )
        value = parse_answer(asked.answer_type, context.args)
        if others:
            check_answer_to_several(value, question, len(others) + 1)
        if no_wait or query_store(stored.journal, lambda store: has_owner(store, run_id)):
            require_no_output(output, model)
            for each in (*others, asked):
                send_answer(stored, each, value, wait=not no_wait)
                report_sent(
                    run_id,
                    f"answer to '{each.path}'",
                    {"question": each.path},
                    as_json=as_json or as_events,
                    is_taken_in=not no_wait,
                )
            raise typer.Exit(0)
        for other in others:
            # The answer to the last one resumes the run, which takes in those to the others.
            send_answer(stored, other, value, wait=False)
        output_format = choose_output_format(as_json=as_json, as_events=as_events)
        request = stored.build_request(output_format, output, model=model, quiet=quiet)

        def start(options: dict[str, Any]) -> RunCoroutine:
            return resumed.answer(run_id, asked.id, value, **options)

        code = execute(resumed, run_id, start, request)
    raise typer.Exit(code)


async def find_questions(store: Store, plan: Plan, run_id: str, name: str) -> list[Question]:
    """Return the open question of a run that a path, an id or a name stands for.

    The path of an agent, or of a round of its tool calls, stands for all questions about calls in
    there, and so does the name of a tool. Otherwise a name is that of a node, as `graphorch why`
    takes it: `ask`, `team/ask`, `ask#2`. The run is only read. Raises `InputError` and
    `JournalError`.
    """
    scheduler = await read_run(store, plan, run_id)
    askers = scheduler.open_questions()
    if any(name in (asker.path, asker.id) for asker in askers):
        return [build_question(find_asker(scheduler, name))]
    inside = [asker for asker in askers if asker.tool and asker.path.startswith(f"{name}/")]
    if inside:
        return list(map(build_question, inside))
    named = find_activations(scheduler.run, name)
    asking = [activation for activation in named if activation in askers]
    if not asking:
        closed = named[-1].path if named else name
        return [build_question(find_asker(scheduler, closed))]
    if len(asking) > 1 and not all(activation.tool for activation in asking):
        paths = join_limited(sorted(f"'{each.path}'" for each in asking), _MOST_NAMED)
        raise InputError(
            f"'{name}' stands for {len(asking)} open questions: {paths}. Give the path of one."
        )
    return list(map(build_question, asking))


def check_answer_to_several(value: BaseModel, name: str, count: int) -> None:
    """Raise `InputError` for an answer that can only be meant for one call of a tool."""
    assert isinstance(value, ToolApproval)
    for option in ("arguments", "answer"):
        if getattr(value, option) is not None:
            raise InputError(
                f"'{name}' stands for {count} calls of tools, and --{option} is for one. "
                "Give the path of one call."
            )


def send_answer(stored: StoredRun, question: Question, value: BaseModel, *, wait: bool) -> None:
    """Send an answer to the owner of a run, or leave it for who resumes the run next."""
    durable = stored.journal.durable
    sending = stored.flow.send_answer(stored.run_id, question, value, durable=durable, wait=wait)
    asyncio.run(sending)
