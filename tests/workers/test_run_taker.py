"""What a worker does with a run: take it, drive it, leave it, hand it over."""

from __future__ import annotations

import asyncio

import pytest

from graphorch import Graph, InputError, Retry, node
from graphorch.testing import run_virtual, virtual_now
from tests.workers.flows import (
    Case,
    Done,
    Team,
    Topic,
    Verdict,
    build_asking,
    build_chain,
    build_timed,
)
from tests.workers.memory import MemoryEngine


def test_submitted_run_is_driven_to_its_end() -> None:
    """A worker takes the job of a run that was submitted, and nothing of it stays placed."""

    async def main() -> None:
        team, flow = Team(), build_chain()
        await team.submit(flow, "run")
        async with team.serve(flow):
            await team.wait_for("run", "succeeded")
        assert team.placed.rows == {}
        assert await team.list_kinds("run") == ["started", "continued", "commit", "commit", "ended"]
        replayed = await flow.replay("run", durable=team.store)
        assert replayed.output.done == ["first", "second"]

    run_virtual(main())


def test_waiting_run_needs_no_worker() -> None:
    """A run that waits is released; an answer is a letter, and the job for it may come later."""

    async def main() -> None:
        team, flow = Team(), build_asking()
        await team.submit(flow, "run")
        async with team.serve(flow) as taker:
            await team.wait_for("run", "waiting")
            assert taker.count == 0
        answer = Verdict(verdict="yes")
        await flow.send_answer("run", "review", answer, durable=team.store, wait=False)
        assert (await team.read("run")).status == "waiting"
        async with team.serve(flow, reconciles=True):
            await team.wait_for("run", "succeeded")
        result = await flow.replay("run", durable=team.store)
        assert result.output.done == ["act yes"]

    run_virtual(main())


def test_timer_brings_run_back() -> None:
    """A run that waits for a time leaves a job for that time."""

    async def main() -> None:
        team, flow = Team(), build_timed(hours=3)
        await team.submit(flow, "run")
        began = team.clock()
        async with team.serve(flow):
            await team.wait_for("run", "waiting")
            await team.wait_for("run", "succeeded", seconds=20_000)
        assert 3 * 3600 <= team.clock() - began < 3 * 3600 + 1

    run_virtual(main())


def test_lost_timer_is_found_by_reconciler() -> None:
    """An engine that loses the job for a time delays the run by seconds."""

    async def main() -> None:
        team, flow = Team(), build_timed(hours=3)
        await team.submit(flow, "run")
        began = team.clock()
        async with team.serve(flow):
            await team.wait_for("run", "waiting")
        team.engine = MemoryEngine()
        async with team.serve(flow, reconciles=True):
            await team.wait_for("run", "succeeded", seconds=20_000)
        assert 3 * 3600 <= team.clock() - began < 3 * 3600 + 30

    run_virtual(main())


def test_lost_job_is_found_by_reconciler() -> None:
    """A run whose job was lost before any worker took it begins all the same."""

    async def main() -> None:
        team, flow = Team(), build_chain()
        await team.submit(flow, "run")
        team.engine.lose_all()
        async with team.serve(flow, reconciles=True):
            await team.wait_for("run", "succeeded")

    run_virtual(main())


def test_delayed_run_begins_in_time() -> None:
    """A run that was submitted with a delay begins after it, whoever looks earlier."""

    async def main() -> None:
        team, flow = Team(), build_chain()
        await team.submit(flow, "run", delay=600.0)
        began = team.clock()
        async with team.serve(flow, reconciles=True):
            await team.wait_for("run", "succeeded", seconds=1_000)
        assert team.clock() - began >= 600

    run_virtual(main())


def test_run_is_handed_over_at_commit() -> None:
    """A worker that stops lets its nodes finish; the next one goes on, and nothing runs twice."""

    async def main() -> None:
        team, flow = Team(), build_chain(seconds=10)
        await team.submit(flow, "run")
        async with team.serve(flow, name="first", grace=30):
            await asyncio.sleep(5)
        head = await team.read("run")
        assert (head.status, head.lease) == ("running", None)
        assert await team.count_commits("run") == 1
        async with team.serve(flow, name="second"):
            await team.wait_for("run", "succeeded")
        assert await team.count_commits("run") == 2
        assert (await team.list_kinds("run")).count("ended") == 1
        await flow.replay("run", durable=team.store)

    run_virtual(main())


def test_grace_that_is_over_interrupts_nodes() -> None:
    """What does not finish within the grace is repeated by the next worker."""

    async def main() -> None:
        team, flow = Team(), build_chain(seconds=100)
        await team.submit(flow, "run")
        async with team.serve(flow, name="first"):
            await asyncio.sleep(5)
        assert (await team.read("run")).status == "running"
        assert await team.count_commits("run") == 0
        async with team.serve(flow, name="second"):
            await team.wait_for("run", "succeeded", seconds=300)
        assert await team.count_commits("run") == 2
        await flow.replay("run", durable=team.store)

    run_virtual(main())


def test_dead_owner_is_waited_for() -> None:
    """A job that finds the lease of an owner which is gone waits for its end, and goes on."""

    async def main() -> None:
        team, flow = Team(), build_chain()
        await team.submit(flow, "run")
        await team.store.claim("run", "dead", ttl=30)
        began = team.clock()
        async with team.serve(flow):
            await team.wait_for("run", "succeeded")
        assert 30 <= team.clock() - began < 32

    run_virtual(main())


def test_living_owner_keeps_its_run() -> None:
    """A job that finds an owner which renews its lease leaves the run to it."""

    async def main() -> None:
        team, flow = Team(), build_chain()
        await team.submit(flow, "run")
        lease = await team.store.claim("run", "living", ttl=3)
        async with team.serve(flow) as taker:
            for _ in range(20):
                await asyncio.sleep(1)
                lease = await team.store.renew(lease, ttl=3)
            assert taker.count == 0
        assert await team.list_kinds("run") == ["started"]

    run_virtual(main())


def test_fenced_worker_reports_it() -> None:
    """A worker whose run was taken by another one learns of it at its next commit."""

    async def main() -> None:
        team, flow = Team(), build_chain(seconds=8)
        await team.submit(flow, "run")
        async with team.serve(flow, name="zombie"):
            await asyncio.sleep(1)
            # the same name may claim a run again, as a successor does after a lease that ended
            await team.store.claim("run", "zombie", ttl=300)
            await asyncio.sleep(10)
        assert len(team.fenced) == 1
        assert "'run'" in team.fenced[0]
        assert await team.count_commits("run") == 0

    run_virtual(main())


def test_poisonous_run_is_left() -> None:
    """A run that ends its worker each time is stopped after some tries, with the reason."""

    async def main() -> None:
        team, flow = Team(), build_chain()
        run = await team.submit(flow, "run")
        for _ in range(3):  # as if a worker had taken it, and died
            assert await team.placed.begin(run, 0) <= 3
        async with team.serve(flow):
            await team.wait_for("run", "stopped")
        log = await team.store.load("run")
        assert "3 workers ended" in log.records[-1].body["reason"]
        result = await flow.resume("run", durable=team.store)
        assert result.output.done == ["first", "second"]

    run_virtual(main())


def test_same_submission_is_harmless() -> None:
    """A call that is repeated with the same id and input places the run once."""

    async def main() -> None:
        team, flow = Team(), build_chain()
        await team.submit(flow, "run")
        await team.submit(flow, "run")
        async with team.serve(flow):
            await team.wait_for("run", "succeeded")
            await team.submit(flow, "run")
        assert await team.count_commits("run") == 2
        assert team.placed.rows == {}

    run_virtual(main())


def test_other_input_is_refused() -> None:
    """An id that was submitted with another input is not submitted again."""

    async def main() -> None:
        team, flow = Team(), build_chain()
        await team.submit(flow, "run")
        with pytest.raises(InputError, match="submitted before, with another input"):
            await team.submit(flow, "run", Topic(topic="moon"))

    run_virtual(main())


def test_long_pause_needs_no_worker() -> None:
    """A run that waits hours for a retry is released, and a worker takes it when it is time."""
    attempts: list[float] = []

    @node(retry=Retry(2, first=7200.0, longest=7200.0))
    async def fetch(topic: Topic) -> Done:
        attempts.append(virtual_now())
        if len(attempts) == 1:
            raise ConnectionError("busy")
        return Done(done=["fetched"])

    async def main() -> None:
        team = Team()
        flow = Graph("fetching", Case, input=Topic, output=Case).chain(fetch).build()
        await team.submit(flow, "run")
        async with team.serve(flow) as taker:
            await team.wait_for("run", "waiting")
            assert taker.count == 0
            await team.wait_for("run", "succeeded", seconds=20_000)
        first, second = attempts
        assert 3600 <= second - first <= 7300
        assert team.placed.rows == {}

    run_virtual(main())


def test_run_without_its_end_is_taken_once() -> None:
    """A worker that died after the last node and before the end leaves a run that is over."""

    async def main() -> None:
        team, flow = Team(), build_chain()
        await team.submit(flow, "run")
        async with team.serve(flow):
            await team.wait_for("run", "succeeded")
        log = await team.store.load("run")
        after = Team()
        await after.submit(flow, "run")
        lease = await after.store.claim("run", "gone", ttl=1)
        await after.store.append(lease, log.records[1:-1], expected_last_seq=1, status="running")
        await after.store.release(lease)
        async with after.serve(flow, reconciles=True):
            await after.wait_for("run", "succeeded")
        assert after.placed.rows == {}
        kinds = await after.list_kinds("run")
        assert kinds == [record.kind for record in log.records]

    run_virtual(main())
