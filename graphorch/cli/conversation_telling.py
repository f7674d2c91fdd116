"""`graphorch conversation`, without its options."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Literal, Self

from graphorch.cli.encoding import as_object
from graphorch.cli.files import check_writable, write_text
from graphorch.cli.journals import ask, existing, one_of
from graphorch.cli.safe import result, safe, say
from graphorch.errors import InputError
from graphorch.journal.store import Store
from graphorch.trace.analysis.run_lookup import find_run
from graphorch.trace.conversation.builder import (
    Conversation,
    ConversationBuilder,
    build_conversation,
)
from graphorch.trace.conversation.html import format_page
from graphorch.trace.conversation.text import format_headline, format_turn, format_turns
from graphorch.trace.conversation.turns import Turn
from graphorch.trace.spans.model import strip_index

Form = Literal["text", "json", "html"]
_FORMS: tuple[Form, ...] = ("text", "json", "html")
_PAUSE = 0.3  # seconds between two looks at a run that is followed


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for, checked."""

    run: str
    other: str
    follow: bool
    node: str
    full: bool
    form: Form
    output: str

    @classmethod
    def of(
        cls,
        run: str,
        other: str,
        *,
        is_difference: bool,
        follow: bool,
        node: str,
        full: bool,
        form: str,
        output: str,
    ) -> Self:
        """Raises `InputError` for what does not go together."""
        kind = one_of(form, "--format", _FORMS)
        if bool(other) != is_difference:
            raise InputError(
                "--diff compares two runs: write `graphorch conversation RUN OTHER --diff`."
            )
        if follow and (other or kind != "text" or output):
            raise InputError(
                "--follow shows one run as text while it goes on; leave --diff, --format and -o out."
            )
        if other and kind != "text":
            raise InputError("--diff is told as text; leave --format out.")
        if output:
            check_writable(output)
        return cls(run, other, follow, node, full, kind, output)


def tell(wanted: Wanted, db: str) -> None:
    """Read the journal, and tell. Raises `InputError` and `JournalError`."""
    journal = existing(db)
    if wanted.follow:
        ask(journal, lambda store: _follow(store, wanted))
        return
    runs = [wanted.run, wanted.other] if wanted.other else [wanted.run]

    async def read(store: Store) -> list[Conversation]:
        return [await _read(store, run, wanted.node) for run in runs]

    found = ask(journal, read)
    text = _text(found, wanted)
    if wanted.output:
        write_text(wanted.output, f"{text}\n")
        say(f"written to {wanted.output}")
    else:
        result(text if wanted.form == "json" else safe(text))


def _text(found: list[Conversation], wanted: Wanted) -> str:
    if wanted.other:
        return "\n".join(found[0].diff(found[1], full=wanted.full))
    if wanted.form == "json":
        return as_object(found[0].as_data())
    talk = found[0]
    if wanted.form == "html":
        return format_page(talk.trace, talk.turns)
    return format_turns(talk.trace, talk.turns, full=wanted.full)


async def _read(store: Store, run: str, node: str) -> Conversation:
    head = await find_run(store, run)
    if head.is_erased:
        raise InputError(
            f"The content of run {head.run_id} was erased; only its hashes are left, so there is nothing to tell."
        )
    log = await store.load(head.run_id)
    conversation = build_conversation(log.head, log.records, time.time())
    if node:
        known = dict.fromkeys(turn.path for turn in conversation.turns if turn.path)
        conversation.turns = [turn for turn in conversation.turns if _is_in(turn, node)]
        if not conversation.turns:
            raise InputError(
                f"Nothing was said at '{node}' in run {head.run_id}. Paths in it: {', '.join(list(known)[:12]) or 'none'}."
            )
    return conversation


def _is_in(turn: Turn, node: str) -> bool:
    return any(
        path == node or path.startswith((f"{node}/", f"{node}["))
        for path in (turn.path, strip_index(turn.path))
    )


async def _follow(store: Store, wanted: Wanted) -> None:
    """Tell what there is, and then what comes, until the run does not go on."""
    head = await find_run(store, wanted.run)
    builder, seq = ConversationBuilder(head), 0
    while True:
        log = await store.load(head.run_id, after_seq=seq)
        for record in log.records:
            seq = record.seq
            _print(builder.take(record), wanted)
        if log.head.status != "running":
            _print(builder.rest(), wanted)
            result(safe(format_headline(builder.close(log.head, time.time()))))
            return
        if log.head.lease is None or log.head.lease.expires_at < time.time():
            _print(builder.rest(), wanted)
            say(
                f"run {head.run_id} does not go on: its process is gone. `graphorch resume FLOW {head.run_id}` goes on with it."
            )
            return
        await asyncio.sleep(_PAUSE)


def _print(turns: list[Turn], wanted: Wanted) -> None:
    for turn in turns:
        if not wanted.node or _is_in(turn, wanted.node):
            result(safe("\n".join(format_turn(turn, full=wanted.full))))
