"""The client against a real server: what is sent, what counts as an answer, and that everything else is a typed error in time."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest
from pydantic import BaseModel, SecretStr

from graphorch.errors import InputError, ModelError
from graphorch.models.errors import (
    AnswerError,
    Empty,
    Refused,
    SchemaRefused,
    TimedOut,
    Truncated,
    Unreachable,
    Unreadable,
)
from graphorch.models.messages import Message, Request, Response, ToolCall, ToolSpec, Usage
from graphorch.models.openai.client import CallLimits, OpenAIClient
from tests.models.servers import (
    Handler,
    Server,
    chunk,
    completion,
    drips,
    event,
    hangs_up,
    never_answers,
    pieces_of,
    replies,
    serve,
    speaks_no_http,
    streams,
)

KEY = "sk-secret-0123456789abcdef"
T = TypeVar("T")
# a busy machine must not turn another failure into one of time
ROOMY = CallLimits(total=20.0, max_bytes=20_000)
SHORT = {
    "first token": replace(ROOMY, first_token=0.03),
    "between tokens": replace(ROOMY, between_tokens=0.03),
}


class Score(BaseModel):
    score: int


def question(**more: object) -> Request:
    return Request("m", (Message(content="hi"),), **more)  # pyright: ignore[reportArgumentType]


def with_server(
    *handlers: Handler,
    use: Callable[[OpenAIClient, Server], Awaitable[T]],
    limits: CallLimits | None = None,
) -> T:
    """What `use` returns, of a client of a server; it has half a minute, so that a hang is a failure and a busy machine is none."""

    async def main() -> T:
        async with asyncio.timeout(30), serve(*handlers) as server:
            client = OpenAIClient(server.url, KEY, limits=limits)
            try:
                return await use(client, server)
            finally:
                await client.aclose()

    return asyncio.run(main())


def ask(
    *handlers: Handler,
    request: Request | None = None,
    streamed: bool = False,
    limits: CallLimits | None = None,
) -> Response:
    async def use(client: OpenAIClient, server: Server) -> Response:
        return await client.complete(request or question(), [].append if streamed else None)

    return with_server(*handlers, use=use, limits=limits)


def failure_of(
    *handlers: Handler,
    request: Request | None = None,
    streamed: bool = False,
    limits: CallLimits = ROOMY,
) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(*handlers, request=request, streamed=streamed, limits=limits)
    assert_secret(caught.value)
    return caught.value


def assert_secret(error: BaseException) -> None:
    """The key is nowhere in what an error shows, and no other exception that could hold it hangs on to it."""
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert KEY not in shown
    assert error.__cause__ is None
    assert error.__context__ is None


# ---- answers -----------------------------------------------------------------------------------


def test_an_answer_comes_with_its_usage_and_model() -> None:
    response = ask(replies(completion("hello")))
    assert (response.text, response.model, response.finish_reason, response.attempts) == (
        "hello",
        "m-1",
        "stop",
        1,
    )
    assert response.usage == Usage(7, 3)
    assert (response.usd, response.usd_source, response.first_token_seconds) == (0.0, "none", None)


def test_a_stream_gives_the_pieces_and_the_same_response() -> None:
    pieces: list[str] = []

    async def use(client: OpenAIClient, server: Server) -> Response:
        return await client.complete(question(), pieces.append)

    response = with_server(streams(pieces_of("hel", "lo")), use=use)
    assert pieces == ["hel", "lo"]
    assert (response.text, response.usage) == ("hello", Usage(7, 3))
    assert response.first_token_seconds is not None
    assert 0 < response.first_token_seconds <= response.seconds


def test_a_stream_that_ends_after_its_finish_reason_is_complete_even_if_the_connection_breaks() -> (
    None
):
    response = ask(
        streams([event(chunk("hello")), event(chunk(None, "stop"))], then="cut"), streamed=True
    )
    assert response.text == "hello"
    assert response.usage.is_estimated
    assert "estimated" in response.note


def test_an_endpoint_that_does_not_stream_is_read_whole() -> None:
    pieces: list[str] = []

    async def use(client: OpenAIClient, server: Server) -> Response:
        return await client.complete(question(), pieces.append)

    assert with_server(replies(completion("hello")), use=use).text == "hello"
    assert pieces == ["hello"]


def test_the_cost_that_a_gateway_reports_is_taken() -> None:
    body = completion()
    body["usage"] = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost": 0.0021,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    response = ask(replies(body))
    assert (response.usd, response.usd_source, response.usage) == (
        0.0021,
        "reported",
        Usage(10, 5, 4),
    )


@pytest.mark.parametrize(
    "usage",
    [None, [], "many", {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": "7"}],
)
def test_a_strange_bill_does_not_spoil_a_good_answer(usage: object) -> None:
    response = ask(replies({**completion("hello"), "usage": usage}))
    assert response.text == "hello"
    assert response.usage.is_estimated


def test_the_fence_around_json_is_taken_off() -> None:
    response = ask(
        replies(completion('```json\n{"score": 3}\n```')), request=question(schema=Score)
    )
    assert response.text == '{"score": 3}'


# ---- what is sent ------------------------------------------------------------------------------


def sent(request: Request, *, streamed: bool = False) -> Server:
    async def use(client: OpenAIClient, server: Server) -> Server:
        await client.complete(request, [].append if streamed else None)
        return server

    return with_server(streams(pieces_of("x")) if streamed else replies(completion("x")), use=use)


def test_only_what_was_asked_for_is_sent() -> None:
    assert sent(question()).bodies == [
        {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    ]
    body = sent(
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


def test_nothing_out_of_the_environment_is_sent_and_no_proxy_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy of the environment would see the key; one at a closed port makes the call fail if it is used."""
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-somebody")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-private: of-somebody")
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-somebody")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin-of-somebody")
    headers = sent(question()).asked[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "of-somebody" not in str(headers)
    assert not [
        name
        for name in headers
        if name.startswith("x-stainless") and name != "x-stainless-raw-response"
    ]


def test_no_key_sends_no_authorization() -> None:
    async def main() -> Server:
        async with serve(replies(completion())) as server:
            client = OpenAIClient(server.url, "")
            await client.complete(question())
            await client.aclose()
            return server

    assert "authorization" not in asyncio.run(main()).asked[0].headers


# ---- dialects ----------------------------------------------------------------------------------


def refuses(what: str) -> Handler:
    return replies({"error": {"message": f"Unsupported parameter: {what}"}}, 400)


def test_a_dialect_is_found_out_once_and_then_known() -> None:
    async def use(client: OpenAIClient, server: Server) -> Server:
        first = await client.complete(question(max_tokens=5))
        second = await client.complete(question(max_tokens=5))
        assert (first.attempts, second.attempts) == (2, 1)
        return server

    server = with_server(
        refuses("'max_tokens', use 'max_completion_tokens'"), replies(completion()), use=use
    )
    assert ["max_completion_tokens" in body for body in server.bodies] == [False, True, True]


def test_an_endpoint_without_schemas_is_told_in_words() -> None:
    async def use(client: OpenAIClient, server: Server) -> tuple[Response, Server]:
        return await client.complete(question(schema=Score)), server

    response, server = with_server(
        refuses("response_format"), replies(completion('{"score": 1}')), use=use
    )
    assert "response_format" not in server.bodies[1]
    assert "JSON schema" in server.bodies[1]["messages"][0]["content"]
    assert "instructions" in response.note


def test_an_endpoint_that_reports_no_usage_in_streams_is_asked_without() -> None:
    response = ask(refuses("stream_options"), streams(pieces_of("hello")), streamed=True)
    assert (response.text, response.attempts) == ("hello", 2)


def test_the_search_for_a_dialect_ends() -> None:
    async def use(client: OpenAIClient, server: Server) -> int:
        with pytest.raises(SchemaRefused):
            await client.complete(question(schema=Score, max_tokens=5), [].append)
        return len(server.asked)

    assert (
        with_server(refuses("response_format max_completion_tokens stream_options"), use=use) == 4
    )


# ---- tools -------------------------------------------------------------------------------------

TOOL = ToolSpec(
    name="water", description="how deep", parameters={"type": "object", "properties": {}}
)


def call(
    name: object = "water", arguments: object = '{"x": 1}', **more: object
) -> dict[str, object]:
    return {
        "id": "c1",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
        **more,
    }


@pytest.mark.parametrize("finish_reason", ["tool_calls", "stop"])
def test_a_tool_call_is_an_answer_if_there_are_tools(finish_reason: str) -> None:
    response = ask(
        replies(completion(None, finish_reason, tool_calls=[call()])),
        request=question(tools=(TOOL,)),
    )
    assert response.tool_calls == (ToolCall(id="c1", name="water", arguments='{"x": 1}'),)
    assert response.text == ""


def test_a_tool_call_is_put_together_out_of_its_pieces() -> None:
    first = {"index": 0, "id": "a", "function": {"name": "water", "arguments": '{"x"'}}
    rest = {"index": 0, "function": {"arguments": ": 1}"}}
    other = {"index": 1, "id": "b", "function": {"name": "tide", "arguments": "{}"}}
    events = [event(chunk(tool_calls=[item])) for item in (first, rest, other)]
    response = ask(
        streams([*events, event(chunk(None, "tool_calls"))]),
        request=question(tools=(TOOL,)),
        streamed=True,
    )
    assert response.tool_calls == (
        ToolCall(id="a", name="water", arguments='{"x": 1}'),
        ToolCall(id="b", name="tide", arguments="{}"),
    )


def test_pieces_without_index_and_calls_without_id_are_understood() -> None:
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


def test_tools_calls_and_results_are_sent() -> None:
    messages = (
        Message(content="how deep?"),
        Message(
            role="assistant",
            content="",
            tool_calls=(ToolCall(id="c1", name="water", arguments="{}"),),
        ),
        Message(role="tool", content="1.5", tool_call_id="c1"),
    )
    (body,) = sent(Request("m", messages, tools=(TOOL,))).bodies
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


@pytest.mark.parametrize(
    "message, says",
    [
        ({"tool_calls": [call(name=None)]}, "without naming it"),
        ({"tool_calls": [call(arguments={"x": 1})]}, "tool_calls"),
        ({"tool_calls": [{"id": "c1"}]}, "tool_calls"),
        ({"tool_calls": "water"}, "tool_calls"),
        ({"tool_calls": []}, "tool_calls"),
    ],
)
def test_a_tool_call_that_is_none_is_unreadable(message: dict[str, object], says: str) -> None:
    failure = failure_of(
        replies(completion(None, "tool_calls", **message)), request=question(tools=(TOOL,))
    )
    assert type(failure) is Unreadable
    assert says in str(failure)


def test_a_tool_call_that_nobody_asked_for_is_no_answer() -> None:
    assert (
        type(failure_of(replies(completion(None, "tool_calls", tool_calls=[call()])))) is Unreadable
    )
    response = ask(replies(completion("hello", tool_calls=[call()])))
    assert (response.text, response.tool_calls) == ("hello", ())


# ---- chaos -------------------------------------------------------------------------------------

HTML = "<!doctype html><html><body>Please log in</body></html>"
# fits into the bound on bytes, and no parser that recurses survives it unharmed
DEEP = "[" * 5_000 + "]" * 5_000


@dataclass(frozen=True)
class Row:
    """One way to misbehave, and the error that it must become."""

    name: str
    handler: Handler
    kind: type[ModelError]
    says: str
    retryable: bool
    streamed: bool | None = None  # None: both ways


BOTH = [
    Row("the connection ends at once", hangs_up, Unreachable, "broke the connection", True),
    Row("something that is no HTTP", speaks_no_http, Unreachable, "broke the connection", True),
    Row("a web page", replies(HTML, kind="text/html"), Unreadable, "", True),
    Row(
        "a web page with status 502",
        replies(HTML, 502, kind="text/html"),
        ModelError,
        "answered 502",
        True,
    ),
    Row("an error without a body", replies(b"", 500), ModelError, "answered 500", True),
    Row(
        "a wrong key",
        replies({"error": {"message": f"bad key {KEY}"}}, 401),
        ModelError,
        "[key]",
        False,
    ),
    Row(
        "no credit", replies({"error": {"message": "top up"}}, 402), ModelError, "no credit", False
    ),
    Row(
        "a quota that is used up",
        replies({"error": {"code": "insufficient_quota", "message": "q"}}, 429),
        ModelError,
        "no credit",
        False,
    ),
    Row(
        "an unknown model",
        replies({"error": {"message": "no such model"}}, 404),
        ModelError,
        "no such model",
        False,
    ),
    Row(
        "a prompt that is too long",
        replies({"error": {"message": "context length"}}, 400),
        ModelError,
        "context length",
        False,
    ),
    Row("too many requests", replies({"error": "slow down"}, 429), ModelError, "slow down", True),
    Row(
        "an overloaded provider",
        replies({"detail": "overloaded"}, 529),
        ModelError,
        "overloaded",
        True,
    ),
    Row(
        "an error nested without end",
        replies('{"error":' * 900 + "1" + "}" * 900, 500),
        ModelError,
        "answered 500",
        True,
    ),
    Row(
        "a redirect",
        replies(b"", 307, {"location": "http://127.0.0.2/v1"}),
        ModelError,
        "redirect to 127.0.0.2",
        False,
    ),
    Row(
        "a redirect to itself",
        replies(b"", 302, {"location": "/v1/chat/completions"}),
        ModelError,
        "redirect to itself",
        False,
    ),
    Row(
        "an answer that is compressed",
        replies(b"x", headers={"content-encoding": "gzip"}),
        Unreadable,
        "compressed",
        True,
    ),
    Row(
        "an error body without end",
        replies("x" * 30_000, 500),
        Unreadable,
        "longer than 20,000 bytes",
        True,
    ),
    Row(
        "an error inside an answer",
        replies({"error": {"message": "upstream died", "code": 502}}),
        ModelError,
        "upstream died",
        True,
    ),
    Row(
        "a final error inside an answer",
        replies({"error": {"message": "no", "code": "403"}}),
        ModelError,
        "no",
        False,
    ),
]

WHOLE = [
    Row("broken JSON", replies('{"choices": ['), Unreadable, "not JSON", True),
    Row("JSON without end", replies(DEEP), Unreadable, "no", True),
    Row("nothing", replies(b""), Unreadable, "not JSON", True),
    Row("another shape", replies({"answer": "hi"}), Unreadable, "not a chat completion", True),
    Row("a list", replies([1]), Unreadable, "not a chat completion", True),
    Row("no choices", replies({**completion(), "choices": []}), Unreadable, "choices", True),
    Row("null choices", replies({**completion(), "choices": None}), Unreadable, "choices", True),
    Row("a number for text", replies(completion(42)), Unreadable, "content", True),
    Row(
        "a list for text",
        replies(completion([{"type": "text", "text": "hi"}])),
        Unreadable,
        "content",
        True,
    ),
    Row(
        "a lone surrogate",
        replies('{"choices":[{"message":{"content":"\\ud83d"},"finish_reason":"stop"}]}'),
        Unreadable,
        "",
        True,
    ),
    Row(
        "a body that is cut",
        replies(completion(), length=9_999),
        Unreachable,
        "broke the connection",
        True,
    ),
    Row("a body without end", replies("x" * 30_000), Unreadable, "longer than 20,000 bytes", True),
    Row("empty text", replies(completion("")), Empty, "without any text", True),
    Row("blank text", replies(completion(" \n\t")), Empty, "without any text", True),
    Row("null text", replies(completion(None)), Empty, "without any text", True),
    Row(
        "no finish reason",
        replies(completion("half", None)),
        Truncated,
        "without a finish reason",
        True,
    ),
    Row("cut by the limit", replies(completion("half", "length")), Truncated, "max_tokens", False),
    Row("filtered", replies(completion("", "content_filter")), Refused, "declined", False),
    Row("refused", replies(completion(None, refusal="I will not")), Refused, "I will not", False),
    Row(
        "another finish reason",
        replies(completion("half", "tool_calls")),
        Unreadable,
        "tool_calls",
        False,
    ),
]

STREAMED = [
    Row("it never answers", never_answers, TimedOut, "first token", True),
    Row(
        "it stalls before the first event", streams([], then="stall"), TimedOut, "first token", True
    ),
    Row(
        "it stalls in the middle",
        streams([event(chunk("half"))], then="stall"),
        TimedOut,
        "between tokens",
        True,
    ),
    Row("comments keep it alive", drips(b": alive\n\n"), TimedOut, "first token", True),
    Row(
        "comments keep it alive in the middle",
        drips(b": alive\n\n", before=[event(chunk("half"))]),
        TimedOut,
        "between tokens",
        True,
    ),
    Row(
        "text without end",
        drips(event(chunk("x" * 999))),
        Unreadable,
        "longer than 20,000 bytes",
        True,
    ),
    Row("a line without end", drips(b"x" * 999), Unreadable, "longer than 20,000 bytes", True),
    Row(
        "it is cut in the middle",
        streams([event(chunk("half"))], then="cut"),
        Unreachable,
        "broke the connection",
        True,
    ),
    Row(
        "it is cut inside an event",
        streams([event(chunk("half"))[:20]], then="cut"),
        Unreachable,
        "broke the connection",
        True,
    ),
    Row(
        "it ends without finish reason",
        streams([event(chunk("half"))]),
        Truncated,
        "without a finish reason",
        True,
    ),
    Row(
        "it is done without finish reason",
        streams([event(chunk("half")), event("[DONE]")]),
        Truncated,
        "finish reason",
        True,
    ),
    Row("it ends at once", streams([]), Truncated, "without a finish reason", True),
    Row("broken JSON in an event", streams([event("{nothing")]), Unreadable, "broken JSON", True),
    Row(
        "an event of another kind",
        streams([event("[1, 2]")]),
        Unreadable,
        "not a chat completion chunk",
        True,
    ),
    Row("a number for a piece", streams([event(chunk(42))]), Unreadable, "content", True),
    Row(
        "a lone surrogate in a piece",
        streams([b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n']),
        Unreadable,
        "",
        True,
    ),
    Row("JSON without end in an event", streams([event(DEEP)]), Unreadable, "", True),
    Row(
        "an error event",
        streams([event(chunk("half")), event({"error": {"message": "died"}})]),
        ModelError,
        "died",
        True,
    ),
    Row(
        "cut by the limit",
        streams(pieces_of("half", finish_reason="length")),
        Truncated,
        "max_tokens",
        False,
    ),
    Row(
        "filtered",
        streams(pieces_of("half", finish_reason="content_filter")),
        Refused,
        "declined",
        False,
    ),
    Row("no text", streams(pieces_of()), Empty, "without any text", True),
]

CASES = [
    *(
        pytest.param(row, streamed, id=f"{row.name}, {'streamed' if streamed else 'whole'}")
        for row in BOTH
        for streamed in (False, True)
    ),
    *(pytest.param(row, False, id=f"{row.name}, whole") for row in WHOLE),
    *(pytest.param(row, True, id=f"{row.name}, streamed") for row in STREAMED),
]


@pytest.mark.parametrize("row, streamed", CASES)
def test_every_kind_of_misbehaviour_is_a_typed_error_in_time(row: Row, streamed: bool) -> None:
    limits = SHORT[row.says] if row.kind is TimedOut else ROOMY
    failure = failure_of(row.handler, streamed=streamed, limits=limits)
    assert type(failure) is row.kind
    assert row.says in str(failure)
    assert failure.retryable is row.retryable
    assert failure.model == "m"
    assert "127.0.0.1" in str(failure) or isinstance(failure, AnswerError)


@pytest.mark.parametrize(
    "handler",
    [never_answers, streams([event(chunk("half"))], then="stall"), drips(event(chunk("x")))],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_the_total_time_ends_everything(handler: Handler, streamed: bool) -> None:
    failure = failure_of(
        handler, request=question(timeout=0.03), streamed=streamed, limits=CallLimits()
    )
    assert isinstance(failure, TimedOut)
    assert failure.limit == "total"


def test_a_request_without_time_fails_without_waiting() -> None:
    assert isinstance(failure_of(never_answers, request=question(timeout=0.0)), TimedOut)


def test_nobody_at_the_address_is_unreachable() -> None:
    async def main() -> ModelError:
        async with serve(replies(b"")) as server:
            pass
        client = OpenAIClient(server.url, KEY)
        with pytest.raises(Unreachable, match="OPENAI_BASE_URL") as caught:
            await client.complete(question())
        await client.aclose()
        return caught.value

    assert_secret(asyncio.run(main()))


def test_a_redirect_is_not_followed_so_the_key_does_not_travel() -> None:
    async def main() -> tuple[int, int]:
        async with serve(replies(completion())) as other:
            async with serve(
                replies(b"", 307, {"location": f"{other.url}/chat/completions"})
            ) as server:
                client = OpenAIClient(server.url, KEY)
                with pytest.raises(ModelError, match="was not followed"):
                    await client.complete(question())
                await client.aclose()
                return len(server.asked), len(other.asked)

    assert asyncio.run(main()) == (1, 0)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_one_call_is_one_request_whatever_the_status(status: int) -> None:
    async def use(client: OpenAIClient, server: Server) -> int:
        with pytest.raises(ModelError):
            await client.complete(question())
        return len(server.asked)

    assert (
        with_server(replies(b"", status, {"x-should-retry": "true", "retry-after": "0"}), use=use)
        == 1
    )


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"retry-after": "3600"}, 3600),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        (
            {
                "retry-after": "Wed, 25 Nov 2026 10:00:30 GMT",
                "date": "Wed, 25 Nov 2026 10:00:00 GMT",
            },
            30,
        ),
        (
            {
                "retry-after": "Wed, 25 Nov 2026 09:00:00 GMT",
                "date": "Wed, 25 Nov 2026 10:00:00 GMT",
            },
            0,
        ),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_is_asked_for_is_reported(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert failure_of(replies(b"", 429, headers)).retry_after == seconds


def test_what_came_of_a_useless_answer_is_kept_with_what_it_cost() -> None:
    failure = failure_of(replies(completion("half", "length")))
    assert isinstance(failure, Truncated)
    assert (failure.partial, failure.usage) == ("half", Usage(7, 3))


def test_an_error_of_whoever_listens_is_theirs() -> None:
    def listener(piece: str) -> None:
        raise LookupError(piece)

    async def use(client: OpenAIClient, server: Server) -> None:
        await client.complete(question(), listener)

    with pytest.raises(LookupError, match="hel"):
        with_server(streams(pieces_of("hel", "lo")), use=use)


def test_words_of_an_endpoint_cannot_forge_lines_or_hide_text() -> None:
    shown = str(
        failure_of(
            replies({"error": {"message": "a\r\nINFO forged\x1b[2J\u202e b" + "y" * 500}}, 500)
        )
    )
    assert "a INFO forged [2J b" in shown
    assert len(shown) < 600
    assert "\n" not in shown


# ---- keys, addresses, connections --------------------------------------------------------------


def test_the_key_is_in_no_repr_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        ask(replies(completion()))
        failure_of(replies({"error": KEY}, 400))
    assert KEY not in caplog.text
    assert KEY not in repr(OpenAIClient("http://127.0.0.1/v1", KEY))
    assert KEY not in repr(vars(OpenAIClient("http://127.0.0.1/v1", SecretStr(KEY))))


@pytest.mark.parametrize("key", ["sk two", "sk-\n", "sk-“quoted”", "sk\x00"])
def test_a_key_that_was_copied_badly_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(InputError, match="copied") as caught:
        OpenAIClient("http://127.0.0.1/v1", key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:80",
        "ftp://x/v1",
        "http://",
        "http://u:p4ss@x/v1",
        "http://x/v1?key=p4ss",
        "http://x:99999/v1",
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InputError, match=r"127\.0\.0\.1:8000") as caught:
        OpenAIClient(url, KEY)
    assert "p4ss" not in str(caught.value)


@pytest.mark.parametrize("streamed", [False, True])
def test_cancelling_a_call_frees_its_connection(streamed: bool) -> None:
    async def use(client: OpenAIClient, server: Server) -> None:
        began = asyncio.Event()

        call = asyncio.create_task(
            client.complete(question(), (lambda piece: began.set()) if streamed else None)
        )
        await server.was_asked.wait()
        if streamed:
            await began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.all_closed.wait()

    with_server(
        streams([event(chunk("half"))], then="stall") if streamed else never_answers, use=use
    )


def test_a_call_that_timed_out_frees_its_connection() -> None:
    async def use(client: OpenAIClient, server: Server) -> None:
        with pytest.raises(TimedOut):
            await client.complete(question(timeout=0.02))
        await server.all_closed.wait()

    with_server(never_answers, use=use)


def test_a_connection_is_used_again_and_closed_at_the_end() -> None:
    async def use(client: OpenAIClient, server: Server) -> None:
        for _ in range(3):
            await client.complete(question())
            await client.complete(question())
        assert (len(server.asked), server.open_connections) == (6, 1)
        await client.aclose()
        await server.all_closed.wait()
        await client.complete(question())  # it opens again on demand

    with_server(replies(completion()), use=use)


def test_closing_lets_a_call_in_flight_finish() -> None:
    go = asyncio.Event()

    async def answers_late(asked: object) -> None:
        await go.wait()
        await replies(completion("late"))(asked)  # pyright: ignore[reportArgumentType]

    async def use(client: OpenAIClient, server: Server) -> str:
        call = asyncio.create_task(client.complete(question()))
        await server.was_asked.wait()
        await client.aclose()
        go.set()
        return (await call).text

    assert with_server(answers_late, use=use) == "late"


def test_one_client_serves_one_event_loop_after_another() -> None:
    clients: list[OpenAIClient] = []

    async def main(port: int) -> int:
        async with serve(replies(completion()), port=port) as server:
            clients.append(clients[0] if clients else OpenAIClient(server.url, KEY))
            assert (await clients[0].complete(question())).text == "hello"
            await clients[0].aclose()
            return int(server.url.split(":")[2].split("/")[0])

    assert asyncio.run(main(asyncio.run(main(0))))
