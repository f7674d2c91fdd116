"""Worker processes for tests, and a database that is ready for them."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from graphorch.distributed.pgqueuer.setup import install_queue
from graphorch.journal.postgres.setup import initialize
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.records import Record, RunHead

ROOT = Path(__file__).parents[2]
FLOW = str(Path(__file__).parent / "flow_file.py")


def prepare_database(url: str) -> None:
    """Make the tables of the journal and of the queue."""
    initialize(url)
    asyncio.run(install_queue(url))


class Launcher:
    """Starts processes that run a command of graphorch (see `tests.workers.launcher`)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.workers.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
        )
        self._started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._codes: dict[int, int] = {}
        self._has_changed = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        namespace: str = "",
    ) -> int:
        """Start a process, whose output goes to a file, and return its id."""
        order = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "output": str(output),
            "namespace": namespace,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return self._started.get(timeout=120)

    def find_code(self, pid: int) -> int | None:
        """Return the exit code of a process; None if it runs."""
        return self._codes.get(pid)

    def wait(self, pid: int, seconds: float) -> int:
        """Return the exit code of a process once it has ended."""
        with self._has_changed:
            assert self._has_changed.wait_for(lambda: pid in self._codes, seconds), "it still runs"
            return self._codes[pid]

    def close(self) -> None:
        """Kill all processes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._reading.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, *numbers = line.split()
            if word == b"started":
                self._started.put(int(numbers[0]))
                continue
            with self._has_changed:
                self._codes[int(numbers[0])] = int(numbers[1])
                self._has_changed.notify_all()


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    """What starts worker processes, for all tests of this process."""
    started = Launcher()
    try:
        yield started
    finally:
        started.close()


@dataclass
class Process:
    """A worker process, and what it printed."""

    launcher: Launcher
    pid: int
    output: Path

    @property
    def code(self) -> int | None:
        """Its exit code; None if it runs."""
        return self.launcher.find_code(self.pid)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.code is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float = 20.0) -> int:
        """Return the exit code."""
        return self.launcher.wait(self.pid, seconds)

    def read(self) -> str:
        """Return what it printed so far."""
        return self.output.read_text()

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Return once it takes runs."""
        end = time.monotonic() + seconds
        while "takes runs of" not in self.read():
            assert self.code is None, self.read()
            assert time.monotonic() < end, self.read()
            time.sleep(0.02)


@dataclass
class Site:
    """A database, worker processes on it, and the file into which nodes write that they begin."""

    url: str
    folder: Path
    launcher: Launcher
    processes: list[Process] = field(default_factory=list[Process])

    def __post_init__(self) -> None:
        self.log = self.folder / "log"
        self.log.touch()

    def start(
        self,
        *options: str,
        flow: str = FLOW,
        version: str = "",
        url: str = "",
        namespace: str = "",
    ) -> Process:
        """Start a worker; it may not take runs yet.

        In a network `namespace` it reaches the database by a `url` of its own.
        """
        output = self.folder / f"worker {len(self.processes)}"
        output.touch()
        environment = {**os.environ, "WORKER_TEST_LOG": str(self.log)}
        environment["WORKER_TEST_VERSION"] = version
        arguments = ["worker", flow, "--db", url or self.url, *options]
        pid = self.launcher.start(arguments, environment, output, namespace)
        self.processes.append(Process(self.launcher, pid, output))
        return self.processes[-1]

    def start_many(
        self, count: int, *options: str, flow: str = FLOW, version: str = ""
    ) -> list[Process]:
        """Start some workers, and return them once they take runs."""
        started = [self.start(*options, flow=flow, version=version) for _ in range(count)]
        for process in started:
            process.wait_until_ready()
        return started

    def kill_all(self) -> None:
        """End all workers that this site started."""
        for each in self.processes:
            if each.code is None:
                each.send(signal.SIGCONT)
                each.send(signal.SIGKILL)
                each.wait()

    def list_begun(self, run_id: str = "") -> list[tuple[str, str, int]]:
        """Return path, activation and process of each node that began."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [(path, key, int(pid)) for path, key, pid in lines]

    def wait_for_begin(self, path: str, count: int = 1, seconds: float = 20.0) -> int:
        """Return the process in which a node began, for the last of so many times."""
        end = time.monotonic() + seconds
        while True:
            pids = [pid for name, _, pid in self.list_begun() if name == path]
            if len(pids) >= count:
                return pids[count - 1]
            assert time.monotonic() < end, f"{path} began {len(pids)} times"
            time.sleep(0.02)

    def find(self, pid: int) -> Process:
        """Return the worker with a process id."""
        return next(each for each in self.processes if each.pid == pid)

    def read(self, run_id: str) -> tuple[RunHead, tuple[Record, ...]]:
        """Return a run as it is in the journal."""

        async def main() -> tuple[RunHead, tuple[Record, ...]]:
            store = await PostgresStore.open(self.url)
            try:
                log = await store.load(run_id)
                return log.head, log.records
            finally:
                await store.close()

        return asyncio.run(main())

    def wait_for(self, run_id: str, *statuses: str, seconds: float = 20.0) -> RunHead:
        """Return the head of a run once it has one of some statuses."""
        end = time.monotonic() + seconds
        while True:
            head, _ = self.read(run_id)
            if head.status in statuses and head.lease is None:
                return head
            assert time.monotonic() < end, f"{run_id} is {head.status}: {self.read_outputs()}"
            time.sleep(0.05)

    def count_commits(self, run_id: str) -> Counter[str]:
        """Return how often each activation of a run was committed."""
        _, records = self.read(run_id)
        return Counter(record.body["id"] for record in records if record.kind == "commit")

    def read_outputs(self) -> str:
        return "\n".join(each.read() for each in self.processes)


@contextmanager
def open_site(url: str, folder: Path, launcher: Launcher) -> Iterator[Site]:
    """Yield a site, and end its workers."""
    site = Site(url, folder, launcher)
    try:
        yield site
    finally:
        site.kill_all()
