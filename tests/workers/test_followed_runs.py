"""Runs that workers drive are followed from elsewhere, also while workers die."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphorch.engine.events import EVENT_NAMES, Committed, Ended, Started
from tests.cli.shell import start_program
from tests.postgres.cluster import Cluster
from tests.runs.following import follow_all
from tests.workers.flow_file import Task, Verdict, flow
from tests.workers.processes import FLOW, ROOT, Launcher, Site, open_site, prepare_database

CHAIN = ["first", "second", "third"]


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> Iterator[str]:
    """A database with all tables, for all tests of this module."""
    made = cluster.create_database()
    prepare_database(made)
    yield made
    cluster.drop_database(made)


@pytest.fixture
def site(url: str, tmp_path: Path, launcher: Launcher) -> Iterator[Site]:
    """A site without workers."""
    with open_site(url, tmp_path, launcher) as opened:
        yield opened


def commits(events: list[Any]) -> list[str]:
    """Return the nodes of the chain that were committed."""
    return [event.path for event in events if isinstance(event, Committed) and event.path in CHAIN]


def test_follower_survives_killed_worker(site: Site) -> None:
    """Events go on with the next worker, each once, and so do those of `submit --wait`."""
    site.start_many(2)

    async def watch() -> list[dict[str, Any]]:
        task = json.dumps({"kind": "slow", "seconds": 1})
        words = ("submit", FLOW, "--input", task, "--run-id", "watched", "--db", site.url)
        shown = await start_program(
            *words, "--wait", "--events", here=site.folder, environment={"PYTHONPATH": str(ROOT)}
        )
        out, err = await asyncio.wait_for(shown.communicate(), 60)
        assert shown.returncode == 0, err.decode()
        return [json.loads(line) for line in out.splitlines()]

    async def kill() -> None:
        owner = await asyncio.to_thread(site.wait_for_begin, "second")
        site.find(owner).send(signal.SIGKILL)

    async def main() -> tuple[list[dict[str, Any]], list[Any]]:
        watching, killing = asyncio.create_task(watch()), asyncio.create_task(kill())
        await killing
        async with asyncio.timeout(60):
            seen = await follow_all(flow, "watched", site.url)
        return await watching, seen

    printed, seen = asyncio.run(main())
    assert commits(seen) == CHAIN
    begun = [event.path for event in seen if isinstance(event, Started) and event.path in CHAIN]
    assert begun == ["first", "second", "second", "third"]
    assert [event.status for event in seen if isinstance(event, Ended)] == ["succeeded"]
    *lines, report = printed
    names = [EVENT_NAMES[type(event)] for event in seen]
    assert [line["event"] for line in lines] == names
    assert report["output"]["done"] == CHAIN


@pytest.mark.slow
def test_follower_waits_with_run(site: Site) -> None:
    """A run that waits holds no worker; whoever follows it through the wait sees it go on."""
    (worker,) = site.start_many(1)

    async def main() -> list[Any]:
        await flow.submit(Task(kind="ask"), durable=site.url, run_id="asks")
        async with asyncio.timeout(60):
            first = await follow_all(flow, "asks", site.url)
            assert first[-1].status == "waiting"
            worker.send(signal.SIGTERM)
            await asyncio.to_thread(worker.wait)
            options: Any = {"durable": site.url, "after": first[-1].seq, "through_waits": True}
            further = flow.follow("asks", **options)
            following = asyncio.ensure_future(anext(further))
            answer = Verdict(verdict="yes")
            await flow.send_answer("asks", "review", answer, durable=site.url, wait=False)
            await asyncio.to_thread(site.start_many, 1)
            return [*first, await following, *[event async for event in further]]

    seen = asyncio.run(main())
    assert commits(seen) == CHAIN
    assert seen[-1].status == "succeeded"
    assert seen == asyncio.run(follow_all(flow, "asks", site.url))


@pytest.mark.slow
def test_follower_survives_restart_of_server(cluster: Cluster, site: Site) -> None:
    """A server that crashes and is there again interrupts nothing but a moment."""
    site.start_many(1)

    async def main() -> list[Any]:
        seen: list[Any] = []
        task = Task(kind="slow", seconds=3)
        await flow.submit(task, durable=site.url, run_id="restarted")
        async with asyncio.timeout(60):
            async for event in flow.follow("restarted", durable=site.url):
                seen.append(event)
                if isinstance(event, Started) and event.path == "second":
                    await asyncio.to_thread(cluster.restart)
        return seen

    seen = asyncio.run(main())
    assert commits(seen) == CHAIN
    assert seen == asyncio.run(follow_all(flow, "restarted", site.url))
