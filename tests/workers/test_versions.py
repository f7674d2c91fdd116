"""Two versions of a flow on real workers, of which the new one migrates runs of the old one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphorch.distributed.engine import Job
from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
from graphorch.distributed.placed_runs import PlacedRun
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.workers.overview import VersionOverview, read_overview
from tests.workers import flow_file
from tests.workers.flow_file import Task, Verdict
from tests.workers.processes import Launcher, Process, Site, open_site, prepare_database

pytestmark = pytest.mark.slow

OLD = flow_file.build().build()
NEW = flow_file.build("migrating").build()
CHAIN = ["first", "second", "third"]
LONGER = [*CHAIN, "third"]  # its last node is the third under another name


@pytest.fixture
def site(database: str, tmp_path: Path, launcher: Launcher) -> Iterator[Site]:
    """A site without workers."""
    prepare_database(database)
    with open_site(database, tmp_path, launcher) as opened:
        yield opened


def submit(site: Site, run_id: str, task: Task) -> str:
    """Submit a run of the old version."""
    return asyncio.run(OLD.submit(task, durable=site.url, run_id=run_id))


def answer(site: Site, run_id: str) -> None:
    """Answer a run of either version, without waiting for a worker."""
    verdict = Verdict(verdict="yes")
    sent = NEW.send_answer(run_id, "review", verdict, durable=site.url, wait=False)
    asyncio.run(sent)


def start(site: Site, version: str = "") -> Process:
    (started,) = site.start_many(1, version=version)
    return started


def wait(site: Site, run_id: str, *, is_new: bool) -> list[str]:
    """Return what a run of a version has done; nothing was committed twice."""
    flow = NEW if is_new else OLD
    result = asyncio.run(asyncio.wait_for(flow.wait(run_id, durable=site.url), 40))
    assert set(site.count_commits(run_id).values()) == {1}
    assert asyncio.run(flow.replay(run_id, durable=site.url)).output == result.output
    return result.output.done


def read_versions(site: Site) -> dict[str, VersionOverview]:
    """Return what is shown of the versions, as `old` and `new`."""
    names = {compute_fingerprint(OLD.plan): "old", compute_fingerprint(NEW.plan): "new"}
    versions = asyncio.run(read_overview(site.url)).versions
    return {names[each.fingerprint]: each for each in versions}


def list_places(site: Site, process: Process) -> list[str]:
    """Return the nodes that began in a process."""
    return [path for path, _, pid in site.list_begun() if pid == process.pid]


def test_new_version_takes_over_from_old(site: Site) -> None:
    """Runs of the old version go on in the new one once the old worker stops, and it drains."""
    old = start(site)
    submit(site, "slow", Task(kind="slow", seconds=6))
    submit(site, "asks", Task(kind="ask"))
    site.wait_for("asks", "waiting")
    site.wait_for_begin("second", 2)
    new = start(site, "migrating")
    shown = read_versions(site)
    assert shown["old"].workers == 2  # the new worker takes its runs too
    assert sum(shown["old"].runs.values()) == 2
    old.send(signal.SIGTERM)
    assert old.wait() == 0
    assert wait(site, "slow", is_new=True) == LONGER
    answer(site, "asks")
    assert wait(site, "asks", is_new=True) == LONGER
    assert list_places(site, new)[-2:] == ["third", "fourth"]
    assert [path for path, _, _ in site.list_begun()].count("second") == 2
    shown = read_versions(site)
    assert shown["old"].runs == {}
    assert (shown["old"].workers, shown["new"].workers) == (1, 1)


def test_old_worker_leaves_migrated_run(site: Site) -> None:
    """A run that was migrated waits for a worker of its version, whatever an old one is offered."""
    new = start(site, "migrating")
    submit(site, "asks", Task(kind="ask"))
    site.wait_for("asks", "waiting")
    new.send(signal.SIGKILL)
    new.wait()
    old = start(site)
    seq = site.read("asks")[0].last_seq
    answer(site, "asks")
    stale = PlacedRun("asks", OLD.name, compute_fingerprint(OLD.plan)).build_job("stale")
    asyncio.run(put(site, stale))
    submit(site, "quick", Task())
    assert wait(site, "quick", is_new=False) == CHAIN
    head, _ = site.read("asks")
    assert (head.status, head.last_seq) == ("waiting", seq)
    shown = read_versions(site)
    assert shown["new"].runs == {"waiting": 1}
    assert shown["new"].problems == shown["old"].problems == {}
    start(site, "migrating")
    assert wait(site, "asks", is_new=True) == LONGER
    assert "asks" not in old.read()


async def put(site: Site, job: Job) -> None:
    engine = await PgQueuerEngine.open(site.url)
    await engine.put([job])
    await engine.close()


def test_versions_hand_back_and_forth(site: Site) -> None:
    """Workers of both versions come and go while runs are under way; each run ends once."""
    workers = [start(site), start(site, "migrating")]
    names = [submit(site, f"run-{number}", Task(kind="slow", seconds=1)) for number in range(6)]
    for number in range(6):
        site.wait_for_begin("second", min(number + 1, 6))
        number %= 2
        workers[number].send(signal.SIGKILL if number else signal.SIGTERM)
        workers[number].wait()
        workers[number] = start(site, "migrating" if number else "")
    for name in names:
        site.wait_for(name, "succeeded", seconds=40)
        is_new = any(record.kind == "migrated" for record in site.read(name)[1])
        assert wait(site, name, is_new=is_new) == (LONGER if is_new else CHAIN)
    assert all(version.runs == {} for version in read_versions(site).values())
