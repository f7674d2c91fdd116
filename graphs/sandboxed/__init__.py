"""Sandbox that runs the tests of a coding task against unread code, and explains what happened.

The wall is the operating system's, not Python's: `isolation.py` starts the interpreter behind
bubblewrap (Linux) or in a container, and says what each of them enforces. Without either the code
is refused, unless the caller asks for no isolation by name.

What no sandbox can promise here: the tests and the code share an interpreter, so code that means to
cheat can report its own tests as passed. It cannot reach anything outside to gain from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .isolation import Isolation, Limits, SandboxMissing, build_command, check_isolation

__all__ = ["Isolation", "Limits", "Report", "SandboxMissing", "check_isolation", "run_tests"]

_GUARD = Path(__file__).with_name("guard.py")
_SHOWN = 1_500  # characters of what the code printed
_RESULTS = 200_000  # bytes of results that are read
_TIME_SIGNALS = (signal.SIGXCPU, signal.SIGALRM)
_KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}
_TIME_CODES = {code for number in _TIME_SIGNALS for code in (-number, 128 + number)}


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the tests: how many passed, and a line for each thing that went wrong."""

    passed: int
    total: int
    failures: tuple[str, ...]
    printed: str = ""


async def run_tests(
    code: str,
    tests: str,
    limits: Limits | None = None,
    *,
    isolation: Isolation = "bubblewrap",
    image: str = "python:3.11-slim",
) -> Report:
    """Run every `test_…` function of `tests` against the code, and return how each ended.

    The tests import what they need from the module `solution`. `image` is the container's, and is
    used only with the isolation "container". Raises SandboxMissing if the isolation cannot be had.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="attempt-") as name:
        folder = Path(name)
        _write_files(folder, code, tests)
        ending = await _run(folder, limits, isolation, image)
    return _report(ending, limits)


def _write_files(folder: Path, code: str, tests: str) -> None:
    (folder / "solution.py").write_text(code, "utf-8", "backslashreplace")
    (folder / "tests.py").write_text(tests, "utf-8", "backslashreplace")
    (folder / "guard.py").write_bytes(_GUARD.read_bytes())
    # Another user runs the code: it may read these files, and change none of them.
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


@dataclass(frozen=True, slots=True)
class _Ending:
    """How the process ended ("" if by itself), the lines of the guard, and what was printed."""

    reason: str
    results: bytes
    printed: bytes


class _TooLong(Exception):
    """The code wrote more than its limit."""


class _Output(asyncio.Protocol):
    """Collects what comes out of a pipe; `ended` is done at its end, and fails above the limit."""

    def __init__(self, most: int) -> None:
        self.data = bytearray()
        self.most = most
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > self.most and not self.ended.done():
            self.ended.set_exception(_TooLong())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


@contextlib.asynccontextmanager
async def _pipe(most: int) -> AsyncGenerator[tuple[int, _Output]]:
    """Open a pipe; yield the end to write to, which the user closes, and what comes out of it.

    The end to read is closed here, whoever still holds the other one.
    """
    reading, writing = os.pipe()
    transport, output = await asyncio.get_running_loop().connect_read_pipe(
        lambda: _Output(most), os.fdopen(reading, "rb", buffering=0)
    )
    try:
        yield writing, output
    finally:
        transport.close()


async def _run(folder: Path, limits: Limits, isolation: Isolation, image: str) -> _Ending:
    """Run the guard behind the isolation. Whatever it started is gone afterwards."""
    command = build_command(folder, limits, isolation, image)
    most_printed = limits.file_megabytes << 20
    async with _pipe(_RESULTS) as (results_end, results), _pipe(most_printed) as (end, printed):
        process = await asyncio.create_subprocess_exec(
            *command.arguments, env=command.environment, cwd=folder, start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=results_end, stderr=end,
        )  # fmt: skip
        os.close(results_end)
        os.close(end)
        reason, begun = "", time.monotonic()
        try:
            # The guard counts from when the code is loaded, this clock from before.
            async with asyncio.timeout(limits.seconds + command.seconds_to_start):
                await asyncio.gather(results.ended, printed.ended)
                await process.wait()
        except TimeoutError:
            reason = "time"
        except _TooLong:
            reason = "output"
        finally:
            await command.kill(process)
    code = process.returncode or 0
    shown = bytes(printed.data[:_SHOWN])
    if code and not results.data and not reason:
        command.explain_failure(code, shown)
    if code and not reason:
        # The first process of a container does not hear an alarm, and is killed a second later.
        is_late = code in _KILLED and time.monotonic() - begun > limits.seconds
        reason = "time" if code in _TIME_CODES or is_late else f"exit code {code}"
    return _Ending(reason, bytes(results.data), shown)


def _parse(results: bytes) -> list[dict[str, Any]]:
    """Return the lines that the guard wrote; the last of them may be cut off."""
    lines: list[dict[str, Any]] = []
    for text in results.splitlines():
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict):
                lines.append(line)  # pyright: ignore[reportUnknownArgumentType]
    return lines


def _report(ending: _Ending, limits: Limits) -> Report:
    lines = _parse(ending.results)
    total = next((line["total"] for line in lines if isinstance(line.get("total"), int)), 0)
    passed = {str(line["passed"]) for line in lines if "passed" in line}
    failed = {str(line["failed"]): str(line.get("why")) for line in lines if "failed" in line}
    failures = [f"{name}: {why}" for name, why in failed.items()]
    over = passed | failed.keys()
    begun = [str(line["begun"]) for line in lines if "begun" in line]
    unfinished = [name for name in begun if name not in over]
    what = unfinished[-1] if unfinished else "the code"
    if ending.reason == "time":
        failures.append(
            f"{what} did not end within {limits.seconds:g} s. Look for a loop that never ends."
        )
    elif ending.reason == "output":
        failures.append(f"{what} wrote more than {limits.file_megabytes} MB. Print and write less.")
    elif ending.reason or unfinished:
        failures.append(
            f"{what} ended the process ({ending.reason or 'it left early'}). "
            "Code must return or raise, and not exit."
        )
    elif not total and not failures:
        failures.append("no tests ran.")
    printed = ending.printed.decode("utf-8", "replace").strip()
    return Report(len(passed), total, tuple(failures), printed)
