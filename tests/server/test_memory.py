"""Memory of a server that streams very many records to clients that come and go."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pytest

from graphorch.journal.records import RunLog
from graphorch.journal.sqlite.store import SqliteStore
from tests.server.routes.test_events import Counts, build_chain
from tests.views.many_runs import copy_many

RECORDS = 100_000
WARM_UP = 70_000
NODES = 100  # of a run, each of which has a record
AT_ONCE = 90  # runs that are written between two looks at the memory
CLIENTS = 3
MOST_GROWTH = 1.02  # of the last quarter over the second one


@dataclass(frozen=True, slots=True)
class Served:
    """A real server process: its number, port and token."""

    pid: int
    port: int
    token: str

    @property
    def megabytes(self) -> float:
        """Memory of the process that is in use."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    async def read(self, path: str, until: bytes) -> None:
        """Send a request, and cut the connection once some bytes came."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\nconnection: close\r\n"
        writer.write(f"{head}authorization: Bearer {self.token}\r\n\r\n".encode())
        last = b""
        try:
            async with asyncio.timeout(60):
                while until not in last:
                    more = await reader.read(65_536)
                    if not more:
                        break
                    last = last[-len(until) :] + more
        finally:
            writer.transport.abort()
        assert until in last, (path, last[-300:])


@contextmanager
def serve(journal: Path) -> Generator[Served]:
    """Start `graphorch serve` in a process of its own."""
    program = Path(sys.executable).with_name("graphorch")
    command = [program, "serve", "--no-open", "--port", "0", "--db", journal]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdout=pipe, stderr=nothing) as process:
        try:
            assert process.stdout is not None
            link = process.stdout.readline().decode()
            found = re.search(r":(\d+)/#token=(\S+)", link)
            assert found is not None, link
            yield Served(process.pid, int(found[1]), found[2])
        finally:
            process.kill()


async def stream_runs(server: Served, store: SqliteStore, log: RunLog, begin: int) -> None:
    """Write runs while clients follow them: one all changes, the others one run after the other."""
    ids = [f"many-{number}" for number in range(begin, begin + AT_ONCE)]
    listening = asyncio.ensure_future(server.read("/api/events", ids[-1].encode()))
    await asyncio.sleep(0.2)  # the stream tells of what begins after it
    await copy_many(store, log, AT_ONCE, begin=begin)

    async def follow(mine: list[str]) -> None:
        for run_id in mine:
            await server.read(f"/api/runs/{run_id}/events", b"event: ended")

    await asyncio.gather(listening, *(follow(ids[at :: CLIENTS - 1]) for at in range(CLIENTS - 1)))


@pytest.mark.slow
def test_memory_of_streams_is_flat(tmp_path: Path) -> None:
    """Whatever is streamed, once as many runs are kept as may be, a server takes no more memory."""

    faulthandler.cancel_dump_traceback_later()  # this takes some minutes

    async def main() -> list[float]:
        path = tmp_path / "runs.sqlite"
        await build_chain(NODES, 0.0).run(Counts(), durable=path, run_id="one")
        store = await SqliteStore.open(path)
        log = await store.load("one")
        batch = AT_ONCE * len(log.records)
        sizes: list[float] = []
        with serve(path) as server:
            for number in range((WARM_UP + RECORDS) // batch):
                await stream_runs(server, store, log, number * AT_ONCE)
                sizes.append(server.megabytes)
        await store.close()
        return sizes[WARM_UP // batch :]

    sizes = asyncio.run(main())
    quarter = len(sizes) // 4
    second, last = sizes[quarter : 2 * quarter], sizes[-quarter:]
    growth = mean(last) / mean(second)
    print(f"{mean(second):.1f} MB in the second quarter, {mean(last):.1f} MB in the last one")
    assert growth < MOST_GROWTH, sizes
