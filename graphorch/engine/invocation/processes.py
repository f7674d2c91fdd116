"""Worker processes for nodes with `isolation="process"`: kept for the next call while a run lasts.

Theory of operation. A worker is a fresh interpreter (see `process_worker`) in its own process
group. A thread talks to it over two pipes, so any event loop on any thread will do. A call that is
cancelled sends SIGTERM, and SIGKILL to the whole group soon after; the cancellation continues only
when the process is gone. So no worker outlives its run, and no process that a node started either.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel

from graphorch.engine.invocation.call_codec import CallCodec
from graphorch.engine.invocation.process_protocol import (
    Address,
    ProcessError,
    Unportable,
    decode_error,
    encode_header,
)
from graphorch.graph.node import Node
from graphorch.threads import ThreadPool

T = TypeVar("T")

TERM_SECONDS: Final = 0.5  # between SIGTERM and SIGKILL
END_SECONDS: Final = 2.0  # for an idle worker to end by itself
INSIDE: Final = "GRAPHORCH_WORKER"  # set in the environment of a worker
_PROGRAM: Final = (
    "import sys; sys.path[:] = sys.argv[1:]; del sys.argv[1:]; "
    "from graphorch.engine.invocation.process_worker import main; main()"
)
_SIGNAL_CAUSES: Final = {
    "SIGSEGV": "a crash in compiled code",
    "SIGABRT": "a crash in compiled code",
    "SIGKILL": "perhaps it needed more memory than there was",
}


class WorkerDied(ProcessError):
    """The process that ran a node ended before it answered.

    `exit_code` is that of the process; -9 means that signal 9 killed it.
    """

    def __init__(self, node: str, exit_code: int) -> None:
        self.exit_code = exit_code
        reason = _explain_exit(exit_code)
        super().__init__(f"The worker process of '{node}' died before it answered: {reason}")


class ProcessPool:
    """Runs node functions of one run in processes, as many at once as there are cores."""

    def __init__(self, limit: int | None = None) -> None:
        limit = limit or os.cpu_count() or 1
        self._slots = asyncio.Semaphore(limit)
        self._threads = ThreadPool(limit)
        self._idle: list[WorkerProcess] = []
        self._codec = CallCodec()

    async def call(
        self,
        node: Node[Any],
        slices: Sequence[BaseModel | None],
        declared: Iterable[type[BaseException]] = (),
    ) -> Any:
        """Return what the node's function returns for these slices.

        Cancelling the wait kills the process. Raises what the function raised if its class is
        `declared`, builtin or one of graphorch's, else `ProcessError`; `WorkerDied`; and
        `Unportable` for a node or a value that cannot be sent.
        """
        message = self._build_message(node, slices)
        async with self._slots:
            worker = self._idle.pop() if self._idle else WorkerProcess()
            lines = await self._exchange(worker, message)
            if not lines:
                exit_code = await _finish(self._threads.call(worker.end, TERM_SECONDS))
                raise WorkerDied(node.name, exit_code)
            self._idle.append(worker)
        header = json.loads(lines[0])
        if "error" in header:
            raise decode_error(header["error"], declared)
        return self._codec.decode_output(node.signature, lines[1:], header.get("same"), slices)

    async def close(self) -> None:
        """End every process, and return when they are gone."""
        workers, self._idle = self._idle, []
        try:
            await _finish(self._end_all(workers))
        finally:
            self._threads.close()

    async def _end_all(self, workers: list[WorkerProcess]) -> None:
        for worker in workers:
            worker.dismiss()
        for worker in workers:
            await self._threads.call(worker.end, END_SECONDS)

    async def _exchange(self, worker: WorkerProcess, message: bytes) -> list[bytes]:
        """Return the lines that a worker answers; end the worker when cancelled."""
        exchange = asyncio.ensure_future(self._threads.call(worker.exchange, message))
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError:
            worker.terminate()
            await _finish(self._end_terminated(exchange, worker))
            raise

    async def _end_terminated(
        self, exchange: asyncio.Future[list[bytes]], worker: WorkerProcess
    ) -> None:
        await asyncio.wait([exchange])
        await self._threads.call(worker.end, TERM_SECONDS)

    def _build_message(self, node: Node[Any], slices: Sequence[BaseModel | None]) -> bytes:
        address = build_address(node)
        lines = self._codec.encode_arguments(node.signature, slices)
        header = encode_header(
            {
                "module": address.module,
                "name": address.name,
                "file": address.file,
                "tool": address.tool,
                "lines": len(lines),
            }
        )
        return b"\n".join([header, *lines, b""])


class WorkerProcess:
    """One worker process.

    Its methods block, except `terminate` and `dismiss`, and are called by one thread at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_terminated = False
        self._timers: list[threading.Timer] = []

    def exchange(self, message: bytes) -> list[bytes]:
        """Return the lines that answer a message; none if the process died.

        The first call starts the process.
        """
        process = self._start_once()
        if process is None:
            return []
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(message)
            process.stdin.flush()
        first = process.stdout.readline()
        if not first.endswith(b"\n"):
            return []
        lines = [first, *(process.stdout.readline() for _ in range(json.loads(first)["lines"]))]
        return lines if all(line.endswith(b"\n") for line in lines) else []

    def terminate(self) -> None:
        """Make the process end soon, whatever it is doing."""
        with self._lock:
            self._is_terminated = True
            if self._process is not None:
                self._process.terminate()
                self._kill_after(TERM_SECONDS)

    def dismiss(self) -> None:
        """Let an idle process end by itself: close its input."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it is gone already
                self._process.stdin.close()

    def end(self, seconds: float) -> int:
        """Wait for the process to end, and return its exit code.

        After some seconds it is killed. Nothing that it started is left running.
        """
        process = self._process
        if process is None:
            return 0
        self.dismiss()
        self._kill_after(seconds)
        if sys.platform != "win32":
            # Until it is reaped, no other process can get its number: killing the group is safe.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self._kill()
        code = process.wait()
        with self._lock:
            self._process = None
        for timer in self._timers:
            timer.cancel()
        assert process.stdout is not None
        process.stdout.close()
        return code

    def _start_once(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._process is None and not self._is_terminated:
                self._process = _start_process()
            return self._process

    def _kill_after(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._kill_if_running)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _kill_if_running(self) -> None:
        with self._lock:
            self._kill()

    def _kill(self) -> None:
        """Kill the process and everything that it started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)


def build_address(node: Node[Any]) -> Address:
    """Return where a worker finds a node. Raises `Unportable` for one that cannot be imported."""
    module, name = getattr(node.fn, "__module__", None), getattr(node.fn, "__qualname__", "")
    if INSIDE in os.environ:
        raise _build_unportable(
            node,
            "this is a worker process itself",
            "Put what runs flows under `if __name__ == '__main__':`",
        )
    if not name or "<" in name:
        raise _build_unportable(
            node,
            f"{name or 'its function'} has no name that can be imported",
            "Define it with `def` at the top level of a module",
        )
    home: Any = sys.modules.get(str(module))
    file = getattr(home, "__file__", None)
    target = home
    for part in name.split("."):
        target = getattr(target, part, None)
    is_tool = node.kind == "tool"
    written = cast("Any", node.fn).fn if is_tool else node.fn
    if _find_function(target, is_tool=is_tool) is not written:
        raise _build_unportable(
            node,
            f"{module}.{name} is not its function",
            "Give the function a name of its own in its module",
        )
    tool = cast("Any", node.fn).name if is_tool else ""
    if module == "__main__" and home.__spec__ is not None:
        return Address(home.__spec__.name, name, file, tool)
    if module == "__main__" and file is None:
        raise _build_unportable(
            node, "it was defined in an interactive session", "Put it into a module, and import it"
        )
    return Address(str(module), name, os.path.abspath(file) if file else None, tool)


def _find_function(target: object, *, is_tool: bool) -> object:
    """Return the function of what a module has under a name: a node, a tool, or itself."""
    if isinstance(target, Node):
        return target.fn
    if is_tool:
        from graphorch.agents.tool import Tool

        if isinstance(target, Tool):
            return target.fn
    return target


def _build_unportable(node: Node[Any], why: str, fix: str) -> Unportable:
    is_tool = node.kind == "tool"
    what = f"Tool '{cast('Any', node.fn).name}'" if is_tool else f"Node '{node.name}'"
    return Unportable(
        f'{what} has isolation="process", and another process cannot import it: {why}. {fix}.'
    )


def _start_process() -> subprocess.Popen[bytes]:
    command = [sys.executable, *["-O"] * sys.flags.optimize, "-c", _PROGRAM, *map(str, sys.path)]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, INSIDE: "1"},
            start_new_session=True,
        )
    except OSError as error:
        raise ProcessError(
            f"No worker process could be started: {error}. Python is {sys.executable!r}."
        ) from error


def _explain_exit(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}. Return from the function, or raise."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    cause = _SIGNAL_CAUSES.get(name)
    return f"it was killed by {name}, {cause}." if cause else f"it was killed by {name}."


async def _finish(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of some work; when cancelled meanwhile, be cancelled after its end."""
    task = asyncio.ensure_future(work)
    interrupt: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interrupt = error
    if interrupt is not None:
        task.exception()  # or asyncio would report that it was never retrieved
        raise interrupt
    return task.result()
