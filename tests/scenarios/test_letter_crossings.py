"""Letters meet maps, loops, gates, worker processes, keys, masks, forks and older journals."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import (
    Approval,
    Context,
    Graph,
    InputError,
    QuestionClosed,
    RunFailed,
    ToolApproval,
    agent,
    append,
    node,
    tool,
)
from graphorch.errors import JournalError
from graphorch.journal.errors import WrongKey
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Letter, NewLetter, NewRun
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from graphorch.journal.wrappers import MaskedStore
from graphorch.testing import ScriptedModel, call
from tests.golden import flows as golden
from tests.runs.letters import Case, Done, Owner, Topic, Verdict, Work, build_flow, run_owned, slow

GOLDEN = Path(golden.__file__).parent


class Many(BaseModel):
    answers: Annotated[list[str], append] = []


class Board(Topic, Verdict, Done, Many): ...


async def wait_for_questions(store: Store, count: int) -> list[dict[str, Any]]:
    """Return the bodies of the questions of run `r` once there are so many."""
    while True:
        try:
            records = (await store.load("r")).records
        except JournalError:
            records = ()
        asked = [record.body for record in records if record.kind == "asked"]
        if len(asked) >= count:
            return asked
        await asyncio.sleep(0.005)


# ---- places of questions -------------------------------------------------------------------------
def build_mapped() -> Any:
    """Build a flow whose map asks for each of its items, beside the slow node."""
    inner = Graph("inner", Case, input=Topic, output=Verdict)
    inner.chain(inner.ask("ask", question=lambda s: f"{s.topic}?", answer=Verdict))
    graph = Graph("mapped", Board, input=Topic, output=Board)
    each = graph.map(
        "each",
        inner.build(),
        over=lambda s: [Topic(topic=name) for name in "abc"],
        gather=lambda verdicts: Many(answers=[verdict.verdict for verdict in verdicts]),
        max_items=3,
    )
    graph.chain([each, slow])
    return graph.build()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_answers_to_map_come_in_any_order(order: tuple[int, ...]) -> None:
    """Each item of a map gets its own answer while the run works, and the result is the same."""
    flow, store, work = build_mapped(), MemoryStore(), Work()

    async def main() -> list[str]:
        task = asyncio.create_task(flow.run(Topic(), run_id="r", durable=store, resources=work))
        asked = sorted((await wait_for_questions(store, 3)), key=lambda body: str(body["path"]))
        for index in order:
            question = asked[index]["id"]
            await flow.send_answer("r", question, Verdict(verdict=f"{index}"), durable=store)
        work.gate.set()
        result = await task
        assert (await flow.replay("r", durable=store)).output == result.output
        return result.output.answers

    assert asyncio.run(main()) == ["0", "1", "2"]


def test_question_of_loop_takes_letter_of_its_round() -> None:
    """An answer counts for the round that asked; the same path asks again in the next one."""

    @node
    async def count(verdict: Verdict) -> Done:
        return Done(done=[verdict.verdict])

    graph = Graph("rounds", Case, input=Topic, output=Case)
    ask = graph.ask("ask", question=lambda s: f"{len(s.done)}?", answer=Verdict)
    graph.chain(ask, count)
    graph.loop(count, back_to=ask, while_=lambda s: len(s.done) < 3, max_iterations=3)
    graph.chain([ask, slow])
    flow, store, work = graph.build(), MemoryStore(), Work()

    async def main() -> None:
        task = asyncio.create_task(flow.run(Topic(), run_id="r", durable=store, resources=work))
        for round in range(3):
            asked = await wait_for_questions(store, round + 1)
            await flow.send_answer("r", "ask", Verdict(verdict=f"{round}"), durable=store)
            with pytest.raises(InputError):
                await flow.send_answer("r", asked[-1]["id"], Verdict(verdict="x"), durable=store)
        work.gate.set()
        assert sorted((await task).output.done) == ["0", "1", "2", "slow"]

    asyncio.run(main())


@pytest.mark.parametrize("gate", ["before", "after"])
@pytest.mark.parametrize("approved", [True, False])
def test_gates_are_answered_by_letters(gate: Any, approved: bool) -> None:
    """A person lets a node start, or its result go on, or refuses, in a run that works."""

    @node(gate=gate)
    async def write(ctx: Context[Work], topic: Topic) -> Verdict:
        ctx.resources.add("write")
        return Verdict(verdict=topic.topic)

    graph = Graph("gated", Case, input=Topic, output=Case)
    graph.chain([write, slow])
    flow, store, work = graph.build(), MemoryStore(), Work()

    async def main() -> None:
        task = asyncio.create_task(flow.run(Topic(), run_id="r", durable=store, resources=work))
        await wait_for_questions(store, 1)
        answer = Approval(approved=approved, reason="" if approved else "too dull")
        await flow.send_answer("r", "write", answer, durable=store)
        work.gate.set()
        if approved:
            assert (await task).output.verdict == "tides"
            return
        with pytest.raises(RunFailed) as caught:
            await task
        assert "too dull" in str(caught.value)

    asyncio.run(main())
    assert work.ran.count("write") == (approved or gate == "after")


# ---- calls of tools ------------------------------------------------------------------------------
def build_paying(paid: list[str]) -> Any:
    """Build a flow of an agent whose tool a person approves, beside the slow node."""

    @tool(approve=True)
    def pay(amount: int) -> str:
        paid.append(f"paid {amount}")
        return paid[-1]

    @agent(output=Verdict, tools=[pay])
    def write(topic: Topic) -> str:
        return "Pay for it."

    graph = Graph("paying", Case, input=Topic, output=Case)
    graph.chain([write, slow])
    return graph.build()


DECISIONS = [
    (Approval(approved=True), ["paid 3"]),
    (ToolApproval(approved=True), ["paid 3"]),
    (ToolApproval(approved=True, arguments={"amount": 2}), ["paid 2"]),
    (ToolApproval(approved=False, reason="too much"), []),
    (ToolApproval(approved=False, answer="paid by cheque"), []),
]


@pytest.mark.parametrize(("decision", "effects"), DECISIONS)
@pytest.mark.parametrize("is_under_way", [True, False])
def test_tool_calls_are_approved_by_letters(
    decision: Any, effects: list[str], is_under_way: bool
) -> None:
    """A person decides about a call of a tool while the run works, or before it is resumed."""
    paid, work, store = list[str](), Work(), MemoryStore()
    flow = build_paying(paid)
    model = ScriptedModel(call("pay", {"amount": 3}), Verdict(verdict="done"))

    async def main() -> None:
        options: Any = {"durable": store, "resources": work, "client": model}
        task = asyncio.create_task(flow.run(Topic(), run_id="r", **options))
        [asked] = await wait_for_questions(store, 1)
        if not is_under_way:
            work.gate.set()
            assert (await task).status == "waiting"
        question = asked["id"]
        await flow.send_answer("r", question, decision, durable=store, wait=is_under_way)
        if is_under_way:
            with pytest.raises(QuestionClosed):
                await flow.send_answer("r", question, Approval(approved=False), durable=store)
        work.gate.set()
        result = await (task if is_under_way else flow.resume("r", **options))
        assert result.output.verdict == "done"
        assert paid == effects
        assert (await flow.replay("r", durable=store)).output == result.output

    asyncio.run(asyncio.wait_for(main(), 10))


# ---- other ways to run ---------------------------------------------------------------------------
@node(isolation="process")
def sleep_long(topic: Topic) -> Done:
    """Block a worker process."""
    time.sleep(60)
    return Done(done=[topic.topic])


def test_letters_reach_run_with_worker_process() -> None:
    """A node in another process holds up no letter, and is ended by a cancellation."""
    graph = Graph("worker", Case, input=Topic, output=Case)
    graph.chain([graph.ask("ask", question=lambda s: "?", answer=Verdict), sleep_long])
    flow, store = graph.build(), MemoryStore()

    async def main() -> None:
        task = asyncio.create_task(flow.run(Topic(), run_id="r", durable=store))
        await wait_for_questions(store, 1)
        await flow.send_answer("r", "ask", Verdict(verdict="yes"), durable=store)
        await flow.cancel("r", durable=store)
        with pytest.raises(RunFailed, match="cancelled"):
            await task
        records = (await store.load("r")).records
        assert [item.body["path"] for item in records if item.kind == "commit"] == ["ask"]

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 30


def test_crashed_run_is_answered_and_resumed() -> None:
    """An answer to a run whose process is gone resumes the run with it."""
    flow, work = build_flow(), Work()

    async def main() -> None:
        store = MemoryStore()
        await flow.run(Topic(), run_id="r", durable=store, resources=_open(Work()))
        crashed = await copy_until(store, "asked")
        result = await flow.answer(
            "r", "ask", Verdict(verdict="yes"), durable=crashed, resources=_open(work)
        )
        assert (result.status, result.output.verdict) == ("succeeded", "yes")
        assert sorted(work.ran) == ["act yes", "slow"]
        [letter] = await crashed.list_letters("r")
        assert letter.outcome is not None

    asyncio.run(asyncio.wait_for(main(), 10))


def test_letter_reaches_run_in_doubt() -> None:
    """A run that stays stopped for a node that may have acted takes its letters in all the same."""

    @node(effect="once")
    async def pay(ctx: Context[Work], topic: Topic) -> Done:
        ctx.resources.add("pay")
        return Done(done=["paid"])

    graph = Graph("paying", Case, input=Topic, output=Case)
    graph.chain([graph.ask("ask", question=lambda s: "?", answer=Verdict), pay])
    flow = graph.build()

    async def main() -> None:
        store = MemoryStore()
        await flow.run(Topic(), run_id="r", durable=store, resources=Work())
        crashed = await copy_until(store, "starting")
        answer = Verdict(verdict="yes")
        await flow.send_answer("r", "ask", answer, durable=crashed, wait=False)
        with pytest.raises(RunFailed, match="ambiguous"):
            await flow.resume("r", durable=crashed, resources=Work())
        assert [letter.outcome and letter.outcome.error for letter in await mail(crashed)] == [""]
        result = await flow.resume("r", ambiguous="repeat", durable=crashed, resources=Work())
        assert (result.status, result.output.verdict) == ("succeeded", "yes")

    asyncio.run(asyncio.wait_for(main(), 10))


async def mail(store: Store) -> tuple[Letter, ...]:
    return await store.list_letters("r")


async def copy_until(store: Store, kind: str) -> MemoryStore:
    """Return a store in which the process of run `r` died at the first record of a kind.

    The record is there, and so is the first question of the run.
    """
    log, crashed = await store.load("r"), MemoryStore()
    kinds = [record.kind for record in log.records]
    until = max(kinds.index(kind), kinds.index("asked")) + 1
    head = log.head
    await crashed.create(NewRun("r", head.flow, head.fingerprint, head.format))
    lease = await crashed.claim("r", "gone", ttl=60)
    await crashed.append(lease, log.records[:until], expected_last_seq=0)
    await crashed.release(lease)
    return crashed


def _open(work: Work) -> Work:
    work.gate.set()
    return work


def test_forks_and_reruns_know_no_letters(tmp_path: Path) -> None:
    """A fork or rerun of a run that was answered by a letter is one of its records."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        flow, other = owner.flow, owner.other
        await flow.send_answer("r", "ask", Verdict(verdict="yes"), durable=other)
        await owner.finish()
        forked = await flow.fork("r", start="act", durable=other)
        assert await other.list_letters(forked) == ()
        resumed = await flow.resume(forked, durable=other, resources=_open(Work()))
        assert resumed.output.verdict == "yes"
        rerun = await flow.rerun(
            "r", start="ask", output=Verdict(verdict="no"), durable=other, resources=_open(Work())
        )
        assert "act no" in rerun.result.output.done

    run_owned("sqlite", tmp_path, check)


# ---- journals ------------------------------------------------------------------------------------
def test_letters_of_keyed_run_need_the_key(tmp_path: Path) -> None:
    """Whoever can write the file, but has not the key, can neither send a letter nor forge one."""
    path, flow = tmp_path / "runs.sqlite", build_flow()

    async def main() -> None:
        store = await SqliteStore.open(path, key="secret")
        stranger = await SqliteStore.open(path, key="other")
        owner = Owner(flow, store, store)
        await owner.begin()
        with pytest.raises(WrongKey):
            await flow.send_answer("r", "ask", Verdict(verdict="x"), durable=stranger)
        with pytest.raises(WrongKey):
            await stranger.post(NewLetter("r", "x", "cancel", {}))
        with pytest.raises(WrongKey):
            await stranger.list_letters("r")
        # A row without the seal of the key, as of an unkeyed run.
        raw = sqlite3.connect(path, timeout=5)
        with raw:
            raw.execute(
                "INSERT INTO letters (run, letter_id, kind, body, sent_at, message, seal)"
                " VALUES (1, 'forged', 'cancel', x'7b7d', 1.0, '', zeroblob(32))"
            )
        raw.close()
        outcome = await owner.settled()
        assert outcome.error == "InputError"
        assert "does not have the key of the run" in outcome.message
        await flow.send_answer("r", "ask", Verdict(verdict="yes"), durable=store)
        assert (await owner.finish()).output.verdict == "yes"
        await stranger.close()
        await store.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_altered_letter_is_refused(tmp_path: Path) -> None:
    """A letter that was altered in the file has no effect, and says so."""

    async def check(owner: Owner) -> None:
        await owner.begin()
        await owner.finish()
        answer = Verdict(verdict="yes")
        await owner.flow.send_answer("r", "ask", answer, durable=owner.other, wait=False)
        raw = sqlite3.connect(tmp_path / "runs.sqlite", timeout=5)
        with raw:
            raw.execute("UPDATE letters SET body = CAST(replace(body, 'yes', 'no!') AS BLOB)")
        raw.close()
        result = await owner.flow.resume("r", durable=owner.other, resources=owner.work)
        assert result.status == "waiting"
        assert "it was altered" in (await owner.settled()).message

    run_owned("sqlite", tmp_path, check)


def test_masked_store_masks_letters(tmp_path: Path) -> None:
    """A secret in an answer reaches neither the file nor the run: both get what the mask leaves."""
    path, flow = tmp_path / "runs.sqlite", build_flow()

    def mask(body: Any) -> Any:
        if isinstance(body, str):
            return body.replace("sk-canary", "***")
        if isinstance(body, list):
            return [mask(item) for item in body]
        return {key: mask(item) for key, item in body.items()} if isinstance(body, dict) else body

    async def main() -> None:
        plain = await SqliteStore.open(path)
        store = MaskedStore(plain, mask)
        owner = Owner(flow, store, store)
        await owner.begin()
        await flow.send_answer("r", "ask", Verdict(verdict="sk-canary"), durable=store)
        assert (await owner.finish()).output.verdict == "***"
        await plain.close()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert b"sk-canary" not in path.read_bytes()


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("format_*")), ids=lambda path: path.name)
def test_older_journals_take_letters(folder: Path, tmp_path: Path) -> None:
    """A run that an earlier version left waiting takes a letter, and ends as it would have."""
    path = Path(shutil.copyfile(folder / "waiting.golden", tmp_path / "runs.sqlite"))
    flow = golden.FLOWS["waiting"]()

    async def main() -> Any:
        store = await SqliteStore.open(path)
        answer = golden.Verdict(approved=True, remarks={"clear": 3, "short": 1})
        await flow.send_answer("waiting", "ask", answer, durable=store, wait=False)
        state = await golden.to_the_end(flow, "waiting", durable=store)
        [letter] = await store.list_letters("waiting")
        await store.close()
        return state, letter

    async def directly() -> Any:
        again = Path(shutil.copyfile(folder / "waiting.golden", tmp_path / "again.sqlite"))
        return await golden.to_the_end(flow, "waiting", durable=again)

    state, letter = asyncio.run(main())
    assert letter.outcome is not None
    assert letter.outcome.error == ""
    assert state == asyncio.run(directly())


def test_letters_find_their_run_among_many() -> None:
    """Of a hundred runs on one loop, each takes in its own letter."""
    flow, store = build_flow(), MemoryStore()
    works = [Work() for _ in range(100)]

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    flow.run(Topic(), run_id=f"r{number}", durable=store, resources=work)
                )
                for number, work in enumerate(works)
            ]
            for work in works:
                await work.has_run("slow")
            for number in range(100):
                answer = Verdict(verdict=f"{number}")
                group.create_task(flow.send_answer(f"r{number}", "ask", answer, durable=store))
            for number, work in enumerate(works):
                await work.has_run(f"act {number}")
                work.gate.set()
        assert [task.result().output.verdict for task in tasks] == [str(n) for n in range(100)]

    asyncio.run(asyncio.wait_for(main(), 30))
