"""Answers and signals over the API: stored first, bound to what was asked, the first one counts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from graphorch.runs.mailbox import build_answer_letter, read_run
from graphorch.runs.stores import open_store
from graphorch.server.app import build_app
from tests.server.asking import Verdict, begin, build_letters, give, read_question, wait_for
from tests.server.serving import Client, application, make_settings, opened


def test_answer_lets_run_go_on(tmp_path: Path) -> None:
    """An answer is accepted at once, and the run goes on to its end in this process."""
    sent: list[str] = []

    async def main() -> None:
        async with application(tmp_path, build_letters(sent.append)) as ask:
            run_id = await begin(ask)
            question = await read_question(ask, run_id)
            answer = await give(ask, run_id, question, approved=True)
            assert answer.status == 202
            assert answer.value["is_taken_in"]
            assert answer.value["driver"] == "server"
            page = await wait_for(ask, run_id, "succeeded")
            assert page["output"] == {"letter": "A letter on tides: sent"}

    asyncio.run(main())
    assert sent == ["A letter on tides"]


def test_second_answer_learns_of_first(tmp_path: Path) -> None:
    """Of two answers at once one is accepted; the other gets 409 with the time of the first."""
    sent: list[str] = []

    async def main() -> None:
        async with application(tmp_path, build_letters(sent.append)) as ask:
            run_id = await begin(ask)
            question = await read_question(ask, run_id)
            answers = await asyncio.gather(
                *(give(ask, run_id, question, approved=index < 2) for index in range(4))
            )
            assert sorted(answer.status for answer in answers) == [202, 409, 409, 409]
            late = next(answer for answer in answers if answer.status == 409)
            assert late.problem == "question-answered"
            assert late.value["answered_at"] > question["asked_at"]
            await wait_for(ask, run_id, "succeeded")
            again = await give(ask, run_id, question, approved=True)
            assert (again.status, again.problem) == (409, "question-answered")
            for answer in (late, again):
                assert answer.value["answered_through"] == "serve"
                assert (
                    "through the page or the API of a `graphorch serve`" in answer.value["detail"]
                )

    asyncio.run(main())
    assert len(sent) == 1


def test_second_answer_learns_of_program(tmp_path: Path) -> None:
    """The 409 says what is on record: an answer that a program sent, and nothing once it is in."""

    async def main() -> None:
        flow = build_letters()
        async with application(tmp_path, flow) as ask:
            run_id = await begin(ask)
            question = await read_question(ask, run_id)
            async with open_store(tmp_path / "runs.sqlite") as store:
                seen = await read_run(store, flow.plan, run_id)
                letter = build_answer_letter(
                    seen, question["id"], Verdict(approved=False, note=""), time.time()
                )
                await store.post(letter)
            late = await give(ask, run_id, question, approved=True)
            assert (late.status, late.value["answered_through"]) == (409, "program")
            assert "by a program or a command" in late.value["detail"]
            await flow.resume(run_id, durable=str(tmp_path / "runs.sqlite"))
            again = await give(ask, run_id, question, approved=True)
            assert (again.status, again.value["answered_through"]) == (409, None)

    asyncio.run(main())


def test_answer_of_two_servers_counts_once(tmp_path: Path) -> None:
    """Two servers over one journal accept one answer between them."""
    sent: list[str] = []

    async def main() -> None:
        flow = build_letters(sent.append)
        async with (
            application(tmp_path, flow) as ask,
            application(tmp_path, build_letters(sent.append)) as other,
        ):
            for _ in range(3):
                run_id = await begin(ask)
                question = await read_question(ask, run_id)
                answers = await asyncio.gather(
                    give(ask, run_id, question, approved=True),
                    give(other, run_id, question, approved=False),
                )
                assert sorted(answer.status for answer in answers) == [202, 409], answers
                await wait_for(ask, run_id, "succeeded")

    asyncio.run(main())
    assert len(sent) == 3


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ({}, "/answer/approved"),
        ({"approved": "perhaps"}, "/answer/approved"),
        ({"approved": True, "note": "x" * 21}, "/answer/note"),
        ({"approved": True, "nota": "x"}, "/answer/nota"),
    ],
    ids=["missing", "type", "length", "unknown"],
)
def test_answer_names_each_mistake(tmp_path: Path, answer: dict[str, Any], where: str) -> None:
    """An answer that does not fit is refused with the place of the mistake; nothing is stored."""

    async def main() -> None:
        async with opened(tmp_path, build_letters()) as context:
            ask = Client(build_app(context))
            run_id = await begin(ask)
            question = await read_question(ask, run_id)
            refused = await give(ask, run_id, question, **answer)
            assert (refused.status, refused.problem) == (422, "input")
            assert [each["where"] for each in refused.value["mistakes"]] == [where]
            assert await context.store.list_letters(run_id) == ()

    asyncio.run(main())


def test_answer_fits_only_its_question(tmp_path: Path) -> None:
    """Another digest is 409, and an unknown question 404; the question stays open."""

    async def main() -> None:
        async with application(tmp_path, build_letters()) as ask:
            run_id = await begin(ask)
            question = await read_question(ask, run_id)
            changed = await give(ask, run_id, {**question, "digest": "0" * 32}, approved=True)
            assert (changed.status, changed.problem) == (409, "question-changed")
            other = await give(ask, run_id, {**question, "id": "nothing"}, approved=True)
            assert (other.status, other.problem) == (404, "question-not-found")

    asyncio.run(main())


def test_answer_comes_too_late(tmp_path: Path) -> None:
    """A question whose time is over takes no answer."""

    async def main() -> None:
        async with application(tmp_path, build_letters(expires=0.001)) as ask:
            run_id = await begin(ask)
            records = (await ask("GET", f"/api/runs/{run_id}/records")).value["records"]
            (asked,) = (each["body"] for each in records if each["kind"] == "asked")
            question = {"id": asked["id"], "digest": "whatever"}
            late = await give(ask, run_id, question, approved=True)
            assert (late.status, late.problem) == (410, "question-expired")
            assert late.value["closed_at"] >= asked["expires"]

    asyncio.run(main())


def test_answer_needs_the_flow(tmp_path: Path) -> None:
    """Without its flow a run cannot be answered, nor by a server that only reads."""

    async def main() -> None:
        async with application(tmp_path, build_letters()) as ask:
            run_id = await begin(ask)
            question = await read_question(ask, run_id)
        async with application(tmp_path) as ask:
            refused = await give(ask, run_id, question, approved=True)
            assert (refused.status, refused.problem) == (409, "flow-not-loaded")
        settings = make_settings(is_read_only=True)
        async with application(tmp_path, build_letters(), settings=settings) as ask:
            refused = await give(ask, run_id, question, approved=True)
            assert (refused.status, refused.problem) == (403, "read-only")

    asyncio.run(main())


def test_inbox_lists_questions_by_expiry(tmp_path: Path) -> None:
    """The inbox has the open questions of all runs, with what an answer looks like."""

    async def main() -> None:
        async with application(tmp_path, build_letters(expires=3600)) as ask:
            first = await begin(ask)
            second = await begin(ask, tags={"team": "post"})
            inbox = (await ask("GET", "/api/inbox")).value
            rows = inbox["questions"]
            assert [row["run_id"] for row in rows] == [first, second]
            assert rows[1]["tags"] == {"team": "post"}
            assert rows[0]["question"] == await read_question(ask, first)
            assert rows[0]["can_answer"]
            assert rows[0]["schema"]["required"] == ["approved"]
            await give(ask, first, rows[0]["question"], approved=True)
            await wait_for(ask, first, "succeeded")
            left = (await ask("GET", "/api/inbox")).value["questions"]
            assert [row["run_id"] for row in left] == [second]
        async with application(tmp_path) as ask:
            (row,) = (await ask("GET", "/api/inbox")).value["questions"]
            assert not row["can_answer"]
            assert "not loaded" in row["problem"]

    asyncio.run(main())
