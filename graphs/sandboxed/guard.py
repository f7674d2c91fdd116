"""Inside of the sandbox: sets the limits and the audit hook, then runs the tests.

It loads code and tests, and records how each test ended. Started as a program:
`guard.py FOLDER SECONDS MEGABYTES FILE_MEGABYTES`. See `sandboxed/__init__.py` for what it does not
stop.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

_REFUSED = {
    "socket.": "the network", "subprocess.Popen": "another process", "os.fork": "another process",
    "os.forkpty": "another process",
    "os.posix_spawn": "another process", "os.spawn": "another process",
    "os.exec": "another program", "os.system": "another process",
    "os.startfile": "another process", "pty.spawn": "another process",
    "os.kill": "a signal to a process", "os.killpg": "a signal to a process",
    "ctypes.": "foreign code", "urllib.": "the network", "ftplib.": "the network",
    "smtplib.": "the network", "http.": "the network",
    "sys.addaudithook": "an audit hook", "resource.setrlimit": "other limits",
    "resource.prlimit": "other limits",
}  # fmt: skip
_CHANGES = (
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "os.chdir",
    "shutil.",
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Refused(BaseException):
    """Forbidden attempt; not an `Exception`, so that the code cannot swallow it by accident."""


def guard(folder: str) -> Callable[[str, tuple[Any, ...]], None]:
    """Return the audit hook, which refuses what leads out of the folder."""
    readable = tuple(
        {
            folder,
            *(os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, *sys.path) if path),
        }
    )
    inside, real = os.path.join(folder, ""), os.path.realpath

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        for name, what in _REFUSED.items():
            if event.startswith(name):
                raise Refused(f"it tried to use {what} ({event}), which is not allowed here")
        if event == "open" and isinstance(arguments[0], str | bytes):
            path, flags = real(os.fsdecode(arguments[0])), arguments[2] or 0
            if flags & _WRITES and not path.startswith(inside):
                raise Refused(f"it tried to write {path}, outside of its folder")
            if not path.startswith(readable) and path not in ("/dev/null", "/dev/urandom"):
                raise Refused(f"it tried to read {path}, outside of its folder")
        elif event.startswith(_CHANGES):
            paths = [
                real(os.fsdecode(argument))
                for argument in arguments
                if isinstance(argument, str | bytes)
            ]
            for path in paths:
                if not path.startswith(inside):
                    raise Refused(f"it tried to change {path}, outside of its folder")

    return check


def limit(seconds: float, megabytes: int, file_megabytes: int) -> None:
    """Set the limits that the system keeps.

    They are time on the clock and of the processor, memory, files and processes. A crash leaves no
    memory image.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    cpu = int(seconds) + 1
    wanted = {
        "RLIMIT_CPU": cpu, "RLIMIT_AS": megabytes << 20, "RLIMIT_FSIZE": file_megabytes << 20,
        "RLIMIT_NOFILE": 64, "RLIMIT_CORE": 0, "RLIMIT_NPROC": 64,
    }  # fmt: skip
    for name, value in wanted.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def why(error: BaseException) -> str:
    """Return a line for a failure: the error, and the line of code that it came from."""
    if isinstance(error, SystemExit):
        return f"it called exit({error.code!r}). Code must return or raise"
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, Refused):
        text = str(error)
    if isinstance(error, MemoryError):
        text = "it needs more memory than is allowed"
    # Only lines of the frames that are kept are read: the guard's own file may be out of reach.
    stack = traceback.StackSummary.extract(
        traceback.walk_tb(error.__traceback__), lookup_lines=False
    )
    frames = [
        summary for summary in stack if summary.filename.endswith(("tests.py", "solution.py"))
    ]
    if frames:
        last = frames[-1]
        text += f" [{os.path.basename(last.filename)}:{last.lineno}: {last.line}]"
    return text[:500]


def main(folder: str, seconds: float, megabytes: int, file_megabytes: int) -> None:
    """Load the code and the tests, run them, and record how each test ended."""
    folder = os.path.realpath(folder)
    results = open(os.path.join(folder, "results.jsonl"), "w", encoding="utf-8", buffering=1)  # noqa: SIM115  (open until the end)

    def tell(**line: Any) -> None:
        results.write(json.dumps(line) + "\n")

    sys.path.insert(0, folder)
    limit(seconds, megabytes, file_megabytes)
    sys.addaudithook(guard(folder))
    sys.setrecursionlimit(2_000)
    try:
        importlib.import_module("solution")
        tests = importlib.import_module("tests")
    except BaseException as error:  # the code may raise anything when it is loaded
        tell(failed="loading the code", why=why(error))
        return
    cases = {
        name: value
        for name, value in vars(tests).items()
        if name.startswith("test_") and callable(value)
    }
    tell(total=len(cases))
    for name, test in cases.items():
        tell(begun=name)
        try:
            test()
        except BaseException as error:  # the code may raise anything in a test
            tell(failed=name, why=why(error))
        else:
            tell(passed=name)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
