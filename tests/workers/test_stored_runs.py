"""Runs of workers in the hands of people: forked, done again, erased, pruned, and read."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphorch.errors import JournalError
from graphorch.journal.postgres.store import PostgresStore
from tests.workers.flow_file import Task, Verdict, flow
from tests.workers.processes import FLOW, ROOT, Launcher, Site, open_site, prepare_database

pytestmark = pytest.mark.slow

CHAIN = ["first", "second", "third"]


@pytest.fixture
def site(
    database: str, tmp_path: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A site without workers."""
    prepare_database(database)
    with open_site(database, tmp_path, launcher) as opened:
        monkeypatch.setenv("WORKER_TEST_LOG", str(opened.log))
        yield opened


def submit(site: Site, run_id: str, task: Task) -> str:
    return asyncio.run(flow.submit(task, durable=site.url, run_id=run_id))


def wait(site: Site, run_id: str) -> list[str]:
    """Return what a run has done once it is over; nothing was committed twice."""
    result = asyncio.run(asyncio.wait_for(flow.wait(run_id, durable=site.url), 40))
    assert set(site.count_commits(run_id).values()) == {1}
    return result.output.done


def call(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the database of a site."""
    program = "from graphorch.cli.app import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRAPHORCH_DB": site.url}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        cwd=site.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_run_under_way_is_forked(site: Site) -> None:
    """A fork and a rerun of a run that a worker drives are runs of their own; it goes on."""
    site.start_many(1)
    submit(site, "driven", Task(kind="slow", seconds=8))
    site.wait_for_begin("second")

    async def fork() -> list[list[str]]:
        forked = await flow.fork("driven", start="first", durable=site.url)
        resumed = flow.resume(forked, durable=site.url)
        rerun = flow.rerun("driven", start="first", durable=site.url)
        both = await asyncio.gather(resumed, rerun)
        return [both[0].output.done, both[1].result.output.done]

    assert asyncio.run(fork()) == [CHAIN, CHAIN]
    assert wait(site, "driven") == CHAIN
    begun = [path for path, _, pid in site.list_begun() if pid != os.getpid()]
    assert begun == CHAIN


def test_run_under_way_is_not_erased(site: Site) -> None:
    """`erase` and `prune` leave a run that a worker drives alone, and say so; later they do it."""
    site.start_many(1)
    submit(site, "driven", Task(kind="slow", seconds=15))
    site.wait_for_begin("second")
    refused = call(site, "runs", "erase", "driven")
    assert refused.returncode == 2
    assert "driven" in refused.stderr
    assert "Traceback" not in refused.stderr
    pruned = call(site, "runs", "prune", "--older-than", "0s")
    assert "Traceback" not in pruned.stderr
    assert wait(site, "driven") == CHAIN
    erased = call(site, "runs", "erase", "driven")
    assert erased.returncode == 0, erased.stderr

    async def read() -> None:
        store = await PostgresStore.open(site.url)
        try:
            await flow.replay("driven", durable=store)
        finally:
            await store.close()

    with pytest.raises(JournalError, match="was erased"):
        asyncio.run(read())


def test_erased_run_is_no_work(site: Site) -> None:
    """A waiting run that is erased, and a submitted one that nobody took, are no work any more."""
    (first,) = site.start_many(1)
    submit(site, "asks", Task(kind="ask"))
    site.wait_for("asks", "waiting")
    first.send(signal.SIGKILL)
    first.wait()
    submit(site, "early", Task())

    async def erase() -> None:
        store = await PostgresStore.open(site.url)
        for run_id in ("asks", "early"):
            await store.erase(run_id)
        await store.close()

    asyncio.run(erase())
    (second,) = site.start_many(1)
    submit(site, "next", Task())
    assert wait(site, "next") == CHAIN
    shown = json.loads(call(site, "workers", "--json").stdout)
    assert [version["problems"] for version in shown["versions"]] == [{}]
    assert "Traceback" not in second.read()


def test_commands_read_runs_of_workers(site: Site) -> None:
    """Every reader of runs reads one that workers drove, with an answer by a person in between."""
    site.start_many(2)
    submit(site, "read", Task(kind="ask"))
    site.wait_for("read", "waiting")
    verdict = Verdict(verdict="yes")
    asyncio.run(flow.send_answer("read", "review", verdict, durable=site.url, wait=False))
    assert wait(site, "read") == CHAIN
    commands: list[list[Any]] = [
        ["replay", FLOW, "read"],
        ["why", FLOW, "read", "third"],
        ["stats"],
        ["conversation", "read"],
        ["runs", "show", "read"],
        ["follow", FLOW, "read"],
    ]
    for command in commands:
        done = call(site, *command)
        assert done.returncode == 0, (command, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stdout.strip(), command
