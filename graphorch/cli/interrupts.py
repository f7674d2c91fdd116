"""Ctrl-C during a run: the first stops the run gently, the second leaves at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from graphorch.cli.exit_codes import INTERRUPTED
from graphorch.cli.terminal import print_status
from graphorch.errors import InputError

T = TypeVar("T")
_SECONDS_TO_CLEAN_UP = 1.0  # after the second Ctrl-C
_SHOW_CURSOR = "\x1b[?25h"


def run_until_interrupted(coroutine: Coroutine[Any, Any, T], stop: Callable[[], None]) -> T:
    """Run a coroutine on a loop of its own, and return its result; the first Ctrl-C calls `stop`.

    If `stop` raises `InputError`, nothing can be stopped gently, and the coroutine is cancelled.
    Raises `KeyboardInterrupt` if the coroutine was cancelled by Ctrl-C.
    """
    return asyncio.run(_run(coroutine, stop))


async def _run(coroutine: Coroutine[Any, Any, T], stop: Callable[[], None]) -> T:
    task = asyncio.ensure_future(coroutine)
    loop = asyncio.get_running_loop()
    interrupts = 0

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > 1:
            task.cancel()
            loop.call_later(_SECONDS_TO_CLEAN_UP, _leave)
            return
        print_status(
            "\ninterrupted: running nodes may finish, no others start; "
            "press Ctrl-C again to leave at once"
        )
        try:
            stop()
        except InputError:  # the run has not begun yet, or is over already
            task.cancel()

    # on Windows, or outside of the main thread, asyncio itself cancels the task
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        if interrupts:
            raise KeyboardInterrupt from None
        raise


def _leave() -> None:
    """End the process without waiting for a node that cannot be stopped."""
    if sys.stderr.isatty():
        # the live table, which hid the cursor, has no chance to show it again
        sys.stderr.write(_SHOW_CURSOR)
        sys.stderr.flush()
    os._exit(INTERRUPTED)
