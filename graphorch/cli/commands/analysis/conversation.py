"""`graphorch conversation`: show a run as a conversation, or the difference of two runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.files import check_writable, print_written, write_text
from graphorch.cli.journals import find_stored_run, print_faults, query_store, require_journal
from graphorch.cli.json_output import to_json_line
from graphorch.cli.shared_options import Db, Debug, Output, RunId, parse_choice
from graphorch.cli.terminal import print_output, print_status, sanitize
from graphorch.errors import InputError
from graphorch.journal.store import Store
from graphorch.text import shorten_run_id
from graphorch.trace.conversation.builder import (
    Conversation,
    ConversationBuilder,
    build_conversation,
)
from graphorch.trace.conversation.html import format_page
from graphorch.trace.conversation.text import format_headline, format_turn, format_turns
from graphorch.trace.conversation.turns import Turn
from graphorch.views.runs.paths import is_inside

ConversationFormat: TypeAlias = Literal["text", "json", "html"]
_FORMATS: tuple[ConversationFormat, ...] = ("text", "json", "html")
_POLLING_SECONDS = 0.3  # between two reads of a run that is followed


def conversation(
    run: RunId = "last",
    other: Annotated[
        str, typer.Argument(metavar="OTHER", help="With --diff: the run to compare with.")
    ] = "",
    is_difference: Annotated[
        bool, typer.Option("--diff", help="Show where two runs differ in what was said.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep showing new turns until the run ends.")
    ] = False,
    node: Annotated[
        str, typer.Option("--node", metavar="PATH", help="Only this node, and what is inside it.")
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="Do not cut long texts.")] = False,
    conversation_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="text, json or html.")
    ] = "text",
    output: Output = "",
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Show a run as a conversation, in causal order and indented by level.

    It has prompts, answers, what was handed on, costs, and why each model was chosen.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run.
    """
    with exit_on_error(debug=debug, as_json=conversation_format == "json"):
        request = ConversationRequest.parse(
            run,
            other,
            is_difference=is_difference,
            follow=follow,
            node=node,
            full=full,
            conversation_format=conversation_format,
            output=output,
        )
        show_conversation(request, db)


@dataclass(frozen=True, slots=True)
class ConversationRequest:
    """Which runs to show and how, checked."""

    run: str
    other: str
    follow: bool
    node: str
    full: bool
    format: ConversationFormat
    output: str

    @classmethod
    def parse(
        cls,
        run: str,
        other: str,
        *,
        is_difference: bool,
        follow: bool,
        node: str,
        full: bool,
        conversation_format: str,
        output: str,
    ) -> Self:
        """Return the request that the options describe.

        Raises `InputError` for options that exclude each other.
        """
        chosen_format = parse_choice(conversation_format, "--format", _FORMATS)
        if bool(other) != is_difference:
            raise InputError(
                "--diff compares two runs: write `graphorch conversation RUN OTHER --diff`."
            )
        if follow and (other or chosen_format != "text" or output):
            raise InputError(
                "--follow shows one run as text while it runs; omit --diff, --format and -o."
            )
        if other and chosen_format != "text":
            raise InputError("--diff is shown as text; omit --format.")
        if output:
            check_writable(output)
        return cls(run, other, follow, node, full, chosen_format, output)


def show_conversation(request: ConversationRequest, db: str) -> None:
    """Read a journal, and print or write the conversation. Raises `InputError`, `JournalError`."""
    journal = require_journal(db)
    if request.follow:
        query_store(journal, lambda store: _follow(store, request))
        return
    runs = [request.run, request.other] if request.other else [request.run]

    async def read(store: Store) -> list[Conversation]:
        return [await _read_conversation(store, run, request.node) for run in runs]

    text = _format(query_store(journal, read), request)
    if request.output:
        write_text(request.output, f"{text}\n")
        print_written(request.output)
    else:
        print_output(text if request.format == "json" else sanitize(text))


def _format(conversations: Sequence[Conversation], request: ConversationRequest) -> str:
    first = conversations[0]
    if request.other:
        return "\n".join(first.diff(conversations[1], full=request.full))
    if request.format == "json":
        return to_json_line(first.as_data())
    if request.format == "html":
        return format_page(first.trace, first.turns)
    return format_turns(first.trace, first.turns, full=request.full)


async def _read_conversation(store: Store, run: str, node: str) -> Conversation:
    head = await find_stored_run(store, run)
    if head.is_erased:
        raise InputError(
            f"The content of run {shorten_run_id(head.run_id)} was erased; only its hashes remain, "
            "so there is nothing to show."
        )
    log = await store.load(head.run_id)
    conversation = build_conversation(log.head, log.records)
    print_faults(conversation.trace)
    if node:
        paths = dict.fromkeys(turn.path for turn in conversation.turns if turn.path)
        conversation.turns = [turn for turn in conversation.turns if is_inside(turn.path, node)]
        if not conversation.turns:
            raise InputError(
                f"Nothing was said at '{node}' in run {shorten_run_id(head.run_id)}. "
                f"Paths in it: {', '.join(list(paths)[:12]) or 'none'}."
            )
    return conversation


# ---- follow --------------------------------------------------------------------------------------
async def _follow(store: Store, request: ConversationRequest) -> None:
    """Print the turns so far, and then new ones until the run ends or its process is gone."""
    head = await find_stored_run(store, request.run)
    builder, seq = ConversationBuilder(head), 0
    while True:
        log = await store.load(head.run_id, after_seq=seq)
        for record in log.records:
            seq = record.seq
            _print_turns(builder.take(record), request)
        if log.head.status != "running":
            _print_turns(builder.rest(), request)
            trace = builder.close(log.head)
            print_faults(trace)
            print_output(sanitize(format_headline(trace)))
            return
        if not log.head.is_under_way:
            _print_turns(builder.rest(), request)
            print_status(
                f"run {shorten_run_id(head.run_id)} has crashed: its process is gone. "
                f"`graphorch resume FLOW {shorten_run_id(head.run_id)}` resumes it."
            )
            return
        await asyncio.sleep(_POLLING_SECONDS)


def _print_turns(turns: Sequence[Turn], request: ConversationRequest) -> None:
    for turn in turns:
        if not request.node or is_inside(turn.path, request.node):
            print_output(sanitize("\n".join(format_turn(turn, full=request.full))))
