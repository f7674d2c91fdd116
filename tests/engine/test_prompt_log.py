"""Prompts in the journal: bounded, clean, and without repeated messages."""

from __future__ import annotations

from graphorch.engine.prompt_log import MOST, PromptLog
from graphorch.models.messages import Message, Request, ToolCall


def request(*messages: Message) -> Request:
    return Request(model="m", messages=messages)


def test_log_leaves_out_shared_messages() -> None:
    """Earlier messages of a conversation are not described again."""
    log = PromptLog()
    first, call = (
        Message(content="hello"),
        Message(
            role="assistant",
            content="",
            tool_calls=(ToolCall(id="c", name="look", arguments="{}"),),
        ),
    )
    answer = Message(role="tool", content="seen", tool_call_id="c")
    assert log.describe(request(first))["messages"] == [{"role": "user", "content": "hello"}]
    entry = log.describe(request(first, call, answer))
    assert entry["shared"] == 1
    assert entry["messages"] == [
        {
            "role": "assistant",
            "content": "",
            "calls": [{"id": "c", "name": "look", "arguments": "{}"}],
        },
        {"role": "tool", "content": "seen", "answers": "c"},
    ]


def test_log_describes_new_conversation_whole() -> None:
    log = PromptLog()
    log.describe(request(Message(content="one")))
    assert log.describe(request(Message(content="two")))["shared"] == 0


def test_log_cuts_long_requests() -> None:
    """Of very many messages, those in the middle are left out and counted."""
    entry = PromptLog().describe(
        request(*[Message(content=str(number)) for number in range(MOST + 7)])
    )
    assert (len(entry["messages"]), entry["left_out"]) == (MOST, 7)
