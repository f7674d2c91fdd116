"""Arguments that models write for the tools of servers."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch.agents.mcp.arguments import SchemaArguments
from graphorch.agents.tool_arguments import WrongArguments

READER = SchemaArguments(
    {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "text": {"type": ["string", "null"]}},
        "additionalProperties": False,
    }
)


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"n": 1}', {"n": 1}),
        ('"{\\"n\\": 1}"', {"n": 1}),
        ("", {}),
        ("null", {}),
        ('{"text": null}', {"text": None}),
        ('{"text": "a\nb"}', {"text": "a\nb"}),
    ],
)
def test_arguments_are_read_as_meant(written: str, arguments: Any) -> None:
    """Empty, null and twice encoded arguments are read as for functions, and null stays null."""
    assert READER.read("files__count", written) == arguments
    assert READER.bind(arguments) == arguments


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ('{"n": "1"}', "n: '1' is not of type 'integer'"),
        ('{"m": 1}', "Additional properties are not allowed ('m' was unexpected)"),
        ("[1]", "arguments: they are no object"),
        ("{", "arguments: they are no JSON"),
        ('{"n": NaN}', "arguments: they are no JSON"),
        ('{"text": "\\ud800"}', "arguments: they are no JSON"),
        ("[" * 100_000, "arguments: they are no JSON"),
    ],
)
def test_wrong_arguments_are_told(written: str, fault: str) -> None:
    """What does not fit is a text for the model, with its place."""
    with pytest.raises(WrongArguments) as caught:
        READER.read("files__count", written)
    text = str(caught.value)
    assert text.startswith("Error: the arguments of 'files__count' do not fit: ")
    assert fault in text
    text.encode()
