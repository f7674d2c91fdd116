"""Models that a flow can reach are resolved before its first node runs."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest

from graphorch import Budget, Graph, InputError, RunFailed
from graphorch.journal.memory import MemoryStore
from graphorch.runs.asked_models import list_models
from graphorch.testing.virtual_clock import run_virtual
from tests.models.fakes import FakeModel, Flat, Table, status
from tests.runs.asking import (
    ENDPOINT,
    Draft,
    Essay,
    Topic,
    build_flow,
    build_function_flow,
    build_judged,
    build_router,
    run_failing,
)

KEYED = {**ENDPOINT, "key_env": "MAIN_KEY"}
POLICY = {"kind": "fallback", "targets": ["m"]}
PLAIN: dict[str, Any] = {"main": ENDPOINT}

# The configuration, the second agent's model, and the message.
WRONG = [
    ({"endpoints": PLAIN}, "policy/nosuch", "There is no policy 'nosuch'"),
    ({"endpoints": PLAIN, "policies": {"good": POLICY}}, "policy/goood", "Did you mean 'good'"),
    ({"endpoints": {"main": KEYED}}, "m", "key from MAIN_KEY, and that variable is not set"),
    ({"policies": {"good": POLICY}}, "policy/good", "Model 'm' has no endpoint"),
    ({}, "gpt-5", "Model 'gpt-5' has no endpoint"),
    ({}, "policy/nosuch", "There is no policy 'nosuch': the configuration defines none"),
    ({"endpoints": PLAIN}, "default", "An agent names no model, and there is no default"),
    ({"default_model": "m"}, "default", "Model 'm' has no endpoint"),
]


@pytest.mark.parametrize(("tables", "model", "message"), WRONG)
def test_unreachable_model_fails_first(tables: dict[str, Any], model: str, message: str) -> None:
    """A typo, a missing key or endpoint of a later agent ends the run before the first one."""
    fake = FakeModel()
    first = "m" if tables.get("endpoints") == PLAIN else model
    router = build_router(tables, fake)
    with pytest.raises(InputError, match=rf"Agent '\w+' of flow 'essay': .*{message}"):
        run_virtual(build_flow(first, model).run(Topic(), client=router))
    assert fake.requests == []


@pytest.mark.parametrize(("tables", "model", "message"), WRONG)
def test_unreachable_model_leaves_no_run(tables: dict[str, Any], model: str, message: str) -> None:
    """A run that is refused leaves nothing in the journal."""
    store = MemoryStore()

    async def main() -> None:
        with pytest.raises(InputError, match=message):
            await build_flow(model, model).run(
                Topic(), client=build_router(tables, FakeModel()), durable=store, run_id="r"
            )
        assert (await store.list_runs()).runs == ()

    asyncio.run(main())


def test_option_model_is_checked() -> None:
    """The model of the run replaces those of the agents, and is resolved like them."""
    router = build_router({"endpoints": PLAIN}, FakeModel())
    run_virtual(build_flow("policy/nosuch", "policy/nosuch").run(Topic(), client=router, model="m"))
    with pytest.raises(InputError, match="There is no policy 'x'"):
        run_virtual(build_flow("m", "m").run(Topic(), client=router, model="policy/x"))


def test_agents_inside_are_checked() -> None:
    """Agents in sub-flows and maps are found too, with their path."""
    inner = build_flow("m", "policy/nosuch")
    graph = Graph("outer", Essay, input=Topic, output=Draft)
    flow = graph.chain(
        graph.sub("team", inner, enter=lambda s: Topic(topic=s.topic), leave=lambda d: d)
    ).build()
    with pytest.raises(InputError, match="Agent 'team/write' of flow 'outer'"):
        run_virtual(flow.run(Topic(), client=build_router({"endpoints": PLAIN}, FakeModel())))
    assert list_models(flow.plan) == ["m", "policy/nosuch"]
    assert list_models(flow.plan, "other") == ["other"]


def test_unnamed_model_may_be_embedded() -> None:
    """Without an endpoint, agents that name no model are answered by the embedded one."""
    result = run_virtual(build_flow().run(Topic(), client=build_router({}, FakeModel())))
    assert {call.model for call in result.calls} == {"offline/extractive"}


def test_function_names_its_model_late() -> None:
    """The model that a function names is known when it runs, and fails that node."""
    router = build_router({"endpoints": PLAIN}, FakeModel())
    run = build_function_flow("policy/x").run(Topic(), client=router)
    assert "There is no policy 'x'" in run_failing(run)


def test_policy_at_cap_is_checked() -> None:
    """The policy that is asked at a cap is resolved before the first node too."""
    fake = FakeModel()
    tables = {
        "endpoints": {"main": ENDPOINT, "keyed": KEYED},
        "policies": {
            "cheap": {"kind": "fallback", "targets": [{"model": "m", "endpoint": "keyed"}]}
        },
        "budgets": {"run": {"calls": 1, "at_cap": "policy/cheap"}},
    }
    with pytest.raises(InputError, match="MAIN_KEY, and that variable is not set"):
        run_virtual(build_flow("m", "m").run(Topic(), client=build_router(tables, fake)))
    assert fake.requests == []


def test_price_for_node_budget_is_checked() -> None:
    """A node's own cap in dollars needs a price as well, before the first node runs."""
    fake = FakeModel()
    router = build_router({"endpoints": PLAIN}, fake, prices=Table({"m": Flat(0.01)}))
    run_virtual(build_judged("unpriced", None).run(Topic(), client=router))
    asked = len(fake.requests)
    with pytest.raises(InputError, match=r"Agent '[\w/]+' .* price is not known"):
        run_virtual(build_judged("unpriced", 1.0).run(Topic(), client=router))
    assert len(fake.requests) == asked


def test_resumed_run_is_checked_too() -> None:
    """A run that is resumed with another model checks it, and can be resumed again."""
    store = MemoryStore()

    async def main() -> None:
        flow = build_flow("m", "m")
        fake = FakeModel(status(400))
        router = build_router({"endpoints": PLAIN}, fake)
        with pytest.raises(RunFailed):
            await flow.run(Topic(), client=router, durable=store, run_id="r")
        with pytest.raises(InputError, match="There is no policy 'x'"):
            await flow.resume("r", client=router, durable=store, model="policy/x")
        fake.actions = [FakeModel().actions[0]]
        result = await flow.resume("r", client=router, durable=store, budget=Budget(calls=9))
        assert result.status == "succeeded"

    asyncio.run(main())


def test_listed_price_covers_budget() -> None:
    """A budget in dollars over a listed model needs nothing but the default install."""
    fake = FakeModel()
    router = build_router({"endpoints": PLAIN}, fake)
    flow = build_flow("openai/gpt-5-mini", "openai/gpt-5-mini")
    result = run_virtual(flow.run(Topic(), client=router, budget=Budget(usd=1)))
    assert 0 < result.cost < 1
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    assert any(name.startswith("genai-prices") for name in project["project"]["dependencies"])
