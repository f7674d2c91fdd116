"""Alerts of budgets reach a listener, or the log; budgets of nodes outlive a resume."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from graphorch import Budget, Context, Graph, InputError, Limits, RunFailed, node
from graphorch.journal.memory import MemoryStore
from graphorch.models.budgets.budget import Alert
from tests.models.fakes import Answer, FakeModel, status
from tests.runs.asking import ENDPOINT, Draft, Essay, Topic, build_flow, build_router

PLAIN: dict[str, Any] = {"endpoints": {"main": {**ENDPOINT, "free": True}}}
FLOW = build_flow("m", "m")
FAST = Answer(first=0.0)


def test_listener_hears_usual_shares() -> None:
    """A listener hears of a budget without any configuration, once for each share."""
    heard: list[Alert] = []
    client = build_router(PLAIN, FakeModel(FAST))
    run = FLOW.run(Topic(), client=client, budget=Budget(calls=2), on_alert=heard.append)
    asyncio.run(run)
    assert [(alert.unit, alert.share, alert.level) for alert in heard] == [
        ("calls", 0.5, "essay"),
        ("calls", 0.8, "essay"),
        ("calls", 1.0, "essay"),
    ]


def test_alert_without_listener_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An alert of the configuration is a warning in the log; without one nothing is said."""
    budgets = {"budgets": {"run": {"calls": 2}}}
    with caplog.at_level(logging.WARNING):
        asyncio.run(FLOW.run(Topic(), client=build_router({**PLAIN, **budgets}, FakeModel(FAST))))
        assert caplog.messages == []
        tables = {**PLAIN, **budgets, "alerts": {"shares": [0.5]}}
        asyncio.run(FLOW.run(Topic(), client=build_router(tables, FakeModel(FAST))))
    assert caplog.messages == ["The budget of 'essay' has spent 50%: 1 of 2 calls."]


def test_wrong_listener_is_refused() -> None:
    """A listener that could never hear anything is refused."""

    async def listen(alert: Alert) -> None: ...

    for wrong in (listen, "print"):
        with pytest.raises(InputError, match="on_alert has to be a plain function"):
            FLOW.run_sync(Topic(), on_alert=wrong)  # pyright: ignore[reportArgumentType]


@node
async def ask_twice(ctx: Context, topic: Topic) -> Draft:
    await ctx.complete(f"first {topic.topic}", model="m")
    return Draft(draft=await ctx.complete(f"second {topic.topic}", model="m"))


def test_node_budget_counts_over_resume() -> None:
    """What a node spent before the run was resumed counts against its budget."""

    async def main() -> None:
        store = MemoryStore()
        flow = Graph("asks", Essay, input=Topic, output=Draft).chain(ask_twice).build()
        model = FakeModel(FAST, status(400))
        client = build_router({**PLAIN, "budgets": {"node": {"calls": 2}}}, model)
        with pytest.raises(RunFailed):
            await flow.run(Topic(), client=client, durable=store, run_id="r")
        with pytest.raises(RunFailed) as caught:
            await flow.resume("r", client=client, durable=store)
        assert "The budget of 'ask_twice'" in str(caught.value.exceptions)
        assert len(model.requests) == 2

    asyncio.run(main())


def test_node_budget_is_for_each_node() -> None:
    """Two nodes have a budget each, below that of the run."""
    tables = {**PLAIN, "budgets": {"node": {"calls": 1}, "run": {"calls": 2}}}
    result = asyncio.run(FLOW.run(Topic(), client=build_router(tables, FakeModel(FAST))))
    assert result.usage["calls"] == 2


def test_resume_keeps_what_is_not_given() -> None:
    """A run in memory goes on with its client, listener and budget, unless others are given."""

    async def main() -> None:
        first: list[Alert] = []
        second: list[Alert] = []
        model = FakeModel(FAST, status(400), status(400), FAST)
        client = build_router(PLAIN, model)
        with pytest.raises(RunFailed):
            await FLOW.run(
                Topic(), run_id="r", client=client, budget=Budget(calls=8), on_alert=first.append
            )
        with pytest.raises(RunFailed):
            await FLOW.resume("r", limits=Limits(activations=9))
        await FLOW.resume("r", on_alert=second.append)
        assert len(model.requests) == 4
        # three calls were made before the other listener, and the fourth is half of eight
        assert (first, [alert.share for alert in second]) == ([], [0.5])

    asyncio.run(main())
