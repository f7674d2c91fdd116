"""Letters to runs that another process, or another part of this one, drives.

An owner takes a letter in within moments, as long as its event loop runs. If nobody owns the run
any more, a letter stays for whoever resumes it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from graphorch.core.events import SignalReceived
from graphorch.engine import human_input
from graphorch.engine.mailbox.expected_signals import find_signal
from graphorch.engine.mailbox.letter_reader import raise_refusal, require_open
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.engine.tool_calls.approval import ToolNotKnown
from graphorch.engine.waits.answer_codec import encode_answer
from graphorch.errors import InputError
from graphorch.graph.plan import Plan
from graphorch.journal.errors import LeaseHeld
from graphorch.journal.letter_kinds import LetterKind
from graphorch.journal.records import Letter, NewLetter, RunHead
from graphorch.journal.store import Store
from graphorch.runs.clients import ReplayClient
from graphorch.runs.durable import rebuild_run
from graphorch.runs.result import find_asker

T = TypeVar("T")
PAUSE: Final = 0.02  # seconds between two looks at a letter


# ---- writing -------------------------------------------------------------------------------------
def build_answer_letter(
    scheduler: Scheduler,
    question: object,
    answer: object,
    at: float,
    *,
    by: str = "",
    letter_id: str = "",
) -> NewLetter:
    """Return an answer that was given `at` a time as a letter to its run.

    `by` names the request that brought it. Raises `InputError` for an answer that does not fit, or
    whose question is not open.
    """
    require_open(scheduler.run, "answer")
    activation = find_asker(scheduler, question)
    with suppress(ToolNotKnown):  # the owner knows the tool, and checks its arguments
        human_input.build_answer(activation, answer, at)  # raises for what does not fit
    value = human_input.widen_answer(answer, activation.question)
    assert isinstance(value, BaseModel)
    body = {"question": activation.id, "path": activation.path, "at": at}
    fields = encode_answer(activation.path, value, activation.question.answer)
    if by:
        fields["by"] = by
    return build_letter(scheduler.run.run_id, "answer", {**body, **fields}, letter_id)


def build_signal_letter(
    plan: Plan, run_id: str, signal: SignalReceived, letter_id: str = ""
) -> NewLetter:
    """Return a signal as a letter to a run; with an id, the same signal counts once.

    Raises `InputError` for a signal that the flow does not declare, or of another type.
    """
    spec = find_signal(plan, signal.name)
    body = {"name": signal.name, "key": signal.key, "at": signal.at}
    fields = encode_answer(f"signal {signal.name}", signal.value, spec.value)
    return build_letter(run_id, "signal", {**body, **fields}, letter_id)


def build_letter(
    run_id: str, kind: LetterKind, body: Mapping[str, Any], letter_id: str = ""
) -> NewLetter:
    """Return a letter with this id, or one of its own."""
    return NewLetter(run_id, letter_id or uuid.uuid4().hex, kind, dict(body))


async def read_run(store: Store, plan: Plan, run_id: str) -> Scheduler:
    """Return a run as its records left it, to be looked at only."""
    _, replayed = await rebuild_run(store, plan, run_id)
    settings = RunSettings(client=ReplayClient(), run_id=run_id)
    return Scheduler.from_records(plan, settings, replayed, None)


async def send_stop(store: Store, run_id: str, reason: str, *, now: bool) -> Letter:
    """Ask the owner of a run to stop. Raises `InputError` for a run without one."""
    head = await store.read_head(run_id)
    if not head.is_under_way:
        raise InputError(f"Run {run_id} is not under way: there is nothing to stop.")
    return await store.post(build_letter(run_id, "stop", {"reason": reason, "now": now}))


# ---- waiting -------------------------------------------------------------------------------------
async def wait_for_outcome(store: Store, letter: Letter) -> bool:
    """Return whether a letter was taken in; not if its run has no owner any more.

    Raises the error that it was refused with, and `InputError` if it is gone with its run.
    """
    while not await read_outcome(store, letter):
        if not (await store.read_head(letter.run_id)).is_under_way:
            # The owner may have taken it in with its last records.
            return await read_outcome(store, letter)
        await asyncio.sleep(PAUSE)
    return True


async def read_outcome(store: Store, letter: Letter) -> bool:
    """Return whether a letter was taken in by now. Raises as `wait_for_outcome` does."""
    for stored in await store.list_letters(letter.run_id, after=letter.number - 1):
        if stored.number == letter.number:
            if stored.outcome is None:
                return False
            raise_refusal(stored.outcome)
            return True
    raise InputError(f"The content of run {letter.run_id} was erased before it took this in.")


async def require_taken(store: Store, letter: Letter) -> None:
    """Return once the owner of a run has taken a letter in, or raise why it was refused.

    Raises `InputError` if nobody drives the run; the letter stays for whoever resumes it.
    """
    if not await wait_for_outcome(store, letter):
        raise InputError(
            f"Nobody drives run {letter.run_id} now. The {letter.kind} is kept, and acts when the "
            "run is resumed."
        )


async def wait_for_rest(store: Store, run_id: str) -> RunHead:
    """Return the head of a run once it has no owner."""
    while True:
        head = await store.read_head(run_id)
        if not head.is_under_way:
            return head
        await asyncio.sleep(PAUSE)


# ---- cancelling ----------------------------------------------------------------------------------
async def cancel_with_owner(
    store: Store,
    run_id: str,
    cancel: Callable[[], Awaitable[T]],
    *,
    wait: bool,
    undo: bool = True,
) -> T | None:
    """Cancel a run by `cancel`, which raises `LeaseHeld` for a run with an owner, or by its owner.

    Returns what `cancel` returns, and None if the owner cancels the run, or will if there is no
    `wait`. Raises `InputError` if the run is over before.
    """
    letter: Letter | None = None
    while True:
        try:
            return await cancel()
        except LeaseHeld:
            body = {} if undo else {"undo": False}
            letter = letter or await store.post(build_letter(run_id, "cancel", body))
            if not wait:
                return None
        if await wait_for_outcome(store, letter):
            await wait_for_rest(store, run_id)
            return None
        await asyncio.sleep(PAUSE)
