"""The client with a real server: requests, answers, and typed errors in time for all the rest."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

import pytest
from pydantic import SecretStr

from graphorch.errors import ModelError
from graphorch.models.errors import (
    AnswerError,
    ContextOverflow,
    Empty,
    Refused,
    TimedOut,
    Truncated,
    Unreachable,
    Unreadable,
)
from graphorch.models.messages import Response, ToolCall, Usage
from graphorch.models.openai.client import CallLimits, OpenAIClient
from tests.models.openai.calls import (
    KEY,
    ROOMY,
    TOOL,
    Score,
    ask,
    assert_key_hidden,
    call,
    expect_failure,
    question,
    with_server,
)
from tests.models.servers import (
    Asked,
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

SHORT = {
    "first token": replace(ROOMY, first_token=0.03),
    "between tokens": replace(ROOMY, between_tokens=0.03),
}


# ---- answers -----------------------------------------------------------------------------------


def test_answer_has_usage_and_model() -> None:
    """Return the text with its usage, model and finish reason."""
    response = ask(replies(completion("hello")))
    assert (response.text, response.model, response.finish_reason, response.attempts) == (
        "hello",
        "m-1",
        "stop",
        1,
    )
    assert response.usage == Usage(7, 3)
    assert (response.usd, response.usd_source, response.first_token_seconds) == (0.0, "none", None)


def test_stream_delivers_pieces() -> None:
    """Deliver the pieces of a stream and return the whole response."""
    pieces: list[str] = []

    async def use(client: OpenAIClient, server: Server) -> Response:
        return await client.complete(question(), pieces.append)

    response = with_server(streams(pieces_of("hel", "lo")), use=use)
    assert pieces == ["hel", "lo"]
    assert (response.text, response.usage) == ("hello", Usage(7, 3))
    assert response.first_token_seconds is not None
    assert 0 < response.first_token_seconds <= response.seconds


def test_stream_is_complete_after_finish_reason() -> None:
    """Accept a stream that breaks after its finish reason, with an estimated usage."""
    response = ask(
        streams([event(chunk("hello")), event(chunk(None, "stop"))], then="cut"), streamed=True
    )
    assert response.text == "hello"
    assert response.usage.is_estimated
    assert "estimated" in response.note


def test_unstreamed_answer_is_one_piece() -> None:
    """Read a whole answer if the endpoint does not stream."""
    pieces: list[str] = []

    async def use(client: OpenAIClient, server: Server) -> Response:
        return await client.complete(question(), pieces.append)

    assert with_server(replies(completion("hello")), use=use).text == "hello"
    assert pieces == ["hello"]


def test_reported_cost_is_used() -> None:
    """Take the cost that a gateway reports."""
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


def test_json_fence_is_stripped() -> None:
    """Strip the code fence around JSON."""
    response = ask(
        replies(completion('```json\n{"score": 3}\n```')), request=question(schema=Score)
    )
    assert response.text == '{"score": 3}'


# ---- tools -------------------------------------------------------------------------------------


@pytest.mark.parametrize("finish_reason", ["tool_calls", "stop"])
def test_tool_call_counts_as_answer(finish_reason: str) -> None:
    """Accept a tool call as the answer if the request has tools."""
    response = ask(
        replies(completion(None, finish_reason, tool_calls=[call()])),
        request=question(tools=(TOOL,)),
    )
    assert response.tool_calls == (ToolCall(id="c1", name="water", arguments='{"x": 1}'),)
    assert response.text == ""


def test_streamed_tool_call_is_assembled() -> None:
    """Assemble tool calls from the pieces of a stream."""
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


def test_unrequested_tool_call_is_unreadable() -> None:
    """Raise Unreadable for a tool call without tools in the request; ignore it beside a text."""
    assert (
        type(expect_failure(replies(completion(None, "tool_calls", tool_calls=[call()]))))
        is Unreadable
    )
    response = ask(replies(completion("hello", tool_calls=[call()])))
    assert (response.text, response.tool_calls) == ("hello", ())


# ---- chaos -------------------------------------------------------------------------------------

HTML = "<!doctype html><html><body>Please log in</body></html>"
# fits into the bound on bytes, and no parser that recurses survives it unharmed
DEEP = "[" * 5_000 + "]" * 5_000


@dataclass(frozen=True)
class Row:
    """Misbehaviour of an endpoint, with the error that it must become."""

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
        ContextOverflow,
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
        "a list of numbers for text",
        replies(completion([7])),
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
def test_misbehaviour_raises_typed_error(row: Row, streamed: bool) -> None:
    """Raise a typed error in time for every kind of misbehaviour."""
    limits = SHORT[row.says] if row.kind is TimedOut else ROOMY
    failure = expect_failure(row.handler, streamed=streamed, limits=limits)
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
def test_total_time_ends_call(handler: Handler, streamed: bool) -> None:
    """End every call when its total time is over."""
    failure = expect_failure(
        handler, request=question(timeout=0.03), streamed=streamed, limits=CallLimits()
    )
    assert isinstance(failure, TimedOut)
    assert failure.limit == "total"


def test_zero_timeout_fails_at_once() -> None:
    """Fail without waiting if the request has no time."""
    assert isinstance(expect_failure(never_answers, request=question(timeout=0.0)), TimedOut)


def test_closed_port_is_unreachable() -> None:
    """Raise Unreachable if no server listens at the address."""

    async def main() -> ModelError:
        async with serve(replies(b"")) as server:
            pass
        client = OpenAIClient(server.url, KEY)
        with pytest.raises(Unreachable, match="OPENAI_BASE_URL") as caught:
            await client.complete(question())
        await client.aclose()
        return caught.value

    assert_key_hidden(asyncio.run(main()))


def test_redirect_is_not_followed() -> None:
    """Follow no redirect, so that the key stays at its endpoint."""

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
def test_failed_call_sends_one_request(status: int) -> None:
    """Send one request a call, for every status."""

    async def use(client: OpenAIClient, server: Server) -> int:
        with pytest.raises(ModelError):
            await client.complete(question())
        return len(server.asked)

    assert (
        with_server(replies(b"", status, {"x-should-retry": "true", "retry-after": "0"}), use=use)
        == 1
    )


def test_listener_error_passes_through() -> None:
    """Let an error of the listener pass through."""

    def listener(piece: str) -> None:
        raise LookupError(piece)

    async def use(client: OpenAIClient, server: Server) -> None:
        await client.complete(question(), listener)

    with pytest.raises(LookupError, match="hel"):
        with_server(streams(pieces_of("hel", "lo")), use=use)


# ---- keys, addresses, connections --------------------------------------------------------------


def test_key_stays_out_of_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Keep the key out of logs and representations."""
    with caplog.at_level(logging.DEBUG):
        ask(replies(completion()))
        expect_failure(replies({"error": KEY}, 400))
    assert KEY not in caplog.text
    assert KEY not in repr(OpenAIClient("http://127.0.0.1/v1", KEY))
    assert KEY not in repr(vars(OpenAIClient("http://127.0.0.1/v1", SecretStr(KEY))))


@pytest.mark.parametrize("streamed", [False, True])
def test_cancelled_call_frees_connection(streamed: bool) -> None:
    """Close the connection of a cancelled call."""

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


def test_timed_out_call_frees_connection() -> None:
    """Close the connection of a call that timed out."""

    async def use(client: OpenAIClient, server: Server) -> None:
        with pytest.raises(TimedOut):
            await client.complete(question(timeout=0.2))
        # on a busy machine the time may be over before the connection was made
        if server.open_connections:
            await server.all_closed.wait()

    with_server(never_answers, use=use)


def test_connection_is_reused_and_closed() -> None:
    """Reuse a connection and close it with the client."""

    async def use(client: OpenAIClient, server: Server) -> None:
        for _ in range(3):
            await client.complete(question())
            await client.complete(question())
        assert (len(server.asked), server.open_connections) == (6, 1)
        await client.aclose()
        await server.all_closed.wait()
        await client.complete(question())  # it opens again on demand

    with_server(replies(completion()), use=use)


def test_streams_share_one_connection() -> None:
    """Use a connection again after a stream, whatever follows its end."""

    async def use(client: OpenAIClient, server: Server) -> tuple[int, int]:
        for _ in range(3):
            await client.complete(question(), [].append)
        return len(server.asked), server.open_connections

    after = [*pieces_of("x"), event("more"), b"data: {broken\n\n"]
    assert with_server(streams(pieces_of("x")), streams(after), use=use) == (3, 1)


def test_silence_before_first_word_is_allowed() -> None:
    """Wait for the first word as long as the call may take, also after an event without one."""

    async def thinks(asked: Asked) -> None:
        begun = event(chunk("", role="assistant"))
        await asked.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(begun), begun)
        )
        await asyncio.sleep(0.3)
        for entry in pieces_of("hi"):
            await asked.send(b"%x\r\n%s\r\n" % (len(entry), entry))
        await asked.send(b"0\r\n\r\n")

    limits = replace(ROOMY, between_tokens=0.1)
    assert ask(thinks, streamed=True, limits=limits).text == "hi"


def test_silence_after_finish_reason_is_short() -> None:
    """Return a complete answer although its stream does not end."""
    endless = streams([event(chunk("hi")), event(chunk(None, "stop"))], then="stall")
    limits = replace(ROOMY, between_tokens=0.05)
    assert ask(endless, streamed=True, limits=limits).text == "hi"
    assert ask(endless, streamed=True, request=question(timeout=1.0)).text == "hi"


def test_closing_awaits_running_call() -> None:
    """Let a running call finish when the client closes."""
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


def test_client_serves_successive_loops() -> None:
    """Use one client in one event loop after another."""
    clients: list[OpenAIClient] = []

    async def main(port: int) -> int:
        async with serve(replies(completion()), port=port) as server:
            clients.append(clients[0] if clients else OpenAIClient(server.url, KEY))
            assert (await clients[0].complete(question())).text == "hello"
            await clients[0].aclose()
            return int(server.url.split(":")[2].split("/")[0])

    assert asyncio.run(main(asyncio.run(main(0))))
