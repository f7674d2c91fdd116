"""Streams of events: every record once, in order, whatever is cut and whoever drives the run."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, node
from graphorch.runs.stores import open_store
from tests.server.event_client import Sent, stream
from tests.server.serving import Running, running
from tests.trace.running import ran

PATH = "/api/runs/one/events"


class Count(BaseModel):
    count: int = 0


class Counts(Count): ...


def build_chain(steps: int, seconds: float) -> Any:
    """Return a flow that counts, with a while for each step."""

    @node
    async def step(count: Count) -> Count:
        await asyncio.sleep(seconds)
        return Count(count=count.count + 1)

    graph = Graph("count", Counts)
    graph.chain(step)
    graph.loop(step, back_to=step, while_=is_below(steps), max_iterations=1000)
    return graph.build()


def is_below(steps: int) -> Callable[[Count], bool]:
    """Return the condition under which the flow goes on."""

    def check(count: Count) -> bool:
        return count.count < steps

    return check


async def read_all(server: Running, path: str = PATH, last_id: int | None = None) -> list[Sent]:
    """Return all events of a run that comes to its end."""
    async with stream(server, path, last_id) as events:
        return [event async for event in events]


def numbers_of(events: list[Sent]) -> list[int]:
    """Return the numbers of records that came."""
    return [event.id for event in events if event.id is not None]


def test_records_of_ended_run_come_once(tmp_path: Path) -> None:
    """All records come in order with their moments, then the end; after a number the rest."""

    async def main() -> None:
        async with open_store(tmp_path / "runs.sqlite") as store:
            await ran("one", 3, store=store)
        async with running(tmp_path) as server:
            events = await read_all(server)
            rest = await read_all(server, f"{PATH}?after=4")
            again = await read_all(server, PATH, last_id=4)
        last = numbers_of(events)[-1]
        assert numbers_of(events) == list(range(1, last + 1))
        assert [events[-1].event, events[-1].data["row"]["status"]] == ["ended", "succeeded"]
        assert events[0].data["moments"][0]["kind"] == "input"
        assert numbers_of(rest) == numbers_of(again) == list(range(5, last + 1))

    asyncio.run(main())


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_cut_streams_lose_and_repeat_nothing(tmp_path: Path, seed: int) -> None:
    """A client that is cut off a hundred times and comes back gets each record once."""
    chance = random.Random(seed)

    async def main() -> None:
        flow = build_chain(300, 0.003)
        async with running(tmp_path) as server:
            async with stream(server, "/api/events") as changes:
                run = asyncio.ensure_future(
                    flow.run(Counts(), durable=tmp_path / "runs.sqlite", run_id="one")
                )
                await anext(changes)  # the run is there
            seen, is_over, cuts = [0], False, 0
            while not is_over:
                async with stream(server, PATH, seen[-1]) as events:
                    for _ in range(chance.randrange(1, 5) if cuts < 100 else 10_000):
                        event = await anext(events)
                        seen += [] if event.id is None else [event.id]
                        is_over = event.event == "ended"
                        if is_over:
                            break
                    cuts += 1
            await run
            head = await server.context.store.read_head("one")
        assert seen == list(range(head.last_seq + 1))
        assert cuts > 100

    asyncio.run(main())


DRIVER = """
import asyncio
from tests.server.routes.test_events import Counts, build_chain
asyncio.run(build_chain(30, 0.1).run(Counts(), durable="runs.sqlite", run_id="one"))
"""


@contextmanager
def driving(folder: Path) -> Generator[subprocess.Popen[bytes]]:
    """Drive the run in a process of its own, which is killed at the end at the latest."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", DRIVER], cwd=folder, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow  # the lease of the process lasts half a minute
def test_killed_process_shows_in_stream(tmp_path: Path) -> None:
    """The run of another process is followed; its crash comes as a status, and what follows too."""

    async def main(process: subprocess.Popen[bytes]) -> None:
        async with running(tmp_path) as server:
            async with stream(server, "/api/events") as changes:
                while (await anext(changes)).data["row"]["records"] < 5:
                    pass
            seen: list[int] = []
            async with stream(server, PATH) as events:
                async for event in events:
                    seen += [] if event.id is None else [event.id]
                    if len(seen) == 12:
                        process.send_signal(signal.SIGKILL)
                    if event.event == "status" and event.data["row"]["status"] == "crashed":
                        break
                flow = build_chain(30, 0.0)
                await flow.resume("one", durable=tmp_path / "runs.sqlite")
                async for event in events:
                    seen += [] if event.id is None else [event.id]
            head = await server.context.store.read_head("one")
        assert seen == list(range(1, head.last_seq + 1))

    with driving(tmp_path) as process:
        asyncio.run(main(process))


def test_all_runs_are_followed_by_rows(tmp_path: Path) -> None:
    """Who listens to the journal hears of new, changed, erased and deleted runs, by their rows."""

    async def main() -> None:
        async with running(tmp_path) as server:
            async with stream(server, "/api/events") as events:
                store = server.context.store
                await ran("one", 3, store=store)
                event = await anext(events)
                while event.data["row"]["status"] != "succeeded":
                    event = await anext(events)
                row = event.data["row"]
                listed = await server.send(server.write_request("GET", "/api/runs"))
                await store.erase("one")
                erased = await anext(events)
                await store.prune(before=10**10, statuses=["succeeded"])
                gone = await anext(events)
        assert str(row["figures"]["usage"]["usd"]) in listed.decode()
        assert (erased.data["row"]["status"], erased.data["is_final"]) == ("erased", True)
        assert (gone.event, gone.data) == ("gone", {"run_id": "one"})

    asyncio.run(main())


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 20, "٣"])
def test_wrong_number_of_stream_is_explained(tmp_path: Path, last_id: str) -> None:
    """A last number that is none, and a run that is not there, are problems and no streams."""

    async def main() -> None:
        async with open_store(tmp_path / "runs.sqlite") as store:
            await ran("one", 3, store=store)
        async with running(tmp_path) as server:
            request = server.write_request("GET", PATH).replace(
                b"\r\n\r\n", b"\r\nlast-event-id: " + last_id.encode() + b"\r\n\r\n"
            )
            wrong = await server.send(request)
            nothing = await server.send(server.write_request("GET", "/api/runs/two/events"))
        assert b"HTTP/1.1 422" in wrong
        assert b"Send the `id` of the last event" in wrong
        assert b"HTTP/1.1 404" in nothing

    asyncio.run(main())
