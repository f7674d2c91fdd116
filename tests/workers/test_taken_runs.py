"""Where taking a run meets letters, changed graphs, and workers that lack something."""

from __future__ import annotations

import asyncio
from typing import Any

from graphorch import Context, Graph, node
from graphorch.distributed.placed_runs import PlacedRun
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.runs.mailbox import build_letter
from graphorch.runs.migration import build_mark
from graphorch.testing import run_virtual
from graphorch.workers.reconciler import Reconciler
from tests.workers.flows import Case, CaseFlow, Done, Team, Topic, build_chain


class Clients:
    """What a node of `build_needy` needs."""


def build_needy() -> CaseFlow:
    """Return a flow whose node needs resources."""

    @node
    async def fetch(ctx: Context[Clients], topic: Topic) -> Done:
        return Done(done=["fetched"])

    graph = Graph("needy", Case, input=Topic, output=Case)
    graph.chain(fetch)
    return graph.build()


def keep(record: dict[str, Any]) -> dict[str, Any]:
    return record


def build_longer(old: CaseFlow, change: Any = keep) -> CaseFlow:
    """Return the chain with a third node, which migrates runs of the chain without."""

    @node
    async def first(topic: Topic) -> Done:
        return Done(done=["first"])

    @node
    async def second(done: Done) -> Done:
        return Done(done=["second"])

    @node
    async def third(done: Done) -> Done:
        return Done(done=["third"])

    graph = Graph("chain", Case, input=Topic, output=Case)
    graph.chain(first, second, third)
    graph.migration(from_=compute_fingerprint(old.plan), change=change)
    return graph.build()


async def begin_handed_over(team: Team, flow: CaseFlow) -> None:
    """Leave a run after its first node, as a worker does that stops."""
    await team.submit(flow, "run")
    async with team.serve(flow, grace=60):
        await asyncio.sleep(5)
    assert (await team.read("run")).status == "running"
    assert await team.count_commits("run") == 1


def test_stop_between_owners_holds() -> None:
    """A person who stops a run that is between two workers has it stopped."""

    async def main() -> None:
        team, flow = Team(), build_chain(seconds=10)
        await begin_handed_over(team, flow)
        await team.store.post(build_letter("run", "stop", {"reason": "enough", "now": False}))
        async with team.serve(flow):
            await team.wait_for("run", "stopped")
        log = await team.store.load("run")
        assert log.records[-1].body["reason"] == "enough"
        assert await team.count_commits("run") == 1
        result = await flow.resume("run", durable=team.store)
        assert result.output.done == ["first", "second"]

    run_virtual(main())


def test_cancellation_between_owners_holds() -> None:
    """A run that is cancelled between two workers is over, and no longer placed."""

    async def main() -> None:
        team, flow = Team(), build_chain(seconds=10)
        await begin_handed_over(team, flow)
        await team.store.post(build_letter("run", "cancel", {}))
        async with team.serve(flow):
            await team.wait_for("run", "cancelled")
        assert team.placed.rows == {}

    run_virtual(main())


def test_missing_resources_stop_run() -> None:
    """A worker that lacks what a run needs stops it with the reason, instead of trying for ever."""

    async def main() -> None:
        team, flow = Team(), build_needy()
        await team.submit(flow, "run")
        async with team.serve(flow, reconciles=True):
            await team.wait_for("run", "stopped")
        log = await team.store.load("run")
        assert "needs resources of type Clients" in log.records[-1].body["reason"]
        result = await flow.resume("run", durable=team.store, resources=Clients())
        assert result.output.done == ["fetched"]

    run_virtual(main())


def test_migrated_run_is_for_its_new_version() -> None:
    """A worker that migrates an old run takes it, and from then on it is one of its version."""

    async def main() -> None:
        team, old = Team(), build_chain(seconds=10)
        await begin_handed_over(team, old)
        new = build_longer(old)
        async with team.serve(new):
            await team.wait_for("run", "succeeded")
        assert (await new.replay("run", durable=team.store)).output.done == [
            "first",
            "second",
            "third",
        ]

    run_virtual(main())


def test_wrong_migration_holds_run_back() -> None:
    """A run whose migrated records do not fit is held back with the reason, not tried for ever."""

    def rename(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "path": "nowhere"} if record["kind"] == "commit" else record

    async def main() -> None:
        team, old = Team(), build_chain(seconds=10)
        await begin_handed_over(team, old)
        async with team.serve(build_longer(old, rename), reconciles=True):
            await asyncio.sleep(30)
        row = team.placed.rows["run"]
        assert "nowhere" in row.problem
        async with team.serve(old):
            await team.placed.release([row.run.kind])
            await Reconciler(team.places, [row.run.kind]).look()
            await team.wait_for("run", "succeeded")

    run_virtual(main())


def test_run_migrated_by_hand_is_for_its_new_version() -> None:
    """A run that a process migrated and left is moved by an old worker that is asked to take it."""

    async def main() -> None:
        team, old = Team(), build_chain(seconds=10)
        await begin_handed_over(team, old)
        new = build_longer(old)
        lease = await team.store.claim("run", "a process that dies", ttl=60)
        log = await team.store.load("run")
        mark = build_mark(new.plan, log.head.last_seq + 1, log.head.format)
        await team.store.append(lease, [mark], expected_last_seq=log.head.last_seq)
        await team.store.release(lease)
        async with team.serve(old, reconciles=True):
            await asyncio.sleep(30)
        row = team.placed.rows["run"]
        assert (row.run.fingerprint, row.problem) == (compute_fingerprint(new.plan), "")
        assert (await team.store.load("run")).head.last_seq == mark.seq
        async with team.serve(new, old):
            await team.wait_for("run", "succeeded")

    run_virtual(main())


def test_unreadable_run_is_held_back() -> None:
    """A run that no worker can read is held back with the reason until another worker starts."""

    async def main() -> None:
        team, flow = Team(), build_chain(seconds=10)
        await begin_handed_over(team, flow)
        other = build_needy()
        wrong = PlacedRun("run", "needy", compute_fingerprint(other.plan))
        team.placed.rows["run"].run = wrong
        async with team.serve(other, reconciles=True, resources=Clients()):
            await asyncio.sleep(30)
        assert "is not the same graph" in team.placed.rows["run"].problem
        assert await team.placed.list_idle([wrong.kind]) == []
        await team.placed.release([wrong.kind])
        assert await team.placed.list_idle([wrong.kind]) == [wrong]

    run_virtual(main())
