"""Two servers over one PostgreSQL database, and runs that are left to workers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from graphorch.server.app import build_app
from graphorch.workers.worker import Worker
from tests.server.asking import Topic, begin, build_letters, give, read_question, wait_for
from tests.server.serving import Client, opened
from tests.workers.processes import prepare_database

BODY = {"input": {"topic": "tides"}}


def test_two_servers_share_database(database: str, tmp_path: Path) -> None:
    """One of two servers begins the run of a key, and one answer of two counts."""
    prepare_database(database)
    sent: list[str] = []

    async def main() -> None:
        async with (
            opened(tmp_path, build_letters(sent.append), database=database) as context,
            opened(tmp_path, build_letters(sent.append), database=database) as other_context,
        ):
            ask, other = Client(build_app(context)), Client(build_app(other_context))
            key = {"idempotency-key": "order-7"}
            path = "/api/flows/letters/runs"
            begun = await asyncio.gather(
                *(each("POST", path, BODY, headers=key) for each in (ask, other))
            )
            assert sorted(answer.status for answer in begun) == [200, 201], begun
            (run_id,) = {answer.value["run_id"] for answer in begun}
            await asyncio.gather(*(each("GET", "/api/inbox") for each in (ask, other)))
            for _ in range(3):
                run_id = await begin(ask)
                question = await read_question(ask, run_id)
                answers = await asyncio.gather(
                    *(give(each, run_id, question, approved=True) for each in (ask, other))
                )
                assert sorted(answer.status for answer in answers) == [202, 409], answers
                await wait_for(other, run_id, "succeeded")

    asyncio.run(main())
    assert len(sent) == 3


@pytest.mark.slow
def test_answer_waits_for_worker(database: str, tmp_path: Path) -> None:
    """An answer to a run that is left to workers is kept, and the next worker takes it in."""
    prepare_database(database)
    sent: list[str] = []

    async def main() -> None:
        flow = build_letters(sent.append)
        async with opened(tmp_path, flow, database=database) as context:
            ask = Client(build_app(context))
            async with Worker(flow, url=database, grace=1.0):
                run_id = await flow.submit(Topic(topic="tides"), durable=database)
                await wait_for(ask, run_id, "waiting")
            question = await read_question(ask, run_id)
            kept = await give(ask, run_id, question, approved=True)
            assert (kept.status, kept.value["driver"]) == (202, "workers")
            assert not kept.value["is_taken_in"]
            (row,) = (await ask("GET", "/api/inbox")).value["questions"]
            assert row["answered_at"] == kept.value["sent_at"]
            again = await give(ask, run_id, question, approved=True)
            assert (again.status, again.problem) == (409, "question-answered")
            assert sent == []
            async with Worker(flow, url=database, grace=1.0):
                await wait_for(ask, run_id, "succeeded")

    asyncio.run(main())
    assert len(sent) == 1
