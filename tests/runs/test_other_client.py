"""A run that had a client of its own, and goes on with the models of the configuration, says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graphorch import RunFailed
from graphorch.journal.memory import MemoryStore
from graphorch.models.config.router import Router
from graphorch.runs.clients import share_router
from graphorch.testing import ScriptedModel
from tests.engine.questions.asking_flows import YES, Case, build_ask
from tests.models.fakes import Answer, FakeModel, status
from tests.runs.asking import ENDPOINT, Topic, build_flow, build_router

FINE, BROKEN = Answer(first=0.0), status(400)
FLOW = build_flow()


def begin(store: Any, **options: Any) -> None:
    """Begin a run that fails at its second agent."""
    if not options:
        options = {"client": FakeModel(FINE, BROKEN)}
    with pytest.raises(RunFailed):
        asyncio.run(FLOW.run(Topic(), run_id="r", durable=store, **options))


def test_configured_model_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """A resume without a client warns once, and names the model that it asks."""
    store = MemoryStore()
    begin(store)
    asyncio.run(FLOW.resume("r", durable=store))
    assert caplog.messages == [
        "Run r was begun with a client of its own (FakeModel), and goes on without one: it asks "
        "offline/extractive, as it is configured here. Pass client=… to have another one asked."
    ]
    asyncio.run(FLOW.resume("r", durable=store))
    assert len(caplog.messages) == 1


def test_router_of_command_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """A command resumes a run of a program with the configuration, and says the same."""
    store = MemoryStore()
    begin(store)
    tables = {"endpoints": {"main": {**ENDPOINT, "free": True}}, "default_model": "house/big"}
    router: Router = build_router(tables, FakeModel(FINE))
    asyncio.run(FLOW.resume("r", durable=store, client=share_router(router)))
    [message] = caplog.messages
    assert "it asks house/big, as it is configured here" in message


@pytest.mark.parametrize("case", ["client again", "configured before", "over", "cancelled"])
def test_usual_cases_say_nothing(case: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said where nothing else is asked than before."""
    store = MemoryStore()
    if case == "configured before":
        tables = {"endpoints": {"main": {**ENDPOINT, "free": True}}, "default_model": "m"}
        begin(store, client=share_router(build_router(tables, FakeModel(FINE, BROKEN))))
        asyncio.run(FLOW.resume("r", durable=store))
    elif case == "over":
        client = FakeModel(FINE, FINE)
        asyncio.run(FLOW.run(Topic(), run_id="r", durable=store, client=client))
        asyncio.run(FLOW.resume("r", durable=store))
    else:
        begin(store)
        if case == "cancelled":
            asyncio.run(FLOW.cancel("r", durable=store))
        else:
            asyncio.run(FLOW.resume("r", durable=store, client=ScriptedModel("a draft")))
    assert caplog.messages == []


def test_run_without_models_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A flow that asks no model keeps no client."""
    store = MemoryStore()

    async def main() -> None:
        flow = build_ask()
        await flow.run(Case(), run_id="r", durable=store, client=FakeModel(FINE))
        await flow.answer("r", "ask", YES, durable=store)
        assert "client" not in (await store.load("r")).records[0].body

    asyncio.run(main())
    assert caplog.messages == []
