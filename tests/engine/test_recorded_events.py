"""Events read from records: at each record those of the run up to there, and the end once."""

from __future__ import annotations

import asyncio
from typing import Any

from graphorch.engine.events import Ended
from graphorch.engine.recorded_events import EventReader
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Record, RunLog
from tests.runs.following import AnyFlow, follow_all
from tests.scenarios.flows import FLOWS, Ledger, to_the_end


async def finish(name: str, store: MemoryStore) -> tuple[AnyFlow, RunLog]:
    """Run a flow to its end, and return it with its records."""
    flow = FLOWS[name]()
    await to_the_end(flow, "r", True, durable=store, resources=Ledger(lambda line: None))
    return flow, await store.load("r")


def read(flow: AnyFlow, records: tuple[Record, ...]) -> list[Any]:
    reader = EventReader(flow.plan, "r")
    return [event for record in records for event in reader.read(record)]


def test_events_of_prefix_are_prefix_of_events() -> None:
    """What a record says does not depend on what comes after it."""
    flow, log = asyncio.run(finish("mapped_flows", MemoryStore()))
    whole = read(flow, log.records)
    for length in range(len(log.records) + 1):
        events = read(flow, log.records[:length])
        assert events == whole[: len(events)]
        assert len(events) == sum(event.seq <= length for event in whole)


def test_repeated_end_is_said_once() -> None:
    """An owner that did not learn that the end was recorded records it again."""

    async def main() -> None:
        store = MemoryStore()
        flow, log = await finish("chain", store)
        last = log.records[-1]
        assert last.kind == "ended"
        lease = await store.claim("r", "another", ttl=10)
        again = [Record(last.seq + 1, "ended", last.body)]
        await store.append(lease, again, expected_last_seq=last.seq)
        await store.release(lease)
        followed: list[Any] = await follow_all(flow, "r", store)
        assert followed == read(flow, log.records)
        assert [type(event) for event in followed].count(Ended) == 1

    asyncio.run(main())
