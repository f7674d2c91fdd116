"""Calls of the function that hears of a run's questions, beside the run.

Rules of this file:
1. A call never holds the run up and never fails it: what it raises is logged, once.
2. The calls about one question are made one after another, in the order in which things happened.
   Those about different questions run at once, up to `_MOST_AT_ONCE`.
3. A call that takes longer than `CALL_SECONDS` is given up. So are the calls that have not ended
   that long after the run came to rest; the log names them.
4. A plain function runs in a thread, which cannot be stopped: one that is given up goes on there.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Final

from graphorch.callables import is_async
from graphorch.engine.questions.question_event import OnQuestion, QuestionEvent
from graphorch.errors import as_failure
from graphorch.text import format_error
from graphorch.threads import run_in_thread

CALL_SECONDS: Final = 30.0
INTERRUPTED_SECONDS: Final = 1.0  # for what is left of an interrupted run, whose caller wants to go
_LAST_SECONDS: Final = 1.0  # in which a call that was given up may end
_MOST_AT_ONCE: Final = 16

_LOG = logging.getLogger(__name__)


class HookCalls:
    """Calls that were begun while one engagement of a run was under way."""

    def __init__(self) -> None:
        self._calls: set[asyncio.Task[None]] = set()  # that have not ended
        self._last: dict[str, asyncio.Task[None]] = {}  # by question
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)

    def begin(self, function: OnQuestion, event: QuestionEvent) -> None:
        """Call the function with an event, soon."""
        call = self._make(function, event, self._last.get(event.id))
        task = asyncio.get_running_loop().create_task(call)
        self._last[event.id] = task
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def finish(self, seconds: float) -> None:
        """Wait for the calls that are left, so many seconds at most, and give up the rest."""
        calls = list(self._calls)
        if not calls:
            return
        try:
            await asyncio.wait(calls, timeout=seconds)
        finally:
            left = [call for call in calls if not call.done()]
            for call in left:
                call.cancel()
            if left:
                await asyncio.wait(left, timeout=_LAST_SECONDS)

    async def _make(
        self, function: OnQuestion, event: QuestionEvent, previous: asyncio.Task[None] | None
    ) -> None:
        limit = asyncio.timeout(CALL_SECONDS)
        try:
            if previous is not None:
                await asyncio.wait([previous])
            async with self._slots, limit:
                await _call(function, event)
        # The border to the user's function.
        except BaseException as error:
            failure, is_given_up = as_failure(error), _is_given_up()
            if limit.expired():
                _log_given_up(event, f"it took {CALL_SECONDS:g} s")
            elif is_given_up:
                _log_given_up(event, "the run has ended")
            elif failure is not None:
                _log_failure(event, failure)
            if failure is None or is_given_up:
                raise


def _is_given_up() -> bool:
    """Return whether the call that runs here was cancelled by `finish`."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _call(function: OnQuestion, event: QuestionEvent) -> None:
    result = function(event) if is_async(function) else await run_in_thread(function, event)
    if inspect.isawaitable(result):  # of a plain function around an async one, too
        await result


def _log_failure(event: QuestionEvent, failure: Exception) -> None:
    raised, what = format_error(failure), _describe(event)
    _LOG.error("on_question raised %s when %s.", raised, what, exc_info=failure)


def _log_given_up(event: QuestionEvent, why: str) -> None:
    _LOG.warning("on_question was called when %s, and given up: %s.", _describe(event), why)


def _describe(event: QuestionEvent) -> str:
    return f"question '{event.path}' of run {event.run_id} was {event.kind}"
