"""`run(…, after=run_id)`: the next turn begins with the remembered slices, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import Ask, Flow, Graph, InputError, Result, append, node
from graphorch.journal.memory import MemoryStore


class Question(BaseModel):
    question: str


class Answer(BaseModel):
    answer: str = ""


class Talk(BaseModel):
    talk: Annotated[list[str], append] = []


class Count(BaseModel):
    count: int = 0


class Scratch(BaseModel):
    scratch: str = "nothing"


class State(Question, Answer, Talk, Count, Scratch): ...


@node
def reply(question: Question, talk: Talk, count: Count, scratch: Scratch) -> tuple[Answer, Talk]:
    return Answer(answer=f"{question.question} after {len(talk.talk)}, {scratch.scratch}"), Talk(
        talk=[question.question]
    )


@node
def advance(count: Count) -> tuple[Count, Scratch]:
    return Count(count=count.count + 1), Scratch(scratch="used")


Chat = Flow[State, State, State]


def chat(*remember: Any, ask: bool = False) -> Chat:
    graph = Graph("chat", State, remember=remember).chain(reply, advance)
    if ask:
        wait: Ask[State, Scratch] = graph.ask("wait", question=lambda s: "go on?", answer=Scratch)
        graph.chain(advance, wait)
    return graph.build()


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


def test_turn_takes_over_remembered_slices() -> None:
    """The other slices begin with their defaults."""
    flow = chat(Talk, Count)

    async def main() -> list[Result[State, State]]:
        store = MemoryStore()
        turns = [await flow.run(State(question="a"), durable=store)]
        for question in ("b", "c"):
            turns.append(
                await flow.run(State(question=question), durable=store, after=turns[-1].run_id)
            )
        return turns

    turns = run(main())
    assert [turn.state.talk for turn in turns] == [["a"], ["a", "b"], ["a", "b", "c"]]
    assert [turn.state.count for turn in turns] == [1, 2, 3]
    assert [turn.state.answer for turn in turns] == [
        "a after 0, nothing",
        "b after 1, nothing",
        "c after 2, nothing",
    ]


def test_given_input_wins_over_remembered() -> None:
    """A field with a reducer folds its given value in."""
    flow = chat(Talk, Count)

    async def main() -> State:
        store = MemoryStore()
        first = await flow.run(State(question="a"), durable=store)
        return (
            await flow.run(
                State(question="b", count=40, talk=["a note"]), durable=store, after=first.run_id
            )
        ).state

    state = run(main())
    assert (state.count, state.talk) == (41, ["a", "a note", "b"])


def test_turn_replays_without_earlier_run() -> None:
    """A turn is replayed from its own records."""
    flow = chat(Talk)

    async def main() -> tuple[State, State, Any]:
        store = MemoryStore()
        await flow.run(State(question="a"), durable=store, run_id="first")
        second = await flow.run(State(question="b"), durable=store, run_id="second", after="first")
        await store.erase("first")
        records = (await store.load("second")).records
        return (
            second.state,
            (await flow.replay("second", durable=store)).state,
            records[0].body["after"],
        )

    was, again, after = run(main())
    assert was == again
    assert after == "first"


def test_turn_needs_finished_run() -> None:
    """A run that waits cannot be followed yet."""
    flow = chat(Talk, ask=True)

    async def main() -> None:
        store = MemoryStore()
        await flow.run(State(question="a"), durable=store, run_id="first")
        with pytest.raises(
            InputError,
            match="after='first': that run is waiting, "
            "but a next turn follows a run that reached its end",
        ):
            await flow.run(State(question="b"), durable=store, after="first", run_id="second")
        assert [head.run_id for head in (await store.list_runs()).runs] == ["first"]

    run(main())


def test_wrong_turn_stores_nothing() -> None:
    """A turn that cannot follow is refused first."""
    flow = chat(Talk)

    async def main() -> None:
        store = MemoryStore()
        await flow.run(State(question="a"), durable=store, run_id="first")
        with pytest.raises(InputError, match="needs the journal"):
            await flow.run(State(question="b"), after="first")
        with pytest.raises(
            InputError,
            match=r"remembers nothing\. "
            r"Declare what its next turn needs: Graph\(…, remember=\[Slice\]\)",
        ):
            await chat().run(State(question="b"), durable=store, after="first")
        with pytest.raises(InputError, match="begins a new run, but run first exists already"):
            await flow.resume("first", durable=store, after="first")
        wrong: Any = 3
        with pytest.raises(InputError, match="after has to be of type str, got 3"):
            await flow.run(State(question="b"), durable=store, after=wrong)
        with pytest.raises(Exception, match="There is no run 'zero'"):
            await flow.run(State(question="b"), durable=store, after="zero")
        assert [head.run_id for head in (await store.list_runs()).runs] == ["first"]

    run(main())


def test_remember_is_not_in_fingerprint() -> None:
    """A graph may remember other slices and resume its stored runs."""

    async def main() -> State:
        store = MemoryStore()
        first = await chat(Talk).run(State(question="a"), durable=store)
        return (await chat(Count).run(State(question="b"), durable=store, after=first.run_id)).state

    state = run(main())
    assert (state.count, state.talk) == (2, ["b"])
