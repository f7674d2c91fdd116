"""Answers are kept for the attempts that a resume starts, and served for equal requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Context, Graph, Result, RunFailed, node
from graphorch.engine.calls.kept_answers import AttemptCalls, KeptAnswer, compute_key
from graphorch.journal.memory import MemoryStore
from graphorch.models.messages import Message, Request, Response, ToolCall, ToolSpec, Usage
from graphorch.testing import run_virtual
from tests.models.fakes import Answer, FakeModel, request_to, status


class Text(BaseModel):
    text: str = ""


def build(prompts: list[str], *, fails: int = 1, at_once: bool = False) -> Any:
    """Return a flow whose node makes these requests, and fails so many times after them."""
    left = [fails]

    @node
    async def ask(ctx: Context, text: Text) -> Text:
        if at_once:
            answers = await asyncio.gather(*[ctx.complete(item, model="m") for item in prompts])
        else:
            answers = [await ctx.complete(item, model="m") for item in prompts]
        if left[0]:
            left[0] -= 1
            raise OSError("the disk is full")
        return Text(text=" ".join(answers))

    return Graph("g", Text).chain(ask).build()


async def finish(flow: Any, model: FakeModel, **options: Any) -> Result[Any, Any]:
    """Run a flow, and resume it until it succeeds."""
    try:
        return await flow.run(Text(), run_id="r", client=model, **options)
    except RunFailed:
        pass
    for _ in range(9):
        try:
            return await flow.resume("r", client=model, **options)
        except RunFailed:
            continue
    raise AssertionError("it never succeeded")


def keep(is_durable: bool) -> dict[str, Any]:
    return {"durable": MemoryStore()} if is_durable else {}


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("is_durable", [False, True])
def test_equal_requests_get_their_answers(is_durable: bool, at_once: bool) -> None:
    """The n-th equal request gets the n-th answer."""
    model = FakeModel(Answer("one"), Answer("two"), Answer("three"))
    result = run_virtual(finish(build(["a", "a", "b"], at_once=at_once), model, **keep(is_durable)))
    assert result.output.text == "one two three"
    assert len(model.requests) == 3


@pytest.mark.parametrize("is_durable", [False, True])
def test_failed_request_takes_no_answer(is_durable: bool) -> None:
    """Only the request that failed is made again; the answers around it stay in their places."""
    model = FakeModel(Answer("one"), status(400), Answer("two"), Answer("three"))
    result = run_virtual(finish(build(["a", "a", "b"], fails=2), model, **keep(is_durable)))
    assert result.output.text == "one two three"
    assert len(model.requests) == 4


@pytest.mark.parametrize("is_durable", [False, True])
def test_kept_answers_cost_nothing(is_durable: bool) -> None:
    """An answer that is served is not reported as another call."""
    model = FakeModel(Answer("one", usd=0.5))
    result = run_virtual(finish(build(["a"], fails=3), model, **keep(is_durable)))
    assert (result.cost, result.usage["calls"], len(model.requests)) == (0.5, 1, 1)


def test_key_depends_on_all_that_is_asked() -> None:
    """Requests that ask for anything else have other keys; who pays does not matter."""
    base = request_to("m", "hello")
    others = [
        request_to("n", "hello"),
        request_to("m", "hallo"),
        request_to("m", "hello", max_tokens=5),
        request_to("m", "hello", temperature=0.5),
        request_to("m", "hello", schema=Text),
    ]
    keys = {compute_key(request) for request in (base, *others)}
    assert len(keys) == 6
    assert compute_key(request_to("m", "hello", timeout=3.0, metadata={"run": "r"})) in keys


OLD_KEY = "24c442ed0f5e45f772a4c51d18d21756"
PLAIN_KEY = "c843524ac1358405518cf1b7582865fa"


def request_after(calls: tuple[ToolCall, ...], answered: str = "c0", **fields: Any) -> Request:
    """Return the request of a second round, after these calls and an answer."""
    messages = (
        Message(content="?"),
        Message(role="assistant", content="", tool_calls=calls),
        Message(role="tool", content="ok", tool_call_id=answered),
    )
    spec = ToolSpec(name="look_up", description="d", parameters={"type": "object"})
    return Request("m", messages, tools=(spec,), **fields)


def look_up(written: str, id: str = "c0", name: str = "look_up") -> ToolCall:
    return ToolCall(id=id, name=name, arguments=written)


def test_key_depends_on_calls_of_tools() -> None:
    """Rounds that differ in a call, in what answers it, or in whether tools may be called."""
    one = (look_up('{"a":1}'),)
    requests = [
        request_after(one),
        request_after((look_up('{"a":2}'),)),
        request_after((look_up('{"a":1}', name="look"),)),
        request_after((look_up('{"a":1}', id="c1"),)),
        request_after(one, answered="c1"),
        request_after((*one, look_up('{"a":1}', id="c1"))),
        request_after(one, tool_choice="none"),
        request_after(()),
    ]
    assert len({compute_key(request) for request in requests}) == len(requests)


def test_key_of_older_format_stays() -> None:
    """Journals of formats before 5 hold these keys, which do not depend on the calls."""
    for written in ('{"a":1}', '{"a":2}'):
        request = request_after((look_up(written),))
        assert compute_key(request, 4) == OLD_KEY
        assert compute_key(request, 5) != OLD_KEY
    for format in (1, 4, 5):
        assert compute_key(request_to("m", "hello"), format) == PLAIN_KEY


@pytest.mark.parametrize("kept_format", [4, 5])
@pytest.mark.parametrize("run_format", [4, 5])
def test_answers_of_any_format_are_served(kept_format: int, run_format: int) -> None:
    """A run of an older format, and a fork of one, are served what either format kept."""
    request = request_after((look_up('{"a":1}'),))
    response = Response("ok", "m", Usage(1, 1), 0.0, "free", "stop", 1, 0.0, None)
    kept = [KeptAnswer(compute_key(request, kept_format), response)]
    calls = AttemptCalls(kept, run_format)
    key = calls.compute_key(request)
    assert key == compute_key(request, run_format)
    assert calls.serve(request, key) is response
    assert calls.serve(request, key) is None
    other = request_after((look_up('{"a":1}'),), answered="c1")
    assert AttemptCalls([KeptAnswer(compute_key(other), response)]).serve(request, key) is None
