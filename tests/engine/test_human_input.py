"""Questions and gates: answered once, refused when too late; no node runs again for an answer."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import (
    Ambiguous,
    Approval,
    Ask,
    Expired,
    Failure,
    Flow,
    Graph,
    InputError,
    Limits,
    NodeError,
    Rejected,
    Result,
    RunFailed,
    append,
    node,
)
from graphorch.journal.memory import MemoryStore
from graphorch.runs.stores import Durable
from graphorch.testing.virtual_clock import run_virtual


class Number(BaseModel):
    n: int = 0


class Choice(BaseModel):
    approved: bool = False


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class State(Number, Choice, Log): ...


ran: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    ran.clear()


@node
async def up(number: Number) -> Number:
    ran.append("up")
    return Number(n=number.n + 1)


@node
async def note(number: Number, choice: Choice) -> Log:
    ran.append("note")
    return Log(log=[f"{number.n} {choice.approved}"])


@node
async def other(number: Number) -> Log:
    ran.append("other")
    await asyncio.sleep(1)
    return Log(log=["other"])


Asking = Ask[State, Choice]


def asking_flow(**options: Any) -> tuple[Flow[State, State, State], Asking]:
    graph = Graph("g", State)
    approve: Asking = graph.ask(
        "approve", question=lambda s: f"Publish {s.n}?", answer=Choice, **options
    )
    graph.chain(up, [approve, other], note)
    return graph.build(), approve


def test_answer_completes_run() -> None:
    """Answering completes the run, and no node runs twice."""
    flow, approve = asking_flow()

    async def main() -> Result[State, State]:
        waiting = await flow.run(State())
        assert waiting.status == "waiting"
        assert [question.text for question in waiting.questions] == ["Publish 1?"]
        return await flow.answer(waiting.run_id, approve, Choice(approved=True))

    result = run_virtual(main())
    assert result.state.log == ["other", "1 True"]
    assert ran == ["up", "other", "note"]


@pytest.mark.parametrize("by", ["node", "id", "question"])
def test_question_is_named_in_three_ways(by: str) -> None:
    """Questions are named by their node, by their id or by themselves."""
    flow, approve = asking_flow()

    async def main() -> bool:
        waiting = await flow.run(State())
        (question,) = waiting.questions
        ways: dict[str, Any] = {"node": approve, "id": question.id, "question": question}
        return (await flow.answer(waiting.run_id, ways[by], Choice(approved=True))).output.approved

    assert run_virtual(main())


def test_wrong_answer_is_refused() -> None:
    """Wrong answers are refused, and the question stays open."""
    flow, approve = asking_flow()

    async def main() -> Result[State, State]:
        waiting = await flow.run(State())
        wrong: Any = Number(n=1)
        with pytest.raises(
            InputError, match=r"'approve' asks for a Choice, got Number\. Answer with Choice"
        ):
            await flow.answer(waiting.run_id, approve, wrong)
        return await flow.answer(waiting.run_id, approve, Choice())

    assert run_virtual(main()).status == "succeeded"


def test_second_answer_is_refused() -> None:
    flow, approve = asking_flow()

    async def main() -> None:
        result = await flow.run(State())
        done = await flow.answer(result.run_id, approve, Choice())
        with pytest.raises(InputError, match="has no open run"):
            await flow.answer(done.run_id, approve, Choice(approved=True))

    run_virtual(main())


def test_answer_to_unknown_run_is_refused() -> None:
    flow, approve = asking_flow()
    with pytest.raises(InputError, match="has no open run 'nothing'"):
        run_virtual(flow.answer("nothing", approve, Choice()))


def test_questions_of_one_node_have_ids() -> None:
    """Several questions of one node differ by their ids."""

    class Item(BaseModel):
        text: str

    class Reply(BaseModel):
        reply: str = ""

    class Both(Item, Reply): ...

    class Items(BaseModel):
        items: list[Item] = []

    class All(Items, Log): ...

    inner = Graph("inner", Both, input=Item, output=Reply)
    ask: Ask[Both, Reply] = inner.ask(
        "ask", question=lambda s: f"What about {s.text}?", answer=Reply
    )
    inner.chain(ask)

    def gather(replies: list[Reply]) -> Log:
        return Log(log=[item.reply for item in replies])

    graph = Graph("g", All)
    graph.chain(graph.map("m", inner.build(), over=lambda s: s.items, gather=gather, max_items=3))
    flow = graph.build()

    async def main() -> Result[All, All]:
        result = await flow.run(All(items=[Item(text="a"), Item(text="b")]))
        assert [question.path for question in result.questions] == ["m[0]/ask", "m[1]/ask"]
        with pytest.raises(InputError, match="2 questions of 'ask' are open"):
            await flow.answer(result.run_id, ask, Reply(reply="?"))
        first, second = result.questions
        result = await flow.answer(result.run_id, second, Reply(reply="about b"))
        assert result.status == "waiting"
        return await flow.answer(result.run_id, first, Reply(reply="about a"))

    assert run_virtual(main()).state.log == ["about a", "about b"]


def test_question_in_loop_repeats() -> None:
    """Questions in a loop are asked in every round."""
    graph = Graph("g", State)
    approve: Asking = graph.ask("approve", question=lambda s: f"Round {s.n}?", answer=Choice)
    graph.chain(up, approve, note)
    graph.loop(approve, back_to=up, while_=lambda s: not s.approved, max_iterations=5)
    flow = graph.build()

    async def main() -> tuple[list[str], Result[State, State]]:
        result = await flow.run(State())
        texts: list[str] = []
        while result.status == "waiting":
            texts.append(result.questions[0].text)
            result = await flow.answer(result.run_id, approve, Choice(approved=len(texts) == 3))
        return texts, result

    texts, result = run_virtual(main())
    assert texts == ["Round 1?", "Round 2?", "Round 3?"]
    assert result.state.log == ["3 True"]


# ---- gates ---------------------------------------------------------------------------------------
def gated(gate: Any) -> Flow[State, State, State]:
    @node(gate=gate, name="act")
    async def act(number: Number) -> Log:
        ran.append("act")
        return Log(log=[f"acted on {number.n}"])

    return Graph("g", State).chain(up, act, note).build()


@pytest.mark.parametrize(("gate", "before"), [("before", ["up"]), ("after", ["up", "act"])])
def test_gate_waits_before_or_after_node(gate: Any, before: list[str]) -> None:
    flow = gated(gate)

    async def main() -> Result[State, State]:
        result = await flow.run(State())
        assert (result.status, ran) == ("waiting", before)
        (question,) = result.questions
        assert question.answer_type is Approval
        assert ('"n":1' if gate == "before" else "acted on 1") in question.text
        return await flow.answer(result.run_id, question, Approval(approved=True))

    assert run_virtual(main()).state.log == ["acted on 1", "1 False"]
    assert ran == ["up", "act", "note"]


@pytest.mark.parametrize("gate", ["before", "after"])
def test_gate_rejection_fails_node(gate: Any) -> None:
    """A rejection at a gate fails the node with `Rejected`."""
    flow = gated(gate)

    async def main() -> None:
        result = await flow.run(State())
        await flow.answer(
            result.run_id, result.questions[0], Approval(approved=False, reason="not today")
        )

    with pytest.raises(RunFailed) as caught:
        run_virtual(main())
    (error,) = caught.value.exceptions
    assert isinstance(error, NodeError)
    assert isinstance(error.__cause__, Rejected)
    assert str(error.__cause__) == "not today"


def test_rejection_starts_grace() -> None:
    """After a rejection, other nodes may go on for the grace time only."""

    @node(gate="before")
    async def held(number: Number) -> Log:
        return Log(log=["held"])

    @node
    async def slow(number: Number) -> Log:
        await asyncio.sleep(1_000)
        return Log(log=["slow"])

    flow = Graph("g", State).chain(up, [held, slow]).build()

    async def main() -> None:
        limits = Limits(grace=5)
        run = asyncio.create_task(flow.run(State(), run_id="r", limits=limits))
        await asyncio.sleep(1)
        with pytest.raises(RunFailed):
            await flow.answer("r", "held", Approval(approved=False))
        assert asyncio.get_running_loop().time() < 10
        with pytest.raises(RunFailed):
            await run

    run_virtual(main())


def test_error_edge_takes_rejection() -> None:
    @node(gate="before")
    async def act(number: Number) -> Log:
        return Log(log=["acted"])

    @node
    async def give_up(failure: Failure, number: Number) -> Log:
        return Log(log=[f"{failure.error}: {failure.message}"])

    graph = Graph("g", State)
    graph.chain(up, act)
    graph.on_error(act, give_up, when=Rejected)
    flow = graph.build()

    async def main() -> Result[State, State]:
        result = await flow.run(State())
        return await flow.answer(
            result.run_id, result.questions[0], Approval(approved=False, reason="no")
        )

    assert run_virtual(main()).state.log == ["Rejected: no"]


# ---- time ----------------------------------------------------------------------------------------
def test_late_answer_takes_error_edge() -> None:
    """Whatever the answer, an expired question fails."""
    graph = Graph("g", State)
    approve: Asking = graph.ask("approve", question=lambda s: "Now?", answer=Choice, expires=60)

    @node
    async def late(failure: Failure, number: Number) -> Log:
        return Log(log=[failure.error])

    graph.chain(up, approve, note)
    graph.on_error(approve, late, when=Expired)
    flow = graph.build()
    now = [1_000.0]

    async def main(*, answer: bool, durable: Durable) -> Result[State, State]:
        result = await flow.run(State(), clock=lambda: now[0], durable=durable)
        run_id = result.run_id
        assert result.questions[0].expires == 1_060.0
        now[0] += 61
        if not answer:
            return await flow.resume(run_id, clock=lambda: now[0], durable=durable)
        yes = Choice(approved=True)
        return await flow.answer(run_id, approve, yes, clock=lambda: now[0], durable=durable)

    # in memory, and as another process finds the run in a journal
    for answer in (True, False):
        for durable in (False, MemoryStore(clock=lambda: now[0])):
            now[0] = 1_000.0
            assert run_virtual(main(answer=answer, durable=durable)).state.log == ["Expired"]


# ---- going on ------------------------------------------------------------------------------------
def test_failed_run_resumes_where_it_stopped() -> None:
    broken = [True]

    @node
    async def flaky(number: Number) -> Log:
        ran.append("flaky")
        if broken[0]:
            raise ValueError("not yet")
        return Log(log=["flaky"])

    flow = Graph("g", State).chain(up, [flaky, other], note).build()

    async def main() -> Result[State, State]:
        with pytest.raises(RunFailed) as caught:
            await flow.run(State())
        broken[0] = False
        return await flow.resume(caught.value.run_id)

    result = run_virtual(main())
    assert result.state.log == ["flaky", "other", "1 False"]
    assert sorted(ran) == ["flaky", "flaky", "note", "other", "up"]


def test_answer_to_failed_run_waits() -> None:
    """Answers to a failed run are committed at once, and no node runs before it is resumed."""
    broken = [True]

    @node
    async def flaky(number: Number) -> Log:
        if broken[0]:
            raise ValueError("not yet")
        return Log(log=["flaky"])

    graph = Graph("g", State)
    approve: Asking = graph.ask("approve", question=lambda s: "?", answer=Choice)
    graph.chain(up, [approve, flaky], note)
    flow = graph.build()

    async def main() -> Result[State, State]:
        with pytest.raises(RunFailed) as caught:
            await flow.run(State())
        with pytest.raises(RunFailed):
            await flow.answer(caught.value.run_id, approve, Choice(approved=True))
        broken[0] = False
        return await flow.resume(caught.value.run_id)

    assert run_virtual(main()).state.log == ["flaky", "1 True"]


def test_limited_run_resumes_with_larger_limit() -> None:
    from graphorch import Limits

    graph = Graph("g", State)
    graph.chain(up).loop(up, back_to=up, while_=lambda s: s.n < 8, max_iterations=20)
    flow = graph.build()

    async def main() -> Result[State, State]:
        with pytest.raises(RunFailed) as caught:
            await flow.run(State(), limits=Limits(activations=5))
        assert ran == ["up"] * 5
        return await flow.resume(caught.value.run_id, limits=Limits(activations=10))

    assert run_virtual(main()).output.n == 8
    assert ran == ["up"] * 8


# ---- effects that must not happen twice ----------------------------------------------------------
def once_flow(sent: list[str]) -> Flow[State, State, State]:
    @node(effect="once", name="send")
    async def send(number: Number) -> Log:
        sent.append("sent")
        if len(sent) == 1:
            await asyncio.sleep(3_600)
        return Log(log=["sent"])

    @node
    async def instead(failure: Failure, number: Number) -> Log:
        return Log(log=[failure.error])

    graph = Graph("g", State).chain(up, send)
    graph.on_error(send, instead, when=Ambiguous)
    return graph.build()


async def interrupted(flow: Flow[State, State, State], **options: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await flow.run(State(), run_id="r", **options)


@pytest.mark.parametrize("durable", [False, True])
def test_effect_in_doubt_is_not_repeated(durable: bool) -> None:
    """Stop a run whose effect may have happened already."""
    sent: list[str] = []
    flow = once_flow(sent)
    options: dict[str, Any] = {"durable": MemoryStore()} if durable else {}

    async def main() -> Result[State, State]:
        await interrupted(flow, **options)
        with pytest.raises(RunFailed) as caught:
            await flow.resume("r", **options)
        assert caught.value.end_reason == "ambiguous"
        (error,) = caught.value.exceptions
        assert isinstance(error, Ambiguous)
        assert "Node 'send' must not act twice" in str(error)
        assert len(sent) == 1
        return await flow.resume("r", ambiguous="repeat", **options)

    assert run_virtual(main()).state.log == ["sent"]
    assert len(sent) == 2


def test_effect_in_doubt_may_fail() -> None:
    sent: list[str] = []
    flow = once_flow(sent)

    async def main() -> Result[State, State]:
        await interrupted(flow)
        return await flow.resume("r", ambiguous="fail")

    assert run_virtual(main()).state.log == ["Ambiguous"]
    assert len(sent) == 1
