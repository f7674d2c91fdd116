"""Sandbox that runs the tests of a coding task against unread code, and explains what happened.

The process gets a folder of its own that is thrown away, no environment, limits on time, memory,
files and output, and an audit hook (`guard.py`) that refuses the network, other processes, and
files outside of the folder. It is killed with all that it started.

What this does not stop: an audit hook is a rule for Python code and not a wall. Code that is
written to break out of it, through a bug of the interpreter or a C extension, may succeed; code
that means to cheat can report tests as passed. For code that you have reason to fear, run the whole
workflow in a container or a virtual machine without network. Limits on memory and processor time
need a Unix system.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GUARD = Path(__file__).with_name("guard.py")
_SHOWN = 1_500  # characters of what the code printed
_ALL = 200_000  # characters of results that are read
_ENDS = {  # exit code -> why the process ended
    0: "",
    -signal.SIGXCPU: "time",
    -signal.SIGALRM: "time",
    -signal.SIGXFSZ: "output",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what the code may use.

    They are seconds on the clock, megabytes of memory, and megabytes of each file that it writes,
    its output included.
    """

    seconds: float = 2.0
    megabytes: int = 256
    file_megabytes: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the tests: how many passed, and a line for each thing that went wrong."""

    passed: int
    total: int
    failures: tuple[str, ...]
    printed: str = ""


async def run_tests(code: str, tests: str, limits: Limits | None = None) -> Report:
    """Run every `test_…` function of `tests` against the code.

    The tests import what they need from the module `solution`.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="attempt-") as name:
        folder = Path(name)
        (folder / "solution.py").write_text(code, "utf-8", "backslashreplace")
        (folder / "tests.py").write_text(tests, "utf-8")
        ended, printed = await _run(folder, limits)
        lines = _results(folder / "results.jsonl")
    return _report(lines, ended, limits, printed)


async def _run(folder: Path, limits: Limits) -> tuple[str, str]:
    """Run the guard; return why it ended ("" if by itself), and what it printed."""
    given = [str(folder), str(limits.seconds), str(limits.megabytes), str(limits.file_megabytes)]
    with (folder / "printed.txt").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-B", str(GUARD), *given, cwd=folder, env={},
            stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            # The guard counts from when the code is loaded.
            async with asyncio.timeout(limits.seconds + 1):
                await process.wait()
        except TimeoutError:
            return "time", _printed(folder)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    code = process.returncode or 0
    return _ENDS.get(code, f"exit code {code}"), _printed(folder)


def _printed(folder: Path) -> str:
    with (folder / "printed.txt").open("rb") as file:
        return file.read(_SHOWN).decode("utf-8", "replace").strip()


def _results(path: Path) -> list[dict[str, Any]]:
    """Return the lines that the guard wrote; the last of them may be cut off."""
    lines: list[dict[str, Any]] = []
    if path.exists():
        with path.open("rb") as file, contextlib.suppress(json.JSONDecodeError):
            for line in file.read(_ALL).splitlines():
                lines.append(json.loads(line))
    return lines


def _report(lines: list[dict[str, Any]], ended: str, limits: Limits, printed: str) -> Report:
    total = next((line["total"] for line in lines if "total" in line), 0)
    passed = {line["passed"] for line in lines if "passed" in line}
    failed = {line["failed"]: line["why"] for line in lines if "failed" in line}
    failures = [f"{name}: {why}" for name, why in failed.items()]
    over = passed | failed.keys()
    begun = [line["begun"] for line in lines if "begun" in line and line["begun"] not in over]
    what = begun[-1] if begun else "the code"
    if ended == "time":
        failures.append(
            f"{what} did not end within {limits.seconds:g} s. Look for a loop that never ends."
        )
    elif ended == "output":
        failures.append(f"{what} wrote more than {limits.file_megabytes} MB. Print and write less.")
    elif ended or begun:
        failures.append(
            f"{what} ended the process ({ended or 'it left early'}). "
            "Code must return or raise, and not exit."
        )
    elif not total and not failures:
        failures.append("no tests ran.")
    return Report(len(passed), total, tuple(failures), printed)
