"""Caps and rates that real worker processes share, also while some of them are killed."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.records import Record
from graphorch.models.budgets.budget import Budget
from graphorch.models.budgets.ledger import PICO
from graphorch.models.config.loader import load_config_file
from graphorch.models.config.router import Router
from graphorch.models.policies.rate_slices import SLICE_LIFE, build_flows
from tests.models.config.files import write_config
from tests.models.servers import serve
from tests.workers import paying_flow
from tests.workers.paying_flow import PARTS, Topic
from tests.workers.processes import Launcher, Site, open_site, prepare_database
from tests.workers.till import CONFIG, INPUT, MOST, OUTPUT, Till

ESSAY, SURVEY = paying_flow.__file__, f"{paying_flow.__file__}:survey"
TAGS = {"team": "search"}
JITTER = 0.5  # seconds that a request may take from its turn to the server on a busy machine


async def start(site: Site, config: Path, count: int, flow: str = ESSAY) -> None:
    """Start workers of a flow, and return once they take runs."""
    started = [site.start("--config", str(config), flow=flow) for _ in range(count)]
    for process in started:
        await asyncio.to_thread(process.wait_until_ready)


async def submit(site: Site, count: int) -> Sequence[str]:
    """Submit essays, and return their ids."""
    names = [f"essay-{number}" for number in range(count)]
    for name in names:
        await paying_flow.flow.submit(Topic(name=name), durable=site.url, run_id=name, tags=TAGS)
    return names


async def wait_until_over(
    site: Site, names: Sequence[str], seconds: float = 90.0
) -> dict[str, str]:
    """Return the statuses of runs once all of them are at rest."""
    store = await PostgresStore.open(site.url)
    try:
        async with asyncio.timeout(seconds):
            while True:
                heads = {name: (await store.load(name)).head for name in names}
                if all(head.status != "running" and not head.lease for head in heads.values()):
                    return {name: head.status for name, head in heads.items()}
                await asyncio.sleep(0.2)
    finally:
        await store.close()


async def read(site: Site, name: str) -> Sequence[Record]:
    """Return the records of a run."""
    _, records = await asyncio.to_thread(site.read, name)
    return records


def kill_first(site: Site) -> None:
    """Kill the first worker that lives."""
    victim = next(each for each in site.processes if each.code is None)
    victim.send(signal.SIGKILL)
    victim.wait()


@pytest.mark.parametrize(
    ("level", "workers", "killed", "cap"),
    [
        pytest.param("day", 4, 1, 0.003, id="day over four workers"),
        pytest.param("tags.team", 8, 3, 0.01, id="tag over eight workers", marks=pytest.mark.slow),
    ],
)
def test_workers_keep_to_cap(
    level: str,
    workers: int,
    killed: int,
    cap: float,
    database: str,
    tmp_path: Path,
    launcher: Launcher,
) -> None:
    """Workers, some of them killed, never spend more than the cap of a day or a tag."""
    prepare_database(database)
    runs = round(4_000 * cap)  # more than the cap covers

    async def main(site: Site) -> None:
        till = Till(random.Random(1), cap)
        async with serve(till.handle) as server:
            text = CONFIG.format(url=server.url) + f"\n[budgets.{level}]\nusd = {cap}\n"
            await start(site, write_config(tmp_path, text), workers)
            names = await submit(site, runs)
            for number in range(1, killed + 1):
                await till.wait_for(4 * number)
                kill_first(site)
            statuses = await wait_until_over(site, names)
        assert till.is_within_cap
        assert set(statuses.values()) == {"stopped", "succeeded"}
        with psycopg.connect(database) as connection:
            row = connection.execute("SELECT usd FROM graphorch.spending").fetchone()
        assert row is not None
        assert till.charged <= row[0] <= cap * PICO
        assert till.charged > 0.2 * cap * PICO
        for name in names:
            assert till.list_paid_again(name, await read(site, name)) == []

    with open_site(database, tmp_path, launcher) as site:
        asyncio.run(main(site))


@pytest.mark.slow
def test_workers_keep_to_rate(database: str, tmp_path: Path, launcher: Launcher) -> None:
    """Workers, one of them killed, send no more than the flow of a limit and its burst."""
    prepare_database(database)
    rpm = 120

    async def main(site: Site) -> None:
        till = Till(random.Random(1))
        async with serve(till.handle) as server:
            text = CONFIG.format(url=server.url) + f"\n[limits.m]\nrpm = {rpm}\n"
            await start(site, write_config(tmp_path, text), 4)
            names = await submit(site, 20)
            await till.wait_for(15)
            kill_first(site)
            statuses = await wait_until_over(site, names)
        assert set(statuses.values()) == {"succeeded"}
        flow = build_flows(rpm, None)[0]
        assert flow is not None
        for span in (0.5, 1.0, 2.0, 5.0, 10.0):
            most = flow.capacity + flow.rate * (span + SLICE_LIFE + JITTER)
            assert till.count_busiest(span) <= most
        for name in names:
            assert till.list_paid_again(name, await read(site, name)) == []

    with open_site(database, tmp_path, launcher) as site:
        asyncio.run(main(site))


@pytest.mark.slow
def test_budget_ends_while_nodes_are_elsewhere(
    database: str, tmp_path: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose budget ends stops with it, and leaves no job; a larger one pays for the rest."""
    prepare_database(database)
    budget = 7 * (7 * INPUT + MOST * OUTPUT)

    async def main(site: Site) -> None:
        till = Till(random.Random(1), budget)
        async with serve(till.handle) as server:
            config = write_config(tmp_path, CONFIG.format(url=server.url))
            await start(site, config, 3, SURVEY)
            await paying_flow.survey.submit(
                Topic(name="survey"),
                durable=database,
                run_id="survey",
                budget=Budget(usd=budget),
            )
            statuses = await wait_until_over(site, ["survey"])
            assert statuses == {"survey": "stopped"}
            assert till.is_within_cap
            assert till.charged > 0.4 * budget * PICO
            await asyncio.sleep(1)
            assert await list_jobs(database) == []
            monkeypatch.setenv("WORKER_TEST_LOG", str(site.log))
            paid = [record for record in await read(site, "survey") if record.kind == "call"]
            client = Router(load_config_file(config).config)
            more = await paying_flow.survey.resume(
                "survey", durable=database, budget=Budget(usd=1.0), client=client
            )
            await client.aclose()
        assert len(more.output.answers) == PARTS
        assert len(till.times) == len(set(till.asked))
        assert len(paid) < len(till.times) == 3 * PARTS

    with open_site(database, tmp_path, launcher) as site:
        asyncio.run(main(site))


async def list_jobs(database: str) -> Sequence[str]:
    """Return the kinds of jobs of nodes that are left."""
    engine = await PgQueuerEngine.open(database)
    health = await engine.read_health()
    await engine.close()
    return [each.kind for each in health if each.kind.startswith("node:")]
