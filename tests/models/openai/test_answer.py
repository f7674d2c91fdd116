"""Answers of many shapes: what is read out of them, and that no error is taken for one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.errors import ModelError
from graphorch.models.errors import ContextOverflow, Refused, Truncated, Unreadable
from graphorch.models.messages import Message, Response, ToolCall
from graphorch.models.openai.answer import AnswerReader
from graphorch.models.openai.client import OpenAIClient
from tests.models.openai.calls import KEY, TOOL, ask, call, expect_failure, question, with_server
from tests.models.servers import (
    USAGE,
    Handler,
    Server,
    chunk,
    completion,
    event,
    pieces_of,
    replies,
    serve,
    streams,
)

HI, STOP, DONE = chunk("hi"), chunk(None, "stop"), event("[DONE]")
LONG = "maximum context length is 8192 tokens"


def choices_of(*choices: dict[str, object], **more: object) -> dict[str, object]:
    return {"id": "c", "choices": list(choices), **more}


def choice_of(text: str | None, index: object = 0, reason: str | None = None) -> dict[str, object]:
    return {"index": index, "delta": {"content": text}, "finish_reason": reason}


def half(text: str) -> bytes:
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}\n\n'.encode()


def ask_stream(*events: object, **more: Any) -> Response:
    return ask(streams(encode(events), **more), streamed=True)


def encode(events: Sequence[object]) -> list[bytes]:
    return [item if isinstance(item, bytes) else event(item) for item in events]


# ---- the events around an answer ---------------------------------------------------------------

AROUND: dict[str, list[object]] = {
    "usage without choices": [HI, STOP, {"id": "c", "usage": USAGE}],
    "usage with null choices": [HI, STOP, {"choices": None, "usage": USAGE}],
    "filter results first": [{"choices": [], "prompt_filter_results": [{}]}, HI, STOP],
    "filter results without choices": [{"id": "c", "prompt_filter_results": []}, HI, STOP],
    "null": ["null", HI, STOP],
    "ping": [{"type": "ping"}, HI, STOP],
    "named ping": [b"event: ping\ndata: {}\n\n", b"event: ping\ndata: alive\n\n", HI, STOP],
    "other pings": [b"data: 1\n\n", b"data: []\n\n", b"data: true\n\n", HI, STOP],
    "odd data lines": [b"\x00 Data: " + event(HI)[6:], b"\xef\xbb\xbf" + event(STOP)],
    "words": [b"data: keep-alive\n\n", HI, STOP],
    "a status with a message": [{"type": "status", "message": "searching"}, HI, STOP],
    "progress of a tool": [
        HI,
        b'event: tool.progress\ndata: {"status": "failed", "message": "no", "code": 7}\n\n',
        STOP,
    ],
    "no delta": [
        choices_of({"index": 0, "delta": None}),
        HI,
        choices_of(choice_of(None, 0, "stop")),
    ],
    "empty finish reasons": [choices_of(choice_of("h", 0, "")), choices_of(choice_of("i")), STOP],
    "text with the finish reason": [chunk("h"), chunk("i", "stop")],
    "text after the finish reason": [chunk("h", "stop"), chunk("i")],
    "thoughts beside": [chunk("", reasoning_content="hm"), chunk(reasoning="hm"), HI, STOP],
    "empty error": [{**HI, "error": {}}, {**STOP, "error": None}],
    "a fine base_resp": [{**HI, "base_resp": {"status_code": 0}}, STOP],
    "odd fields": [{**HI, "created": 1.5, "id": 7, "model": None, "object": ""}, STOP],
    "an index as text": [choices_of(choice_of("hi", "0")), STOP],
    "no index": [choices_of({"delta": {"content": "hi"}}), STOP],
    "only an index of one": [
        choices_of(choice_of("hi", 1)),
        choices_of(choice_of(None, 1, "stop")),
    ],
    "two choices": [
        choices_of(choice_of("B", 1), choice_of("h", 0)),
        choices_of(choice_of("i")),
        choices_of(choice_of("B", 1, "stop")),
        STOP,
    ],
    "parts": [
        chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
        chunk([{"type": "text", "text": "h"}, "i"]),
        STOP,
    ],
    "one part": [chunk({"type": "text", "text": "hi"}), STOP],
    "a message beside the delta": [
        choices_of({**choice_of("h"), "message": {"content": "h"}}),
        choices_of({**choice_of("i", 0, "stop"), "message": {"content": "hi"}}),
    ],
    "a whole completion": [json.dumps(completion("hi"))],
    "a printed completion": [json.dumps(completion("hi"), indent=2).encode()],
    "lines": [json.dumps(HI).encode() + b"\n", json.dumps(STOP).encode() + b"\n"],
}


@pytest.mark.parametrize("name", AROUND)
def test_stream_reads_odd_events(name: str) -> None:
    """Read the answer in a stream, whatever else is in it."""
    assert ask_stream(*AROUND[name]).text == "hi"


@given(st.sampled_from(sorted(AROUND)), st.lists(st.integers(0, 1_500), max_size=12))
def test_answer_does_not_depend_on_cuts(name: str, places: list[int]) -> None:
    """Read the same text and usage wherever the bytes of a stream are cut."""
    data = b"".join([*encode(AROUND[name]), b"\n", DONE])

    def read(cuts: list[int]) -> tuple[str, str, object]:
        reader = AnswerReader(is_whole=False)
        shown = ""
        for begin, end in pairwise([0, *sorted(cuts), len(data)]):
            shown += reader.feed(data[begin:end])
        return shown + reader.end() + reader.finish(), reader.answer.text, reader.bill

    assert read([min(place, len(data)) for place in places]) == read([])
    assert read([])[:2] == ("hi", "hi")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_streamed_text_survives_cuts(size: int) -> None:
    """Deliver the same pieces over a connection that cuts the bytes anywhere."""
    data = b"".join([half("na\u00efve \\ud83d"), half("\\ude00 \U0001f600"), *pieces_of("!")])
    pieces: list[str] = []

    async def use(client: OpenAIClient, server: Server) -> Response:
        return await client.complete(question(), pieces.append)

    cut = [data[begin : begin + size] for begin in range(0, len(data), size)]
    response = with_server(streams(cut), use=use)
    assert response.text == "".join(pieces) == "na\u00efve \U0001f600 \U0001f600!"


@pytest.mark.parametrize(
    "kind",
    [
        "Text/Event-Stream; charset=UTF-8",
        "text/plain",
        "application/json",
        "application/x-ndjson",
        "application/octet-stream",
        "text/html",
        "",
    ],
)
def test_content_type_does_not_matter(kind: str) -> None:
    """Read a stream under any content type, and one that was not asked for."""
    assert ask_stream(*pieces_of("hi"), kind=kind).text == "hi"
    assert ask(streams(pieces_of("hi"), kind=kind)).text == "hi"


def test_first_choice_counts() -> None:
    """Take the choice with index 0 of a whole answer, whatever the order."""
    body = completion("first")
    body["choices"] = [{**completion("second")["choices"][0], "index": 1}, *body["choices"]]
    assert ask(replies(body)).text == "first"


def test_odd_parts_are_noted() -> None:
    """Say which parts of an answer were left out; thoughts are none of it."""
    parts = [
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "x"}},
    ]
    response = ask(replies(completion(parts)))
    assert response.text == "see"
    assert response.note == "parts of the answer that are not text were left out: image_url"


def test_refusal_may_be_a_part() -> None:
    """Take a part with a refusal for one."""
    failure = expect_failure(replies(completion([{"type": "refusal", "refusal": "I will not"}])))
    assert type(failure) is Refused
    assert "I will not" in str(failure)


@pytest.mark.parametrize("mark", ["\ufeff", "\n \n"])
def test_mark_before_json_is_skipped(mark: str) -> None:
    """Read a whole answer behind a byte order mark or blank lines."""
    assert ask(replies(mark + json.dumps(completion("hi")))).text == "hi"


@pytest.mark.parametrize("events", [[half("cut \\ud83d"), STOP], [half("\\ude00"), STOP]])
def test_half_character_is_unreadable(events: list[object]) -> None:
    """Raise Unreadable for half a character without its other half."""
    failure = expect_failure(streams(encode(events)), streamed=True)
    assert type(failure) is Unreadable


# ---- errors ------------------------------------------------------------------------------------

ERRORS: dict[str, object] = {
    "OpenAI": {"error": {"message": LONG}},
    "text": {"error": LONG},
    "beside null choices": {"choices": None, "error": {"message": LONG}},
    "error_message": {"choices": None, "error_type": "BadRequestError", "error_message": LONG},
    "vLLM": {"object": "error", "message": LONG, "type": "BadRequestError", "code": 400},
    "Baidu": {"error_code": 336003, "error_msg": LONG},
    "DashScope": {"code": "InvalidParameter", "message": LONG, "request_id": "x"},
    "FastAPI": {"detail": LONG},
    "FastAPI's list": {"detail": [{"loc": ["body"], "msg": LONG, "type": "value_error"}]},
    "OpenRouter's choice": {
        "choices": [{"index": 0, "error": {"code": 502, "message": LONG}, "finish_reason": "error"}]
    },
    "OpenRouter's raw words": {
        "error": {
            "message": "Provider returned error",
            "code": 400,
            "metadata": {"raw": json.dumps({"error": {"message": LONG}})},
        }
    },
    "MiniMax": {"choices": None, "base_resp": {"status_code": 1004, "status_msg": LONG}},
    "a type": {"type": "error", "error": {"type": "invalid_request_error", "message": LONG}},
    "errors": {"success": False, "errors": [{"code": 7000, "message": LONG}]},
    "Gemini's list": [{"error": {"code": 400, "message": LONG, "status": "INVALID_ARGUMENT"}}],
    "an unknown shape": {"object": "error", "because": {"of": LONG}},
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("streamed", [False, True])
def test_error_in_answer_keeps_words(name: str, streamed: bool) -> None:
    """Keep the words of an error with status 200, and tell from them what it is."""
    handlers: list[Handler] = [replies(ERRORS[name])]  # type: ignore[list-item]
    if streamed:
        handlers.append(streams([event(ERRORS[name])]))
        handlers.append(streams([event(HI), event(ERRORS[name]), event(STOP)]))
    for handler in handlers:
        failure = expect_failure(handler, streamed=streamed)
        assert type(failure) is ContextOverflow
        assert LONG in str(failure)


@pytest.mark.parametrize("data", [f'{{"message": "{LONG}"}}', LONG, f'"{LONG}"', f'["{LONG}"]'])
def test_error_event_keeps_words(data: str) -> None:
    """Keep the words of an event that is named an error, of any shape."""
    handler = streams([f"event: error\ndata: {data}\n\n".encode()])
    assert LONG in str(expect_failure(handler, streamed=True))


def test_error_after_finish_reason_counts() -> None:
    """Raise an error that comes after the finish reason."""
    events = encode([HI, STOP, {"error": {"message": "moderation: flagged", "code": 400}}])
    assert type(expect_failure(streams(events), streamed=True)) is Refused


@pytest.mark.parametrize(
    "events", [["service starting"], [{"queue": 7, "note": "service starting"}]]
)
def test_stream_without_answer_quotes_rest(events: list[object]) -> None:
    """Quote what came if no answer came."""
    failure = expect_failure(streams(encode(events)), streamed=True)
    assert type(failure) is Unreadable
    assert "service starting" in str(failure)


def test_choice_outside_of_event_is_unreadable() -> None:
    """Raise for a part of the answer that comes in no event, since its text is lost."""
    events = [event(chunk("h")), b"date: " + event(chunk("i"))[6:], event(STOP)]
    failure = expect_failure(streams(events), streamed=True)
    assert type(failure) is Unreadable
    assert "outside of an event" in str(failure)


# ---- finish reasons ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason", ["STOP", "end_turn", "completed", "eos", " stop ", "FinishReason.STOP"]
)
def test_finish_reason_has_many_names(reason: str) -> None:
    """Know a complete answer by any of its names."""
    assert ask(replies(completion("hi", reason))).text == "hi"


@pytest.mark.parametrize(
    "reason", ["content_filter: RECITATION", "SAFETY", "content_filter: OTHER"]
)
def test_filter_has_many_names(reason: str) -> None:
    """Know an answer that a filter stopped by any of its names."""
    assert type(expect_failure(replies(completion("half", reason)))) is Refused


@pytest.mark.parametrize(
    "reason",
    [
        "insufficient_system_resource",
        "error",
        "ABORT",
        "other",
        "function_call_filter: MALFORMED_FUNCTION_CALL",
    ],
)
def test_passing_fault_may_be_repeated(reason: str) -> None:
    """Mark a fault of the endpoint that passes as one to ask again after."""
    failure = expect_failure(replies(completion("half", reason)))
    assert type(failure) is Unreadable
    assert failure.retryable


async def ask_tolerantly(handler: Handler, *, streamed: bool) -> Response:
    async with serve(handler) as server:
        client = OpenAIClient(server.url, KEY, sends_finish_reason=False)
        try:
            return await client.complete(question(), [].append if streamed else None)
        finally:
            await client.aclose()


@pytest.mark.parametrize("streamed", [False, True])
def test_missing_finish_reason_needs_setting(streamed: bool) -> None:
    """Take an answer without a finish reason if the settings say so, and note it."""
    events = [event(chunk("hi")), DONE]
    handler = streams(events) if streamed else replies(completion("hi", None))
    failure = expect_failure(handler, streamed=streamed)
    assert type(failure) is Truncated
    assert "sends_finish_reason = false" in str(failure)
    response = asyncio.run(ask_tolerantly(handler, streamed=streamed))
    assert (response.text, response.finish_reason) == ("hi", "complete")
    assert "no finish reason" in response.note


@pytest.mark.parametrize(
    "handler",
    [streams([event(chunk("half"))], then="cut"), streams([event(chunk("half"))[:-9]])],
)
def test_cut_stream_fails_in_any_case(handler: Handler) -> None:
    """Raise for a stream that was cut, also where no finish reason is expected."""
    with pytest.raises(ModelError):
        asyncio.run(ask_tolerantly(handler, streamed=True))


# ---- tool calls --------------------------------------------------------------------------------


def piece(
    index: object, name: str | None, arguments: object, identifier: object = None
) -> dict[str, object]:
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    return {
        **({} if index is None else {"index": index}),
        **({} if identifier is None else {"id": identifier}),
        "function": function,
    }


LONDON, UTC = '{"city": "London"}', '{"tz": "UTC"}'
BOTH = [("weather", LONDON), ("clock", UTC)]
PIECES: dict[str, tuple[list[list[dict[str, object]]], list[tuple[str, str]]]] = {
    "index 0 and two ids": (
        [[piece(0, "weather", LONDON, "a")], [piece(0, "clock", UTC, "b")]],
        BOTH,
    ),
    "one event": ([[piece(0, "weather", LONDON, "a"), piece(0, "clock", UTC, "b")]], BOTH),
    "index 0 and pieces": (
        [
            [piece(0, "weather", LONDON[:9], "a"), piece(0, None, LONDON[9:])],
            [piece(0, "clock", UTC[:3], "b"), piece(0, None, UTC[3:])],
        ],
        BOTH,
    ),
    "one tool twice": (
        [[piece(0, "weather", LONDON, "")], [piece(0, "weather", UTC, "")]],
        [("weather", LONDON), ("weather", UTC)],
    ),
    "the first one is malformed": (
        [[piece(0, "weather", "{", "a")], [piece(0, "weather", LONDON, "b")]],
        [("weather", "{"), ("weather", LONDON)],
    ),
    "no arguments": (
        [[piece(0, "weather", "")], [piece(0, "clock", "")]],
        [("weather", ""), ("clock", "")],
    ),
    "the id in every piece": (
        [
            [piece(None, "weather", LONDON[:9], "a")],
            [piece(None, "weather", LONDON[9:], "a")],
            [piece(None, "clock", UTC, "b")],
        ],
        BOTH,
    ),
    "another id in every piece": (
        [
            [piece(0, "weather", LONDON[:9], "a")],
            [piece(0, None, LONDON[9:], "x")],
            [piece(1, "clock", UTC, "b")],
        ],
        BOTH,
    ),
    "one id for all": (
        [[piece(0, "weather", LONDON, "call")], [piece(1, "clock", UTC, "call")]],
        BOTH,
    ),
    "one id and one index for all": (
        [[piece(0, "weather", LONDON, "call")], [piece(0, "weather", UTC, "call")]],
        [("weather", LONDON), ("weather", UTC)],
    ),
    "one call twice": (
        [
            [piece(0, "weather", LONDON[:9], "a"), piece(0, None, LONDON[9:])],
            [piece(0, "weather", LONDON, "a")],
            [piece(1, "clock", UTC, "b")],
        ],
        BOTH,
    ),
    "interleaved": (
        [
            [piece(1, "clock", "", "b")],
            [piece(0, "weather", "", "a")],
            [piece("1", None, UTC[:4]), piece(0, None, LONDON[:4])],
            [piece(0, None, LONDON[4:]), piece(1, None, UTC[4:])],
        ],
        BOTH,
    ),
    "numbers for ids": ([[piece(0, "weather", LONDON, 1)], [piece(0, "clock", UTC, 2)]], BOTH),
    "objects": (
        [[piece(0, "weather", {"city": "London"}, "a")], [piece(0, "clock", {"tz": "UTC"}, "b")]],
        BOTH,
    ),
    "a blank piece at the end": (
        [[piece(0, "weather", LONDON)], [piece(0, "weather", "\n")], [piece(0, "clock", UTC)]],
        [("weather", LONDON + "\n"), ("clock", UTC)],
    ),
}


@pytest.mark.parametrize("name", PIECES)
def test_tool_calls_are_told_apart(name: str) -> None:
    """Tell the tool calls of a stream apart, whatever index and id they have."""
    events, calls = PIECES[name]
    response = ask(
        streams([*(event(chunk(tool_calls=item)) for item in events), event(STOP)]),
        request=question(tools=(TOOL,)),
        streamed=True,
    )
    assert [(item.name, item.arguments) for item in response.tool_calls] == calls
    assert len({item.id for item in response.tool_calls}) == len(calls)


@given(st.sampled_from(sorted(PIECES)), st.lists(st.integers(0, 900), max_size=12))
def test_tool_calls_do_not_depend_on_cuts(name: str, places: list[int]) -> None:
    """Put the same tool calls together wherever the bytes of a stream are cut."""
    events, calls = PIECES[name]
    data = b"".join([*(event(chunk(tool_calls=item)) for item in events), event(STOP), DONE])
    cuts = sorted(min(place, len(data)) for place in places)
    reader = AnswerReader(is_whole=False)
    for begin, end in pairwise([0, *cuts, len(data)]):
        reader.feed(data[begin:end])
    reader.end()
    reader.finish()
    built = reader.answer.calls.build_calls(())
    assert [(item.name, item.arguments) for item in built] == calls


def test_entries_of_message_are_calls() -> None:
    """Take each entry of a whole message for a call, whatever its index and id."""
    entries = [call("a", index=0), call("b", index=0), call("b", index=0)]
    response = ask(replies(completion(None, tool_calls=entries)), request=question(tools=(TOOL,)))
    assert response.tool_calls == (
        ToolCall(id="c1", name="a", arguments='{"x": 1}'),
        ToolCall(id="call_1", name="b", arguments='{"x": 1}'),
        ToolCall(id="call_2", name="b", arguments='{"x": 1}'),
    )


def test_ids_are_unique_in_conversation() -> None:
    """Give a call another id if one of an earlier round has it, or if it has none."""
    messages = (
        Message(content="hi"),
        Message(
            role="assistant",
            content="",
            tool_calls=(
                ToolCall(id="a", name="water", arguments="{}"),
                ToolCall(id="call_2", name="water", arguments="{}"),
            ),
        ),
    )
    request = replace(question(tools=(TOOL,)), messages=messages)
    entries = [call("x", id="a"), call("y", id="b"), call("z", id=None)]
    response = ask(replies(completion(None, tool_calls=entries)), request=request)
    assert [item.id for item in response.tool_calls] == ["call_3", "b", "call_4"]


def test_function_call_is_tool_call() -> None:
    """Take a call in its older form for a tool call, whole and streamed."""
    request = question(tools=(TOOL,))
    older = {"function_call": {"name": "water", "arguments": LONDON}}
    whole = ask(replies(completion(None, "function_call", **older)), request=request)
    pieces = [
        {"name": "water", "arguments": ""},
        {"arguments": LONDON[:5]},
        {"arguments": LONDON[5:]},
    ]
    events = [event(chunk(function_call=item)) for item in pieces]
    last = event(chunk(None, "function_call"))
    streamed = ask(streams([*events, last]), request=request, streamed=True)
    for response in (whole, streamed):
        (called,) = response.tool_calls
        assert (called.name, called.arguments) == ("water", LONDON)
