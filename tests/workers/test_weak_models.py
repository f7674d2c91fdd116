"""Runs of workers whose model is weak: unusable answers, wrong calls of tools, errors, consent."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from graphorch import ToolApproval
from tests.models.servers import Asked, completion, replies, serve
from tests.workers import weak_flow
from tests.workers.processes import Launcher, Site, open_site, prepare_database
from tests.workers.weak_flow import Complaint, flow

pytestmark = pytest.mark.slow

WEAK = weak_flow.__file__
RUNS = 4
LATE = 0.25  # seconds after its answer in which a call is recorded, on a busy machine
BUSY = replies({"error": {"message": "busy"}}, status=503, headers={"retry-after": "0.2"})


@dataclass
class WeakModel:
    """A server whose answers are of no use at first; `kill` is called at requests of a number.

    `answered` are the times of its answers, and `may_be_lost` how many of them may not have been
    recorded by a worker that was killed.
    """

    kill_at: Sequence[int] = ()
    kill: Any = None
    requests: int = 0
    answered: list[float] = field(default_factory=list)
    may_be_lost: int = 0
    under_way: int = 0
    busy: Counter[str] = field(default_factory=Counter[str])

    async def handle(self, asked: Asked) -> None:
        """Answer a request."""
        self.requests += 1
        self.under_way += 1
        try:
            if self.requests in self.kill_at:
                late = [at for at in self.answered if at > time.monotonic() - LATE]
                self.may_be_lost += self.under_way + len(late)
                await asyncio.to_thread(self.kill)
            await asyncio.sleep(0.1)
            await self._answer(asked)
        finally:
            self.under_way -= 1

    async def _answer(self, asked: Asked) -> None:
        messages: list[dict[str, Any]] = asked.body["messages"]
        text = json.dumps(messages)
        name = re.search(r"for (run-\d+)", text)
        assert name is not None, text
        if "tools" in asked.body:
            answer = self._settle(sum(message["role"] == "tool" for message in messages))
        else:
            self.busy[name[1]] += 1
            if self.busy[name[1]] == 1:
                await BUSY(asked)
                return
            asks = sum(message["role"] == "assistant" for message in messages)
            texts = ['It is fine: {"score": "many"}', '{"score": 4, "why": "kind"}']
            answer = completion(texts[min(asks, 1)])
        self.answered.append(time.monotonic())
        await replies(answer)(asked)

    def _settle(self, results: int) -> dict[str, Any]:
        calls = [
            ("look_up", {"ordr": 5}),
            ("look_up", {"order": "A7"}),
            ("refund", {"order": "A7", "amount": 250}),
        ]
        if results >= len(calls):
            return completion("Settled.")
        tool, arguments = calls[results]
        called = {"name": tool, "arguments": json.dumps(arguments)}
        one = {"id": f"call-{results}", "type": "function", "function": called}
        return completion(None, "tool_calls", tool_calls=[one])


@pytest.fixture
def site(
    database: str, tmp_path: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A site without workers."""
    prepare_database(database)
    with open_site(database, tmp_path, launcher) as opened:
        monkeypatch.setenv("WORKER_TEST_LOG", str(opened.log))
        yield opened


async def start(site: Site, count: int) -> None:
    started = [site.start(flow=WEAK) for _ in range(count)]
    for process in started:
        await asyncio.to_thread(process.wait_until_ready)


async def wait_for(site: Site, names: Sequence[str], *statuses: str) -> None:
    for name in names:
        await asyncio.to_thread(site.wait_for, name, *statuses, seconds=60)


def test_weak_model_is_paid_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a model answers, and whoever drives the run, an answer that was recorded counts."""

    def kill() -> None:
        victim = next(each for each in site.processes if each.code is None)
        victim.send(signal.SIGKILL)
        victim.wait()
        site.start(flow=WEAK)

    async def main() -> WeakModel:
        model = WeakModel(kill_at=(5, 10, 16, 22), kill=kill)
        names = [f"run-{number}" for number in range(RUNS)]
        async with serve(model.handle) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            monkeypatch.setenv("OPENAI_API_KEY", "none")
            monkeypatch.setenv("GRAPHORCH_MODEL", "weak")
            await start(site, 2)
            for name in names:
                await flow.submit(Complaint(name=name), durable=site.url, run_id=name)
            await wait_for(site, names, "waiting")
            for name in names:
                approval = ToolApproval(approved=True)
                result = await flow.wait(name, durable=site.url)
                question = result.questions[0]
                await flow.send_answer(name, question, approval, durable=site.url, wait=False)
            await wait_for(site, names, "succeeded", "failed", "stopped")
        for name in names:
            result = await flow.replay(name, durable=site.url)
            assert (result.status, result.output.done) == ("succeeded", ["score 4"])
        return model

    model = asyncio.run(main())
    recorded = sum(
        record.kind == "call" for number in range(RUNS) for record in site.read(f"run-{number}")[1]
    )
    assert recorded == RUNS * 6
    assert recorded <= len(model.answered) <= recorded + model.may_be_lost
    begun = Counter(path for path, _, _ in site.list_begun())
    assert begun["refund-A7"] == RUNS
    assert RUNS <= begun["look-up-A7"] <= RUNS + 4


def test_offline_model_serves_workers(site: Site) -> None:
    """Without any endpoint the embedded model answers, the same whoever drives the run."""

    async def main() -> None:
        await start(site, 2)
        names = [f"run-{number}" for number in range(RUNS)]
        for name in names:
            await flow.submit(Complaint(name=name), durable=site.url, run_id=name)
        site.processes[0].send(signal.SIGKILL)
        await wait_for(site, names, "succeeded", "failed", "stopped", "waiting")
        for name in names:
            head, _ = await asyncio.to_thread(site.read, name)
            result = await flow.replay(name, durable=site.url)
            assert result.status == head.status

    asyncio.run(main())
