"""Letters that requests send to runs: stored first, then taken in by what drives the run.

1. What was accepted is in the journal before the response is sent: a crash after it loses nothing.
2. The run goes on in this process if nobody else drives it and it is not left to workers.
3. A response waits for a moment until the letter is taken in, so that a refusal reaches the client;
   a letter that nobody takes in within it is accepted all the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from graphorch.journal.records import Letter, NewLetter
from graphorch.runs.left_runs import find_left_run
from graphorch.runs.mailbox import read_outcome
from graphorch.runs.options import RunOptions
from graphorch.runs.work_queues import find_placed
from graphorch.server.context import ServerContext
from graphorch.server.served_flow import AnyFlow

Driver: TypeAlias = Literal["server", "owner", "workers"]
"""Who goes on with a run: this server, another process that drives it, or the next worker."""

_PATIENCE: Final = 0.5  # seconds in which a letter is usually taken in
_FIRST_PAUSE: Final = 0.005


@dataclass(frozen=True, slots=True)
class LetterReceipt:
    """A letter that is stored: it counts unless something that came before it closes the matter.

    `sent_at` is in seconds since 1970. `is_taken_in`: it is part of the run by now.
    """

    run_id: str
    letter: str
    sent_at: float
    is_taken_in: bool
    driver: Driver


async def post_letter(context: ServerContext, letter: NewLetter) -> tuple[Letter, bool]:
    """Store a letter, or return the one of its id that is stored.

    Also returns whether its run is left to workers; then one of them looks at it. Raises
    `JournalError`.
    """
    if letter.run_id in await find_placed(context.store, [letter.run_id]):
        async with find_left_run(context.durable, letter.run_id) as left:
            if left is not None:
                return await left.post(letter), True
    return await context.store.post(letter), False


async def deliver(
    context: ServerContext, flow: AnyFlow, letter: Letter, own: RunOptions, *, is_left: bool
) -> LetterReceipt:
    """See to it that a stored letter is taken in, and wait for that for a moment.

    `own` are options of the run, if this process has to go on with it. Raises `QuestionClosed`,
    `Expired` and `InputError` for a letter that was refused.
    """
    driver: Driver = "workers"
    if not is_left:
        head = await context.store.read_head(letter.run_id)
        is_elsewhere = head.is_under_way and not context.runs.is_at_work(letter.run_id)
        driver = "owner" if is_elsewhere else "server"
        context.runs.settle(flow, letter, own)
    taken = await await_taken(context, letter)
    return LetterReceipt(letter.run_id, letter.letter_id, letter.sent_at, taken, driver)


async def await_taken(context: ServerContext, letter: Letter) -> bool:
    """Return whether a letter is taken in within a moment. Raises as `deliver` does."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + _PATIENCE, _FIRST_PAUSE
    while not await read_outcome(context.store, letter):
        if loop.time() >= deadline or context.ending.is_set():
            return False
        await asyncio.sleep(pause)
        pause *= 1.5
    return True
