"""Runs of every kind, each written to a journal by what really writes such runs."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from graphorch.journal.records import NewRun, Record
from graphorch.runs.stores import open_store
from graphorch.server.served_flow import AnyFlow
from tests.golden.flows import FLOWS
from tests.server.page.flows import Sums, crawling
from tests.server.routes.test_unusual_runs import KEY, Text, measure
from tests.trace.acting import act, desk, wait_for_people
from tests.trace.flows import Model, Reply, shop
from tests.trace.running import ran

RUN = "one"
GOLDEN = Path(__file__).parents[2] / "golden"


async def keep_failed(folder: Path) -> None:
    async with open_store(folder / "runs.sqlite") as store:
        await ran(RUN, 50, store=store)


async def keep_waiting(folder: Path) -> None:
    async with open_store(folder / "runs.sqlite") as store:
        await wait_for_people(store, RUN)


async def keep_acted(folder: Path) -> None:
    async with open_store(folder / "runs.sqlite") as store:
        await act(store, RUN)


async def keep_running(folder: Path) -> None:
    """Keep the first records of a run whose process still has its lease."""
    log = await (await ran(RUN)).load(RUN)
    async with open_store(folder / "runs.sqlite") as store:
        head = log.head
        await store.create(NewRun(RUN, head.flow, head.fingerprint, head.format))
        lease = await store.claim(RUN, "another program", ttl=600.0)
        await store.append(lease, log.records[:6], expected_last_seq=0)


async def keep_erased(folder: Path) -> None:
    async with open_store(folder / "runs.sqlite") as store:
        await ran(RUN, store=store)
        await store.erase(RUN)


async def keep_secret(folder: Path) -> None:
    given = Text(words=f"my key is {KEY}", token="hush hush")
    await measure().run(given, run_id=RUN, durable=str(folder / "runs.sqlite"))


async def keep_rerun(folder: Path) -> None:
    path = str(folder / "runs.sqlite")
    async with open_store(path) as store:
        await ran("before", store=store)
    later = Reply(reply="Later.")
    await shop().rerun(
        "before", start="answer", output=later, durable=path, client=Model(), run_id=RUN
    )


async def keep_map(folder: Path) -> None:
    durable = str(folder / "runs.sqlite")
    await crawling().run(Sums(count=12), run_id=RUN, durable=durable)


async def keep_newer(folder: Path) -> None:
    """Keep a run of a later version, with a kind of record that this one does not know."""
    log = await (await ran(RUN)).load(RUN)
    async with open_store(folder / "runs.sqlite") as store:
        await store.create(NewRun(RUN, log.head.flow, log.head.fingerprint, 99))
        lease = await store.claim(RUN, "a later version", ttl=60.0)
        records = [*log.records, Record(len(log.records) + 1, "dreamt", {"of": "sheep"})]
        await store.append(lease, records, expected_last_seq=0, status="succeeded")
        await store.release(lease)


async def keep_empty(folder: Path) -> None:
    async with open_store(folder / "runs.sqlite") as store:
        await store.create(NewRun(RUN, "order", "0" * 32, 6))


KINDS: Mapping[str, tuple[Callable[[Path], Awaitable[None]], Callable[[], AnyFlow]]] = {
    "failed": (keep_failed, shop),
    "waiting": (keep_waiting, desk),
    "acted": (keep_acted, desk),
    "running": (keep_running, shop),
    "erased": (keep_erased, shop),
    "secret": (keep_secret, measure),
    "rerun": (keep_rerun, shop),
    "map": (keep_map, crawling),
    "newer": (keep_newer, shop),
    "empty": (keep_empty, shop),
}


def keep_run(kind: str, folder: Path) -> AnyFlow:
    """Keep a run of a kind in the journal of a folder, under the id RUN; return its flow."""
    keep, build = KINDS[kind]

    async def main() -> None:
        await keep(folder)

    with ThreadPoolExecutor(1) as thread:  # a browser's driver has a loop in this thread
        thread.submit(lambda: asyncio.run(main())).result()
    return build()


def copy_golden(format_name: str, name: str, folder: Path) -> Any:
    """Copy a golden journal into a folder, whose run has the id `name`; return its flow."""
    shutil.copyfile(GOLDEN / format_name / f"{name}.golden", folder / "runs.sqlite")
    return FLOWS[name]()
