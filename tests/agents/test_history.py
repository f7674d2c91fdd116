"""Conversations in the state: appended, cut in whole turns, kept in journals, used as prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch import Graph, InputError, Message, agent, node
from graphorch.agents.history import LEFT_OUT, History, KeepRecent
from graphorch.models.messages import Request, Response, ToolCall, Usage
from graphorch.testing import check_reducer
from tests.agents.conversations import find_orphans


def say(*texts: str) -> list[Message]:
    """Return messages of the user and of the assistant in turn."""
    return [
        Message(role="assistant" if place % 2 else "user", content=text)
        for place, text in enumerate(texts)
    ]


def call_tool(number: int, text: str) -> list[Message]:
    call = ToolCall(id=f"c{number}", name="look_up", arguments="{}")
    return [
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content=text, tool_call_id=call.id),
    ]


MESSAGES = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["user", "assistant", "system"]),
        content=st.sampled_from(["", "a", "word " * 5, "ä" * 30]),
    ),
    max_size=6,
)
PARTS = st.one_of(MESSAGES, MESSAGES.map(lambda messages: [LEFT_OUT, *messages]))


@given(PARTS, PARTS, PARTS, st.integers(1, 60))
def test_cut_is_associative(
    a: list[Message], b: list[Message], c: list[Message], tokens: int
) -> None:
    """A fold may be continued from anywhere, whatever is cut on the way."""
    keep = KeepRecent(tokens)
    assert keep(keep(a, b), c) == keep(a, keep(b, c))


def test_cut_is_a_lawful_reducer() -> None:
    """It passes the check of reducers, which also looks whether arguments are changed."""
    values = [[], say("a"), say("a", "b" * 40, "c"), call_tool(1, "x" * 60), [LEFT_OUT, *say("d")]]
    check_reducer(KeepRecent(tokens=20), values)


@given(st.lists(st.integers(0, 3), max_size=6), st.integers(1, 200))
def test_cut_parts_no_call_from_its_answer(turns: list[int], tokens: int) -> None:
    """Whatever the limit, the history has no call without its answer, and begins with a turn."""
    history: list[Message] = []
    number = 0
    for calls in turns:
        messages = [Message(content="how deep?")]
        for _ in range(calls):
            number += 1
            messages += call_tool(number, "1.5 metres " * calls)
        history = KeepRecent(tokens)(history, [*messages, *say("?", "deep")[1:]])
        kept = [message for message in history if message != LEFT_OUT]
        assert find_orphans(kept) == []
        assert kept[0].role == "user"
        assert kept[-len(messages) - 1 : -1] == messages


def test_old_turns_are_left_out() -> None:
    """The last turns that fit stay, and the first message says that there were more."""
    keep = KeepRecent(tokens=30)
    history: list[Message] = []
    for number in range(5):
        history = keep(history, say(f"question {number}", f"answer {number}"))
    assert history == [LEFT_OUT, *say("question 3", "answer 3", "question 4", "answer 4")]
    assert keep(history, []) == history
    assert keep([], []) == []


def test_turn_that_is_too_long_stays() -> None:
    """The last turn stays whole; a prompt without its question would be none."""
    keep = KeepRecent(tokens=5)
    assert keep(say("a", "b"), say("long " * 100)) == [LEFT_OUT, *say("long " * 100)]
    assert keep([], say("long " * 100)) == say("long " * 100)


@pytest.mark.parametrize("tokens", [0, -1, True, 1.5, "many"])
def test_limit_is_a_number_of_tokens(tokens: Any) -> None:
    with pytest.raises(InputError, match="give a whole number from 1 on"):
        KeepRecent(tokens)


# ---- in flows ------------------------------------------------------------------------------------


class Ask(BaseModel):
    question: str


class Answer(BaseModel):
    answer: str = ""


class Chat(BaseModel):
    messages: History = []


class ShortChat(BaseModel):
    messages: Annotated[list[Message], KeepRecent(tokens=25)] = []


class Model:
    """Answers with the number of messages that it was sent."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        self.requests.append(request)
        text = f"answer {len(self.requests)}"
        return Response(text, "m", Usage(1, 1), 0.0, "free", "stop", 1, 0.0, None)


def say_to(question: Ask) -> list[Message]:
    return [Message(content=question.question)]


def note_down(answer: Answer) -> list[Message]:
    return [*call_tool(1, "x" * 8), Message(role="assistant", content=answer.answer)]


def build_whole() -> Any:
    """Return a flow that keeps all messages."""

    class State(Chat, Ask, Answer): ...

    @node
    def listen(ask: Ask) -> Chat:
        return Chat(messages=say_to(ask))

    @agent(output=Answer, model="m")
    def reply(chat: Chat) -> list[Message]:
        return chat.messages

    @node
    def note(answer: Answer) -> Chat:
        return Chat(messages=note_down(answer))

    graph = Graph("chat", State, input=Ask, output=Chat, remember=[Chat])
    return graph.chain(listen, reply, note).build()


def build_short() -> Any:
    """Return a flow that keeps the last messages."""

    class State(ShortChat, Ask, Answer): ...

    @node
    def listen(ask: Ask) -> ShortChat:
        return ShortChat(messages=say_to(ask))

    @agent(output=Answer, model="m", instructions="You know harbours.")
    def reply(chat: ShortChat) -> list[Message]:
        return chat.messages

    @node
    def note(answer: Answer) -> ShortChat:
        return ShortChat(messages=note_down(answer))

    graph = Graph("chat", State, input=Ask, output=ShortChat, remember=[ShortChat])
    return graph.chain(listen, reply, note).build()


@pytest.mark.parametrize("build", [build_whole, build_short])
def test_history_is_prompt_and_is_stored(build: Callable[[], Any], tmp_path: Path) -> None:
    """Messages with calls of tools are folded, stored, replayed, and sent as a prompt."""
    flow, model = build(), Model()

    async def main() -> None:
        db = tmp_path / "runs.sqlite"
        result = await flow.run(Ask(question="how deep?"), run_id="r", durable=db, client=model)
        expected = [*say("how deep?"), *call_tool(1, "x" * 8), *say("", "answer 1")[1:]]
        assert result.output.messages == expected
        assert list(model.requests[0].messages)[-1:] == say("how deep?")
        again = await flow.replay("r", durable=db)
        assert again.state == result.state
        assert isinstance(again.output.messages[1].tool_calls[0], ToolCall)

    asyncio.run(main())


def test_conversation_of_many_turns_stays_short(tmp_path: Path) -> None:
    """Turns that follow each other as runs send the last turns, and say that there were more."""
    flow, model = build_short(), Model()

    async def main() -> list[Message]:
        messages: list[Message] = []
        for number in range(5):
            after = {"after": f"r{number - 1}"} if number else {}
            result = await flow.run(
                Ask(question=f"question {number}"),
                run_id=f"r{number}",
                durable=tmp_path / "runs.sqlite",
                client=model,
                **after,
            )
            messages = result.output.messages
        return messages

    messages = asyncio.run(main())
    assert [message.content for message in messages if message.role == "user"] == ["question 4"]
    assert messages[0] == LEFT_OUT
    instructions, cut, *rest = model.requests[-1].messages
    assert (instructions.content, cut) == ("You know harbours.", LEFT_OUT)
    assert find_orphans(rest) == []
