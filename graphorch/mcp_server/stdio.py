"""A server over standard input and output, for as long as its client and its runs are there.

1. Standard output belongs to the protocol. Whatever else writes to it, also a program that a node
   starts, writes to standard error instead.
2. A client that leaves, by the end of standard input, ends no run: the server ends when all are at
   rest. A signal stops them; the next call for one of them lets it go on.
3. A cancelled call stops its run, since the protocol asks to stop the work. It can be resumed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, Final, TextIO

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from graphorch.errors import InputError
from graphorch.mcp_server.calls import ToolCalls
from graphorch.mcp_server.served_runs import CALL_CANCELLED, SERVER_ENDED, ServedRuns

_logger = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 1.0  # for running nodes after a signal; clients kill after two
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def claim_standard_streams() -> Generator[tuple[TextIO, TextIO]]:
    """Yield standard input and output for the protocol, and keep all others from them.

    Meanwhile the descriptors read nothing and write to standard error, for this process and those
    that it starts. Raises `InputError` if one of the streams is closed.
    """
    for name, stream in (("input", sys.stdin), ("output", sys.stdout), ("error", sys.stderr)):
        if stream is None:  # pyright: ignore[reportUnnecessaryComparison]  (a shell may close it)
            raise InputError(
                f"Standard {name} is closed. The protocol needs standard input and output, and "
                "what flows print goes to standard error."
            )
    sys.stdout.flush()
    wire_in, wire_out = os.dup(0), os.dup(1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    reader = TextIOWrapper(os.fdopen(wire_in, "rb"), encoding="utf-8", errors="replace")
    writer = TextIOWrapper(os.fdopen(wire_out, "wb"), encoding="utf-8", newline="\n")
    try:
        yield reader, writer
    finally:
        sys.stdout.flush()
        os.dup2(wire_out, 1)


async def serve(
    server: Server[Any], calls: ToolCalls, runs: ServedRuns, reader: TextIO, writer: TextIO
) -> None:
    """Serve one client until it leaves and every run is at rest, or until a signal ends both.

    After a signal the process ends here, with the code of that signal.
    """
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        # not on Windows, and not beside the main thread
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, _Ending(runs, number).begin)
    server.middleware.append(_Cancellation(calls, runs))
    streams = stdio_server(anyio.wrap_file(reader), anyio.wrap_file(writer))
    async with runs.opened():
        try:
            async with streams as (messages, answers):
                await server.run(messages, answers, server.create_initialization_options())
        except* OSError as lost:  # its end of a pipe is closed, so it has left too
            _logger.warning("The client does not read any more: %s", lost.exceptions[0])


class _Ending:
    """The end of a server by a signal: its runs stop, and the process leaves."""

    def __init__(self, runs: ServedRuns, number: signal.Signals) -> None:
        self._runs = runs
        self._number = number
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Stop the runs gently; a second signal leaves at once."""
        if self._task is not None:
            self._leave()
        self._task = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        for now in (False, True):  # nodes that finish soon may; then they are cancelled
            self._runs.stop_all(SERVER_ENDED, now=now)
            if await self._runs.wait_for_all(_GRACE_SECONDS / 2):
                break
        self._leave()

    def _leave(self) -> None:
        """End the process: a thread that reads from the client cannot be stopped otherwise."""
        sys.stdout.flush()  # what flows printed, on its way to standard error
        sys.stderr.flush()
        os._exit(128 + self._number)


class _Cancellation:
    """Stops the run of a call that the client cancels."""

    def __init__(self, calls: ToolCalls, runs: ServedRuns) -> None:
        self._calls = calls
        self._runs = runs

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Pass a message on; one that cancels a call stops the run of that call as well."""
        if ctx.method == "notifications/cancelled":
            run_id = self._calls.run_ids.pop((ctx.params or {}).get("requestId"), "")
            self._runs.stop(run_id, CALL_CANCELLED)
        return await call_next(ctx)
