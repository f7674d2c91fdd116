"""Worker processes for nodes with `isolation="process"`: kept warm while a run lasts, killed when nobody waits for them any more.

Theory of operation. A worker is a fresh interpreter (see `process_worker`) in a process group of its own, spoken to over two pipes by a
thread, so any event loop on any thread will do. A call that is cancelled sends SIGTERM, and SIGKILL to the whole group soon after; only
when the process is gone does the cancellation go on. So nothing of a worker outlives its run, and what a node started goes with it.
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
from typing import Any, TypeVar

from pydantic import BaseModel

from graphorch.engine.invocation.process_protocol import (
    NOTHING,
    Address,
    ProcessError,
    SliceCodec,
    Unportable,
    decode_error,
    header,
)
from graphorch.engine.invocation.threads import ThreadPool
from graphorch.graph.node import Node

T = TypeVar("T")

TERM_SECONDS = 0.5  # between SIGTERM and SIGKILL
END_SECONDS = 2.0  # for an idle worker to end by itself
INSIDE = "GRAPHORCH_WORKER"  # set in the environment of a worker
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; del sys.argv[1:]; from graphorch.engine.invocation.process_worker import main; main()"


class WorkerDied(ProcessError):
    """The process that ran a node ended before it answered. `exit_code` is that of the process, negative for the signal that killed it."""

    def __init__(self, node: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(
            f"The worker process of '{node}' died before it answered: {_how(exit_code)}"
        )


class ProcessPool:
    """Runs node functions in processes, as many at once as there are cores. One per run; `close` ends them."""

    def __init__(self, limit: int | None = None) -> None:
        most = limit or os.cpu_count() or 1
        self._room = asyncio.Semaphore(most)
        self._threads = ThreadPool(most)
        self._idle: list[WorkerProcess] = []
        self._codecs: dict[type[BaseModel], SliceCodec[Any]] = {}

    async def call(
        self,
        node: Node[Any],
        slices: Sequence[BaseModel | None],
        declared: Iterable[type[BaseException]] = (),
    ) -> Any:
        """What the node's function returns for these slices. Cancelling the wait kills the process.

        Raises what the function raised, as far as its class is `declared`, builtin or one of graphorch's, else as `ProcessError`;
        `WorkerDied`, and `Unportable` for a node or a value that cannot cross.
        """
        message = self._message(node, slices)
        async with self._room:
            worker = self._idle.pop() if self._idle else WorkerProcess()
            answer = await self._exchange(worker, message)
            if not answer:
                raise WorkerDied(
                    node.name, await _to_the_end(self._threads.call(worker.end, TERM_SECONDS))
                )
            self._idle.append(worker)
        head = json.loads(answer[0])
        if "error" in head:
            raise decode_error(head["error"], declared)
        return self._output(node, slices, head, answer[1:])

    async def close(self) -> None:
        """End every process, and return when they are gone."""
        workers, self._idle = self._idle, []
        try:
            await _to_the_end(self._end(workers))
        finally:
            self._threads.close()

    async def _end(self, workers: list[WorkerProcess]) -> None:
        for worker in workers:
            worker.dismiss()
        for worker in workers:
            await self._threads.call(worker.end, END_SECONDS)

    async def _exchange(self, worker: WorkerProcess, message: bytes) -> list[bytes]:
        job = asyncio.ensure_future(self._threads.call(worker.exchange, message))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            worker.terminate()
            await _to_the_end(self._gone(job, worker))
            raise

    async def _gone(self, job: asyncio.Future[list[bytes]], worker: WorkerProcess) -> None:
        await asyncio.wait([job])
        await self._threads.call(worker.end, TERM_SECONDS)

    def _message(self, node: Node[Any], slices: Sequence[BaseModel | None]) -> bytes:
        address = build_address(node)
        reads = node.signature.reads
        lines = [
            NOTHING if model is None else self._codec(read.model or type(model)).encode(model)
            for read, model in zip(reads, slices, strict=True)
        ]
        head = header(
            {
                "module": address.module,
                "name": address.name,
                "file": address.file,
                "lines": len(lines),
            }
        )
        return b"\n".join([head, *lines, b""])

    def _output(
        self,
        node: Node[Any],
        slices: Sequence[BaseModel | None],
        head: dict[str, Any],
        lines: list[bytes],
    ) -> Any:
        made: list[BaseModel] = [
            self._codec(model).decode(line)
            for model, line in zip(node.signature.writes, lines, strict=False)
        ]
        if not made:
            return None
        if head["same"] is not None:  # it returned what it was handed, perhaps changed
            given: Any = slices[int(head["same"])]
            given.__dict__.update(made[0].__dict__)
            given.__pydantic_fields_set__.update(made[0].__pydantic_fields_set__)
            return given
        return made[0] if len(made) == 1 else tuple(made)

    def _codec(self, model: type[BaseModel]) -> SliceCodec[Any]:
        return self._codecs.get(model) or self._codecs.setdefault(model, SliceCodec(model))


class WorkerProcess:
    """One process. Every method but `terminate` and `dismiss` blocks, and is called by one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False
        self._timers: list[threading.Timer] = []

    def exchange(self, message: bytes) -> list[bytes]:
        """The lines that answer a message; none if the process died. Starts it at the first call."""
        process = self._started()
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
        """Have the process end soon, whatever it does."""
        with self._lock:
            self._is_over = True
            if self._process is not None:
                self._process.terminate()
                self._kill_after(TERM_SECONDS)

    def dismiss(self) -> None:
        """Tell an idle process that there is nothing left to do."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it is gone already
                self._process.stdin.close()

    def end(self, seconds: float) -> int:
        """Wait for the process to end, with force after some time; see that nothing of it is left, and return its exit code."""
        process = self._process
        if process is None:
            return 0
        self.dismiss()
        self._kill_after(seconds)
        if sys.platform != "win32":
            # while it is not reaped, its number is its own
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

    def _started(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._process is None and not self._is_over:
                self._process = _start()
            return self._process

    def _kill_after(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._kill_if_there)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _kill_if_there(self) -> None:
        with self._lock:
            self._kill()

    def _kill(self) -> None:
        """The process, and whatever it started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)


def build_address(node: Node[Any]) -> Address:
    """Where a worker finds the node. Raises `Unportable` for one that cannot be imported, with how to change that."""
    module, name = getattr(node.fn, "__module__", None), getattr(node.fn, "__qualname__", "")
    if INSIDE in os.environ:
        raise _refused(
            node,
            "this is a worker process itself",
            "Put what runs flows under `if __name__ == '__main__':`",
        )
    if not name or "<" in name:
        raise _refused(
            node,
            f"{name or 'its function'} has no name that can be imported",
            "Define it with `def` at the top level of a module",
        )
    found: Any = sys.modules.get(str(module))
    home, file = found, getattr(found, "__file__", None)
    for part in name.split("."):
        found = getattr(found, part, None)
    if (found.fn if isinstance(found, Node) else found) is not node.fn:
        raise _refused(
            node,
            f"{module}.{name} is something else than its function",
            "Give the function a name of its own in its module",
        )
    if module == "__main__" and home.__spec__ is not None:
        return Address(home.__spec__.name, name, file)
    if module == "__main__" and file is None:
        raise _refused(
            node, "it was defined in an interactive session", "Put it into a module, and import it"
        )
    return Address(str(module), name, os.path.abspath(file) if file else None)


def _refused(node: Node[Any], why: str, fix: str) -> Unportable:
    return Unportable(
        f"Node '{node.name}' has isolation=\"process\", and another process cannot import it: {why}. {fix}."
    )


def _start() -> subprocess.Popen[bytes]:
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


def _how(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}. Return from the function, or raise."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = {
        "SIGSEGV": "a crash in compiled code",
        "SIGABRT": "a crash in compiled code",
        "SIGKILL": "perhaps it needed more memory than there was",
    }.get(name)
    return f"it was killed by {name}{f', {hint}' if hint else ''}."


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """What something returns; when cancelled meanwhile, be cancelled only after its end."""
    task = asyncio.ensure_future(work)
    interrupt: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interrupt = error
    if interrupt is not None:
        task.exception()  # nobody looks at it any more
        raise interrupt
    return task.result()
