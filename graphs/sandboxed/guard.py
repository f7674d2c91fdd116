"""Inside of the sandbox: sets the limits, runs the tests, and records how each of them ended.

Started as a program: `guard.py FOLDER SECONDS MEGABYTES FILE_MEGABYTES PROCESSES`. It writes a line
of JSON per event to the standard output that it was started with; what the code prints goes to
standard error. The wall around it is built by `isolation.py`, outside.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import traceback
from typing import Any

_WALL = (
    " The sandbox has no network and no files of yours; only its own empty folder can be written."
)


def _exit(number: int, _frame: object) -> None:
    os._exit(128 + number)


def limit(seconds: float, megabytes: int, file_megabytes: int, processes: int) -> None:
    """Set the limits that the kernel keeps.

    They are time on the clock and of the processor, memory, size of files, and number of processes
    (0: the container counts them). A crash leaves no memory image.
    """
    if os.getpid() == 1:
        # The kernel keeps signals without a handler from the first process of a container.
        signal.signal(signal.SIGALRM, _exit)
    else:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    limits = {
        "RLIMIT_CPU": int(seconds) + 1,
        "RLIMIT_AS": megabytes << 20,
        "RLIMIT_FSIZE": file_megabytes << 20,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
    }
    if processes:
        limits["RLIMIT_NPROC"] = processes
    for name, value in limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))


def why(error: BaseException) -> str:
    """Return a line for a failure: the error, and the line of code that it came from."""
    if isinstance(error, SystemExit):
        return f"it called exit({error.code!r}). Code must return or raise"
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, MemoryError):
        text = "it needs more memory than is allowed"
    # Only lines of the frames that are kept are read.
    stack = traceback.StackSummary.extract(
        traceback.walk_tb(error.__traceback__), lookup_lines=False
    )
    frames = [
        summary for summary in stack if summary.filename.endswith(("tests.py", "solution.py"))
    ]
    if frames:
        last = frames[-1]
        text += f" [{os.path.basename(last.filename)}:{last.lineno}: {last.line}]"
    if isinstance(error, OSError):
        text += _WALL
    return text[:500]


def main(folder: str, seconds: float, megabytes: int, file_megabytes: int, processes: int) -> None:
    """Load the code and the tests, run them, and report how each test ended."""
    # The code prints to standard error: only the guard holds the way to the results.
    results = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    os.dup2(2, 1)

    def report(**line: Any) -> None:
        results.write(json.dumps(line) + "\n")

    sys.path.insert(0, folder)
    limit(seconds, megabytes, file_megabytes, processes)
    sys.setrecursionlimit(2_000)
    try:
        importlib.import_module("solution")
        tests = importlib.import_module("tests")
    except BaseException as error:  # the code may raise anything when it is loaded
        report(failed="loading the code", why=why(error))
        return
    cases = {
        name: value
        for name, value in vars(tests).items()
        if name.startswith("test_") and callable(value)
    }
    report(total=len(cases))
    for name, test in cases.items():
        report(begun=name)
        try:
            test()
        except BaseException as error:  # the code may raise anything in a test
            report(failed=name, why=why(error))
        else:
            report(passed=name)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
