"""Two runs beside each other over HTTP: reruns, failures, tools, secrets, old and odd journals."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from graphorch.models.messages import Request, Response
from graphorch.runs.stores import open_store
from tests.server.routes.test_run import get, run_shop
from tests.server.routes.test_unusual_runs import KEY, Text, measure
from tests.server.serving import Client, application
from tests.trace.acting import act
from tests.trace.flows import Model, shop
from tests.trace.running import ran

COMPARISON = "/api/comparison"


class Silent(Model):
    """A model that plans, and fails when it is to answer."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        if request.messages[-1].content.startswith("Answer"):
            raise OSError("the line is dead")
        return await super().complete(request, on_text)


def ask_for(left: str, right: str, **more: Any) -> str:
    query = {"a": left, "b": right, **more}
    return "&".join(f"{name}={quote(str(value))}" for name, value in query.items())


async def compare(ask: Client, left: str = "one", right: str = "two", **more: Any) -> Any:
    return await get(ask, COMPARISON, ask_for(left, right, **more))


async def open_activation(ask: Client, path: str, left: str = "one", right: str = "two") -> Any:
    return await get(ask, f"{COMPARISON}/activation", ask_for(left, right, path=path))


async def draw(ask: Client, left: str = "one", right: str = "two") -> str:
    drawn = await ask("GET", f"{COMPARISON}/picture.svg", query=ask_for(left, right))
    assert drawn.status == 200, drawn
    return drawn.body.decode()


def test_other_input_changes_what_follows(tmp_path: Path) -> None:
    """Another input changes the way that a run takes, and what its models are asked."""

    async def main() -> None:
        await run_shop(tmp_path)
        await run_shop(tmp_path, amount=500, run_id="two")
        async with application(tmp_path, shop()) as ask:
            found = await compare(ask, only="all")
            count = await open_activation(ask, "fulfilment/stock/count")
            answer = await open_activation(ask, "answer")
            drawn = await draw(ask)
        assert found["is_same_graph"] is True
        [changed] = found["inputs"]
        assert (changed["field"], changed["left"], changed["right"]) == ("amount", 3, 500)
        rows = {row["path"]: row for row in found["activations"]}
        assert rows["plan"]["differs"] == []
        assert rows["fulfilment/stock/count"]["presence"] == "left"
        assert rows["fulfilment/stock/reorder"]["presence"] == "right"
        assert rows["fulfilment/stock/look"]["differs"] == ["route"]
        assert count["activation"]["right"] is None
        assert [each["presence"] for each in count["outputs"]] == ["left"]
        [call] = answer["calls"]
        assert "prompt" in call["differs"]
        assert call["left"]["messages"][-1]["text"] != call["right"]["messages"][-1]["text"]
        assert "only in A" in drawn
        assert "only in B" in drawn

    asyncio.run(main())


def test_rerun_serves_what_came_before(tmp_path: Path) -> None:
    """Beside the run that it is of, a rerun shows what it took over, and what that cost."""

    async def main() -> None:
        await run_shop(tmp_path)
        flow, durable = shop(), str(tmp_path / "runs.sqlite")
        await flow.rerun("one", start="answer", run_id="two", durable=durable, client=Model())
        async with application(tmp_path, flow) as ask:
            found = await compare(ask, only="all")
            drawn = await draw(ask)
        assert (found["right"]["parent"], found["left"]["served"]) == ("one", 0)
        assert found["right"]["served"] == len(found["activations"]) - 1
        rows = {row["path"]: row for row in found["activations"]}
        assert (rows["plan"]["right"]["is_served"], rows["plan"]["differs"]) == (True, [])
        assert rows["answer"]["right"]["is_served"] is False
        assert rows["plan"]["right"]["usage"]["usd"] == 0 < rows["plan"]["left"]["usage"]["usd"]
        assert found["outputs"] == []
        assert "taken over" in drawn

    asyncio.run(main())


def test_failed_run_differs_in_status_and_error(tmp_path: Path) -> None:
    """A run that failed has an activation that failed, with its error, and lacks what followed."""

    async def main() -> None:
        await run_shop(tmp_path)
        async with open_store(tmp_path / "runs.sqlite") as store:
            await ran("two", store=store, client=Silent())
        async with application(tmp_path, shop()) as ask:
            found = await compare(ask)
            answer = await open_activation(ask, "answer")
        assert found["outputs"] is None
        assert found["right"]["status"] == "failed"
        [row] = found["activations"]
        assert {"status", "output", "error", "calls"} <= set(row["differs"])
        assert (answer["left_errors"], len(answer["right_errors"])) == ([], 1)

    asyncio.run(main())


def test_tools_are_compared_without_ids(tmp_path: Path) -> None:
    """Calls of tools are the same where name, arguments and result are, whatever their ids."""

    async def main() -> None:
        async with open_store(tmp_path / "runs.sqlite") as store:
            await act(store)
            await act(store, run_id="two")
        async with application(tmp_path) as ask:
            found = await compare(ask, only="all")
        assert found["counts"]["same"] == len(found["activations"])
        assert {row["box"] for row in found["activations"]} >= {"write", "count"}
        assert any(row["step"] == "write/search" for row in found["activations"])

    asyncio.run(main())


def test_secrets_differ_and_stay_hidden(tmp_path: Path) -> None:
    """That secrets differ is said; neither of them is shown."""

    async def main() -> None:
        flow, durable = measure(), str(tmp_path / "runs.sqlite")
        for run_id, token in (("one", "hush"), ("two", "quiet")):
            await flow.run(Text(words=KEY, token=token), run_id=run_id, durable=durable)
        async with application(tmp_path, flow) as ask:
            found = await ask("GET", COMPARISON, query=ask_for("one", "two", only="all"))
        [changed] = found.value["inputs"]
        assert (changed["field"], changed["is_beyond_cut"]) == ("token", True)
        assert changed["left"] == changed["right"] == "[hidden]"
        for secret in (b"hush", b"quiet", b"abcdefghij"):
            assert secret not in found.body

    asyncio.run(main())


def test_difference_beyond_cut_is_found(tmp_path: Path) -> None:
    """Long texts that differ at their ends only are found to differ, and the end is not shown."""

    async def main() -> None:
        flow, durable = measure(), str(tmp_path / "runs.sqlite")
        for run_id in ("one", "two"):
            words = f"{'tides ' * 200_000}{run_id}"
            await flow.run(Text(words=words), run_id=run_id, durable=durable)
        async with application(tmp_path) as ask:
            found = await ask("GET", COMPARISON, query=ask_for("one", "two"))
        [changed] = found.value["inputs"]
        assert changed["is_beyond_cut"] is True
        assert len(found.body) < 20_000
        assert found.value["activations"] == []

    asyncio.run(main())


def test_flows_that_share_nothing_are_compared(tmp_path: Path) -> None:
    """Runs of two flows have nothing in common, and are drawn on both graphs together."""

    async def main() -> None:
        await run_shop(tmp_path)
        flow = measure()
        await flow.run(Text(), run_id="two", durable=str(tmp_path / "runs.sqlite"))
        async with application(tmp_path, flow) as ask:
            found = await compare(ask)
            drawn = await draw(ask)
        assert found["is_same_graph"] is False
        assert {row["presence"] for row in found["activations"]} == {"left", "right"}
        assert found["counts"]["same"] == found["counts"]["different"] == 0
        for box in ("plan", "count"):
            assert f'data-box="{box}"' in drawn

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("a=one&b=one", 422, "named twice"),
        ("a=one&b=nobody", 404, "nobody"),
        ("a=one&b=..%2Fpasswd", 422, "not the id"),
        ("a=one", 422, "b"),
        ("a=one&b=two&path=nowhere", 422, "neither of the runs"),
        ("a=one&b=two&path=plan&round=2", 422, "rounds 1 to 1"),
    ],
)
def test_bad_pair_is_a_problem(tmp_path: Path, query: str, status: int, words: str) -> None:
    """What cannot be compared is refused with what is wrong."""

    async def main() -> None:
        await run_shop(tmp_path)
        await run_shop(tmp_path, run_id="two")
        place = f"{COMPARISON}/activation" if "path" in query else COMPARISON
        async with application(tmp_path) as ask:
            answer = await ask("GET", place, query=query)
        assert answer.status == status, answer
        assert words in answer.value["detail"]

    asyncio.run(main())


def test_erased_run_cannot_be_compared(tmp_path: Path) -> None:
    """An erased run has nothing to compare, and the problem says so."""

    async def main() -> None:
        await run_shop(tmp_path)
        await run_shop(tmp_path, run_id="two")
        async with open_store(tmp_path / "runs.sqlite") as store:
            await store.erase("two")
        async with application(tmp_path) as ask:
            answer = await ask("GET", COMPARISON, query=ask_for("one", "two"))
        assert answer.status == 409
        assert "erased" in answer.value["detail"]

    asyncio.run(main())
