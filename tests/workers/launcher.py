"""Starts `graphorch` processes at once: forks of a process that has imported what they need.

A fresh interpreter takes seconds of a busy machine, and most tests need several workers.
`python -m tests.workers.launcher` reads a line of JSON for each process: its arguments, its
environment, the file that its output goes to, and the network namespace that it runs in, if any.
It prints `started PID` for it, and later `ended PID CODE`. When its input ends, it kills what still
runs.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from typing import Any

# Loaded before the forks: what a worker needs.
import openai  # noqa: F401

import graphorch.cli.commands.workers.worker
import graphorch.distributed.limits.shared_limits
import graphorch.distributed.pgqueuer.adapter
import graphorch.distributed.postgres.placed_runs
import graphorch.distributed.postgres.worker_list
import graphorch.distributed.postgres_results.adapter
import graphorch.journal.postgres.store
import graphorch.models.config.loader
import graphorch.runs.durable  # noqa: F401
from graphorch.cli.app import main as run_command

CLONE_NEWNET = 0x40000000  # of sched.h


def main() -> None:
    """Start processes until the input ends."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: set[int] = set()
    text = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 1_000)
            reap(children)
        if 0 in ready:
            read = os.read(0, 65_536)
            if not read:
                break
            *lines, text = (text + read).split(b"\n")
            for line in lines:
                children.add(start(json.loads(line), [woken, wake]))
    for child in children:
        os.kill(child, signal.SIGCONT)
        os.kill(child, signal.SIGKILL)


def reap(children: set[int]) -> None:
    """Report the processes that have ended."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        print("ended", pid, os.waitstatus_to_exitcode(status), flush=True)


def start(order: dict[str, Any], own: list[int]) -> int:
    """Fork a process, and report it."""
    child = os.fork()
    if child == 0:
        become(order, own)
    print("started", child, flush=True)
    return child


def become(order: dict[str, Any], own: list[int]) -> None:
    """Be a process of its own that runs a command, and end with its exit code."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in own:
        os.close(number)
    if order["namespace"]:
        enter_namespace(order["namespace"])
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["graphorch", *order["arguments"]]
    code = 1
    try:
        run_command()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def enter_namespace(name: str) -> None:
    """Move this process into a network namespace, as `ip netns exec` does."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"namespace {name} cannot be entered")


if __name__ == "__main__":
    main()
