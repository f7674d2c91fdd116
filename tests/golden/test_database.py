"""Journals of earlier versions go on in a PostgreSQL database as they do in their files."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from graphorch.distributed.postgres.preparation import initialize_database
from tests.golden.flows import FLOWS, Answering, State, to_the_end
from tests.golden.pattern_flows import PATTERNS as PATTERN_FLOWS
from tests.golden.pattern_flows import Model, to_the_end_of
from tests.golden.test_golden import FORMATS, PATTERN_RUNS, expected
from tests.postgres.cluster import Cluster
from tests.postgres.databases import copy_journal, empty_tables

# Formats between the oldest and the newest are slow beside what they can find.
SOME = [
    pytest.param(
        folder,
        name,
        id=f"{folder.name}-{name}",
        marks=[] if folder in (FORMATS[0], FORMATS[-1]) else [pytest.mark.slow],
    )
    for folder in FORMATS
    for name in FLOWS
]
Copy = Callable[[Path, str], str]


@pytest.fixture(scope="module")
def tables(cluster: Cluster) -> Iterator[str]:
    """A database with the tables of graphorch, for all tests of this module."""
    url = cluster.create_database()
    asyncio.run(initialize_database(url))
    yield url
    cluster.drop_database(url)


@pytest.fixture
def copy(tables: str, tmp_path: Path) -> Copy:
    """Return a function that copies a golden journal into the database, and names it."""

    def copied(folder: Path, name: str) -> str:
        file = Path(shutil.copyfile(folder / f"{name}.golden", tmp_path / "runs.sqlite"))
        empty_tables(tables)
        copy_journal(file, tables)
        return tables

    return copied


@pytest.mark.parametrize("folder, name", SOME)
def test_golden_run_resumes_in_database(folder: Path, name: str, copy: Copy) -> None:
    """A golden run that was copied is resumed, and ends like an undisturbed run."""
    flow, url, client = FLOWS[name](), copy(folder, name), Answering()
    state: State = asyncio.run(to_the_end(flow, name, durable=url, client=client))
    assert state.model_dump(mode="json") == expected(folder, name)
    assert client.calls == (1 if name == "crashed" else 0)
    assert asyncio.run(flow.replay(name, durable=url)).state == state


@pytest.mark.slow
@pytest.mark.parametrize("folder, name", PATTERN_RUNS)
def test_golden_pattern_resumes_in_database(folder: Path, name: str, copy: Copy) -> None:
    """A pattern that died at a model call ends like an undisturbed one."""
    url, flow = copy(folder, f"{name}.crashed"), PATTERN_FLOWS[name]()
    state = asyncio.run(to_the_end_of(flow, name, durable=url, client=Model()))
    assert state.model_dump(mode="json") == expected(folder, name)
