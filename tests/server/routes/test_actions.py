"""What the API does to runs: resume, stop, cancel, erase, rerun, fork; and what-if before it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from graphorch import Budget, Graph, node
from graphorch.engine.settings import Limits
from graphorch.runs.options import RunOptions
from graphorch.server.app import build_app
from tests.server.asking import (
    Letter,
    State,
    Topic,
    begin,
    build_letters,
    give,
    read_question,
    wait_for,
    write,
)
from tests.server.serving import AnyFlow, Client, application, make_settings, opened


async def finish(ask: Client, **body: Any) -> str:
    """Begin a run, answer it, and return its id once it has succeeded."""
    run_id = await begin(ask, **body)
    await give(ask, run_id, await read_question(ask, run_id), approved=True)
    await wait_for(ask, run_id, "succeeded")
    return run_id


async def act(ask: Client, run_id: str, action: str, **body: Any) -> Any:
    """Ask for an action, and return the response."""
    return await ask("POST", f"/api/runs/{run_id}/{action}", body)


def build_slow(started: asyncio.Event) -> AnyFlow:
    """Return a flow whose second node takes as long as the test."""

    @node
    async def hang(letter: Letter) -> Letter:
        started.set()
        await asyncio.sleep(3600)
        return letter

    return Graph("slow", State, input=Topic, output=Letter).chain(write, hang).build()


def build_flaky(fails: list[int]) -> AnyFlow:
    """Return a flow whose second node fails as long as `fails` has something."""

    @node
    def send(letter: Letter) -> Letter:
        if fails:
            raise ValueError(f"failure {fails.pop()}")
        return letter

    return Graph("flaky", State, input=Topic, output=Letter).chain(write, send).build()


# ---- go on ---------------------------------------------------------------------------------------
def test_failed_run_is_resumed(tmp_path: Path) -> None:
    """A run that failed goes on in the server; one that is over is refused."""

    async def main() -> None:
        async with application(tmp_path, build_flaky([1])) as ask:
            run_id = await begin(ask, "flaky")
            await wait_for(ask, run_id, "failed")
            assert (await act(ask, run_id, "resume")).status == 202
            await wait_for(ask, run_id, "succeeded")
            again = await act(ask, run_id, "resume")
            assert (again.status, again.problem) == (409, "run-over")

    asyncio.run(main())


def test_resume_keeps_to_limits_of_server(tmp_path: Path) -> None:
    """A limit above that of the command line is refused; below it the run goes on as far."""

    async def main() -> None:
        options = RunOptions(budget=Budget(usd=1.0), limits=Limits(activations=2))
        async with application(tmp_path, build_flaky([2, 1]), options=options) as ask:
            run_id = await begin(ask, "flaky", budget={"usd": 0.1})
            page = await wait_for(ask, run_id, "failed")
            for name, most in (("usd", 2.0), ("activations", 3)):
                refused = await act(ask, run_id, "resume", limits={name: most})
                assert refused.status == 422
                assert refused.value["mistakes"][0]["where"] == f"/limits/{name}"
            await act(ask, run_id, "resume")
            page = await wait_for(ask, run_id, "failed")
            assert page["row"]["figures"]["budget"] == 0.1  # not the larger one of the server
            await act(ask, run_id, "resume", limits={"usd": 0.5, "activations": 2})
            page = await wait_for(ask, run_id, "succeeded")
            assert page["row"]["figures"]["budget"] == 0.5

    asyncio.run(main())


# ---- stop and cancel -----------------------------------------------------------------------------
def test_run_is_stopped_and_resumed(tmp_path: Path) -> None:
    """A run under way is stopped at once, and one at rest has nothing to stop."""

    async def main() -> None:
        started = asyncio.Event()
        async with application(tmp_path, build_slow(started)) as ask:
            run_id = await begin(ask, "slow", wait=0)
            await started.wait()
            assert (await act(ask, run_id, "resume")).problem == "run-held"
            stopped = await act(ask, run_id, "stop", now=True, reason="enough")
            assert (stopped.status, stopped.value["is_taken_in"]) == (202, True)
            page = await wait_for(ask, run_id, "stopped")
            assert page["row"]["reason"] == "enough"
            again = await act(ask, run_id, "stop")
            assert (again.status, again.problem) == (409, "not-under-way")
            started.clear()
            await act(ask, run_id, "resume")
            await started.wait()
            cancelled = await act(ask, run_id, "cancel")
            assert cancelled.status == 202
            await wait_for(ask, run_id, "cancelled")

    asyncio.run(main())


def test_cancelled_question_is_withdrawn(tmp_path: Path) -> None:
    """A run that waits is cancelled for good; its question takes no answer, and it is erased."""

    async def main() -> None:
        async with application(tmp_path, build_letters()) as ask:
            run_id = await begin(ask)
            question = await read_question(ask, run_id)
            assert (await act(ask, run_id, "cancel")).value["status"] == "cancelled"
            late = await give(ask, run_id, question, approved=True)
            assert (late.status, late.problem) == (410, "question-withdrawn")
            again = await act(ask, run_id, "cancel")
            assert (again.status, again.problem) == (409, "run-over")
            erased = await ask("DELETE", f"/api/runs/{run_id}")
            assert (erased.status, erased.value["status"]) == (200, "erased")
            assert (await ask("GET", "/api/inbox")).value["questions"] == []

    asyncio.run(main())


def test_run_of_another_server_is_stopped(tmp_path: Path) -> None:
    """A server asks the process that drives a run to stop it, and to cancel another one."""

    async def main() -> None:
        started, other_started = asyncio.Event(), asyncio.Event()
        async with (
            application(tmp_path, build_slow(started)) as ask,
            application(tmp_path, build_slow(other_started)) as other,
        ):
            for action, state in (("stop", "stopped"), ("cancel", "cancelled")):
                started.clear()
                run_id = await begin(ask, "slow", wait=0)
                await started.wait()
                body = {"now": True} if action == "stop" else {}
                assert (await act(other, run_id, action, **body)).status == 202
                await wait_for(ask, run_id, state)

    asyncio.run(main())


# ---- copies --------------------------------------------------------------------------------------
def test_rerun_tells_first_what_it_would_do(tmp_path: Path) -> None:
    """What runs anew, what is served and what acts again is told before; nothing is written."""
    sent: list[str] = []

    async def main() -> None:
        async with application(tmp_path, build_letters(sent.append)) as ask:
            run_id = await finish(ask)
            what = (await act(ask, run_id, "what-if", start="send")).value
            assert what["anew"] == ["send"]
            assert what["served"] == ["write", "approve"]
            assert what["begins"] == ["send"]
            assert what["effects"] == [{"path": "send", "effect": "once", "can_serve": True}]
            assert what["worst"]["activations"] == 1
            given = {"output": {"letter": "Dear tides"}}
            changed = (await act(ask, run_id, "what-if", start="write", **given)).value
            assert (changed["anew"], changed["served"]) == (["approve", "send"], [])
            assert len((await ask("GET", "/api/runs")).value["runs"]) == 1

            refused = await act(ask, run_id, "rerun", start="send")
            assert (refused.status, refused.problem) == (409, "effects-would-repeat")
            served = await act(ask, run_id, "rerun", start="send", effects="serve")
            assert served.status == 201
            await wait_for(ask, served.value["run_id"], "succeeded")
            assert len(sent) == 1
            anew = await act(ask, run_id, "rerun", start="write", effects="repeat", **given)
            page = await wait_for(ask, anew.value["run_id"], "waiting")
            assert page["row"]["parent"] == run_id
            assert page["questions"][0]["text"] == "Send 'Dear tides'?"

    asyncio.run(main())


def test_rerun_names_fields_that_do_not_fit(tmp_path: Path) -> None:
    """A field that the node does not write, and a value that does not fit, have their places."""

    async def main() -> None:
        async with application(tmp_path, build_letters()) as ask:
            run_id = await finish(ask)
            places: list[str] = []
            for output in ({"leter": "x"}, {"letter": 7}):
                refused = await act(ask, run_id, "what-if", start="write", output=output)
                assert refused.status == 422
                places += [each["where"] for each in refused.value["mistakes"]]
            assert places == ["/output/leter", "/output/letter"]
            both = await act(ask, run_id, "rerun", start="write", output={}, model="openai/gpt-5")
            nowhere = await act(ask, run_id, "what-if", start="wrte")
            assert (both.status, nowhere.status) == (422, 422)
            assert "write" in nowhere.value["detail"]

    asyncio.run(main())


def test_fork_is_stopped_at_its_start(tmp_path: Path) -> None:
    """A fork with a key is made once, and goes on when it is resumed."""
    sent: list[str] = []

    async def main() -> None:
        async with application(tmp_path, build_letters(sent.append)) as ask:
            run_id = await finish(ask)
            key = {"idempotency-key": "fork-1"}
            path = f"/api/runs/{run_id}/fork"
            made = await ask("POST", path, {"start": "send"}, headers=key)
            again = await ask("POST", path, {"start": "send"}, headers=key)
            assert (made.status, again.status) == (201, 200)
            assert made.value["run_id"] == again.value["run_id"]
            copy = made.value["run_id"]
            await wait_for(ask, copy, "stopped")
            await act(ask, copy, "resume")
            await wait_for(ask, copy, "succeeded")

    asyncio.run(main())
    assert len(sent) == 2


def test_server_that_only_reads_changes_nothing(tmp_path: Path) -> None:
    """Every action is refused by a server that only reads, except what changes nothing."""

    async def main() -> None:
        async with application(tmp_path, build_letters()) as ask:
            run_id = await finish(ask)
        settings = make_settings(is_read_only=True)
        async with opened(tmp_path, build_letters(), settings=settings) as context:
            ask = Client(build_app(context))
            for action in ("resume", "stop", "cancel", "erase"):
                assert (await act(ask, run_id, action)).status == 403
            for action in ("rerun", "fork"):
                assert (await act(ask, run_id, action, start="send")).status == 403
            assert (await ask("DELETE", f"/api/runs/{run_id}")).status == 403
            assert (await act(ask, run_id, "what-if", start="send")).status == 200

    asyncio.run(main())
