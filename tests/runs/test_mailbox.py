"""Answers, stops and cancellations reach a run that another one drives, once and in order."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from pydantic import model_validator

from graphorch import Expired, Graph, InputError, QuestionClosed, RunFailed
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Lease, NewLetter
from graphorch.journal.store import Store
from graphorch.journal.wrappers import ForwardingStore
from tests.runs.letters import Done, Owner, Topic, Verdict, Work, build_flow, run_owned, slow

places = pytest.mark.parametrize("place", ["memory", "sqlite"])


# ---- answers -------------------------------------------------------------------------------------
@places
def test_answer_acts_while_run_is_under_way(place: str, tmp_path: Path) -> None:
    """An answer sent to a run under way commits at once, beside the node that works on."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        await owner.flow.send_answer("r", "ask", Verdict(verdict="yes"), durable=owner.other)
        await owner.work.has_run("act yes")
        assert not owner.work.gate.is_set()
        result = await owner.finish()
        assert result.output.verdict == "yes"
        assert sorted(result.output.done) == ["act yes", "close", "slow"]
        replayed = await owner.flow.replay("r", durable=owner.other)
        assert replayed.output == result.output
        [letter] = await owner.letters()
        assert letter.outcome is not None
        assert (letter.outcome.error, letter.body) == ("", None)

    run_owned(place, tmp_path, check)


@places
def test_answer_returns_result_of_owner(place: str, tmp_path: Path) -> None:
    """`answer` waits for whoever drives the run, and returns what it returns."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        answering = asyncio.create_task(
            owner.flow.answer("r", "ask", Verdict(verdict="yes"), durable=owner.other)
        )
        await owner.work.has_run("act yes")
        assert not answering.done()
        result = await owner.finish()
        assert (await answering).output == result.output
        assert owner.work.ran.count("act yes") == 1

    run_owned(place, tmp_path, check)


@places
def test_first_of_two_answers_counts(place: str, tmp_path: Path) -> None:
    """The second sender gets a typed error, whether it saw the first answer or not."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        outcomes = await asyncio.gather(
            owner.flow.send_answer("r", "ask", Verdict(verdict="one"), durable=owner.other),
            owner.flow.send_answer("r", "ask", Verdict(verdict="two"), durable=owner.other),
            return_exceptions=True,
        )
        letters = await owner.letters()
        assert [type(outcome) for outcome in outcomes if outcome] == [QuestionClosed]
        with pytest.raises(QuestionClosed, match="answered already, and the first answer counts"):
            await owner.flow.send_answer("r", "ask", Verdict(verdict="x"), durable=owner.other)
        with pytest.raises(QuestionClosed, match="'ask' is not open"):
            await owner.flow.answer("r", "ask", Verdict(verdict="x"), durable=owner.other)
        result = await owner.finish()
        assert len(letters) == 2
        assert result.output.verdict == ("one" if outcomes[0] is None else "two")
        assert letters[0].outcome is not None
        assert letters[0].outcome.error == ""

    run_owned(place, tmp_path, check)


@places
def test_wrong_answers_are_refused_at_once(place: str, tmp_path: Path) -> None:
    """What the sender can see to be wrong is never sent."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        flow, other = owner.flow, owner.other
        with pytest.raises(InputError, match="'ask' asks for a Verdict, got Done"):
            await flow.send_answer("r", "ask", Done(), durable=other)
        with pytest.raises(InputError, match="Question 'nobody' is not open"):
            await flow.answer("r", "nobody", Verdict(), durable=other)
        assert await owner.letters() == ()
        await owner.finish()

    run_owned(place, tmp_path, check)


@places
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("answer", {}),
        ("answer", {"question": 1, "path": "ask", "at": 0.0, "answer": {}}),
        ("stop", {"reason": "x"}),
        ("greet", {}),
        ("cancel", []),
        ("cancel", None),
    ],
)
def test_unreadable_letters_are_refused(
    place: str, kind: str, body: object, tmp_path: Path
) -> None:
    """A letter of another version or of a stranger does not harm the run, and says so."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        await owner.other.post(NewLetter("r", "x", kind, body))
        outcome = await owner.settled()
        assert outcome.error == "InputError"
        assert f"not what a '{kind}' letter holds" in outcome.message
        result = await owner.finish()
        assert result.status == "waiting"

    run_owned(place, tmp_path, check)


@places
def test_answer_of_other_type_is_refused_by_owner(place: str, tmp_path: Path) -> None:
    """An answer that does not fit the owner's question leaves it open."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        [asked] = [item for item in (await owner.other.load("r")).records if item.kind == "asked"]
        body = {"question": asked.body["id"], "path": "ask", "at": 0.0, "answer": {"verdict": 7}}
        await owner.other.post(NewLetter("r", "x", "answer", body))
        outcome = await owner.settled()
        assert outcome.error == "InputError"
        assert "asks for a Verdict, and the answer does not fit" in outcome.message
        await owner.flow.send_answer("r", "ask", Verdict(verdict="yes"), durable=owner.other)
        assert (await owner.finish()).output.verdict == "yes"

    run_owned(place, tmp_path, check)


@places
def test_failing_validator_leaves_run_alone(place: str, tmp_path: Path) -> None:
    """What a validator raises in the owner's process refuses the answer, and the run goes on."""
    broken = asyncio.Event()

    class Strict(Verdict):
        @model_validator(mode="after")
        def check(self) -> Strict:
            if broken.is_set():
                raise ZeroDivisionError("no verdict")
            return self

    class Wide(Topic, Strict, Done): ...

    graph = Graph("strict", Wide, input=Topic, output=Wide)
    graph.chain([graph.ask("ask", question=lambda s: "?", answer=Strict), slow])

    async def check(owner: Owner) -> None:
        await owner.begin()
        [asked] = [item for item in (await owner.other.load("r")).records if item.kind == "asked"]
        question = {"question": asked.body["id"], "path": "ask", "at": 0.0}
        broken.set()
        answer = {"answer": {"verdict": "yes"}, "notes": {"validated": True}}
        await owner.other.post(NewLetter("r", "x", "answer", {**question, **answer}))
        outcome = await owner.settled()
        broken.clear()
        assert outcome.error == "InputError"
        assert "no verdict" in outcome.message
        await owner.flow.send_answer("r", "ask", Strict(verdict="yes"), durable=owner.other)
        assert (await owner.finish()).output.verdict == "yes"

    run_owned(place, tmp_path, check, graph.build())


@places
def test_late_answer_expires_the_question(place: str, tmp_path: Path) -> None:
    """An answer after the time of its question fails the question, and its sender is told."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        await asyncio.sleep(0.06)
        with pytest.raises(Expired, match="'ask' is not open: its time is over"):
            await owner.flow.send_answer("r", "ask", Verdict(verdict="x"), durable=owner.other)
        with pytest.raises(RunFailed) as caught:
            await owner.finish()
        assert "was not answered within" in str(caught.value)

    run_owned(place, tmp_path, check, build_flow(expires=0.05))


@places
@pytest.mark.parametrize("letter", ["answer", "cancel"])
def test_owner_tells_hook_of_letters(place: str, letter: str, tmp_path: Path) -> None:
    """What a letter does to a question is told by the owner of the run, once."""
    heard: list[str] = []

    async def check(owner: Owner) -> None:
        await owner.begin(on_question=lambda event: heard.append(event.kind))
        if letter == "cancel":
            await owner.flow.cancel("r", durable=owner.other)
            with pytest.raises(RunFailed, match="cancelled"):
                await owner.finish()
            return
        for answer, error in (("one", None), ("two", QuestionClosed)):
            sending = owner.flow.send_answer(
                "r", "ask", Verdict(verdict=answer), durable=owner.other
            )
            with pytest.raises(error) if error else nullcontext():
                await sending
        await owner.finish()

    run_owned(place, tmp_path, check)
    assert heard == ["opened", "answered" if letter == "answer" else "withdrawn"]


# ---- stop and cancel -----------------------------------------------------------------------------
@places
def test_stop_reaches_owner(place: str, tmp_path: Path) -> None:
    """A run that another one drives is stopped, and can be resumed."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        await owner.flow.send_stop("r", now=True, reason="lunch", durable=owner.other)
        with pytest.raises(RunFailed, match=r"was stopped \(lunch\)"):
            await owner.task  # type: ignore[misc]
        with pytest.raises(InputError, match="Run r is not under way: there is nothing to stop"):
            await owner.flow.send_stop("r", durable=owner.other)
        owner.work.gate.set()
        result = await owner.flow.resume("r", durable=owner.other, resources=owner.work)
        assert result.status == "waiting"

    run_owned(place, tmp_path, check)


@places
def test_cancel_reaches_owner(place: str, tmp_path: Path) -> None:
    """A run that another one drives is cancelled for good, and its node does not end."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        await owner.flow.cancel("r", durable=owner.other)
        assert (await owner.other.load("r")).head.status == "cancelled"
        with pytest.raises(RunFailed, match="cancelled"):
            await owner.task  # type: ignore[misc]
        with pytest.raises(InputError, match=r"Run r was cancelled for good\. Fork it"):
            await owner.flow.cancel("r", durable=owner.other)
        with pytest.raises(InputError, match="Run r is cancelled: there is nothing left to answer"):
            await owner.flow.send_answer("r", "ask", Verdict(), durable=owner.other)
        with pytest.raises(RunFailed, match="cancelled"):
            await owner.flow.replay("r", durable=owner.other)

    run_owned(place, tmp_path, check)


def test_run_in_memory_is_cancelled_under_way() -> None:
    """A run without a journal is cancelled by its flow while it is under way."""
    flow, work = build_flow(), Work()

    async def main() -> None:
        task = asyncio.create_task(flow.run(Topic(), run_id="r", resources=work))
        await work.has_run("slow")
        await flow.cancel("r")
        with pytest.raises(RunFailed, match="cancelled"):
            await task
        with pytest.raises(InputError, match="no open run"):
            await flow.cancel("r")

    asyncio.run(main())


@places
@pytest.mark.parametrize("first", ["answer", "cancel"])
def test_answer_and_cancel_in_one_moment(place: str, first: str, tmp_path: Path) -> None:
    """The order of the letters decides; the one that comes too late says why."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        flow, other = owner.flow, owner.other
        sent = {
            "answer": flow.send_answer("r", "ask", Verdict(verdict="yes"), durable=other),
            "cancel": flow.cancel("r", durable=other),
        }
        order = [first, *({"answer", "cancel"} - {first})]
        outcomes = dict(
            zip(
                order,
                await asyncio.gather(*(sent[name] for name in order), return_exceptions=True),
                strict=True,
            )
        )
        kinds = [letter.kind for letter in await owner.letters()]
        assert outcomes["cancel"] == []
        with pytest.raises(RunFailed, match="cancelled"):
            await owner.task  # type: ignore[misc]
        if kinds == ["answer", "cancel"]:
            assert outcomes["answer"] is None
        else:
            assert "Run r is cancelled: there is nothing left to answer" in str(outcomes["answer"])
        records = (await other.load("r")).records
        answered = [item.body["path"] for item in records if item.kind == "commit"]
        assert answered.count("ask") == (kinds == ["answer", "cancel"])
        assert records[-1].kind == "ended"

    run_owned(place, tmp_path, check)


@places
def test_cancel_after_stop_cancels(place: str, tmp_path: Path) -> None:
    """A run that is being stopped gently is interrupted by a cancellation, and is cancelled."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        await owner.flow.send_stop("r", now=False, durable=owner.other)
        assert owner.task is not None
        assert not owner.task.done()  # what runs may finish
        await owner.flow.cancel("r", durable=owner.other)
        with pytest.raises(RunFailed, match="cancelled"):
            await owner.task
        assert (await owner.other.load("r")).head.status == "cancelled"
        replayed = owner.flow.replay("r", durable=owner.other)
        with pytest.raises(RunFailed, match="cancelled"):
            await replayed

    run_owned(place, tmp_path, check)


# ---- at the edges of ownership -------------------------------------------------------------------
class LastMoment(ForwardingStore):
    """Store in which a letter is posted just before the run is released for the first time."""

    def __init__(self, store: Store, letters: list[tuple[str, dict[str, Any]]]) -> None:
        super().__init__(store)
        self.letters = letters

    async def release_unless_mail(self, lease: Lease) -> bool:
        while self.letters:
            kind, body = self.letters.pop()
            if kind == "answer":
                records = (await self.load("r")).records
                asked = next(record for record in records if record.kind == "asked")
                body = {"question": asked.body["id"], "path": "ask", "at": 0.0, **body}
            await self.post(NewLetter("r", kind, kind, body))
        return await super().release_unless_mail(lease)


def test_answer_at_last_moment_continues_run() -> None:
    """An answer that comes while the owner ends continues the run, though nobody waits for it."""
    flow, work = build_flow(), Work()
    work.gate.set()
    store = LastMoment(MemoryStore(), [("answer", {"answer": {"verdict": "yes"}})])

    async def main() -> None:
        result = await flow.run(Topic(), run_id="r", durable=store, resources=work)
        assert (result.status, result.output.verdict) == ("succeeded", "yes")
        log = await store.load("r")
        assert [item.body["status"] for item in log.records if item.kind == "ended"] == [
            "waiting",
            "succeeded",
        ]
        assert (log.head.status, log.head.lease) == ("succeeded", None)
        assert (await flow.replay("r", durable=store)).output == result.output

    asyncio.run(main())


def test_cancel_at_last_moment_cancels_run() -> None:
    """A cancellation that comes while the owner ends cancels the run that would wait."""
    flow, work = build_flow(), Work()
    work.gate.set()
    store = LastMoment(MemoryStore(), [("cancel", {})])

    async def main() -> None:
        with pytest.raises(RunFailed, match="cancelled"):
            await flow.run(Topic(), run_id="r", durable=store, resources=work)
        head = (await store.load("r")).head
        assert (head.status, head.lease) == ("cancelled", None)

    asyncio.run(main())


def test_letter_at_last_moment_of_finished_run_is_refused() -> None:
    """A letter that meets a run which has just finished is refused, and the run is released."""
    flow, work = build_flow(), Work()
    work.gate.set()
    store = LastMoment(MemoryStore(), [])

    async def main() -> None:
        waiting = await flow.run(Topic(), run_id="r", durable=store, resources=work)
        store.letters = [("stop", {"reason": "x", "now": True}), ("cancel", {})]
        answer = Verdict(verdict="yes")
        result = await flow.answer("r", waiting.questions[0], answer, durable=store, resources=work)
        assert result.status == "succeeded"
        letters = await store.list_letters("r")
        assert [letter.outcome and letter.outcome.message for letter in letters] == [
            "Run r is succeeded: there is nothing left to cancel.",
            "Run r is succeeded: there is nothing left to stop.",
        ]
        assert (await store.load("r")).head.lease is None

    asyncio.run(main())


@places
def test_letter_waits_for_next_owner(place: str, tmp_path: Path) -> None:
    """An answer to a run that nobody drives is taken in by whoever resumes it."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        assert (await owner.finish()).status == "waiting"
        answer = Verdict(verdict="yes")
        await owner.flow.send_answer("r", "ask", answer, durable=owner.other, wait=False)
        with pytest.raises(InputError, match=r"Nobody drives run r now\. The answer is kept"):
            await owner.flow.send_answer("r", "ask", Verdict(verdict="no"), durable=owner.other)
        result = await owner.flow.resume("r", durable=owner.other, resources=owner.work)
        assert result.output.verdict == "yes"
        assert [item.outcome and item.outcome.error for item in await owner.letters()] == [
            "",
            "QuestionClosed",
        ]

    run_owned(place, tmp_path, check)


@places
def test_answer_comes_after_earlier_letters(place: str, tmp_path: Path) -> None:
    """Whoever answers a run with letters takes them in first: the earlier answer counts."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        await owner.finish()
        await owner.flow.send_answer(
            "r", "ask", Verdict(verdict="first"), durable=owner.other, wait=False
        )
        with pytest.raises(QuestionClosed, match="answered already"):
            await owner.flow.answer(
                "r", "ask", Verdict(verdict="second"), durable=owner.other, resources=owner.work
            )
        result = await owner.flow.resume("r", durable=owner.other)
        assert (result.status, result.output.verdict) == ("succeeded", "first")

    run_owned(place, tmp_path, check)


@places
def test_letters_to_finished_run_are_refused(place: str, tmp_path: Path) -> None:
    """A letter that meets a finished run is refused when the run is opened next."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        await owner.flow.send_answer("r", "ask", Verdict(verdict="yes"), durable=owner.other)
        await owner.finish()
        await owner.other.post(NewLetter("r", "x", "cancel", {}))
        await owner.flow.resume("r", durable=owner.other)
        outcome = (await owner.letters())[-1].outcome
        assert outcome is not None
        assert outcome.message == "Run r is succeeded: there is nothing left to cancel."

    run_owned(place, tmp_path, check)


@places
def test_answer_in_time_survives_late_owner(place: str, tmp_path: Path) -> None:
    """An answer that was given in time is in time, however late the next owner takes it in."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        await owner.finish()
        await owner.flow.send_answer(
            "r", "ask", Verdict(verdict="yes"), durable=owner.other, wait=False
        )
        await asyncio.sleep(0.5)
        result = await owner.flow.resume("r", durable=owner.other, resources=owner.work)
        assert result.output.verdict == "yes"

    run_owned(place, tmp_path, check, build_flow(expires=0.4))
