"""Models for tests: scripts are followed exactly, and failures come by number or seed."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from pydantic import BaseModel

from graphorch import (
    Context,
    Graph,
    InputError,
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
from graphorch.models.messages import ToolCall, ToolSpec
from graphorch.testing import (
    FlakyModel,
    ScriptedModel,
    ScriptMismatch,
    call,
    run_virtual,
    tool_results,
    when,
)


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


# ---- rounds of tools
def look_up(word: str) -> str:
    """Return what a word means."""
    return f"{word} is water"


def send_mail(to: str) -> str:
    """Send a mail."""
    return f"sent to {to}"


@agent(output=Draft, tools=[look_up, send_mail])
def research(topic: Topic) -> str:
    return f"Find out about {topic.topic}"


def researching() -> Any:
    return Graph("research", State).chain(research).build()


def test_script_asks_for_tools() -> None:
    """A step may ask for one tool or several at once, and a later one sees what they returned."""
    seen: list[tuple[str, ...]] = []

    def write_down(request: Request) -> Any:
        seen.append(tool_results(request))
        return call("send_mail", {"to": "Ada"})

    with ScriptedModel(
        call("look_up", {"word": "tide"}),
        [call("look_up", {"word": "ebb"}), call("send_mail", {"to": "Bo"})],
        write_down,
        lambda request: f"Done: {'; '.join(tool_results(request))}",
    ) as model:
        result = researching().run_sync(State(), client=model)
    assert result.state.draft == "Done: sent to Ada"
    assert seen == [("ebb is water", "sent to Bo")]
    calls = [item for message in model.requests[-1].messages for item in message.tool_calls]
    assert [item.id for item in calls] == ["call_1_0", "call_2_0", "call_2_1", "call_3_0"]
    assert [item.arguments for item in calls[:2]] == ['{"word": "tide"}', '{"word": "ebb"}']


def test_when_answers_with_tools() -> None:
    """Rounds of tools may be answers of `when`, which also matches what tools returned."""
    with ScriptedModel(
        when("tide is water", "It is water."), when("Find out", call("look_up", {"word": "tide"}))
    ) as model:
        assert researching().run_sync(State(), client=model).state.draft == "It is water."


def test_call_is_sent_as_given() -> None:
    """An id of the script's own, arguments that are no JSON, and calls without arguments."""
    model = ScriptedModel([call("a", "{no", id="x"), call("a"), call("a", {"k": [1, None]})])
    spec = ToolSpec(name="a", description="", parameters={})
    response = run_virtual(model.complete(request_of("x", tools=(spec,))))
    assert [(item.id, item.arguments) for item in response.tool_calls] == [
        ("x", "{no"),
        ("call_1_1", "{}"),
        ("call_1_2", '{"k": [1, null]}'),
    ]
    assert (response.text, response.finish_reason) == ("", "tool_calls")
    assert response.usage.output_tokens > 0


@pytest.mark.parametrize(
    "step, message",
    [
        (
            call("lok_up", {"word": "x"}),
            "Call 1, of 'research', is answered by step 1 of the script with a call of the tool "
            "'lok_up', which is not offered. Did you mean 'look_up'? Known: look_up, send_mail.",
        ),
        (
            when("Find", [call("look_up", {"word": "x"}), call("fly")]),
            "is answered by an answer for 'Find' with a call of the tool 'fly', which is not",
        ),
        (
            lambda request: 7,
            "The function in step 1 of the script returned 7. It is a text, an instance",
        ),
        (lambda request: [], "The function in step 1 of the script returned an empty list"),
    ],
)
def test_wrong_step_is_named(step: Any, message: str) -> None:
    """A step that cannot be meant fails the node and the check, and names itself."""
    model = ScriptedModel(step)
    with pytest.raises(RunFailed) as caught:
        researching().run_sync(State(), client=model)
    assert message in str(caught.value.exceptions[0])
    with pytest.raises(ScriptMismatch, match=re.escape(message)):
        model.check()


def test_call_without_tools_is_named() -> None:
    """A script that asks for a tool where none is offered says so."""
    with pytest.raises(ScriptMismatch, match=r"of 'nowhere', .*'look_up', .* There are none\."):
        complete(ScriptedModel(call("look_up")), "x")


def test_whole_response_may_ask_for_unknown_tool() -> None:
    """A whole response is not checked, so that a script can play a model that errs."""
    wrong = (ToolCall(id="1", name="fly", arguments="{}"),)
    response = Response(
        "", "m", Usage(1, 2), 0.0, "free", "tool_calls", 1, 0.1, None, tool_calls=wrong
    )
    with ScriptedModel(response, lambda request: tool_results(request)[0]) as model:
        draft = researching().run_sync(State(), client=model).state.draft
    assert draft.startswith("Error: there is no tool 'fly'.")


@pytest.mark.parametrize(
    "script, message",
    [
        (["fine", 7], "Step 2 of the script is 7. Give a text, an instance of the output, call"),
        ([None], "Step 1 of the script is None."),
        ([{"draft": "x"}], "Step 1 of the script is {'draft': 'x'}."),
        ([Draft], "is the class Draft, and not an instance of it"),
        ([ModelError], "is the class ModelError, and not an instance"),
        ([[]], "is an empty list: a round of tools has at least one call"),
        ([["look_up"]], "is a list that holds 'look_up', which is no call"),
        ([when("x", *cast("Any", ["fine", 7]))], "Answer 2 for 'x' is 7."),
    ],
)
def test_wrong_script_is_refused(script: list[Any], message: str) -> None:
    """A script that holds anything else is refused when it is written, by step."""
    with pytest.raises(InputError, match=re.escape(message)):
        ScriptedModel(*script)


@pytest.mark.parametrize("arguments", [{"a": {1, 2}}, {"a": object()}, 7, [1]])
def test_call_needs_json(arguments: Any) -> None:
    with pytest.raises(InputError, match=r"call\('look_up'\): its arguments are no JSON object"):
        call("look_up", arguments)


def test_tool_results_are_of_last_round() -> None:
    """Only what came back last counts; a request without results has none."""
    assert tool_results(request_of("x")) == ()
