"""Signals to runs; with an id, a signal counts once however often it is sent."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from graphorch.engine.mailbox.expected_signals import build_signal, find_signal
from graphorch.engine.mailbox.letter_reader import require_open
from graphorch.errors import InputError
from graphorch.runs.mailbox import build_signal_letter
from graphorch.server.actions.letters import LetterReceipt, deliver, post_letter
from graphorch.server.actions.limits import keep_limits
from graphorch.server.actions.values import parse_value
from graphorch.server.context import ServerContext
from graphorch.server.fitting_run import open_fitting
from graphorch.server.problems import Problem


@dataclass(frozen=True, slots=True)
class SentSignal:
    """A signal: its name, what it carries, for which of those that wait, and its id."""

    name: str
    payload: dict[str, Any]
    key: str = ""
    id: str = ""


async def send_signal(context: ServerContext, run_id: str, sent: SentSignal) -> LetterReceipt:
    """Store a signal for a run, and have the run go on.

    Raises `Problem` for a run that is over, and a payload that does not fit, and `InputError` for a
    signal that the flow does not declare, or that nothing waits for and nothing keeps.
    """
    async with open_fitting(context, run_id, "A signal") as (run, plan):
        spec = find_signal(plan, sent.name)
        value = parse_value(spec.value, sent.payload, "/payload")
        replayed = run.rebuild(plan)
        try:
            require_open(replayed.run, "signal")
        except InputError as error:
            raise Problem(409, "run-over", str(error)) from error
        own = keep_limits(context, replayed)
        served = context.find_flow(run.head.flow)
        assert served is not None
    signal = build_signal(plan, sent.name, value, sent.key, context.clock())
    letter_id = f"signal-{sent.id}" if sent.id else uuid.uuid4().hex
    letter, is_left = await post_letter(
        context, build_signal_letter(plan, run_id, signal, letter_id)
    )
    return await deliver(context, served.flow, letter, own, is_left=is_left)
