"""The reading routes of one run, on real journals, with and without the code of its flow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from graphorch import Graph
from graphorch.runs.stores import open_store
from tests.server.serving import Client, application
from tests.trace.flows import Order, Reply, Shop, answer, count, shop
from tests.trace.running import ran

RUN = "/api/runs/one"


async def run_shop(folder: Path, amount: int = 3, run_id: str = "one") -> None:
    async with open_store(folder / "runs.sqlite") as store:
        await ran(run_id, amount, store=store)


async def get(ask: Client, path: str, query: str = "") -> Any:
    answer = await ask("GET", path, query=query)
    assert answer.status == 200, answer
    return answer.value


def test_run_is_described_from_records_alone(tmp_path: Path) -> None:
    """Without its flow, a run is shown with everything that its records tell."""

    async def main() -> None:
        await run_shop(tmp_path)
        async with application(tmp_path) as ask:
            page = await get(ask, RUN)
            moments = await get(ask, f"{RUN}/moments")
            calls = await get(ask, f"{RUN}/calls")
            turns = await get(ask, f"{RUN}/conversation")
            timeline = await get(ask, f"{RUN}/timeline")
            records = await get(ask, f"{RUN}/records")
            picture = await ask("GET", f"{RUN}/picture.svg", query="overlay=run")
        row = page["row"]
        assert (row["status"], row["figures"]["usage"]["calls"]) == ("succeeded", 2)
        assert page["flow"]["is_loaded"] is False
        assert "graphorch serve" in page["flow"]["command"]
        assert page["input"] == {"order": "tides", "amount": 3}
        assert (page["output"], page["faults"]) == (None, [])
        nodes = {node["path"]: node for node in page["nodes"]}
        assert nodes["fulfilment/stock/count"]["status"] == "done"
        assert sum(node["usage"]["usd"] for node in page["nodes"]) == pytest.approx(
            row["figures"]["usage"]["usd"]
        )
        kinds = [each["kind"] for each in moments["moments"]]
        assert (kinds[0], kinds[-1]) == ("input", "ended")
        assert [call["path"] for call in calls["models"]] == ["plan", "answer"]
        assert calls["models"][0]["messages"][-1]["text"] == "Plan: tides"
        assert turns["turns"][0]["kind"] == "input"
        assert {bar["path"] for bar in timeline["bars"]} >= {"plan", "fulfilment", "answer"}
        assert [record["seq"] for record in records["records"]] == list(
            range(1, row["records"] + 1)
        )
        assert picture.headers["content-type"].startswith("image/svg+xml")
        assert b'data-box="fulfilment/stock/count"' in picture.body

    asyncio.run(main())


def test_flow_that_is_loaded_adds_reasons(tmp_path: Path) -> None:
    """With its flow, a run has an output, a state after each record, reasons, a critical path."""

    async def main() -> None:
        await run_shop(tmp_path)
        async with application(tmp_path, shop()) as ask:
            page = await get(ask, RUN)
            moments = (await get(ask, f"{RUN}/moments"))["moments"]
            states = [await get(ask, f"{RUN}/state", f"at={each['seq']}") for each in moments]
            whole = await get(ask, f"{RUN}/why")
            reasons = await get(ask, f"{RUN}/why", "path=reorder")
            critical = await get(ask, f"{RUN}/critical")
            picture = await ask("GET", f"{RUN}/picture.svg", query="overlay=run&at=3")
            heat = await ask("GET", f"{RUN}/picture.svg", query="heat=cost&theme=dark")
        assert page["flow"]["fits"] is True
        assert page["output"] == {"reply": "done: Answer tides with 3 in stock"}
        assert states[0]["state"]["order"] == "tides"
        assert states[0]["state"]["plan"] == ""
        by_path = {each["path"]: state for each, state in zip(moments, states, strict=True)}
        assert by_path["plan"]["changes"][0]["field"] == "plan"
        assert by_path["fulfilment/stock/count"]["path"] == "fulfilment/stock"
        assert states[-1]["state"]["reply"] == "done: Answer tides with 3 in stock"
        assert (whole["status"], whole["reasons"][0]["path"]) == ("succeeded", "")
        assert reasons["reasons"][0]["because"]
        assert critical["path"]["steps"]
        assert picture.status == heat.status == 200

    asyncio.run(main())


@pytest.mark.parametrize("part", ["state", "why", "critical"])
def test_part_without_flow_names_command(tmp_path: Path, part: str) -> None:
    """What needs the code of the flow is refused with the command that loads it."""

    async def main() -> None:
        await run_shop(tmp_path)
        async with application(tmp_path) as ask:
            reply = await ask("GET", f"{RUN}/{part}")
        assert (reply.status, reply.problem) == (409, "flow-not-loaded")
        assert "graphorch serve" in reply.value["command"]

    asyncio.run(main())


def test_flow_that_changed_is_no_guess(tmp_path: Path) -> None:
    """A flow of the same name and another graph is said not to fit, and nothing is made of it."""

    async def main() -> None:
        other = Graph("order", Shop, input=Order, output=Reply).chain(count, answer).build()
        await run_shop(tmp_path)
        async with application(tmp_path, other) as ask:
            page = await get(ask, RUN)
            refused = await ask("GET", f"{RUN}/state")
            picture = await ask("GET", f"{RUN}/picture.svg", query="overlay=run")
        assert (page["flow"]["is_loaded"], page["flow"]["fits"]) == (True, False)
        assert "node 'plan' is gone" in page["flow"]["problem"]
        assert page["output"] is None
        assert (refused.status, refused.problem) == (409, "flow-does-not-fit")
        assert b'data-box="plan"' in picture.body

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/api/runs/none", "", 404),
        ("/api/runs/..", "", 404),
        ("/api/runs/%2e%2e%2fetc", "", 404),
        (f"{RUN}/moments", "after=99", 200),
        (f"{RUN}/records", "after=9999999", 200),
        (f"{RUN}/moments", "after=-1", 422),
        (f"{RUN}/moments", "limit=0", 422),
        (f"{RUN}/moments", "limit=many", 422),
        (f"{RUN}/state", "at=0", 422),
        (f"{RUN}/state", "at=9999", 422),
        (f"{RUN}/calls", "path=plann", 422),
        (f"{RUN}/calls", "path=fulfilment/stock/reorder", 200),
        (f"{RUN}/conversation", "node=plann", 422),
        (f"{RUN}/conversation", "node=fulfilment/stock/reorder", 200),
        (f"{RUN}/why", "path=plann", 422),
        (f"{RUN}/picture.svg", "at=9999&overlay=run", 422),
        (f"{RUN}/picture.svg", "heat=cost&at=2", 422),
        (f"{RUN}/picture.svg", "theme=pink", 422),
        (f"{RUN}/text", "seq=1&pointer=/nothing", 422),
        (f"{RUN}/text", "seq=99&pointer=/nothing", 422),
        (f"{RUN}/text", "seq=1&pointer=/input/order", 200),
    ],
)
def test_wrong_question_is_answered_plainly(
    tmp_path: Path, path: str, query: str, status: int
) -> None:
    """What a run does not have is a problem that says so, and never a failure of the server."""

    async def main() -> None:
        await run_shop(tmp_path)
        async with application(tmp_path, shop()) as ask:
            reply = await ask("GET", path, query=query)
        assert reply.status == status, reply
        if "plann" in query:
            assert "plan" in reply.value["detail"].replace("plann", "")

    asyncio.run(main())


def test_page_of_records_leads_to_next(tmp_path: Path) -> None:
    """Records, moments, turns and calls come page by page, each once and none left out."""

    async def main() -> None:
        await run_shop(tmp_path)
        async with application(tmp_path) as ask:
            for part, field in [
                ("records", "records"),
                ("moments", "moments"),
                ("conversation", "turns"),
                ("calls", "models"),
            ]:
                whole = [each["seq"] for each in (await get(ask, f"{RUN}/{part}"))[field]]
                found: list[int] = []
                after: int | None = 0
                while after is not None:
                    page = await get(ask, f"{RUN}/{part}", f"after={after}&limit=2")
                    found += [each["seq"] for each in page[field]]
                    after = page["next"]
                assert found == whole

    asyncio.run(main())
