"""Messages over the standard input and output of a server that is started as a program.

Rules of this file:
1. The server gets a process group of its own, which is ended as a whole: its input is closed, then
   it is asked to end, then it is killed. So no child of it outlives the connection, and Ctrl-C in a
   terminal does not reach it before its calls have ended.
2. What it writes to standard error is always read, and only the end of it is kept.
3. Its end is noticed by itself, even while a child of it holds its output open.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
import mcp_types as types
from mcp.shared.message import SessionMessage

from graphorch.agents.mcp.connections.environment import build_environment
from graphorch.agents.mcp.connections.last_words import LastWords
from graphorch.agents.mcp.connections.wire import TOO_LARGE, UNREADABLE, Line, LineCutter
from graphorch.agents.mcp.declaration import ServerDeclaration, StdioLaunch
from graphorch.agents.mcp.errors import ServerUnavailable

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.client._transport import TransportStreams

    Incoming = MemoryObjectSendStream[SessionMessage | Exception]
    Outgoing = MemoryObjectReceiveStream[SessionMessage]

_PIECE: Final = 65_536  # bytes that are read at once
_FLUSH_SECONDS: Final = 0.5
_EXIT_SECONDS: Final = 1.0  # to end by itself after its input was closed
_TERM_SECONDS: Final = 2.0  # to end after it was asked to
_CHILD_SECONDS: Final = 0.5  # for its children to end after it has
_DRAIN_SECONDS: Final = 0.5  # to read what a server wrote before it ended
_POLL_SECONDS: Final = 0.01


class _Protocol(SubprocessStreamProtocol):
    """Streams of a process, and the moment of its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_PIECE, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        """Note the end of the process, whatever of its output is still open."""
        super().process_exited()
        self.exited.set()


@dataclass(frozen=True, slots=True)
class _Program:
    """A server that was started."""

    process: Process
    transport: asyncio.SubprocessTransport
    exited: asyncio.Event


@asynccontextmanager
async def open_pipes(
    server: ServerDeclaration, launch: StdioLaunch, words: LastWords, on_end: Callable[[], None]
) -> AsyncGenerator[TransportStreams]:
    """Start a server, yield its streams, and end it.

    `on_end` is called when the server ends, or closes its output. Raises `ServerUnavailable` if
    the server cannot be started.
    """
    program = await _start(server, launch)
    incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    # Unbounded, so that a server which does not read cannot hold up a caller that gives up.
    sending, outgoing = anyio.create_memory_object_stream[SessionMessage](math.inf)

    def end() -> None:
        on_end()
        incoming.close()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_keep_errors, program.process, words)
            tasks.start_soon(_read_until_end, program, incoming, server, words, end)
            tasks.start_soon(_write_messages, program.process, outgoing, end)
            try:
                yield received, sending
            finally:
                with anyio.CancelScope(shield=True):
                    sending.close()
                    await _stop(program)
                tasks.cancel_scope.cancel()
    finally:
        _kill_group(program.process)
        program.transport.close()
        for stream in (incoming, received, sending, outgoing):
            stream.close()


# ---- start and end -------------------------------------------------------------------------------
async def _start(server: ServerDeclaration, launch: StdioLaunch) -> _Program:
    loop = asyncio.get_running_loop()
    environment = build_environment(server, launch, os.environ)
    if launch.cwd is not None and not os.path.isdir(launch.cwd):  # noqa: ASYNC240
        raise ServerUnavailable(
            f"MCP server '{server.name}' cannot start: its folder {launch.cwd!r} does not exist. "
            "Mend cwd=.",
            server=server.name,
        )
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(loop),
            launch.command,
            *launch.args,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environment,
            cwd=launch.cwd,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ServerUnavailable(
            f"MCP server '{server.name}' cannot start: there is no program '{launch.command}'. "
            "Install it, or give its path.",
            server=server.name,
        ) from None
    except OSError as error:
        raise ServerUnavailable(
            f"MCP server '{server.name}' cannot start: '{launch.command}' cannot be run "
            f"({error.strerror or error}).",
            server=server.name,
        ) from None
    return _Program(Process(transport, protocol, loop), transport, protocol.exited)


async def _stop(program: _Program) -> None:
    """End a server: close its input, ask it to end, kill it; each after a while."""
    process, exited = program.process, program.exited
    assert process.stdin is not None
    with anyio.move_on_after(_FLUSH_SECONDS), suppress(OSError):
        await process.stdin.drain()
    process.stdin.close()
    with anyio.move_on_after(_EXIT_SECONDS):
        await exited.wait()
    # Also after it ended by itself: children of it may be left.
    if not _signal_group(process, signal.SIGTERM):
        return
    with anyio.move_on_after(_TERM_SECONDS):
        await exited.wait()
    if exited.is_set():
        with anyio.move_on_after(_CHILD_SECONDS):
            # Nothing tells when the last child of a group ends.
            while _signal_group(process, 0):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_SECONDS)
    _kill_group(process)
    with anyio.move_on_after(_TERM_SECONDS):
        await exited.wait()


def _kill_group(process: Process) -> None:
    _signal_group(process, getattr(signal, "SIGKILL", signal.SIGTERM))


def _signal_group(process: Process, number: int) -> bool:
    """Send a signal to a server and its children; return whether any of them is there."""
    if not hasattr(os, "killpg"):  # Windows has no process groups
        if process.returncode is None and number:
            process.kill()
        return process.returncode is None
    try:
        # The leader's number is that of its group, also after the leader has ended.
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS says so of a group in which only ended processes are left.
        return process.returncode is None
    return True


# ---- read ----------------------------------------------------------------------------------------
async def _keep_errors(process: Process, words: LastWords) -> None:
    assert process.stderr is not None
    while piece := await process.stderr.read(_PIECE):
        words.hear(piece)


async def _read_until_end(
    program: _Program,
    incoming: Incoming,
    server: ServerDeclaration,
    words: LastWords,
    end: Callable[[], None],
) -> None:
    """Deliver messages until the server ends or closes its output; then end the session."""
    async with anyio.create_task_group() as tasks:

        async def wait_for_exit() -> None:
            await program.exited.wait()
            # What it wrote before is still on the way, unless a child holds the pipe open.
            await asyncio.sleep(_DRAIN_SECONDS)
            tasks.cancel_scope.cancel()

        tasks.start_soon(wait_for_exit)
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the session is over
            await _deliver_messages(program.process, incoming, server, words)
        tasks.cancel_scope.cancel()
    # One that closes its output is about to end, and its status says why.
    with anyio.move_on_after(_DRAIN_SECONDS):
        await program.exited.wait()
    words.exit_code = program.process.returncode
    end()


async def _deliver_messages(
    process: Process, incoming: Incoming, server: ServerDeclaration, words: LastWords
) -> None:
    assert process.stdout is not None
    cutter = LineCutter(server.limits.bytes)
    while piece := await process.stdout.read(_PIECE):
        for line in cutter.feed(piece):
            message = _read_message(line, server, words)
            if message is not None:
                await incoming.send(SessionMessage(message))


def _read_message(
    line: Line, server: ServerDeclaration, words: LastWords
) -> types.JSONRPCMessage | None:
    """Return the message of a line, or the failure of the call that it seems to answer."""
    if not line.head.strip():
        return None
    code, reason = TOO_LARGE, f"{line.size:,} bytes, and {server.limits.bytes:,} are read"
    if line.is_whole:
        try:
            message = types.jsonrpc_message_adapter.validate_json(line.head, by_name=False)
        except ValueError:
            code, reason = UNREADABLE, _find_fault(line.head)
        else:
            if isinstance(message, types.JSONRPCError) and message.id is None:
                words.hear_noise(line.show())  # it refuses a request and does not say which
            return message
    request = line.find_request()
    if request is None:
        words.hear_noise(line.show())
        return None
    error = types.ErrorData(code=code, message=reason)
    return types.JSONRPCError(jsonrpc="2.0", id=request, error=error)


def _find_fault(line: bytes) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 text (byte {error.start})"
    return "it is not a JSON-RPC message"


# ---- write ---------------------------------------------------------------------------------------
async def _write_messages(process: Process, outgoing: Outgoing, end: Callable[[], None]) -> None:
    assert process.stdin is not None
    try:
        async for message in outgoing:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(text.encode() + b"\n")
            await process.stdin.drain()
    except (OSError, anyio.ClosedResourceError):
        # It reads no more, so nothing that waits for it can be answered.
        await asyncio.sleep(_DRAIN_SECONDS)
        end()
