"""Runs that are large, secret, under way, damaged, erased, or of another version, over HTTP."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, Secret, node
from graphorch.journal.codec import BodyLimits
from graphorch.journal.records import NewRun, Record
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.runs.stores import open_store
from tests.server.routes.test_run import RUN, get, run_shop
from tests.server.serving import Client, application
from tests.trace.acting import act, wait_for_people
from tests.trace.flows import shop
from tests.trace.running import ran

KEY = "sk-" + "abcdefghij0123456789" * 2


class Words(BaseModel):
    words: str = ""


class Token(BaseModel):
    token: Secret[str] = ""


class Length(BaseModel):
    length: int = 0


class Text(Words, Token, Length): ...


def measure() -> Any:
    """Return a flow that measures a text, and never shows its token."""

    @node
    def count(words: Words) -> Length:
        return Length(length=len(words.words))

    return Graph("measure", Text, input=Text, output=Length).chain(count).build()


async def read_everything(ask: Client, run: str) -> str:
    """Return all that the reading routes say of a run."""
    parts = ["", "/moments", "/calls", "/conversation", "/timeline", "/records", "/state", "/why"]
    answers = [await ask("GET", f"{run}{part}") for part in parts]
    answers.append(await ask("GET", f"{run}/picture.svg", query="overlay=run"))
    assert [answer.status for answer in answers] == [200] * len(answers), answers
    return b"".join(answer.body for answer in answers).decode()


def test_secrets_are_in_no_view(tmp_path: Path) -> None:
    """What is secret by its mark, its form or its variable is hidden in whatever is shown."""

    async def main() -> None:
        flow = measure()
        given = Text(words=f"my key is {KEY}", token="hush hush")
        await flow.run(given, run_id="one", durable=str(tmp_path / "runs.sqlite"))
        async with application(tmp_path, flow) as ask:
            shown = await read_everything(ask, RUN)
            query = "seq=1&pointer=/input/token"
            text = await get(ask, f"{RUN}/text", query)
            words = await get(ask, f"{RUN}/text", "seq=1&pointer=/input/words")
        assert "hush" not in shown
        assert "abcdefghij" not in shown
        assert text["text"] == "[hidden]"
        assert words["text"] == "my key is [api_key]"

    asyncio.run(main())


@pytest.mark.parametrize(
    "megabytes", [2, pytest.param(15, marks=pytest.mark.slow, id="fifteen")], ids=str
)
def test_long_text_is_read_in_parts(tmp_path: Path, megabytes: int) -> None:
    """A field of many megabytes makes no page long, and all of it can be read."""

    async def main() -> None:
        flow, size = measure(), megabytes * 1_000_000
        words = ("tides and winds " * (size // 16 + 1))[:size]
        await flow.run(Text(words=words), run_id="one", durable=str(tmp_path / "runs.sqlite"))
        async with application(tmp_path) as ask:
            for part in ("", "/moments", "/conversation", "/records", "/timeline"):
                began = time.process_time()
                answer = await ask("GET", f"{RUN}{part}")
                assert answer.status == 200
                assert len(answer.body) < 100_000
                assert time.process_time() - began < 1.0 + megabytes / 5
            page = await get(ask, RUN)
            assert page["input_cut"] == size - 4_000
            [cut] = (await get(ask, f"{RUN}/records"))["records"][0]["cuts"]
            assert (cut["pointer"], cut["characters"]) == ("/input/words", size)
            path, _, query = cut["url"].partition("?")
            parts: list[str] = []
            begin: int | None = 0
            while begin is not None:
                found = await get(ask, path, f"{query}&begin={begin}")
                parts.append(found["text"])
                begin = found["next"] if megabytes < 10 or begin < 1_000_000 else None
            assert "".join(parts) == words[: len("".join(parts))]

    asyncio.run(main())


@pytest.mark.slow
def test_text_beyond_limit_is_a_problem(tmp_path: Path) -> None:
    """A record that is larger than a store reads is a problem that says so, and hides no run."""

    async def main() -> None:
        await run_shop(tmp_path, run_id="two")
        limits = BodyLimits(max_bytes=64 * 1024 * 1024)
        store = await SqliteStore.open(tmp_path / "runs.sqlite", limits=limits)
        await measure().run(Text(words="x" * 50_000_000), run_id="one", durable=store)
        await store.close()
        async with application(tmp_path) as ask:
            refused = await ask("GET", RUN)
            listed = await get(ask, "/api/runs")
        assert (refused.status, refused.problem) == (409, "run-damaged")
        assert "max_bytes" in refused.value["detail"]
        assert {row["run_id"]: bool(row["fault"]) for row in listed["runs"]} == {
            "one": True,
            "two": False,
        }

    asyncio.run(main())


def test_run_under_way_is_read_on(tmp_path: Path) -> None:
    """A run that another program writes is shown as far as it is, and then further."""

    async def main() -> None:
        other = await ran("one")
        log = await other.load("one")
        head = log.head
        async with application(tmp_path) as ask, open_store(tmp_path / "runs.sqlite") as store:
            await store.create(NewRun("one", head.flow, head.fingerprint, head.format))
            lease = await store.claim("one", "another program", ttl=60.0)
            seen = 0
            moments: dict[int, Any] = {}
            for record in log.records:
                await store.append(lease, [record], expected_last_seq=record.seq - 1)
                page = await get(ask, RUN)
                assert (page["seq"], page["row"]["status"]) == (record.seq, "running")
                listed = (await get(ask, "/api/runs"))["runs"][0]
                assert listed["figures"] == page["row"]["figures"]
                fresh = await get(ask, f"{RUN}/moments", f"after={seen}")
                moments |= {moment["seq"]: moment for moment in fresh["moments"]}
                seen = fresh["seq"]
            whole = (await get(ask, f"{RUN}/moments"))["moments"]
            assert [moments[each["seq"]] for each in whole] == whole

    asyncio.run(main())


def test_waiting_run_shows_questions(tmp_path: Path) -> None:
    """Open questions have what would run, and a digest that changes with it."""

    async def main() -> None:
        async with open_store(tmp_path / "runs.sqlite") as store:
            await wait_for_people(store)
        async with application(tmp_path) as ask:
            page = await get(ask, RUN)
            calls = await get(ask, f"{RUN}/calls", "path=write")
        first, second = page["questions"]
        assert (first["path"], first["kind"], first["tool"]) == ("write/r2/send#0", "call", "send")
        assert first["arguments"] == {"to": "ann", "body": "at noon"}
        assert first["effect"] == "once"
        assert first["digest"] != second["digest"]
        assert page["row"]["figures"]["questions"] == 2
        assert {call["tool"] for call in calls["tools"]} >= {"search", "note", "send"}
        tools = {call["path"]: call for call in calls["tools"]}
        assert tools["write/r1/search#1"]["status"] == "error told"
        assert tools["write/r2/send#0"]["status"] == "waiting"

    asyncio.run(main())


def test_answered_run_has_no_question_left(tmp_path: Path) -> None:
    """What a person changed or refused is shown at its call."""

    async def main() -> None:
        async with open_store(tmp_path / "runs.sqlite") as store:
            await act(store)
        async with application(tmp_path) as ask:
            page = await get(ask, RUN)
            calls = {
                call["path"]: call
                for call in (await get(ask, f"{RUN}/calls", "limit=100"))["tools"]
            }
        assert page["questions"] == []
        assert calls["write/r2/send#0"]["arguments"] == {"to": "ann", "body": "at one"}
        assert calls["write/r2/send#1"]["status"] == "refused"

    asyncio.run(main())


def test_damaged_run_is_a_problem_of_its_own(tmp_path: Path) -> None:
    """The page of a damaged run says which record differs; other runs are shown."""

    async def main() -> None:
        await run_shop(tmp_path)
        await run_shop(tmp_path, run_id="two")
        with sqlite3.connect(tmp_path / "runs.sqlite") as raw:
            raw.execute("UPDATE records SET body = x'7b7d' WHERE run = 1 AND seq = 3")
        raw.close()
        async with application(tmp_path) as ask:
            answer = await ask("GET", RUN)
            assert (answer.status, answer.problem) == (409, "run-damaged")
            assert "record 3" in answer.value["detail"]
            assert (await ask("GET", "/api/runs/two")).status == 200

    asyncio.run(main())


def test_erased_run_is_shown_as_erased(tmp_path: Path) -> None:
    """Of an erased run only that it was there is left, on every page of it."""

    async def main() -> None:
        await run_shop(tmp_path)
        async with open_store(tmp_path / "runs.sqlite") as store:
            await store.erase("one")
        async with application(tmp_path, shop()) as ask:
            page = await get(ask, RUN)
            records = await get(ask, f"{RUN}/records")
            state = await ask("GET", f"{RUN}/state")
            for part in ("moments", "calls", "conversation", "timeline"):
                await get(ask, f"{RUN}/{part}")
            assert (await ask("GET", f"{RUN}/picture.svg", query="overlay=run")).status == 200
        assert (page["row"]["status"], page["row"]["figures"]) == ("erased", None)
        assert page["input"] is None
        assert all(record["is_erased"] for record in records["records"])
        assert state.status == 409
        assert "erased" in state.value["detail"]

    asyncio.run(main())


def test_run_of_newer_version_is_shown_as_far_as_known(tmp_path: Path) -> None:
    """Records of a kind that this version does not know are named, and the others are shown."""

    async def main() -> None:
        log = await (await ran("one")).load("one")
        async with open_store(tmp_path / "runs.sqlite") as store:
            head = log.head
            await store.create(NewRun("one", head.flow, head.fingerprint, 99))
            lease = await store.claim("one", "a later version", ttl=60.0)
            records = [*log.records, Record(len(log.records) + 1, "dreamt", {"of": "sheep"})]
            await store.append(lease, records, expected_last_seq=0, status="succeeded")
            await store.release(lease)
        async with application(tmp_path, shop()) as ask:
            page = await get(ask, RUN)
            last = (await get(ask, f"{RUN}/records"))["records"][-1]
            state = await ask("GET", f"{RUN}/state")
        assert page["format"] == 99
        assert "unknown kind 'dreamt'" in page["faults"][0]
        assert "unknown kind 'dreamt'" in last["fault"]
        assert page["flow"]["fits"] is False
        assert "Update graphorch" in page["flow"]["problem"]
        assert state.status == 409

    asyncio.run(main())


def test_run_without_records_is_shown(tmp_path: Path) -> None:
    """A run that was created and has not begun is a run."""

    async def main() -> None:
        async with open_store(tmp_path / "runs.sqlite") as store:
            await store.create(NewRun("one", "order", "0" * 32, 6))
        async with application(tmp_path, shop()) as ask:
            page = await get(ask, RUN)
            for part in ("moments", "calls", "conversation", "timeline", "records"):
                await get(ask, f"{RUN}/{part}")
            picture = await ask("GET", f"{RUN}/picture.svg", query="overlay=run")
            state = await ask("GET", f"{RUN}/state")
        assert (page["row"]["status"], page["seq"], page["nodes"]) == ("crashed", 0, [])
        assert picture.status == 200
        assert state.status in (409, 422)

    asyncio.run(main())
