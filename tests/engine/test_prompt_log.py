"""What the journal keeps of a prompt: bounded, clean, and only what is new."""

from __future__ import annotations

from graphorch.engine.prompt_log import LONGEST, MOST, PromptLog, clean
from graphorch.models.messages import Message, Request, ToolCall


def request(*messages: Message) -> Request:
    return Request(model="m", messages=messages)


def test_log_leaves_out_shared_messages() -> None:
    """A conversation that continues is described without its earlier messages."""
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
    told = log.describe(request(first, call, answer))
    assert told["shared"] == 1
    assert told["messages"] == [
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
    """Long texts and many messages are cut, and counted."""
    told = PromptLog().describe(
        request(*[Message(content=str(number)) for number in range(MOST + 7)])
    )
    assert (len(told["messages"]), told["left_out"]) == (MOST, 7)
    assert clean("x" * (LONGEST + 5)).endswith("… (5 more characters)")


def test_clean_replaces_lone_surrogate() -> None:
    assert clean("a\ud800b") == "a?b"
