"""Followers of random graphs that fail, retry, hang, ask, and are stopped, cancelled and resumed.

The events that they read from the journal are those that the run told its observers. A run is a
function of (graph, kind). `pytest -m slow` on this file runs other graphs, and prints its seed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from graphorch import Approval, Context, Flow, InputError, JournalError, Limits, Node, RunFailed
from graphorch.journal.memory import MemoryStore
from graphorch.testing import Injected, Schedule, around_nodes, run_virtual, with_nodes
from graphorch.testing.faults import Call
from tests.runs.following import AnyFlow, by_path, describe, follow_all
from tests.scenarios.test_schedules import AGAIN, CLIENT, KINDS, Mishaps
from tests.simulation.behaviour import INPUT
from tests.simulation.graphs import random_graph

SEED = random.SystemRandom().randrange(10**9)  # of the long test
_MOST_ROUNDS = 30  # of a run that is resumed and answered
_DISTURBED = 5  # rounds in which it is stopped or cancelled


class Trial:
    """A run of a random graph with mishaps of a kind, kept in a journal."""

    def __init__(self, seed: int, kind: str) -> None:
        self.rng = random.Random(f"{seed} {kind}")
        self.mishaps: Mishaps = KINDS[kind]
        self.schedule = Schedule(seed, self.rng.choice([None, None, 1, 2, 3]))
        self.rounds = 0
        self.seen: list[Any] = []
        self.store = MemoryStore()
        flow: AnyFlow = Flow(random_graph(seed).plan)
        self.flow: AnyFlow = around_nodes(with_nodes(flow, self.change), self.around)
        self.options: dict[str, Any] = {
            "durable": self.store,
            "watch": [self.seen.append],
            "limits": Limits(concurrency=self.schedule.concurrency),
            "client": CLIENT,
            "on_failure": self.mishaps.policy,
        }

    def change(self, node: Node[Any]) -> Node[Any]:
        """Return a node that may ask a person, be repeated, and time out."""
        twin, mishaps = node.named(node.name), self.mishaps
        is_gated = self.rng.randrange(100) < mishaps.gates
        twin.options = replace(
            node.options,
            gate=self.rng.choice(["before", "after"]) if is_gated else None,
            retry=AGAIN if mishaps.retried or mishaps.hanging else None,
            timeout=50.0 if mishaps.hanging else None,
        )
        return twin

    async def around(self, ctx: Context[Any], call: Call) -> Any:
        """Take time, and fail or hang now and then."""
        await asyncio.sleep(self.schedule.seconds(ctx.key, ctx.attempt))
        drawn, mishaps = self.rng.randrange(100), self.mishaps
        if ctx.attempt < 3 and drawn < mishaps.retried:
            raise Injected("for now")
        if ctx.attempt < 3 and drawn < mishaps.retried + mishaps.hanging:
            await asyncio.sleep(1000)
        may_fail = self.rounds < 8 and "[" not in ctx.path
        if may_fail and drawn >= 100 - mishaps.failing:
            raise ZeroDivisionError("for good")
        return await call()

    async def main(self) -> bool:
        """Lead the run to its end, and compare; return whether it got there."""
        value = self.flow.plan.input(**INPUT)
        work: Callable[[], Coroutine[Any, Any, Any]] = lambda: self.flow.run(  # noqa: E731
            value, run_id="r", **self.options
        )
        status = "running"
        while status not in ("succeeded", "partial") and self.rounds < _MOST_ROUNDS:
            self.rounds += 1
            task = asyncio.ensure_future(work())
            self.disturb(task)
            await asyncio.wait([task])
            status, work = self.read_end(task, work)
        await self.compare()
        return status in ("succeeded", "partial")

    def disturb(self, task: asyncio.Task[Any]) -> None:
        """Have the run cancelled or stopped at some time."""
        if self.rounds > _DISTURBED:
            return
        loop, at = asyncio.get_running_loop(), self.rng.random() * 40
        if self.mishaps.cancelled:
            loop.call_later(at, task.cancel)
        elif self.mishaps.stopped:
            loop.call_later(at, self.stop)

    def stop(self) -> None:
        with suppress(InputError):  # it is over
            self.flow.stop("r", now=self.rng.random() < 0.5)

    def read_end(self, task: asyncio.Task[Any], work: Any) -> tuple[str, Any]:
        """Return how a round ended, and the work of the next one."""
        try:
            result = task.result()
        except (RunFailed, asyncio.CancelledError):
            is_stored = bool(self.seen)
            return "", (lambda: self.flow.resume("r", **self.options)) if is_stored else work
        except InputError:
            return "partial", work  # the run cannot go on: branches of a race wrote one field
        if result.status != "waiting":
            return result.status, work
        question, yes = self.rng.choice(result.questions), Approval(approved=True)
        return "waiting", lambda: self.flow.answer("r", question, yes, **self.options)

    async def compare(self) -> None:
        """Compare what followers get with what the run told, from its begin and from the middle."""
        with suppress(JournalError):  # it was cancelled before it began
            head = (await self.store.load("r")).head
            if head.status == "running":
                return
            followed = await follow_all(self.flow, "r", self.store)
            assert by_path(followed) == by_path(self.seen)
            after = self.rng.randrange(head.last_seq + 1)
            rest = await follow_all(self.flow, "r", self.store, after)
            wanted = [event for event in followed if event.seq > after]
            assert list(map(describe, rest)) == list(map(describe, wanted))


def follow_trials(seeds: range) -> int:
    """Follow a run of each kind of each graph; return how many of them got to their end."""
    return sum(run_virtual(Trial(seed, kind).main(), seed=seed) for seed in seeds for kind in KINDS)


def test_followers_of_random_runs() -> None:
    """What followers get is what happened."""
    assert follow_trials(range(4)) > 20


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_followers_of_4_000_random_runs(part: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Other graphs each time."""
    seed = SEED + part * 1_000
    with capsys.disabled():
        print(f"\nseed {seed}")
    assert follow_trials(range(seed, seed + 25)) > 120
