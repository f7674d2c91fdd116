"""Fixtures of tests that need a queue in PostgreSQL: import them where they are used."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import IO

import psycopg
import pytest

from graphorch.distributed.pgqueuer.setup import install_queue
from tests.distributed.pgqueuer import worker
from tests.postgres.cluster import Cluster


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[str]:
    """A database with the tables of the queue, for all tests of a file."""
    url = cluster.create_database()
    asyncio.run(install_queue(url))
    try:
        yield url
    finally:
        cluster.drop_database(url)


@pytest.fixture
def queue(shared: str) -> str:
    """The URL of an empty queue."""
    with psycopg.connect(shared, autocommit=True) as connection:
        connection.execute("TRUNCATE graphorch.pgqueuer")
    return shared


class Worker:
    """A worker in a process of its own, see `worker.py`."""

    def __init__(self, url: str, timeout: float, seconds: float) -> None:
        command = [sys.executable, worker.__file__, url, str(timeout), str(seconds)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self._output: IO[str] = self.process.stdout
        self.wait_for("ready")

    def wait_for(self, line: str) -> None:
        """Wait until the worker says something."""
        for found in self._output:
            if found.strip() == line:
                return
        pytest.fail(f"The worker ended before it said {line!r}.")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._output.close()


@pytest.fixture
def start_worker() -> Iterator[Callable[[str, float, float], Worker]]:
    """Starts workers that are ended after the test."""
    workers: list[Worker] = []

    def start(url: str, timeout: float, seconds: float) -> Worker:
        workers.append(Worker(url, timeout, seconds))
        return workers[-1]

    try:
        yield start
    finally:
        for each in workers:
            each.end()
