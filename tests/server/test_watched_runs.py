"""What it costs a process that its run is watched: three pages of a server in another process."""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server.routes.test_events import Counts, build_chain
from tests.server.test_memory import Served, serve

PAGES = 3
ROUNDS = 7  # of a run that is watched, and one that is not
NODES = 300
SECONDS = 0.005  # that each node waits, so that a page has something to see
MOST = 1.03  # of the processor time of a run that nobody watches

WATCHER = """
import sys
from tests.server.test_watched_runs import watch
watch(int(sys.argv[1]), sys.argv[2])
"""


def watch(port: int, token: str) -> None:
    """Read the streams of some pages until standard input ends; say when all of them are open."""

    def read() -> None:
        page = http.client.HTTPConnection("127.0.0.1", port)
        page.request("GET", "/api/events", headers={"Authorization": f"Bearer {token}"})
        answer = page.getresponse()
        is_open.release()
        while answer.read1():
            pass

    is_open = threading.Semaphore(0)
    for _ in range(PAGES):
        threading.Thread(target=read, daemon=True).start()
    for _ in range(PAGES):
        is_open.acquire()
    print("open", flush=True)
    sys.stdin.read()


@contextmanager
def watching(server: Served) -> Generator[None]:
    """Have three pages open in a process of their own."""
    command = [sys.executable, "-c", WATCHER, str(server.port), server.token]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            yield
        finally:
            process.kill()


@pytest.mark.slow
def test_watched_run_costs_hardly_more(tmp_path: Path) -> None:
    """The processor time of a run is the same while three pages of another process watch it."""
    path = tmp_path / "runs.sqlite"
    flow = build_chain(NODES, SECONDS)

    def measure(run_id: str) -> float:
        began = time.process_time()
        asyncio.run(flow.run(Counts(), durable=path, run_id=run_id))
        return time.process_time() - began

    measure("warm-up")
    alone: list[float] = []
    watched: list[float] = []
    with serve(path) as server:
        for number in range(ROUNDS):
            alone.append(measure(f"alone-{number}"))
            with watching(server):
                watched.append(measure(f"watched-{number}"))
            time.sleep(1.2)  # the server looks no more once it noticed that they left
    # What else the machine does only adds to the time of a run.
    ratio = min(watched) / min(alone)
    print(f"{min(alone):.3f} s alone, {min(watched):.3f} s watched: {ratio:.3f}")
    assert ratio < MOST, (alone, watched)
