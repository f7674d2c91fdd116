"""Shapes of the protocol: invalid parts of an answer."""

from __future__ import annotations

import pytest

from graphorch.models.errors import Unreadable
from tests.models.openai.calls import TOOL, ask, call, expect_failure, question
from tests.models.servers import chunk, completion, event, replies, streams


@pytest.mark.parametrize(
    "usage",
    [None, [], "many", {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": "7"}],
)
def test_invalid_usage_is_estimated(usage: object) -> None:
    """Estimate the usage of a good answer if the reported one is invalid."""
    response = ask(replies({**completion("hello"), "usage": usage}))
    assert response.text == "hello"
    assert response.usage.is_estimated


def test_tool_call_without_index_or_id() -> None:
    """Read pieces without an index and calls without an id."""
    pieces = [
        {"id": "a", "function": {"name": "water", "arguments": "{}"}},
        {"id": "b", "function": {"name": "tide"}},
        {"function": {"arguments": "{}"}},
    ]
    events = [event(chunk(tool_calls=[piece])) for piece in pieces]
    response = ask(
        streams([*events, event(chunk(None, "stop"))]),
        request=question(tools=(TOOL,)),
        streamed=True,
    )
    assert [
        (tool_call.id, tool_call.name, tool_call.arguments) for tool_call in response.tool_calls
    ] == [
        ("a", "water", "{}"),
        ("b", "tide", "{}"),
    ]
    response = ask(
        replies(completion(None, tool_calls=[call(id=None)])), request=question(tools=(TOOL,))
    )
    assert response.tool_calls[0].id == "call_0"


@pytest.mark.parametrize(
    "message, says",
    [
        ({"tool_calls": [call(name=None)]}, "without naming it"),
        ({"tool_calls": [{"id": "c1"}]}, "without naming it"),
        ({"tool_calls": "water"}, "tool_calls"),
        ({"tool_calls": []}, "tool_calls"),
    ],
)
def test_malformed_tool_call_is_unreadable(message: dict[str, object], says: str) -> None:
    """Raise Unreadable for a malformed tool call."""
    failure = expect_failure(
        replies(completion(None, "tool_calls", **message)), request=question(tools=(TOOL,))
    )
    assert type(failure) is Unreadable
    assert says in str(failure)
