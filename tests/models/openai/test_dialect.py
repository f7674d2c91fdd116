"""Dialects of endpoints: what is sent, and how a refused option is left out."""

from __future__ import annotations

import pytest

from graphorch.models.errors import SchemaRefused
from graphorch.models.messages import Message, Request, Response, ToolCall
from graphorch.models.openai.client import OpenAIClient
from tests.models.openai.calls import TOOL, Score, ask, question, send, with_server
from tests.models.servers import Handler, Server, completion, pieces_of, replies, streams


def test_request_sends_only_given_options() -> None:
    """Send only the options of the request."""
    assert send(question()).bodies == [
        {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    ]
    body = send(
        question(max_tokens=5, temperature=0.5, schema=Score, metadata={"run": "r1"}), streamed=True
    ).bodies[0]
    assert (body["max_tokens"], body["temperature"], body["stream"], body["stream_options"]) == (
        5,
        0.5,
        True,
        {"include_usage": True},
    )
    assert body["response_format"]["json_schema"]["name"] == "Score"
    assert "r1" not in str(body)


def test_instructions_are_one_message() -> None:
    """System messages at the beginning are sent as one; those in the middle stay."""
    system = [Message(role="system", content=text) for text in ("a", "b", "c")]
    asked = Request("m", (*system[:2], Message(content="hi"), system[2]))
    assert send(asked).bodies[0]["messages"] == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "c"},
    ]


def refuses(what: str) -> Handler:
    return replies({"error": {"message": f"Unsupported parameter: {what}"}}, 400)


def test_dialect_is_learned_once() -> None:
    """Adapt to the dialect of an endpoint once and remember it."""

    async def use(client: OpenAIClient, server: Server) -> Server:
        first = await client.complete(question(max_tokens=5))
        second = await client.complete(question(max_tokens=5))
        assert (first.attempts, second.attempts) == (2, 1)
        return server

    server = with_server(
        refuses("'max_tokens', use 'max_completion_tokens'"), replies(completion()), use=use
    )
    assert ["max_completion_tokens" in body for body in server.bodies] == [False, True, True]


@pytest.mark.parametrize("streamed", [False, True])
def test_refusal_inside_answer_is_learned(streamed: bool) -> None:
    """Adapt to a refusal that comes with status 200 as to any other."""
    refusal = {"error": {"code": 400, "message": "response_format is not supported"}}
    handlers = [replies(refusal), replies(completion('{"score": 1}'))]
    response = ask(*handlers, request=question(schema=Score), streamed=streamed)
    assert (response.text, response.attempts) == ('{"score": 1}', 2)


def test_dialect_describes_schema_in_words() -> None:
    """Describe the schema in words if the endpoint takes no schemas."""

    async def use(client: OpenAIClient, server: Server) -> tuple[Response, Server]:
        return await client.complete(question(schema=Score)), server

    response, server = with_server(
        refuses("response_format"), replies(completion('{"score": 1}')), use=use
    )
    assert "response_format" not in server.bodies[1]
    assert "JSON schema" in server.bodies[1]["messages"][0]["content"]
    assert "instructions" in response.note


def test_dialect_drops_stream_options() -> None:
    """Stream without usage if the endpoint does not report it."""
    response = ask(refuses("stream_options"), streams(pieces_of("hello")), streamed=True)
    assert (response.text, response.attempts) == ("hello", 2)


def test_dialect_search_ends() -> None:
    """Stop adapting after every step was tried."""

    async def use(client: OpenAIClient, server: Server) -> int:
        asked = question(schema=Score, max_tokens=5, tools=(TOOL,), tool_choice="none")
        with pytest.raises(SchemaRefused):
            await client.complete(asked, [].append)
        return len(server.asked)

    refused = "response_format max_completion_tokens stream_options tool_choice"
    assert with_server(refuses(refused), use=use) == 5


@pytest.mark.parametrize(
    "refusal",
    [
        "Function calling with a response mime type: 'application/json' is unsupported",
        "Unknown parameter: 'tool_choice'",
        "response_format cannot be combined with tools",
    ],
)
def test_idle_tools_are_left_out(refusal: str) -> None:
    """Tools that must not be called go along, and are left out where the endpoint refuses them."""

    async def use(client: OpenAIClient, server: Server) -> Server:
        asked = question(schema=Score, tools=(TOOL,), tool_choice="none")
        first = await client.complete(asked)
        second = await client.complete(asked)
        assert (first.attempts, second.attempts) == (2, 1)
        await client.complete(question(tools=(TOOL,)))
        return server

    server = with_server(
        replies({"error": {"message": refusal}}, 400), replies(completion('{"score": 1}')), use=use
    )
    sent = [(body.get("tool_choice"), "tools" in body) for body in server.bodies]
    assert sent == [("none", True), (None, False), (None, False), (None, True)]
    assert ["response_format" in body for body in server.bodies] == [True, True, True, False]


def test_tools_and_results_are_sent() -> None:
    """Send tools, tool calls and results."""
    messages = (
        Message(content="how deep?"),
        Message(
            role="assistant",
            content="",
            tool_calls=(ToolCall(id="c1", name="water", arguments="{}"),),
        ),
        Message(role="tool", content="1.5", tool_call_id="c1"),
    )
    (body,) = send(Request("m", messages, tools=(TOOL,))).bodies
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "water", "description": "how deep", "parameters": TOOL.parameters},
        }
    ]
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "water", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "1.5", "tool_call_id": "c1"},
    ]
