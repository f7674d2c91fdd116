"""Flows over the API: what they take and cost, and runs that begin once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphorch import Budget
from graphorch.engine.settings import Limits
from graphorch.runs.options import RunOptions
from graphorch.server.settings import ServerLimits
from tests.server.asking import begin, build_letters, wait_for
from tests.server.serving import application, make_settings

RUNS = "/api/flows/letters/runs"
KEY = {"idempotency-key": "order-7"}


def test_flow_shows_what_it_takes(tmp_path: Path) -> None:
    """A flow has the schema of its input, its nodes, an estimate and a picture."""

    async def main() -> None:
        async with application(tmp_path, build_letters()) as ask:
            (row,) = (await ask("GET", "/api/flows")).value["flows"]
            page = (await ask("GET", "/api/flows/letters")).value
            picture = await ask("GET", "/api/flows/letters/picture.svg", query="theme=dark")
            unknown = await ask("GET", "/api/flows/leters")
        assert page["row"] == row
        assert row["name"] == "letters"
        assert page["schema"]["required"] == ["topic"]
        assert {each["path"] for each in page["nodes"]} == {"write", "approve", "send"}
        assert page["estimate"]["worst"]["activations"] == 3
        assert picture.headers["content-type"].startswith("image/svg+xml")
        assert (unknown.status, unknown.problem) == (404, "flow-not-found")
        assert "letters" in unknown.value["detail"]

    asyncio.run(main())


def test_check_names_each_mistake(tmp_path: Path) -> None:
    """An input is checked without a run; what the flow reads shows its defaults."""

    async def main() -> None:
        async with application(tmp_path, build_letters()) as ask:
            path = "/api/flows/letters/check"
            good = (await ask("POST", path, {"input": {"topic": "tides"}})).value
            bad = (await ask("POST", path, {"input": {"topic": "", "copies": "x", "c": 1}})).value
            runs = (await ask("GET", "/api/runs")).value["runs"]
        assert good["fits"]
        assert good["input"] == {"topic": "tides", "copies": 1}
        assert not bad["fits"]
        assert bad["input"] is None
        places = sorted(each["where"] for each in bad["mistakes"])
        assert places == ["/input/c", "/input/copies", "/input/topic"]
        assert runs == []

    asyncio.run(main())


def test_same_request_begins_one_run(tmp_path: Path) -> None:
    """A key begins one run, also after a restart; with another body it is refused."""

    async def main() -> None:
        body = {"input": {"topic": "tides"}}
        async with application(tmp_path, build_letters()) as ask:
            answers = await asyncio.gather(
                *(ask("POST", RUNS, body, headers=KEY) for _ in range(4))
            )
            assert sorted(answer.status for answer in answers) == [200, 200, 200, 201]
            (run_id,) = {answer.value["run_id"] for answer in answers}
            await wait_for(ask, run_id, "waiting")
        async with application(tmp_path, build_letters()) as ask:
            again = await ask("POST", RUNS, body, headers=KEY)
            other = await ask("POST", RUNS, {"input": {"topic": "ebb"}}, headers=KEY)
            runs = (await ask("GET", "/api/runs")).value["runs"]
        assert (again.status, again.value["run_id"]) == (200, run_id)
        assert again.value["status"] == "waiting"
        assert not again.value["is_new"]
        assert (other.status, other.problem) == (422, "idempotency-key")
        assert len(runs) == 1

    asyncio.run(main())


def test_same_request_at_two_servers(tmp_path: Path) -> None:
    """Two servers over one journal begin one run for one key."""

    async def main() -> None:
        async with (
            application(tmp_path, build_letters()) as ask,
            application(tmp_path, build_letters()) as other,
        ):
            for number in range(5):
                key = {"idempotency-key": f"order-{number}"}
                body = {"input": {"topic": "tides"}}
                answers = await asyncio.gather(
                    *(each("POST", RUNS, body, headers=key) for each in (ask, other))
                )
                assert sorted(answer.status for answer in answers) == [200, 201], answers
                (run_id,) = {answer.value["run_id"] for answer in answers}
                await wait_for(ask, run_id, "waiting")
            assert len((await ask("GET", "/api/runs")).value["runs"]) == 5

    asyncio.run(main())


def test_budget_is_at_most_that_of_server(tmp_path: Path) -> None:
    """A request may ask for less than the command line allows, never for more."""

    async def main() -> None:
        options = RunOptions(budget=Budget(usd=0.5), limits=Limits(activations=9))
        async with application(tmp_path, build_letters(), options=options) as ask:
            refused = await ask("POST", RUNS, {"input": {"topic": "tides"}, "budget": {"usd": 0.6}})
            assert refused.status == 422
            assert refused.value["mistakes"][0]["where"] == "/budget/usd"
            less = await begin(ask, budget={"usd": 0.2})
            same = await begin(ask)
            budgets = [
                (await ask("GET", f"/api/runs/{run_id}")).value["row"]["figures"]["budget"]
                for run_id in (less, same)
            ]
            assert budgets == [0.2, 0.5]

    asyncio.run(main())


def test_runs_at_once_are_limited(tmp_path: Path) -> None:
    """A run that finds no place is refused with 429, and begins once there is one."""

    async def main() -> None:
        settings = make_settings(limits=ServerLimits(runs=0))
        async with application(tmp_path, build_letters(), settings=settings) as ask:
            refused = await ask("POST", RUNS, {"input": {"topic": "tides"}})
            assert (refused.status, refused.problem) == (429, "busy")
            assert refused.headers["retry-after"]
            assert (await ask("GET", "/api/runs")).value["runs"] == []

    asyncio.run(main())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PATHS = ["/api/flows/letters/runs", "/api/flows/letters/check", "/api/runs/none/answers"]


@pytest.mark.parametrize("path", PATHS, ids=["begin", "check", "answer"])
def test_any_body_gets_a_clear_answer(tmp_path: Path, path: str) -> None:
    """Whatever the body is, the response says what is wrong with it; nothing fails inside."""

    async def send(bodies: list[Any]) -> None:
        settings = make_settings(limits=ServerLimits(runs=1))
        async with application(tmp_path, build_letters(), settings=settings) as ask:
            for body in bodies:
                answer = await ask("POST", path, body)
                assert answer.status < 500, (body, answer)
                json.loads(answer.body)

    fields = st.sampled_from(["input", "budget", "model", "tags", "wait", "question", "answer"])
    bodies = st.lists(JSON | st.dictionaries(fields, JSON), max_size=8)

    @settings(max_examples=5, deadline=None)
    @given(bodies)
    def run(bodies: list[Any]) -> None:
        asyncio.run(send(bodies))

    run()
