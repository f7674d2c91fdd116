"""Questions of servers: answered by the program, carried by an error, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graphorch import InputError
from graphorch.agents.mcp.errors import InputRequired
from graphorch.agents.mcp.questions import ServerAnswer, ServerQuestion
from graphorch.agents.mcp.server import McpServer
from tests.agents.mcp.servers import call_tool, call_tools, start_hostile, use

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def ask_with(answer: object, *era: str) -> tuple[Any, list[ServerQuestion]]:
    """Return the result of a tool that asks, and the questions that the program got."""
    asked: list[ServerQuestion] = []

    async def reply(question: ServerQuestion) -> Any:
        asked.append(question)
        return answer

    (result,) = call_tools(start_hostile(*era, on_question=reply), "ask")
    return result, asked


@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
def test_program_answers_during_call(action: Any) -> None:
    """A server of the older revision waits within the call for the program's answer."""
    values = {"n": 3} if action == "accept" else {}
    result, asked = ask_with(ServerAnswer(action, values))
    told = json.loads(result)
    assert told["action"] == action
    assert told.get("content", {}) == values
    (question,) = asked
    assert (question.server, question.message) == ("files", "How many?")
    assert question.schema == SCHEMA


def test_program_answers_between_calls() -> None:
    """A server of the newer revision gets the answer with the call that is made once more."""
    result, asked = ask_with(ServerAnswer("accept", {"n": 3}), "--modern")
    assert json.loads(result) == {
        "answer": {"action": "accept", "content": {"n": 3}},
        "state": "sealed",
    }
    assert [question.key for question in asked] == ["q"]


def test_question_is_carried_by_error() -> None:
    """Without an answer at hand the call ends with the question, and can go on days later."""

    async def work(server: McpServer) -> str:
        with pytest.raises(InputRequired) as caught:
            await call_tool(server, "ask")
        error = caught.value
        (question,) = error.questions
        assert (question.key, question.message, question.schema) == ("q", "How many?", SCHEMA)
        tool = (await server.take_listing()).find("ask")
        assert tool is not None
        answers = {question.key: ServerAnswer("accept", {"n": 4})}
        return await server.link.call(tool, {}, answers=answers, state=error.state)

    told = json.loads(use(start_hostile("--modern"), work))
    assert told == {"answer": {"action": "accept", "content": {"n": 4}}, "state": "sealed"}


def test_unanswered_question_is_told() -> None:
    """An older server that nobody can answer hears so, and so does the model."""
    (result,) = call_tools(start_hostile(), "ask")
    assert result == (
        '{"action": "cancel"}\n\n'
        "(The server asked, and nobody could answer during the call: How many?)"
    )


@pytest.mark.parametrize("era", [(), ("--modern",)], ids=["2025", "2026"])
@pytest.mark.parametrize("answer", [ServerAnswer("accept", {"n": "many"}), "yes", None])
def test_wrong_answer_is_refused(era: tuple[str, ...], answer: object) -> None:
    """An answer that does not fit the question is not sent."""
    if era:
        with pytest.raises(InputError, match="The answer to 'How many"):
            ask_with(answer, *era)
        return
    result, _ = ask_with(answer)
    assert '"action": "cancel"' in result
    assert "InputError: The answer to 'How many?'" in result


def test_link_is_question() -> None:
    """An older server that wants an address opened first asks a question with an address."""
    (error,) = call_tools(start_hostile(), "links")
    assert isinstance(error, InputRequired)
    (question,) = error.questions
    assert (question.message, question.url) == ("Log in.", "https://bank.example/login")
    assert question.schema is None
