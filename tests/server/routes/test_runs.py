"""The list of runs over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.server.routes.test_run import run_shop
from tests.server.serving import application


def test_runs_come_page_by_page(tmp_path: Path) -> None:
    """The newest run comes first, and `next` leads to the others."""

    async def main() -> None:
        for number in range(3):
            await run_shop(tmp_path, run_id=f"r{number}")
        async with application(tmp_path) as ask:
            first = (await ask("GET", "/api/runs", query="limit=2")).value
            rest = (await ask("GET", "/api/runs", query=f"limit=2&cursor={first['next']}")).value
        assert [row["run_id"] for row in first["runs"]] == ["r2", "r1"]
        assert [row["run_id"] for row in rest["runs"]] == ["r0"]
        assert (rest["next"], rest["unreadable"]) == (None, [])
        assert first["runs"][0]["figures"]["usage"]["calls"] == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=failed", ["bad"]),
        ("status=succeeded", ["good"]),
        ("status=crashed", []),
        ("status=running", []),
        ("flow=order", ["bad", "good"]),
        ("flow=others", []),
        ("tag=team%3Dads", []),
        ("since=0&until=10", []),
        ("since=0", ["bad", "good"]),
    ],
)
def test_runs_are_narrowed(tmp_path: Path, query: str, found: list[str]) -> None:
    """Status, flow, tag and time narrow the list."""

    async def main() -> None:
        await run_shop(tmp_path, run_id="good")
        await run_shop(tmp_path, 12, run_id="bad")
        async with application(tmp_path) as ask:
            listed = (await ask("GET", "/api/runs", query=query)).value
        assert [row["run_id"] for row in listed["runs"]] == found

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("status=faild", "Did you mean 'failed'?"),
        ("tag=team", "Write name=value"),
        ("cursor=x", "Send the `next` of a page"),
        ("cursor=1.0:../x", "Send the `next` of a page"),
        ("limit=1000", "less than or equal to 200"),
        ("since=soon", "since"),
        ("since=nan", "since"),
        ("colour=red", "colour"),
    ],
)
def test_wrong_filter_of_list_is_explained(tmp_path: Path, query: str, words: str) -> None:
    """A filter that nothing can have is one message with its place."""

    async def main() -> None:
        async with application(tmp_path) as ask:
            answer = await ask("GET", "/api/runs", query=query)
        assert (answer.status, answer.problem) == (422, "input")
        assert words in str(answer.value)

    asyncio.run(main())


def test_empty_journal_is_an_empty_list(tmp_path: Path) -> None:
    """A journal without runs has an empty list."""

    async def main() -> None:
        async with application(tmp_path) as ask:
            assert (await ask("GET", "/api/runs")).value == {
                "runs": [],
                "next": None,
                "unreadable": [],
            }

    asyncio.run(main())
