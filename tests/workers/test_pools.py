"""Nodes of a pool on a real cluster of Dask: workers are killed, and its scheduler comes late."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from graphorch.workers.overview import read_overview
from tests.distributed.dask.scheduler import Scheduler
from tests.postgres.cluster import Cluster
from tests.workers.pool_flow_file import Job, flow
from tests.workers.processes import ROOT, Launcher, Site, open_site, prepare_database

AWAY = "postgresql://me:secret@127.0.0.1:1/x"
FILE = str(ROOT / "tests/workers/pool_flow_file.py")


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


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """A scheduler of its own."""
    started = Scheduler()
    try:
        yield started
    finally:
        started.end()


@dataclass(frozen=True)
class DaskWorker:
    """A process of `dask worker`, and the file with what it printed."""

    process: subprocess.Popen[bytes]
    output: Path


class DaskSite:
    """A scheduler of Dask, and workers of it that serve the pool."""

    def __init__(self, site: Site, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._site = site
        self._workers: list[DaskWorker] = []

    def start(self, *words: str) -> DaskWorker:
        """Start a worker, with other words behind its options if they are given."""
        site = self._site
        output = site.folder / f"dask {len(self._workers)}"
        environment = {**os.environ, "WORKER_TEST_LOG": str(site.log), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "distributed.cli.dask_worker"]
        options = ["--no-dashboard", "--no-nanny", "--nthreads", "4", "--local-directory"]
        preload = ["--preload", "graphorch.dask", FILE, "--db", site.url, "--pool", "gpu"]
        place = f"tcp://127.0.0.1:{self.scheduler.port}"
        with output.open("w") as file:
            started = subprocess.Popen(
                [*command, place, *options, str(site.folder), *(words or preload)],
                stdout=file,
                stderr=file,
                env=environment,
            )
        self._workers.append(DaskWorker(started, output))
        return self._workers[-1]

    def kill_all(self) -> None:
        """End all workers."""
        for each in self._workers:
            each.process.kill()
            each.process.wait()


@pytest.fixture
def dask(site: Site, scheduler: Scheduler) -> Iterator[DaskSite]:
    """A scheduler without workers."""
    made = DaskSite(site, scheduler)
    try:
        yield made
    finally:
        made.kill_all()


def submit(site: Site, run_id: str, job: Job) -> None:
    asyncio.run(flow.submit(job, durable=site.url, run_id=run_id))


def wait(site: Site, run_id: str, count: int) -> None:
    """Wait until a run has succeeded; nothing was committed twice, and a replay agrees."""
    result = asyncio.run(asyncio.wait_for(flow.wait(run_id, durable=site.url), 90))
    assert result.output.squares == [*(number**2 for number in range(count)), -1]
    assert set(site.count_commits(run_id).values()) == {1}
    replayed = asyncio.run(flow.replay(run_id, durable=site.url))
    assert replayed.output == result.output


@pytest.mark.slow
def test_killed_workers_of_dask_are_replaced(site: Site, dask: DaskSite) -> None:
    """Nodes run on the cluster only; those of a worker that is killed begin again on another."""
    owner = site.start("--pool", f"gpu={dask.scheduler.url}", flow=FILE)
    owner.wait_until_ready(60)
    first = dask.start()
    submit(site, "killed", Job(count=4, seconds=2.0))
    assert site.wait_for_begin("each[3]/work") == first.process.pid
    dask.start()
    first.process.kill()
    wait(site, "killed", 4)
    begun = [path for path, _, _ in site.list_begun()]
    assert begun.count("plan") == begun.count("send") == 1
    assert {pid for path, _, pid in site.list_begun() if path == "plan"} == {owner.pid}
    owner.send(signal.SIGTERM)
    assert owner.wait() == 0


@pytest.mark.slow
def test_killed_owner_leaves_nodes_on_dask(site: Site, dask: DaskSite) -> None:
    """The next owner of a run takes over what the cluster does for it, and repeats none of it."""
    words = ("--pool", f"gpu={dask.scheduler.url}")
    (owner, heir) = (site.start(*words, flow=FILE) for _ in range(2))
    for each in (owner, heir):
        each.wait_until_ready(60)
    dask.start()
    submit(site, "orphaned", Job(count=4, seconds=4.0))
    site.wait_for_begin("each[3]/work")
    site.find(site.wait_for_begin("plan")).send(signal.SIGKILL)
    wait(site, "orphaned", 4)
    assert len(site.list_begun()) == 6


@pytest.mark.slow
def test_restarted_scheduler_gets_nodes_again(site: Site, dask: DaskSite) -> None:
    """What a scheduler lost is put again once there is one; its workers come back with it."""
    owner = site.start("--pool", f"gpu={dask.scheduler.url}", flow=FILE)
    owner.wait_until_ready(60)
    dask.start()
    submit(site, "restarted", Job(count=4, seconds=2.0))
    site.wait_for_begin("each[3]/work")
    dask.scheduler.end()
    time.sleep(1.0)
    later = dask.scheduler = Scheduler(dask.scheduler.port)
    try:
        dask.start()
        wait(site, "restarted", 4)
        assert "Traceback" not in owner.read()
        later.end()
        owner.send(signal.SIGTERM)
        assert owner.wait() == 0
    finally:
        later.end()


@pytest.mark.slow
def test_cluster_without_workers_is_named(site: Site, dask: DaskSite) -> None:
    """Nodes that no worker of the cluster serves are listed; so is a scheduler that is away."""
    site.start("--pool", f"gpu={dask.scheduler.url}", flow=FILE).wait_until_ready(60)
    submit(site, "unserved", Job(count=2))
    site.wait_for_begin("plan")
    end = time.monotonic() + 30
    while not (found := asyncio.run(read_overview(site.url)).unserved):
        assert time.monotonic() < end
    assert (found[0].pool, found[0].waiting, found[0].cluster) == ("gpu", 2, dask.scheduler.url)
    dask.scheduler.end()
    overview = asyncio.run(read_overview(site.url))
    assert overview.unserved == []
    assert "cannot be reached" in overview.problems[dask.scheduler.url]


@pytest.mark.slow
def test_missing_scheduler_is_one_line(site: Site, dask: DaskSite) -> None:
    """A worker whose scheduler is not there when it begins ends with one line and exit code 2."""
    dask.scheduler.end()
    owner = site.start("--pool", f"gpu={dask.scheduler.url}", flow=FILE)
    assert owner.wait() == 2
    (line,) = [line for line in owner.read().splitlines() if not line.startswith("note: ")]
    assert line.startswith(f"error: '{dask.scheduler.url}' cannot be reached: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["missing.py", "--pool", "gpu"], "missing.py does not exist"),
        ([FILE, "--pool", "gpu", "--db", "runs.sqlite"], "need the PostgreSQL database"),
        (
            [FILE, "--pool", "gpu", "--db", "postgresql://me:secret@127.0.0.1:1/x"],
            "cannot be opened",
        ),
        ([FILE, "--pool", "g pu"], "is not the name of a pool"),
        ([FILE], "Missing option '--pool'"),
    ],
)
def test_wrong_preload_is_explained(
    site: Site, dask: DaskSite, words: list[str], text: str
) -> None:
    """A worker of Dask that could serve nothing ends at once, with one line and exit code 2."""
    given = words if "--db" in words else [*words, "--db", site.url]
    worker = dask.start("--preload", "graphorch.dask", *given)
    assert worker.process.wait(60) == 2
    printed = worker.output.read_text()
    assert text in printed.splitlines()[-1]
    assert "Traceback" not in printed
    assert "secret" not in printed
