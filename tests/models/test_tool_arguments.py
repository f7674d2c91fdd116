"""Arguments of tool calls: read as they were meant, and sent back as an object."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.models.messages import Message, Request, ToolCall
from graphorch.models.openai.dialect import Dialect, encode_messages
from graphorch.models.token_count import bound_input_tokens
from graphorch.models.tool_arguments import encode_object, read_object

OBJECT = '{"city": "London"}'


@pytest.mark.parametrize(
    "written, read",
    [
        (OBJECT, OBJECT),
        ("", "{}"),
        (" \n", "{}"),
        ("null", "{}"),
        (json.dumps(OBJECT), OBJECT),
        ('{"text": "two\nlines"}', '{"text": "two\\nlines"}'),
    ],
)
def test_arguments_are_read_as_meant(written: str, read: str) -> None:
    """Read the object behind empty, null and twice encoded arguments."""
    assert read_object(written) == read
    assert encode_object(written) == read


@pytest.mark.parametrize(
    "written",
    [
        '{"city": "Lon',
        '"London"',
        "[]",
        "7",
        f"{OBJECT}{OBJECT}",
        '{"x": NaN}',
        "hi",
        '{"x": "\\ud83d"}',
    ],
)
def test_malformed_arguments_stay_visible(written: str) -> None:
    """Keep malformed arguments for the tool, and wrap them in an object for the model."""
    assert read_object(written) == written
    assert json.loads(encode_object(written)) == {"malformed_arguments": written}


@pytest.mark.parametrize(
    "name, sent",
    [("weather", "weather"), ("functions.weather", "functions_weather"), ("naïve 😀", "na_ve__")],
)
def test_name_is_sent_as_allowed(name: str, sent: str) -> None:
    """Send a name that the protocol allows, whatever the model called."""
    call = ToolCall(id="a", name=name, arguments="")
    message = Message(role="assistant", content="", tool_calls=(call,))
    (encoded,) = encode_messages(Request("m", (message,)), Dialect())
    assert encoded["tool_calls"][0]["function"]["name"] == sent  # type: ignore[index]


@given(st.text())
def test_any_arguments_are_sent_as_object(written: str) -> None:
    """Send an object for any arguments, and count its tokens."""
    call = ToolCall(id="a", name="weather", arguments=written)
    message = Message(role="assistant", content="", tool_calls=(call,))
    request = Request("m", (message,))
    encoded = encode_messages(request, Dialect())[0]["tool_calls"]
    assert isinstance(encoded, list)
    sent = encoded[0]["function"]["arguments"]
    assert isinstance(json.loads(sent), dict)
    assert bound_input_tokens(request) > len(sent.encode("utf-8", "surrogatepass"))
