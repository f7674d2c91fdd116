"""The worker process of nodes with `isolation="process"`: receives calls, returns results.

Theory of operation. The pipes to the engine are moved away from standard input and output before
any user's code is loaded: what a node prints goes to standard error, and its standard input is
empty. Nodes run in the main thread, so that signals reach them; a second thread receives messages.
When the engine's end of the pipe closes, an idle worker ends, and a busy one kills itself with all
that it started, since its answer is not awaited any more. SIGTERM unwinds the node, so that its
`finally` blocks run.
"""

from __future__ import annotations

import faulthandler
import importlib
import importlib.util
import io
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from graphorch.engine.invocation.call_codec import CallCodec
from graphorch.engine.invocation.process_protocol import (
    Address,
    Unportable,
    encode_error,
    encode_header,
)
from graphorch.errors import as_failure
from graphorch.graph.node import Node
from graphorch.graph.signature import Signature, read_signature

# Name of the program's own module here: not `__main__`, so that it is loaded and not run.
MAIN: Final = "__graphorch_main__"
Message = list[bytes]  # the header, and a line per slice


class Stopped(BaseException):
    """SIGTERM: the engine ends this process."""


class WorkerLoop:
    """Answers one message after another."""

    def __init__(self) -> None:
        self.is_busy = False
        self._functions: dict[Address, tuple[Any, Signature]] = {}
        self._aliases: dict[str, str] = {}
        self._codec = CallCodec()

    def answer(self, message: Message) -> Message:
        """Return what a node returned or raised, as a message."""
        try:
            call = json.loads(message[0])
            function, signature = self._load(
                Address(call["module"], call["name"], call["file"], call["tool"])
            )
            given = self._codec.decode_arguments(signature, message[1:])
            return self._encode_output(function(*given), given, signature)
        except Stopped:
            raise
        # The border to the user's code: everything that it raises is sent to the engine.
        except BaseException as raised:
            error = encode_error(as_failure(raised) or raised, self._aliases)
            return [encode_header({"lines": 0, "error": error})]

    def _encode_output(self, output: object, given: list[Any], signature: Signature) -> Message:
        lines, same = self._codec.encode_output(signature, output, given)
        return [encode_header({"lines": len(lines), "same": same}), *lines]

    def _load(self, address: Address) -> tuple[Any, Signature]:
        entry = self._functions.get(address)
        if entry is None:
            module = load_module(address)
            self._aliases[module.__name__] = address.module
            entry = self._functions[address] = find_function(module, address)
        return entry


# ---- finding a node ------------------------------------------------------------------------------
def load_module(address: Address) -> ModuleType:
    """Return the module of a node: imported if its name leads to its file, else loaded from it.

    Raises `Unportable` if it cannot be loaded.
    """
    try:
        name = MAIN if address.module == "__main__" else address.module
        if name in sys.modules or _leads_to(name, address.file):
            return importlib.import_module(name)
        if address.file is None:
            raise ModuleNotFoundError(f"No module named '{name}'")
        return _load_file(name, address.file)
    except Stopped:
        raise
    except BaseException as error:  # the border to the user's module
        raise Unportable(
            f"The module of '{address.name}', {address.file or address.module}, cannot be loaded "
            f"in a worker process: {type(error).__name__}: {error}. "
            "It is loaded there without being run as a program."
        ) from error


def _leads_to(name: str, file: str | None) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    if file is None or spec.origin == file:
        return True
    return spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve()


def _load_file(name: str, file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations of its models are looked up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def find_function(module: ModuleType, address: Address) -> tuple[Any, Signature]:
    """Return what runs at an address, and its signature."""
    target: Any = module
    for part in address.name.split("."):
        target = getattr(target, part)
    if address.tool:
        target = _find_tool(target, address.tool)
    if isinstance(target, Node):
        return target.fn, target.signature
    return target, read_signature(target, {})


def _find_tool(target: Any, name: str) -> Node[Any]:
    """Return the node of a tool, or of the function that a tool was made of elsewhere."""
    from graphorch.agents.tool import Tool, tool

    made = target if isinstance(target, Tool) else tool(name=name)(target)
    return made.node


# ---- the process ---------------------------------------------------------------------------------
def main() -> None:
    """Answer messages until the engine closes its end of the pipe."""
    incoming, outgoing = _take_pipes()
    worker, inbox = WorkerLoop(), queue.SimpleQueue[Message | None]()
    faulthandler.enable()
    signal.signal(signal.SIGTERM, _stop)
    try:
        threading.Thread(target=_receive, args=(incoming, worker, inbox), daemon=True).start()
        while (message := inbox.get()) is not None:
            answer = worker.answer(message)
            worker.is_busy = False
            outgoing.write(b"\n".join([*answer, b""]))
            outgoing.flush()
    except BrokenPipeError:
        _vanish()  # the engine is gone
    except Stopped:
        sys.stderr.flush()
        # A normal exit would wait for the thread that reads.
        os._exit(128 + signal.SIGTERM)


def _stop(signal_number: int, frame: object) -> None:
    raise Stopped


def _take_pipes() -> tuple[io.BufferedReader, io.BufferedWriter]:
    """Move the pipes to the engine away from standard input and output, and return them.

    They stay open until the process is gone.
    """
    incoming, outgoing, nothing = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    if hasattr(os, "register_at_fork"):
        # A child that kept them open would hide the end of this process from the engine.
        os.register_at_fork(after_in_child=lambda: (os.close(incoming), os.close(outgoing)))
    return open(incoming, "rb", closefd=False), open(outgoing, "wb", closefd=False)


def _receive(
    incoming: io.BufferedReader, worker: WorkerLoop, inbox: queue.SimpleQueue[Message | None]
) -> None:
    while line := incoming.readline():
        count = json.loads(line)["lines"]
        slices = [incoming.readline().rstrip(b"\n") for _ in range(count)]
        worker.is_busy = True
        inbox.put([line, *slices])
    if worker.is_busy:
        _vanish()
    inbox.put(None)


def _vanish() -> None:
    """End at once, with every process that this one started."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
