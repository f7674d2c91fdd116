"""Functions in a forked child, as servers fork their workers after they have loaded a program."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable

SECONDS = 10  # after which a child that hangs is ended


def run_in_fork(function: Callable[[], object]) -> bool:
    """Return whether a function returns something true in a forked child, before it is ended."""
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forks in a process with threads, which is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        _answer(function)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def _answer(function: Callable[[], object]) -> None:
    """Call the function and end this process at once: pytest belongs to the parent."""
    code = 1
    try:
        signal.alarm(SECONDS)
        code = 0 if function() else 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
