"""Models for tests: scripts are followed exactly, and failures come by number or seed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import (
    Context,
    Graph,
    Message,
    ModelError,
    NodeError,
    Request,
    Response,
    Retry,
    RunFailed,
    Usage,
    agent,
    node,
)
from graphorch.testing import FlakyModel, ScriptedModel, ScriptMismatch, run_virtual, when


class Topic(BaseModel):
    topic: str = "tides"


class Draft(BaseModel):
    draft: str = ""


class Verdict(BaseModel):
    score: float = 0
    remark: str = ""


class State(Topic, Draft, Verdict): ...


@agent(output=Draft)
def write(topic: Topic) -> str:
    return f"Write about {topic.topic}"


@agent(output=Verdict)
def judge(draft: Draft) -> str:
    return f"Judge: {draft.draft}"


def flow() -> Any:
    return Graph("essay", State).chain(write, judge).build()


def request_of(text: str, **fields: Any) -> Request:
    return Request("m", (Message(content=text),), **fields)


def complete(model: Any, text: str, **fields: Any) -> str:
    return run_virtual(model.complete(request_of(text, **fields))).text


def test_script_answers_in_order() -> None:
    """Answers are given in order, as text or as instances."""
    with ScriptedModel("A draft.", Verdict(score=7, remark="fine")) as model:
        result = flow().run_sync(State(), client=model)
    assert (result.state.draft, result.state.score, result.state.remark) == ("A draft.", 7, "fine")
    assert [request.metadata["path"] for request in model.requests] == ["write", "judge"]


def test_text_output_gets_bare_text() -> None:
    """A model of one text is answered with the bare text."""
    with ScriptedModel(Draft(draft="bare"), Verdict()) as model:
        assert flow().run_sync(State(), client=model).state.draft == "bare"


@pytest.mark.parametrize(
    "by",
    [
        when("Judge", Verdict(score=3)),
        when(re.compile("^Judge: .*$"), Verdict(score=3)),
        when("", Verdict(score=3), node="judge"),
    ],
)
def test_when_matches_text_or_node(by: Any) -> None:
    """Answers are found by the text of a request or by the node."""
    with ScriptedModel(by, when("Write", "A draft.")) as model:
        assert flow().run_sync(State(), client=model).state.score == 3


def test_repeated_answer_is_optional() -> None:
    """A repeated answer is given for ever, and need not be used."""
    with ScriptedModel(
        when("x", "first", "rest", repeats=True), when("never", "no", repeats=True)
    ) as model:
        assert [complete(model, "x") for _ in range(4)] == ["first", "rest", "rest", "rest"]


def test_answers_may_be_functions() -> None:
    """A function of the request and a whole response are answers."""
    response = Response("whole", "other", Usage(1, 2), 0.5, "reported", "stop", 1, 0.1, None)
    with ScriptedModel(lambda request: f"{request.model}!", response) as model:
        assert complete(model, "x") == "m!"
        assert complete(model, "x") == "whole"


def test_scripted_exception_is_raised() -> None:
    model = ScriptedModel(ModelError("down", model="m", retryable=True))
    with pytest.raises(ModelError, match="down"):
        complete(model, "x")
    model.check()


def test_scripted_text_is_streamed() -> None:
    pieces: list[str] = []
    run_virtual(ScriptedModel("all of it").complete(request_of("x"), pieces.append))
    assert pieces == ["all of it"]


def test_unexpected_call_fails_node() -> None:
    """An unexpected call fails the node and names it."""
    with pytest.raises(RunFailed) as caught:
        flow().run_sync(State(), client=ScriptedModel(when("Judge", Verdict())))
    (error,) = caught.value.exceptions
    assert isinstance(error, NodeError)
    assert isinstance(error.__cause__, ScriptMismatch)
    unexpected = "Call 1, of 'write', is not in the script: 'Write about tides'."
    assert f"{unexpected} It knows 'Judge'; add one for this call." in str(error)


def test_survived_call_fails_check() -> None:
    """An unexpected call that the flow survives fails the check."""

    @node
    async def careless(ctx: Context, topic: Topic) -> Draft:
        try:
            return Draft(draft=await ctx.complete("hello", model="m"))
        except AssertionError:
            return Draft(draft="never mind")

    with pytest.raises(ScriptMismatch, match="of 'careless', is not in the script: 'hello'"):
        with ScriptedModel() as model:
            Graph("g", State).chain(careless).build().run_sync(State(), client=model)


def test_unused_answer_fails_check() -> None:
    """An answer that was not used fails the check."""
    with pytest.raises(
        ScriptMismatch,
        match=r"asked 1 times, and the script still holds answers: 1 for 'y', 2 in order",
    ):
        with ScriptedModel("a", "b", "c", when("y", "no")) as model:
            complete(model, "x")


def test_check_keeps_error_of_block() -> None:
    """The check does not hide the error of the block."""
    with pytest.raises(KeyError):
        with ScriptedModel("unused"):
            raise KeyError("mine")


def test_flaky_model_fails_named_calls() -> None:
    """Named calls fail, and a retry calls again."""

    @node(retry=Retry(3))
    async def ask(ctx: Context, topic: Topic) -> Draft:
        return Draft(draft=await ctx.complete("hello", model="m"))

    model = FlakyModel(ScriptedModel(when("hello", "fine", repeats=True)), nth=(1, 2))
    result = run_virtual(Graph("g", State).chain(ask).build().run(State(), client=model))
    assert (result.state.draft, model.calls, model.failed) == ("fine", 3, 2)


def failures(seed: int, questions: list[str]) -> set[str]:
    model = FlakyModel(ScriptedModel(when("", "fine", repeats=True)), chance=0.3, seed=seed)
    failed: set[str] = set()
    for question in questions:
        try:
            complete(model, question)
        except ModelError:
            failed.add(question)
    return failed


def test_flaky_model_follows_seed() -> None:
    """The seed decides which calls fail, and not their order."""
    questions = [f"question {number}" for number in range(40)]
    assert failures(1, questions) == failures(1, questions[::-1])
    assert failures(1, questions) != failures(2, questions)
    assert 4 <= len(failures(1, questions)) <= 20
