"""Calls where they meet crashes, several questions, gates, limits, expiry, and changed flows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp_types import CallToolResult, ElicitResult, InputRequiredResult
from pydantic import BaseModel

from graphorch import Graph, Limits, agent, node, tool
from graphorch.runs.stores import open_store
from graphorch.testing.models import ScriptedModel, call, tool_results
from tests.mcp_server.serving import (
    AnyFlow,
    Letter,
    Served,
    State,
    Topic,
    Verdict,
    build_letters,
    build_plain,
    read_message,
    read_run_id,
    read_text,
    require_leg,
    run,
    send_leg,
    write,
)
from tests.scenarios.crashed_copies import copy_run

YES = {"approved": True}


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


def test_crash_at_every_record_acts_once(tmp_path: Path) -> None:
    """Whatever record a run was killed at, the same leg leads to its end, and it acts once."""

    async def main() -> None:
        whole = Served(tmp_path / "whole.sqlite", build_letters([]))
        async with whole.connect() as client:
            leg = require_leg(await send_leg(client))
            read_text(await send_leg(client, leg, answer=YES))
        log = await whole.load(read_run_id(leg))
        ends: list[str] = []
        for count in range(1, len(log.records) + 1):
            sent: list[str] = []
            served = Served(tmp_path / f"{count}.sqlite", build_letters(sent))
            async with open_store(served.db) as store:
                await copy_run(log.head, log.records[:count], store)
            async with served.connect() as client:
                result = await send_leg(client, leg, answer=YES)
                if isinstance(result, InputRequiredResult):
                    assert "Send 'A letter on tides'?" in read_message(result)
                    result = await send_leg(client, result, answer=YES)
            assert isinstance(result, CallToolResult)
            text = read_text(result, is_error=result.is_error)
            ends.append("ambiguous" if "--ambiguous repeat|fail" in text else text.splitlines()[0])
            has_acted = any(
                record.kind == "commit" and record.body["path"] == "send"
                for record in log.records[:count]
            )
            assert len(sent) + has_acted == (0 if ends[-1] == "ambiguous" else 1)
            assert len(await served.find_runs()) == 1
        assert set(ends) == {"ambiguous", '{"letter": "A letter on tides: sent"}'}

    run(main)


# ---- several questions ---------------------------------------------------------------------------
class Price(BaseModel):
    price: int


class Day(BaseModel):
    day: str = ""


class Offer(Topic, Letter, Price, Day): ...


@node
def offer(price: Price, day: Day) -> Letter:
    return Letter(letter=f"{price.price} on {day.day}")


def build_offer() -> AnyFlow:
    """Return a flow that asks two things at once."""
    graph = Graph("offer", Offer, input=Topic, output=Letter)
    price = graph.ask("price", question=lambda s: "What price?", answer=Price)
    day = graph.ask("day", question=lambda s: "Which day?", answer=Day)
    return graph.chain([price, day], offer).build()


def accept(**content: Any) -> ElicitResult:
    """Return a filled-in form."""
    return ElicitResult(action="accept", content=content)


def test_questions_are_answered_in_one_leg(db: Path) -> None:
    """A leg asks all open questions, and takes all answers."""

    async def main() -> None:
        served = Served(db, build_offer())
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, tool="offer"))
            assert set(leg.input_requests or {}) == {"price", "day"}
            both = {"price": accept(price=3), "day": accept(day="Monday")}
            done = await send_leg(client, leg, tool="offer", responses=both)
            assert read_text(done) == '{"letter": "3 on Monday"}'

    run(main)


def test_wrong_answer_of_two_is_asked_again(db: Path) -> None:
    """Of two answers the right one is taken, and only the other question is asked again."""

    async def main() -> None:
        served = Served(db, build_offer())
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, tool="offer"))
            both = {"price": accept(price="much"), "day": accept(day="Monday")}
            again = require_leg(await send_leg(client, leg, tool="offer", responses=both))
            assert list(again.input_requests or {}) == ["price"]
            assert "price: Input should be a valid integer" in read_message(again)
            done = await send_leg(client, again, tool="offer", responses={"price": accept(price=4)})
            assert read_text(done) == '{"letter": "4 on Monday"}'

    run(main)


def test_two_clients_answer_one_question_each(db: Path) -> None:
    """Two legs of one call at once, each with one answer, are both taken."""

    async def main() -> None:
        served = Served(db, build_offer())
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, tool="offer"))
            results = await asyncio.gather(
                send_leg(client, leg, tool="offer", responses={"price": accept(price=5)}),
                send_leg(client, leg, tool="offer", responses={"day": accept(day="Friday")}),
            )
            texts = [read_text(each) for each in results if isinstance(each, CallToolResult)]
            assert texts
            assert set(texts) == {'{"letter": "5 on Friday"}'}

    run(main)


def test_question_is_asked_while_run_is_under_way(db: Path) -> None:
    """A question is asked at once, and its answer acts, although another node is not done."""
    release = asyncio.Event()
    seen: list[str] = []

    class Both(Topic, Letter, Price, Day): ...

    @node
    async def wait(topic: Topic) -> Day:
        await release.wait()
        return Day(day="Sunday")

    @node
    async def note(price: Price) -> Letter:
        seen.append(f"{price.price}")
        return Letter(letter=f"for {price.price}")

    graph = Graph("both", Both, input=Topic, output=Letter)
    price = graph.ask("price", question=lambda s: "What price?", answer=Price)
    graph.chain(price, note)
    graph.chain(wait)
    flow = graph.build()

    async def main() -> None:
        served = Served(db, flow)
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, tool="both"))
            assert list(leg.input_requests or {}) == ["price"]
            answering = asyncio.create_task(
                send_leg(client, leg, tool="both", responses={"price": accept(price=7)})
            )
            async with asyncio.timeout(10):
                while not seen:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            release.set()
            assert read_text(await answering) == '{"letter": "for 7"}'

    run(main)
    assert seen == ["7"]


def test_answer_of_other_process_is_noted(db: Path) -> None:
    """Two servers get one answer each to one question: one counts, the other call is told so."""
    sent: list[str] = []
    flow = build_letters(sent)

    async def main() -> None:
        one, two = Served(db, flow), Served(db, build_letters(sent))
        async with one.connect() as first, two.connect() as second:
            leg = require_leg(await send_leg(first))
            results = await asyncio.gather(
                send_leg(first, leg, answer=YES), send_leg(second, leg, answer={"approved": False})
            )
            texts = [read_text(each) for each in results]
            assert len({text.partition("\n")[0] for text in texts}) == 1
            assert sorted("changed nothing" in text for text in texts) == [False, True]

    run(main)
    assert len(sent) == 1


def test_declined_form_keeps_other_answer(db: Path) -> None:
    """The answer beside a form that was closed is taken; the closed question stays open."""

    async def main() -> None:
        served = Served(db, build_offer())
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, tool="offer"))
            both = {"day": accept(day="Monday"), "price": ElicitResult(action="decline")}
            text = read_text(
                await send_leg(client, leg, tool="offer", responses=both), is_error=True
            )
            assert "graphorch answer flows.py" in text
            again = require_leg(await send_leg(client, leg, tool="offer"))
            assert list(again.input_requests or {}) == ["price"]

    run(main)


# ---- gates, limits, expiry, changes --------------------------------------------------------------
def test_gate_is_form_and_refusal_an_error(db: Path) -> None:
    """A gate asks for yes or no with a reason; no ends the run with that reason."""

    @node(gate="before")
    def send(letter: Letter) -> Letter:
        return Letter(letter=f"{letter.letter}: sent")

    async def main() -> None:
        served = Served(db, build_plain(write, send))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, tool="plain"))
            assert "May 'send' run?" in read_message(leg)
            done = await send_leg(client, leg, tool="plain", answer=YES)
            assert "tides: sent" in read_text(done)
            leg = require_leg(await send_leg(client, tool="plain"))
            refusal = {"approved": False, "reason": "it is Sunday"}
            refused = await send_leg(client, leg, tool="plain", answer=refusal)
            assert "Rejected: it is Sunday" in read_text(refused, is_error=True)

    run(main)


@pytest.mark.parametrize("approved", [True, False])
def test_call_of_tool_is_approved_by_form(db: Path, approved: bool) -> None:
    """A person approves a call of an agent's tool, with other arguments, or refuses it."""
    sent: list[str] = []

    @tool(approve=True)
    def send(text: str) -> str:
        sent.append(text)
        return "sent"

    @agent(output=Letter, tools=[send])
    def clerk(topic: Topic) -> str:
        return f"Send a letter on {topic.topic}."

    model = ScriptedModel(
        call("send", {"text": "Dear"}),
        lambda request: f"The tool said: {tool_results(request)[0]}",
    )
    content: dict[str, Any] = {"approved": True, "arguments": '{"text": "Hello"}', "answer": ""}
    if not approved:
        content = {"approved": False, "reason": "it is Sunday", "arguments": ""}

    async def main() -> None:
        flow = build_plain(clerk)
        async with Served(db, flow, client=model).connect() as client:
            leg = require_leg(await send_leg(client, tool="plain"))
            assert "Dear" in read_message(leg)
        async with Served(db, flow, client=model).connect() as client:
            for _ in range(3):
                done = read_text(await send_leg(client, leg, tool="plain", answer=content))
                assert ("Hello" if approved else "it is Sunday") in done

    run(main)
    assert sent == (["Hello"] if approved else [])
    model.check()


def test_limit_stops_run_until_person_resumes(db: Path) -> None:
    """A run at its limit is an error that says how to resume; polling does not let it go on."""
    flow = build_plain(write, write.named("again"))

    async def main() -> None:
        served = Served(db, flow, limits=Limits(activations=1))
        async with served.connect() as client:
            meta: Any = {"graphorch/run_id": "limited"}
            for _ in range(2):
                text = read_text(await send_leg(client, tool="plain", meta=meta), is_error=True)
                assert "more nodes ran than Limits(activations=…) allows" in text
                assert "graphorch resume flows.py limited" in text
            limits = Limits(activations=5)
            await flow.resume("limited", durable=served.db, limits=limits)
            done = await send_leg(client, tool="plain", meta=meta)
            assert "A letter on tides" in read_text(done)

    run(main)


def test_late_answer_is_error(db: Path) -> None:
    """An answer after its question has expired goes the way that the flow has for that."""
    graph = Graph("late", State, input=Topic, output=Letter)
    soon = graph.ask("approve", question=lambda s: "Now?", answer=Verdict, expires=0.05)
    flow = graph.chain(soon, write).build()

    async def main() -> None:
        served = Served(db, flow)
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, tool="late"))
            await asyncio.sleep(0.1)
            text = read_text(await send_leg(client, leg, tool="late", answer=YES), is_error=True)
            assert "was not answered within 0.05 s" in text

    run(main)


def test_changed_question_is_asked_again(db: Path) -> None:
    """An answer to a form that the flow would not show any more is not taken."""

    class Reasoned(BaseModel):
        approved: bool = False
        why: str = ""

    class NewState(Topic, Letter, Reasoned): ...

    @node
    def send(letter: Letter, verdict: Reasoned) -> Letter:
        return Letter(letter=f"{letter.letter}, since {verdict.why}")

    def build_changed(fingerprint: str) -> AnyFlow:
        graph = Graph("letters", NewState, input=Topic, output=Letter)
        approve = graph.ask("approve", question=lambda s: f"Send '{s.letter}'?", answer=Reasoned)
        graph.migration(from_=fingerprint, change=lambda record: record)
        return graph.chain(write, approve, send).build()

    async def main() -> None:
        first = Served(db, build_letters([]))
        async with first.connect() as client:
            leg = require_leg(await send_leg(client))
        (head,) = await first.find_runs()
        async with Served(db, build_changed(head.fingerprint)).connect() as client:
            again = require_leg(await send_leg(client, leg, answer=YES))
            assert "the question has changed since it was asked" in read_message(again)
            done = await send_leg(client, again, answer={"approved": True, "why": "it is late"})
            assert "A letter on tides, since it is late" in read_text(done)

    run(main)


def test_changed_flow_says_what_changed(db: Path) -> None:
    """A run that the flow cannot continue any more is an error that says how to mend it."""

    async def main() -> None:
        async with Served(db, build_letters([])).connect() as client:
            leg = require_leg(await send_leg(client))
        changed = build_plain(write, name="letters")
        async with Served(db, changed).connect() as client:
            text = read_text(await send_leg(client, leg, answer=YES), is_error=True)
            assert "migration(from_=" in text

    run(main)


def test_erased_run_is_named(db: Path) -> None:
    """The content of a run may be gone for good: the error says so, and no run begins."""

    async def main() -> None:
        served = Served(db, build_letters([]))
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            await served.runs.wait_for_all(5)
            async with open_store(served.db) as store:
                await store.erase(read_run_id(leg))
            text = read_text(await send_leg(client, leg, answer=YES), is_error=True)
            assert "was erased" in text

    run(main)


def test_withdrawn_question_leaves_note(db: Path) -> None:
    """A run that a person cancelled meanwhile is an error; its answer is not kept for later."""
    flow = build_letters([])

    async def main() -> None:
        served = Served(db, flow)
        async with served.connect() as client:
            leg = require_leg(await send_leg(client))
            await flow.cancel(read_run_id(leg), durable=served.db)
            text = read_text(await send_leg(client, leg, answer=YES), is_error=True)
            assert "cancelled for good" in text
            assert "changed nothing" in text

    run(main)


def test_state_names_stored_run(db: Path) -> None:
    """However short a leg is, the run that its state names is in the journal."""

    async def main() -> None:
        served = Served(db, build_letters([]), leg=1e-9)
        async with served.connect() as client:
            for _ in range(10):
                leg = require_leg(await send_leg(client))
                assert (await served.load(read_run_id(leg))).head.last_seq >= 1

    run(main)


def test_answer_of_short_leg_is_stored(db: Path) -> None:
    """However short a leg is, the answer that it brought is in the journal when it returns."""
    release = asyncio.Event()

    @node
    async def wait(verdict: Verdict) -> Letter:
        await release.wait()
        return Letter(letter=f"{verdict.approved}")

    graph = Graph("late", State, input=Topic, output=Letter)
    approve = graph.ask("approve", question=lambda s: "Now?", answer=Verdict)
    flow = graph.chain(approve, wait).build()

    async def main() -> None:
        async with Served(db, flow).connect() as client:
            leg = require_leg(await send_leg(client, tool="late"))
        served = Served(db, flow, leg=1e-9)
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, leg, tool="late", answer=YES))
            assert leg.input_requests is None
            log = await served.load(read_run_id(leg))
            assert any(r.kind == "commit" and r.body["path"] == "approve" for r in log.records)
            release.set()
            await served.runs.wait_for_all(5)

    run(main)


def test_run_of_other_process_is_awaited(db: Path) -> None:
    """A run that another process works on is not resumed beside it, but awaited."""
    release = asyncio.Event()
    begun: list[str] = []

    @node
    async def wait(letter: Letter) -> Letter:
        begun.append(letter.letter)
        await release.wait()
        return letter

    flow = build_plain(write, wait)

    async def main() -> None:
        served = Served(db, flow, leg=0.05)
        async with served.connect() as client:
            leg = require_leg(await send_leg(client, tool="plain"))
            other = Served(db, flow, leg=0.05)
            async with other.connect() as second:
                polled = require_leg(await send_leg(second, leg, tool="plain"))
                assert polled.input_requests is None
                release.set()
                while isinstance(polled, InputRequiredResult):
                    polled = await send_leg(second, polled, tool="plain")
                assert "A letter on tides" in read_text(polled)

    run(main)
    assert len(begun) == 1
