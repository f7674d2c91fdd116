"""Worker processes on a real database: killed, stopped, paused, and started again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres.cluster import Cluster
from tests.workers.flow_file import Task, Verdict, flow
from tests.workers.processes import Launcher, Site, open_site, prepare_database

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


def submit(site: Site, run_id: str, task: Task) -> str:
    return asyncio.run(flow.submit(task, durable=site.url, run_id=run_id))


def wait(site: Site, run_id: str) -> list[str]:
    """Return what a run has done once it is over; nothing was committed twice."""
    result = asyncio.run(asyncio.wait_for(flow.wait(run_id, durable=site.url), 30))
    assert set(site.count_commits(run_id).values()) == {1}
    replayed = asyncio.run(flow.replay(run_id, durable=site.url))
    assert replayed.output == result.output
    return result.output.done


def test_runs_need_no_worker_to_wait(site: Site) -> None:
    """Runs are submitted, wait and are answered without a worker; the next one does the rest."""
    submit(site, "early", Task())
    submit(site, "asks", Task(kind="ask"))
    submit(site, "timed", Task(kind="later", seconds=1.5))
    (worker,) = site.start_many(1)
    assert wait(site, "early") == CHAIN
    site.wait_for("asks", "waiting")
    site.wait_for("timed", "waiting", "succeeded")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    answer = Verdict(verdict="yes")
    asyncio.run(flow.send_answer("asks", "review", answer, durable=site.url, wait=False))
    assert site.read("asks")[0].status == "waiting"
    site.start_many(1)
    assert wait(site, "asks") == CHAIN
    site.wait_for("timed", "succeeded")
    assert wait(site, "timed") == CHAIN


def test_killed_owner_is_replaced(site: Site) -> None:
    """The runs of a worker that is killed go on elsewhere within seconds, and repeat no commit."""
    site.start_many(2)
    run_ids = [
        submit(site, f"killed-{number}", Task(kind="slow", seconds=1)) for number in range(3)
    ]
    owner = site.wait_for_begin("second", len(run_ids))
    site.find(owner).send(signal.SIGKILL)
    killed = time.monotonic()
    for run_id in run_ids:
        assert wait(site, run_id) == CHAIN
    assert time.monotonic() - killed < 10
    begun = [(path, key) for path, key, pid in site.list_begun() if path != "second"]
    assert len(begun) == len(set(begun)) == 2 * len(run_ids)


@pytest.mark.slow
def test_stopped_worker_hands_over(site: Site) -> None:
    """SIGTERM lets a node finish; the run stays under way, and the next worker goes on at once."""
    (first,) = site.start_many(1)
    submit(site, "handed", Task(kind="slow", seconds=1))
    site.wait_for_begin("second")
    first.send(signal.SIGTERM)
    assert first.wait() == 0
    head, records = site.read("handed")
    assert head.status == "running"
    assert head.lease is None
    assert [record.kind for record in records].count("commit") == 2
    site.start_many(1)
    assert wait(site, "handed") == CHAIN
    assert len([path for path, _, _ in site.list_begun() if path == "second"]) == 1


@pytest.mark.slow
def test_second_signal_interrupts(site: Site) -> None:
    """A second signal does not wait for nodes; the next worker repeats them."""
    (first,) = site.start_many(1)
    submit(site, "hurried", Task(kind="slow", seconds=4))
    site.wait_for_begin("second")
    first.send(signal.SIGTERM)
    time.sleep(0.3)
    first.send(signal.SIGTERM)
    assert first.wait(3.5) == 130
    assert site.read("hurried")[0].status == "running"
    site.start_many(1)
    assert wait(site, "hurried") == CHAIN
    assert len([path for path, _, _ in site.list_begun() if path == "second"]) == 2


@pytest.mark.slow
def test_second_signal_leaves_nodes_elsewhere(site: Site) -> None:
    """A node that runs on another worker goes on while its run changes its owner."""
    (first,) = site.start_many(1)
    submit(site, "away", Task(kind="far", seconds=8))
    site.wait_for_begin("second")
    (second,) = site.start_many(1, "--pool", "gpu")
    assert site.wait_for_begin("far") == second.pid
    first.send(signal.SIGTERM)
    time.sleep(0.3)
    first.send(signal.SIGTERM)
    assert first.wait(5) == 130
    assert wait(site, "away") == ["first", "second", "far", "third"]
    begun = [path for path, _, _ in site.list_begun()]
    assert begun == ["first", "second", "far", "third"]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stopped", "cancelled"])
def test_end_reaches_node_elsewhere(site: Site, end: str) -> None:
    """A run that a person ends cancels its node on another worker."""
    site.start_many(1)
    (other,) = site.start_many(1, "--pool", "gpu")
    run_id = submit(site, f"is-{end}", Task(kind="far", seconds=60))
    assert site.wait_for_begin("far") == other.pid
    if end == "stopped":
        asyncio.run(flow.send_stop(run_id, durable=site.url, now=True))
    else:
        asyncio.run(flow.cancel(run_id, durable=site.url))
    site.wait_for(run_id, end)
    assert site.wait_for_begin("far-cancelled", seconds=5) == other.pid


@pytest.mark.slow
def test_zombie_ends_with_its_code(site: Site) -> None:
    """A worker that was stopped for longer than its lease ends with 75, and commits nothing."""
    site.start_many(2)
    submit(site, "zombie", Task(kind="slow", seconds=3))
    owner = site.find(site.wait_for_begin("second"))
    owner.send(signal.SIGSTOP)
    successor = site.wait_for_begin("second", 2)
    assert successor != owner.pid
    owner.send(signal.SIGCONT)
    assert owner.wait() == 75
    assert "was cut off from the database" in owner.read()
    assert wait(site, "zombie") == CHAIN


@pytest.mark.slow
def test_poisonous_run_is_stopped(site: Site) -> None:
    """A run that ends each process that drives it is stopped, and says so."""
    submit(site, "poison", Task(kind="die"))
    for number in range(1, 4):  # the first got on by a node
        worker = site.start("--attempts", "2")
        site.wait_for_begin("second", number)
        assert worker.wait() == 9
    site.start("--attempts", "2").wait_until_ready()
    site.wait_for("poison", "stopped")
    reason = site.read("poison")[1][-1].body["reason"]
    assert reason == "2 workers ended while they drove it, and it did not get on"


@pytest.mark.slow
def test_versions_run_side_by_side(site: Site) -> None:
    """Runs stay with workers of their version, also when others live."""
    submit(site, "old", Task(kind="ask"))
    site.start_many(1)
    site.wait_for("old", "waiting")
    site.start(version="2").wait_until_ready()
    answer = Verdict(verdict="yes")
    asyncio.run(flow.send_answer("old", "review", answer, durable=site.url))
    assert wait(site, "old") == CHAIN
    pids = {pid for path, _, pid in site.list_begun() if path == "third"}
    assert pids == {site.processes[0].pid}


@pytest.mark.slow
def test_restart_of_server_is_survived(cluster: Cluster, site: Site) -> None:
    """Runs go on after the server has crashed and is there again."""
    site.start_many(2)
    submit(site, "restarted", Task(kind="slow", seconds=4))
    site.wait_for_begin("second")
    cluster.restart()
    assert wait(site, "restarted") == CHAIN


@pytest.mark.slow
def test_people_reach_runs_of_workers(site: Site) -> None:
    """An answer returns the result that a worker reaches; a stop and a cancellation are its too."""
    site.start_many(1)
    for run_id in ("answered", "cancelled"):
        submit(site, run_id, Task(kind="ask"))
        site.wait_for(run_id, "waiting")
    answer = flow.answer("answered", "review", Verdict(verdict="yes"), durable=site.url)
    assert asyncio.run(answer).output.done == CHAIN
    assert {pid for _, _, pid in site.list_begun()} == {site.processes[0].pid}
    asyncio.run(flow.cancel("cancelled", durable=site.url))
    assert site.read("cancelled")[0].status == "cancelled"
    submit(site, "stopped", Task(kind="slow", seconds=20))
    site.wait_for_begin("second", 3)
    asyncio.run(flow.send_stop("stopped", durable=site.url, now=True, reason="enough"))
    site.wait_for("stopped", "stopped")
    assert site.read("stopped")[1][-1].body["reason"] == "enough"
