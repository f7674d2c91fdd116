"""Legs of calls: one run for all of them, whatever a client sends, repeats or leaves out."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from mcp.server.request_state import AESGCMRequestStateCodec
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ElicitResult, InputRequiredResult
from pydantic import BaseModel

from graphorch import Context, InputError, agent, node
from tests.mcp_server.serving import (
    KEY,
    Letter,
    Served,
    Topic,
    Verdict,
    build_letters,
    build_plain,
    count_kinds,
    read_message,
    read_run_id,
    read_text,
    require_leg,
    run,
    send_leg,
    write,
)

YES = {"approved": True}


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


def test_answer_ends_call_with_output(db: Path) -> None:
    """The question comes as a form, its answer leads to the output, and all legs name one run."""
    sent: list[str] = []

    async def main() -> None:
        served = Served(db, build_letters(sent))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            assert read_message(leg).startswith("Send 'A letter on tides'?")
            done = await send_leg(client, leg, answer=YES)
            assert isinstance(done, CallToolResult)
            assert done.structured_content == {"letter": "A letter on tides: sent"}
            assert read_text(done) == '{"letter": "A letter on tides: sent"}'
            assert read_run_id(done) == read_run_id(leg) != ""
            assert [head.run_id for head in await served.find_runs()] == [read_run_id(leg)]

    run(main)
    assert sent == ["A letter on tides"]


@pytest.mark.parametrize("is_at_once", [False, True])
def test_repeated_leg_acts_once(db: Path, is_at_once: bool) -> None:
    """Ten equal legs with an answer are one run with one act, and all get its output."""
    sent: list[str] = []

    async def main() -> None:
        served = Served(db, build_letters(sent))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            if is_at_once:
                legs = [send_leg(client, leg, answer=YES) for _ in range(10)]
                results = await asyncio.gather(*legs)
            else:
                results = [await send_leg(client, leg, answer=YES) for _ in range(10)]
            outputs = [result.structured_content for result in results]  # pyright: ignore[reportAttributeAccessIssue]
            assert outputs == [{"letter": "A letter on tides: sent"}] * 10
            (head,) = await served.find_runs()
            assert count_kinds(await served.load(head.run_id), "continued") == 1

    run(main)
    assert sent == ["A letter on tides"]


def test_second_answer_changes_nothing(db: Path) -> None:
    """Of two different answers one counts, and the call with the other one is told so."""
    sent: list[str] = []

    async def main() -> None:
        served = Served(db, build_letters(sent))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            at_once = await asyncio.gather(
                send_leg(client, leg, answer=YES), send_leg(client, leg, answer={"approved": False})
            )
            late = await send_leg(client, leg, answer={"approved": False})
            texts = [read_text(result) for result in (*at_once, late)]
            outputs = {text.partition("\n")[0] for text in texts}
            assert len(outputs) == 1
            assert sorted("changed nothing" in text for text in texts) == [False, True, True]
            assert "changed nothing" in texts[2]

    run(main)
    assert sent == ["A letter on tides"]


@pytest.mark.parametrize(
    "answer, reason",
    [
        ({"approved": "perhaps"}, "approved: Input should be a valid boolean"),
        ({"approvd": True}, "There is no field 'approvd'. Did you mean 'approved'?"),
        ({}, "Nothing was filled in. Known: approved."),
        (None, "Nothing was filled in. Known: approved."),
    ],
)
def test_wrong_answer_is_asked_again(db: Path, answer: dict[str, Any] | None, reason: str) -> None:
    """An answer that does not fit leads to the same question, with what was wrong."""
    sent: list[str] = []

    async def main() -> None:
        served = Served(db, build_letters(sent))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            wrong = ElicitResult(action="accept", content=answer)
            responses = dict.fromkeys(leg.input_requests or {}, wrong)
            again = require_leg(await send_leg(client, leg, responses=responses))
            assert f"This answer was not taken: {reason}" in read_message(again).replace(
                "Verdict does not fit: ", ""
            )
            assert "Send 'A letter on tides'?" in read_message(again)
            done = await send_leg(client, again, answer=YES)
            assert "A letter on tides: sent" in read_text(done)

    run(main)
    assert sent == ["A letter on tides"]


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_declined_form_leaves_question_open(db: Path, action: Any) -> None:
    """A person who closes the form has not answered: the run waits, and the error says how to."""
    sent: list[str] = []

    async def main() -> None:
        served = Served(db, build_letters(sent))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            closed = dict.fromkeys(leg.input_requests or {}, ElicitResult(action=action))
            text = read_text(await send_leg(client, leg, responses=closed), is_error=True)
            assert f"The question was left open ({action})." in text
            assert f"graphorch answer flows.py {read_run_id(leg)[:8]} approve VALUE" in text
            assert "A letter on tides: sent" in read_text(await send_leg(client, leg, answer=YES))

    run(main)


def test_server_started_again_knows_call(db: Path) -> None:
    """The state of a leg names its run also for the next server on the journal."""
    sent: list[str] = []

    async def main() -> None:
        async with Served(db, build_letters(sent)).connect() as client:
            leg = require_leg(await send_leg(client))
        async with Served(db, build_letters(sent)).connect() as client:
            assert "tides: sent" in read_text(await send_leg(client, leg, answer=YES))
        async with Served(db, build_letters(sent)).connect() as client:
            again = await send_leg(client, leg, answer=YES)
            assert "tides: sent" in read_text(again)
            assert "changed nothing" in read_text(again)

    run(main)
    assert sent == ["A letter on tides"]


# ---- states that this server did not give --------------------------------------------------------
def _flip(state: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(state[3:] + "=="))
    raw[-1] ^= 1
    return "v1." + base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")


def _age(state: str) -> str:
    """Return a state whose time is over."""
    codec = AESGCMRequestStateCodec([KEY])
    claims = json.loads(codec.unseal(state))
    return codec.seal(json.dumps({**claims, "exp": claims["iat"] - 1}).encode())


def _reseal(state: str) -> str:
    """Return a state that another server gave, for the same run."""
    return AESGCMRequestStateCodec([b"x" * 32]).seal(AESGCMRequestStateCodec([KEY]).unseal(state))


FORGERIES = {
    "empty": lambda _: "",
    "made up": lambda _: "v1.AAAA",
    "cut": lambda state: state[:-4],
    "flipped": _flip,
    "plain": lambda _: json.dumps({"run": "order-17", "asked": {}, "notes": []}),
    "expired": _age,
    "foreign": _reseal,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_forged_state_runs_nothing(db: Path, forge: Any) -> None:
    """A state that was changed or made up is refused, with what to do, before anything runs."""

    async def main() -> None:
        served = Served(db, build_letters([]))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            forged = InputRequiredResult(request_state=forge(leg.request_state))
            with pytest.raises(MCPError, match=r"Nothing was run\. Repeat the call as it was"):
                await send_leg(client, forged)
            assert len(await served.find_runs()) == 1

    run(main)


@pytest.mark.parametrize(
    "options",
    [{"arguments": {"topic": "rivers"}}, {"tool": "plain"}],
    ids=["arguments", "tool"],
)
def test_state_of_other_call_is_refused(db: Path, options: dict[str, Any]) -> None:
    """The state of a call is of no use for another one: it holds for its tool and arguments."""

    async def main() -> None:
        served = Served(db, build_letters([]), build_plain(write))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            with pytest.raises(MCPError, match="belongs to another tool, other arguments"):
                await send_leg(client, leg, answer=YES, **options)

    run(main)


def test_answers_without_state_run_nothing(db: Path) -> None:
    """Answers whose state is missing are refused, instead of a second run."""

    async def main() -> None:
        served = Served(db, build_letters([]))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            stripped = InputRequiredResult.model_construct(
                input_requests=leg.input_requests, request_state=None
            )
            with pytest.raises(MCPError, match="came without the requestState"):
                await send_leg(client, stripped, answer=YES)
            assert len(await served.find_runs()) == 1

    run(main)


def test_answer_to_unasked_question_is_ignored(db: Path) -> None:
    """A leg answers only what the leg before it asked: the question stays open, with a remark."""

    async def main() -> None:
        served = Served(db, build_letters([]))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            assert list(leg.input_requests or {}) == ["approve"]
            responses = {"send": ElicitResult(action="accept", content={"approved": True})}
            again = require_leg(await send_leg(client, leg, responses=responses))
            assert "'send' was not asked, so its answer was ignored" in read_message(again)
            assert "tides: sent" in read_text(await send_leg(client, again, answer=YES))

    run(main)


def test_pruned_run_is_named(db: Path) -> None:
    """The state of a run that was pruned leads to one clear error, and not to a new run."""

    async def main() -> None:
        served = Served(db, build_letters([]))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            from graphorch.runs.stores import open_store

            await served.runs.wait_for_all(5)
            async with open_store(served.db) as store:
                await store.prune(before=9e9, statuses=["waiting"])
            for answer in (YES, None):
                text = read_text(await send_leg(client, leg, answer=answer), is_error=True)
                assert f"Run {read_run_id(leg)} is not in the journal: it was pruned" in text
            assert await served.find_runs() == []

    run(main)


class Key(BaseModel):
    secret: str


def test_flow_that_lacks_what_it_needs_is_not_served(db: Path) -> None:
    """Resources and models that are missing are named when the server starts, not by a call."""

    @node
    async def call(ctx: Context[Key], topic: Topic) -> Letter:
        return Letter(letter=ctx.resources.secret)

    @agent(output=Letter, model="vendor/nowhere")
    def ask(topic: Topic) -> str:
        return f"Write a letter on {topic.topic}."

    with pytest.raises(InputError, match="needs resources of type Key, got nothing"):
        Served(db, build_plain(call))
    with pytest.raises(InputError, match="vendor/nowhere"):
        Served(db, build_plain(ask))


@pytest.mark.slow
def test_progress_is_reported_to_who_asks(db: Path) -> None:
    """A client that asks for progress hears every second how far the run is."""
    heard: list[tuple[float, str | None]] = []

    @node
    async def wait(letter: Letter) -> Letter:
        await asyncio.sleep(2.3)
        return letter

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    async def main() -> None:
        served = Served(db, build_plain(write, wait))
        async with served.connect() as client:
            await client.call_tool("plain", {"topic": "tides"}, progress_callback=hear)

    run(main)
    assert [message for _, message in heard] == ["1 done, last write"] * 2
    assert 0.9 < heard[0][0] < heard[1][0]


# ---- runs that take long, fail or are not begun --------------------------------------------------
def test_long_run_returns_legs_without_questions(db: Path) -> None:
    """A run that takes longer than a leg is one that the client polls for, by the state alone."""
    release = asyncio.Event()

    @node
    async def wait(letter: Letter) -> Letter:
        await release.wait()
        return Letter(letter=f"{letter.letter}, late")

    async def main() -> None:
        served = Served(db, build_plain(write, wait), leg=0.02)
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, tool="plain"))
            assert leg.input_requests is None
            leg = require_leg(await send_leg(client, leg, tool="plain"))
            release.set()
            while isinstance(leg, InputRequiredResult):
                leg = await send_leg(client, leg, tool="plain")
            assert read_text(leg) == '{"letter": "A letter on tides, late"}'
            assert len(await served.find_runs()) == 1

    run(main)


def test_failed_run_is_one_error(db: Path) -> None:
    """A run that fails says what failed and how to resume it; polling runs nothing again."""
    attempts: list[str] = []

    @node
    async def fail(letter: Letter) -> Letter:
        attempts.append(letter.letter)
        await asyncio.sleep(0.05)
        raise ValueError("the printer is on fire")

    async def main() -> None:
        served = Served(db, build_plain(write, fail), leg=0.01)
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, tool="plain"))
            await asyncio.sleep(0.2)
            for _ in range(3):
                text = read_text(await send_leg(client, leg, tool="plain"), is_error=True)
                assert "Node 'fail' failed: ValueError: the printer is on fire" in text
                assert f"graphorch resume flows.py {read_run_id(leg)[:8]}" in text

    run(main)
    assert len(attempts) == 1


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"topik": "tides"}, "There is no field 'topik'. Did you mean 'topic'?"),
        ({"topic": 3}, "topic: Input should be a valid string"),
        ({}, "topic: Field required"),
    ],
)
def test_wrong_arguments_begin_no_run(db: Path, arguments: dict[str, Any], reason: str) -> None:
    """Arguments that do not fit are told to the model, which may correct them; nothing runs."""

    async def main() -> None:
        served = Served(db, build_plain(write))
        async with served.connect("legacy") as client:
            result = await send_leg(client, tool="plain", arguments=arguments)
            assert reason in read_text(result, is_error=True)
            assert await served.find_runs() == []

    run(main)


def test_unknown_tool_is_protocol_error(db: Path) -> None:
    """A tool that does not exist is an error of the call, with the name that was meant."""

    async def main() -> None:
        async with Served(db, build_letters([])).connect() as client:
            with pytest.raises(MCPError, match=r"no tool 'leters'\. Did you mean 'letters'"):
                await send_leg(client, tool="leters")

    run(main)


def test_named_run_begins_once(db: Path) -> None:
    """Calls that name their run are one run, also with another server; other arguments are not."""
    sent: list[str] = []
    meta: Any = {"graphorch/run_id": "order-17"}

    async def main() -> None:
        served = Served(db, build_letters(sent))
        async with served.connect() as client:
            first, second = await asyncio.gather(
                send_leg(client, meta=meta), send_leg(client, meta=meta)
            )
            assert read_run_id(first) == read_run_id(second) == "order-17"
            done = await send_leg(client, require_leg(first), answer=YES)
            assert "tides: sent" in read_text(done)
        async with Served(db, build_letters(sent)).connect() as client:
            assert "tides: sent" in read_text(await send_leg(client, meta=meta))
            other = await send_leg(client, meta=meta, arguments={"topic": "rivers"})
            assert "was not begun by a call of this tool" in read_text(other, is_error=True)
            wrong: Any = {"graphorch/run_id": "../x"}
            assert "is not an id" in read_text(await send_leg(client, meta=wrong), is_error=True)
        assert len(await served.find_runs()) == 1

    run(main)
    assert sent == ["A letter on tides"]


# ---- clients of both eras ------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_client_drives_whole_call(db: Path, mode: str) -> None:
    """A client that shows forms needs one call, and asks again after a wrong answer."""
    sent: list[str] = []
    asked: list[str] = []

    async def answer(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        content: Any = {"approved": "perhaps" if len(asked) == 1 else True}
        return ElicitResult(action="accept", content=content)

    async def main() -> None:
        served = Served(db, build_letters(sent))
        async with served.connect(mode, elicitation_callback=answer) as client:
            result = await client.call_tool("letters", {"topic": "tides"})
            assert result.structured_content == {"letter": "A letter on tides: sent"}

    run(main)
    assert len(sent) == 1
    assert len(asked) == 2
    assert "This answer was not taken: Verdict does not fit" in asked[1]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_client_without_forms_gets_command(db: Path, mode: str) -> None:
    """A client that cannot ask is told how a person answers, and comes back for the result."""
    flow = build_letters([])

    async def main() -> None:
        served = Served(db, flow)
        async with served.connect(mode, elicitation_callback=None) as client:
            result = await client.call_tool("letters", {"topic": "tides"})
            text = read_text(result, is_error=True)
            run_id = read_run_id(result)
            assert f"graphorch answer flows.py {run_id[:8]} approve VALUE" in text
            await flow.answer(run_id, "approve", Verdict(approved=True), durable=served.db)
            meta: Any = {"graphorch/run_id": run_id}
            done = await client.call_tool("letters", {"topic": "tides"}, meta=meta)
            assert "tides: sent" in read_text(done)
            assert len(await served.find_runs()) == 1

    run(main)


def test_legacy_client_that_answers_wrongly_ends(db: Path) -> None:
    """A client that never answers rightly is not asked for ever; the run still waits."""
    asked: list[str] = []

    async def answer(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"approved": "perhaps"})

    async def main() -> None:
        served = Served(db, build_letters([]))
        async with served.connect("legacy", elicitation_callback=answer) as client:
            text = read_text(await client.call_tool("letters", {"topic": "tides"}), is_error=True)
            assert "5 answers did not fit" in text

    run(main)
    assert len(asked) == 5
