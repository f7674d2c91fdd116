"""Workers on hosts of their own, whose links to the database are cut or slow.

Hosts are network namespaces of Linux, which only root may make.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.postgres.cluster import Cluster
from tests.workers.flow_file import Task, flow
from tests.workers.hosts import Host, open_hosts
from tests.workers.processes import Launcher, Site, open_site, prepare_database

pytestmark = pytest.mark.slow

CHAIN = ["first", "second", "third"]
CUT = 6.0  # seconds without a network: longer than a lease
FENCED = 75


@pytest.fixture
def site(database: str, tmp_path: Path, launcher: Launcher) -> Iterator[Site]:
    """A site without workers."""
    prepare_database(database)
    with open_site(database, tmp_path, launcher) as opened:
        yield opened


@pytest.fixture
def hosts(cluster: Cluster) -> Iterator[list[Host]]:
    """Two hosts; skip where there are none to be had."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_hosts(2, cluster.port))
        except OSError as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield opened


def start(site: Site, host: Host, port: int) -> int:
    """Start a worker on a host; return its process id once it takes runs."""
    url = host.rewrite(site.url, port)
    process = site.start(url=url, namespace=host.name)
    process.wait_until_ready()
    return process.pid


def submit(site: Site, count: int, seconds: float) -> list[str]:
    task = Task(kind="slow", seconds=seconds)
    names = [f"run-{number}" for number in range(count)]
    for name in names:
        asyncio.run(flow.submit(task, durable=site.url, run_id=name))
    return names


def check(site: Site, names: list[str]) -> None:
    """Wait until all runs are over: nothing is lost, and nothing was committed twice."""
    for name in names:
        site.wait_for(name, "succeeded", seconds=60)
        assert set(site.count_commits(name).values()) == {1}
        assert asyncio.run(flow.replay(name, durable=site.url)).output.done == CHAIN


def test_host_that_is_cut_off_loses_nothing(
    site: Site, hosts: list[Host], cluster: Cluster
) -> None:
    """The runs of a host without a network go on elsewhere; it ends, or goes on with others."""
    pids = [start(site, host, cluster.port) for host in hosts]
    names = submit(site, 4, 2.0)
    owner = site.wait_for_begin("second", 4)
    cut = pids.index(owner)
    hosts[cut].disconnect()
    time.sleep(CUT)
    hosts[cut].connect()
    check(site, names)
    others = submit_others(site)
    check(site, others)
    assert site.find(owner).code in (None, FENCED)
    begun = [(path, key) for path, key, _ in site.list_begun() if path == "first"]
    assert len(begun) == len(set(begun)) == len(names) + len(others)


def submit_others(site: Site) -> list[str]:
    names = ["later-0", "later-1"]
    for name in names:
        asyncio.run(flow.submit(Task(), durable=site.url, run_id=name))
    return names


def test_hosts_with_slow_links_lose_nothing(
    site: Site, hosts: list[Host], cluster: Cluster
) -> None:
    """Runs come to their end by links of 100 kbit a second, each node once."""
    for host in hosts:
        start(site, host, cluster.port)
        host.slow_down("100kbit")
    names = submit(site, 4, 1.0)
    check(site, names)
    begun = [(path, key) for path, key, _ in site.list_begun()]
    assert len(begun) == len(set(begun)) == 3 * len(names)
