"""Journals of earlier versions go on in a PostgreSQL database as they do in their files."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from graphorch import Approval, Worker
from graphorch.distributed.placed_runs import PlacedRun
from graphorch.distributed.postgres.placed_runs import PostgresPlacedRuns
from graphorch.distributed.postgres.preparation import initialize_database
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.journal.postgres.store import PostgresStore
from tests.golden.flows import FLOWS, Answering, State, Verdict, World, to_the_end
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["waiting", "crashed"])
@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_golden_run_goes_on_with_worker(folder: Path, name: str, copy: Copy) -> None:
    """A golden run that is left to workers is taken, answered by people, and ends like others."""
    flow, url, client = FLOWS[name](), copy(folder, name), Answering()

    async def main() -> State:
        store = await PostgresStore.open(url)
        run = PlacedRun(name, flow.name, compute_fingerprint(flow.plan))
        await PostgresPlacedRuns(store).add(run)
        await store.close()
        resources = World(is_repaired=True)
        async with Worker(flow, url=url, client=client, resources=resources, grace=1.0):
            result = await flow.wait(name, durable=url)
            while result.status == "waiting":
                question = result.questions[0]
                answer: BaseModel = Approval(approved=True)
                if question.answer_type is Verdict:
                    answer = Verdict(approved=True, remarks={"clear": 3, "short": 1})
                await flow.send_answer(name, question, answer, durable=url)
                result = await flow.wait(name, durable=url)
        return result.state

    state = asyncio.run(asyncio.wait_for(main(), 60))
    assert state.model_dump(mode="json") == expected(folder, name)
    assert client.calls == (1 if name == "crashed" else 0)
    assert asyncio.run(flow.replay(name, durable=url)).state == state
