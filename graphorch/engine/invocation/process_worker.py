"""The worker process of nodes with `isolation="process"`: it is told where a node is and what it reads, and says what it returned.

Theory of operation. The pipes of the engine are moved away from standard input and output before any user's code is loaded: what a node
prints goes to standard error, and what it reads is empty. Nodes run in the main thread, so that signals reach them; a second thread
receives. When the engine's end of the pipe closes, an idle worker ends, and a busy one kills itself with whatever it started: nobody
waits for its answer any more. SIGTERM unwinds the node, so that its `finally` blocks run.
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
from typing import Any, cast

from pydantic import BaseModel

from graphorch.engine.invocation.process_protocol import (
    NOTHING,
    Address,
    SliceCodec,
    Unportable,
    encode_error,
    header,
)
from graphorch.errors import WrongOutput
from graphorch.graph.node import Node
from graphorch.graph.signature import Signature, read_signature
from graphorch.state.slices import Schema

# what the program's own file is called here, so that it is loaded and not run
MAIN = "__graphorch_main__"
Message = list[bytes]  # the header, and a line per slice


class Stopped(BaseException):
    """The engine wants the process to end."""


class WorkerLoop:
    """Answers one message after another."""

    def __init__(self) -> None:
        self.is_busy = False
        self._found: dict[Address, tuple[Any, Signature]] = {}
        self._aliases: dict[str, str] = {}
        self._codecs: dict[type[BaseModel], SliceCodec[Any]] = {}

    def answer(self, message: Message) -> Message:
        """What a node returned or raised."""
        try:
            asked = json.loads(message[0])
            fn, signature = self._node(Address(asked["module"], asked["name"], asked["file"]))
            given = [
                self._codec(read.model).decode(line) if line != NOTHING else None
                for read, line in zip(signature.reads, message[1:], strict=True)
            ]
            return self._returned(fn(*given), given, signature)
        except Stopped:
            raise
        # the border to the user's code: whatever comes out of it is told
        except BaseException as error:
            return [header({"lines": 0, "error": encode_error(error, self._aliases)})]

    def _returned(self, output: object, given: list[Any], signature: Signature) -> Message:
        if output is None and (signature.may_skip or not signature.writes):
            return [header({"lines": 0})]
        slices = _slices(output, signature)
        same = (
            next((number for number, item in enumerate(given) if item is slices[0]), None)
            if len(slices) == 1
            else None
        )
        lines = [
            self._codec(model).encode(base_model)
            for model, base_model in zip(signature.writes, slices, strict=True)
        ]
        return [header({"lines": len(lines), "same": same}), *lines]

    def _codec(self, model: type[BaseModel] | None) -> SliceCodec[Any]:
        assert model is not None
        return self._codecs.get(model) or self._codecs.setdefault(model, SliceCodec(model))

    def _node(self, address: Address) -> tuple[Any, Signature]:
        found = self._found.get(address)
        if found is None:
            module = load_module(address)
            self._aliases[module.__name__] = address.module
            found = self._found[address] = find_function(module, address.name)
        return found


def _slices(output: object, signature: Signature) -> list[BaseModel]:
    """What was returned, one per slice that the node writes. Raises `WrongOutput` as the engine does, which cannot see the object."""
    count = len(signature.writes)
    if not count:
        raise WrongOutput(
            f"It returned {type(output).__name__}, but declares that it returns None. Annotate the slice that it writes."
        )
    pair = cast("tuple[object, ...]", output) if isinstance(output, tuple) else ()
    slices: list[object] = [output] if count == 1 else list(pair)  # pyright: ignore[reportUnknownVariableType]
    if len(slices) != count:
        raise WrongOutput(
            f"It returned {type(cast('object', output)).__name__}, but declares a tuple of {count} slices. Return them all."
        )
    for model, item in zip(signature.writes, slices, strict=True):
        Schema(model).writer(model).update(item)
    return cast("list[BaseModel]", slices)


# ---- finding a node ------------------------------------------------------------------------------
def load_module(address: Address) -> ModuleType:
    """The module of a node: imported by its name if that leads to its file, else loaded from the file. Raises `Unportable`."""
    try:
        name = MAIN if address.module == "__main__" else address.module
        if name in sys.modules or _leads_to(name, address.file):
            return importlib.import_module(name)
        if address.file is None:
            raise ModuleNotFoundError(f"No module named '{name}'")
        return _from_file(name, address.file)
    except Stopped:
        raise
    except BaseException as error:  # the border to the user's module
        what = f"The module of '{address.name}', {address.file or address.module}, cannot be loaded in a worker process"
        raise Unportable(
            f"{what}: {type(error).__name__}: {error}. It is loaded there without being run as a program."
        ) from error


def _leads_to(name: str, file: str | None) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and (
        file is None
        or spec.origin == file
        or (spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve())
    )


def _from_file(name: str, file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations of its models are looked up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def find_function(module: ModuleType, name: str) -> tuple[Any, Signature]:
    """The function of that name, and what it reads and writes."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    if isinstance(found, Node):
        return found.fn, found.signature
    return found, read_signature(found, {})


# ---- the process ---------------------------------------------------------------------------------
def main() -> None:
    """Serve until the engine closes its end."""
    incoming, outgoing = _private_pipes()
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
        _vanish()  # nobody is there to be answered
    except Stopped:
        sys.stderr.flush()
        os._exit(128 + signal.SIGTERM)  # a thread still reads


def _stop(signal_number: int, frame: object) -> None:
    raise Stopped


def _private_pipes() -> tuple[io.BufferedReader, io.BufferedWriter]:
    """The pipes of the engine, under numbers that nobody else knows; they close when the process is gone, and not before."""
    incoming, outgoing, nothing = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    if hasattr(os, "register_at_fork"):
        # or the engine would not see this process end
        os.register_at_fork(after_in_child=lambda: (os.close(incoming), os.close(outgoing)))
    return open(incoming, "rb", closefd=False), open(outgoing, "wb", closefd=False)


def _receive(
    incoming: io.BufferedReader, worker: WorkerLoop, inbox: queue.SimpleQueue[Message | None]
) -> None:
    while line := incoming.readline():
        message = [
            line,
            *(incoming.readline().rstrip(b"\n") for _ in range(json.loads(line)["lines"])),
        ]
        worker.is_busy = True
        inbox.put(message)
    if worker.is_busy:
        _vanish()
    inbox.put(None)


def _vanish() -> None:
    """End at once, with every process that was started here."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
