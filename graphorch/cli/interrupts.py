"""Ctrl-C during a run: the first one lets what runs finish, the second one leaves at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from graphorch.cli.safe import say
from graphorch.errors import InputError

T = TypeVar("T")
_PATIENCE = 1.0  # seconds after the second Ctrl-C in which what runs may clean up
_SHOW_CURSOR = "\x1b[?25h"


def run_until_interrupted(coroutine: Coroutine[Any, Any, T], stop: Callable[[], None]) -> T:
    """Run a coroutine on a loop of its own; the first Ctrl-C calls `stop`. Raises `KeyboardInterrupt` after the second one."""
    return asyncio.run(_watched(coroutine, stop))


async def _watched(coroutine: Coroutine[Any, Any, T], stop: Callable[[], None]) -> T:
    task = asyncio.ensure_future(coroutine)
    loop = asyncio.get_running_loop()
    interrupts = 0

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts == 1:
            say(
                "\ninterrupted: nothing new starts, what runs may finish; press Ctrl-C again to leave at once"
            )
            try:
                stop()
            except InputError:  # the run has not begun yet, or is over already
                task.cancel()
        else:
            task.cancel()
            loop.call_later(_PATIENCE, _leave)

    # Windows, or not the main thread: there asyncio cancels the task
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        if interrupts:
            raise KeyboardInterrupt from None
        raise


def _leave() -> None:
    """End the process without waiting for a node that does not let itself be stopped."""
    if sys.stderr.isatty():
        sys.stderr.write(_SHOW_CURSOR)  # what hid it gets no chance to show it again
        sys.stderr.flush()
    os._exit(130)
