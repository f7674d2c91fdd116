"""What a letter means for a run when its owner takes it in.

Rules of this file:

1. A letter becomes an event of the core, or it is refused with an error that its sender gets.
2. The order of the letters decides: the first answer to a question counts, and what comes after a
   cancellation is refused.
3. An answer that was given in time is in time, however late the owner takes it in.
4. A cancellation that meets a run which is stopping already interrupts what still runs, and takes
   effect once the run is at rest: the first reason to stop is kept until then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphorch.core.events import Event, NodeFailed, NodeSucceeded, SignalReceived, StopRequested
from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine import human_input
from graphorch.engine.mailbox.expected_signals import find_signal, require_expected
from graphorch.engine.waits.answer_codec import decode_answer
from graphorch.errors import (
    Expired,
    GraphorchError,
    InputError,
    QuestionClosed,
    Unstorable,
    as_failure,
)
from graphorch.journal.letter_kinds import read_letter_body
from graphorch.journal.records import Letter, Outcome
from graphorch.statuses import BETWEEN_OWNERS, FINAL_STATUSES
from graphorch.text import clean, format_error

TAKEN = Outcome()
_REFUSALS: dict[str, type[GraphorchError]] = {
    "InputError": InputError,
    "QuestionClosed": QuestionClosed,
    "Expired": Expired,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What follows from a letter: an event, and an outcome unless it is to be read again."""

    event: Event | None
    outcome: Outcome | None


class LetterReader:
    """Reads the letters of one run.

    `end_unanswered` makes what becomes of an activation whose question has expired, and
    `require_storable` raises `Unstorable` for an event that the journal could not give back.
    """

    def __init__(
        self,
        run: Run,
        end_unanswered: Callable[[Activation, Exception], NodeFailed | NodeSucceeded],
        require_storable: Callable[[Event], None],
    ) -> None:
        self._run = run
        self._end_unanswered = end_unanswered
        self._require_storable = require_storable

    def read(self, letter: Letter, now: float) -> Reading:
        """Return what follows from a letter at this moment."""
        try:
            return self._read(letter, now)
        except (InputError, Expired) as error:
            return Reading(None, refuse(error))

    def _read(self, letter: Letter, now: float) -> Reading:
        body = read_letter_body(letter)
        if body is None:
            raise InputError(
                f"Letter {letter.number} to run {self._run.run_id} is not what a '{letter.kind}' "
                "letter holds: another version of graphorch wrote it, it was altered, or its "
                "sender does not have the key of the run."
            )
        require_open(self._run, letter.kind)
        if letter.kind == "answer":
            return self._read_answer(body, now)
        if letter.kind == "signal":
            return self._read_signal(body, now)
        if letter.kind == "cancel":
            is_stopping = self._run.status == "running" and bool(self._run.stopping)
            undoes = body.get("undo", True) and self._run.plan.has_undos
            event = StopRequested("cancelled", "cancelled", at=now, undoes=undoes)
            return Reading(event, None if is_stopping else TAKEN)
        run = self._run
        is_between = run.status == "stopped" and run.reason in BETWEEN_OWNERS
        if run.status != "running" and not is_between:
            raise InputError(
                f"Run {self._run.run_id} is {self._run.status}: there is nothing to stop."
            )
        return Reading(StopRequested(clean(body["reason"]), now=body["now"], at=now), TAKEN)

    def _read_answer(self, body: dict[str, Any], now: float) -> Reading:
        activation = self._find_asker(body["question"], body["path"])
        try:
            value = decode_answer(activation.path, body, activation.question.answer)
            event = human_input.build_answer(activation, value, now, given_at=body["at"])
        except InputError:
            raise
        # The border to the user's validators: what they raise must not end the run.
        except BaseException as error:
            failure = as_failure(error)
            if failure is None:
                raise
            raise InputError(
                f"The answer to '{activation.path}' does not fit: {format_error(failure)}"
            ) from error
        if isinstance(event, Expired):
            return Reading(self._end_unanswered(activation, event), refuse(event))
        try:
            self._require_storable(event)
        except Unstorable as error:
            raise InputError(f"The answer to '{activation.path}' does not fit: {error}") from error
        return Reading(event, TAKEN)

    def _read_signal(self, body: dict[str, Any], now: float) -> Reading:
        name, key = body["name"], body["key"]
        spec = find_signal(self._run.plan, name)
        try:
            value = decode_answer(f"signal {name}", body, spec.value)
        except InputError:
            raise
        # The border to the user's validators: what they raise must not end the run.
        except BaseException as error:
            failure = as_failure(error)
            if failure is None:
                raise
            raise InputError(
                f"The value of signal '{name}' does not fit: {format_error(failure)}"
            ) from error
        event = SignalReceived(name, key, value, now)
        require_expected(self._run, event)
        try:
            self._require_storable(event)
        except Unstorable as error:
            raise InputError(f"The value of signal '{name}' does not fit: {error}") from error
        return Reading(event, TAKEN)

    def _find_asker(self, question: str, path: str) -> Activation:
        for activation in self._run.questions():
            if activation.id == question:
                return activation
        closed = human_input.find_closed_question(self._run, question)
        raise closed or QuestionClosed(f"Nothing asks '{path}' in run {self._run.run_id} any more.")


def require_open(run: Run, kind: str) -> None:
    """Raise `InputError` if a run is over, or about to be, so that no letter of a kind matters."""
    is_cancelled = bool(run.stopping) and run.stop_status == "cancelled"
    if run.status not in FINAL_STATUSES and not is_cancelled:
        return
    raise build_run_over(run.run_id, "cancelled" if is_cancelled else run.status, kind)


def build_run_over(run_id: str, status: str, kind: str) -> InputError:
    """Return the error of a letter to a run that is over."""
    return InputError(f"Run {run_id} is {status}: there is nothing left to {kind}.")


def refuse(error: GraphorchError) -> Outcome:
    """Return the outcome of a letter that is refused because of an error."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _REFUSALS]
    return Outcome(names[0], str(error))


def raise_refusal(outcome: Outcome) -> None:
    """Raise the error that a letter was refused with; do nothing if it was taken in."""
    if outcome.error:
        raise _REFUSALS.get(outcome.error, InputError)(outcome.message)
