"""Models for tests: a script is played exactly, in order or by what is asked, and failures come by number or by seed."""

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


def told(model: Any, text: str, **fields: Any) -> str:
    return run_virtual(model.complete(request_of(text, **fields))).text


def test_answers_are_given_in_order_as_text_or_as_instances() -> None:
    with ScriptedModel("A draft.", Verdict(score=7, remark="fine")) as model:
        result = flow().run_sync(State(), client=model)
    assert (result.state.draft, result.state.score, result.state.remark) == ("A draft.", 7, "fine")
    assert [request.metadata["path"] for request in model.requests] == ["write", "judge"]


def test_a_model_of_one_text_is_answered_with_the_bare_text() -> None:
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
def test_answers_are_found_by_what_is_asked_or_by_who_asks(by: Any) -> None:
    with ScriptedModel(by, when("Write", "A draft.")) as model:
        assert flow().run_sync(State(), client=model).state.score == 3


def test_a_repeated_answer_is_given_for_ever_and_need_not_be_asked_for() -> None:
    with ScriptedModel(
        when("x", "first", "rest", repeats=True), when("never", "no", repeats=True)
    ) as model:
        assert [told(model, "x") for _ in range(4)] == ["first", "rest", "rest", "rest"]


def test_a_function_of_the_request_and_a_whole_response_are_answers() -> None:
    response = Response("whole", "other", Usage(1, 2), 0.5, "reported", "stop", 1, 0.1, None)
    with ScriptedModel(lambda request: f"{request.model}!", response) as model:
        assert told(model, "x") == "m!"
        assert told(model, "x") == "whole"


def test_an_exception_is_raised() -> None:
    model = ScriptedModel(ModelError("down", model="m", retryable=True))
    with pytest.raises(ModelError, match="down"):
        told(model, "x")
    model.check()


def test_the_text_is_streamed() -> None:
    pieces: list[str] = []
    run_virtual(ScriptedModel("all of it").complete(request_of("x"), pieces.append))
    assert pieces == ["all of it"]


def test_an_unexpected_call_fails_the_node_and_names_it() -> None:
    with pytest.raises(RunFailed) as caught:
        flow().run_sync(State(), client=ScriptedModel(when("Judge", Verdict())))
    (error,) = caught.value.exceptions
    assert isinstance(error, NodeError)
    assert isinstance(error.__cause__, ScriptMismatch)
    assert (
        "Call 1, of 'write', is not in the script: 'Write about tides'. It knows 'Judge'; add one for this call."
        in str(error)
    )


def test_an_unexpected_call_that_the_flow_survives_fails_the_check() -> None:
    @node
    async def careless(ctx: Context, topic: Topic) -> Draft:
        try:
            return Draft(draft=await ctx.complete("hello", model="m"))
        except AssertionError:
            return Draft(draft="never mind")

    with pytest.raises(ScriptMismatch, match="of 'careless', is not in the script: 'hello'"):
        with ScriptedModel() as model:
            Graph("g", State).chain(careless).build().run_sync(State(), client=model)


def test_an_answer_that_nobody_asked_for_fails_the_check() -> None:
    with pytest.raises(
        ScriptMismatch,
        match=r"asked 1 times, and the script still holds answers: 1 for 'y', 2 in order",
    ):
        with ScriptedModel("a", "b", "c", when("y", "no")) as model:
            told(model, "x")


def test_the_check_does_not_hide_the_error_of_the_block() -> None:
    with pytest.raises(KeyError):
        with ScriptedModel("unused"):
            raise KeyError("mine")


def test_named_calls_fail_and_a_retry_asks_again() -> None:
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
            told(model, question)
        except ModelError:
            failed.add(question)
    return failed


def test_which_calls_fail_depends_on_the_seed_and_not_on_their_order() -> None:
    questions = [f"question {number}" for number in range(40)]
    assert failures(1, questions) == failures(1, questions[::-1])
    assert failures(1, questions) != failures(2, questions)
    assert 4 <= len(failures(1, questions)) <= 20
