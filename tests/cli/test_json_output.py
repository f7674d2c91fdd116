"""Whatever a state may hold becomes JSON that every program reads."""

from __future__ import annotations

import json
from datetime import date
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from graphorch.cli.json_output import to_json_line, to_json_text


class Tone(Enum):
    PLAIN = "plain"


class Value(BaseModel):
    when: date = date(2024, 2, 29)
    share: float = float("nan")
    data: bytes = b"\xff"
    name: str = "größe\n\u202e"
    key: SecretStr = SecretStr("do not show")
    path: PurePosixPath = PurePosixPath("a/b")
    tones: dict[Tone, int] = {Tone.PLAIN: 1}


class Outer(BaseModel):
    values: list[Value] = [Value()]
    any: Any = (1, {2}, object)


def test_value_becomes_ascii_line() -> None:
    """Any value becomes one line of strict ASCII JSON."""
    line = to_json_line({"outer": Outer(), "mapping": {"inner": Value()}})
    assert line.isascii()
    assert "\n" not in line
    report = json.loads(line, parse_constant=lambda word: pytest.fail(word))
    assert report["outer"]["values"] == [report["mapping"]["inner"]]
    assert report["mapping"]["inner"] == {
        "when": "2024-02-29",
        "share": None,
        "data": "_w==",
        "name": "größe\n\u202e",
        "key": "**********",
        "path": "a/b",
        "tones": {"plain": 1},
    }
    assert report["outer"]["any"] == [1, [2], "<class 'object'>"]


def test_json_text_keeps_characters() -> None:
    """People see every character as itself, on several lines."""
    assert to_json_text({"name": "größe"}) == '{\n  "name": "größe"\n}'
