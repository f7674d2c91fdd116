"""Worker processes on a real database: killed, stopped, paused, and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres.cluster import Cluster
from tests.postgres.fixtures import cluster
from tests.workers.flow_file import Task, flow
from tests.workers.processes import Site, open_site, prepare_database

__all__ = ["cluster"]


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> Iterator[str]:
    """A database with all tables, for all tests of this module."""
    made = cluster.create_database()
    prepare_database(made)
    yield made
    cluster.drop_database(made)


@pytest.fixture
def site(url: str, tmp_path: Path) -> Iterator[Site]:
    """A site without workers."""
    with open_site(url, tmp_path) as opened:
        yield opened


def submit(site: Site, run_id: str, task: Task) -> str:
    return asyncio.run(flow.submit(task, durable=site.url, run_id=run_id))


def test_submitted_run_is_done_elsewhere(site: Site) -> None:
    """A run that was submitted before any worker lived is driven by one that starts."""
    submit(site, "early", Task())
    site.start_many(1)
    result = asyncio.run(flow.wait("early", durable=site.url))
    assert result.output.done == ["first", "second", "third"]
    assert set(site.count_commits("early").values()) == {1}
