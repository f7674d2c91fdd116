"""Input of a flow from JSON and options, and messages if it does not fit."""

from __future__ import annotations

import io
import json
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from graphorch.cli.input_parser import parse_input
from graphorch.errors import InputError


class Tone(Enum):
    PLAIN = "plain"
    FORMAL = "formal"


class Limits(BaseModel):
    most: int
    least: int = 0


class Brief(BaseModel):
    topic: str
    max_words: int = 100
    share: float | None = None
    deep: bool = False
    tags: list[str] = []
    tone: Tone = Tone.PLAIN
    kind: Literal["news", "essay"] = "essay"
    due: date | None = None
    limits: Limits | None = None
    stages: tuple[Limits, ...] = ()
    weights: dict[str, float] = {}
    note: str | None = None
    size: Annotated[int, Field(ge=1)] = 1


def read(
    *arguments: str, source: str | None = None, model: type[BaseModel] = Brief
) -> dict[str, Any]:
    """What was explicitly set."""
    return parse_input(model, source, arguments).model_dump(exclude_unset=True)


@pytest.mark.parametrize(
    "arguments, values",
    [
        (["--max-words", "7"], {"max_words": 7}),
        (["--max_words=7"], {"max_words": 7}),
        (["--size", " 3 "], {"size": 3}),
        (["--share", "0.5"], {"share": 0.5}),
        (["--deep"], {"deep": True}),
        (["--no-deep"], {"deep": False}),
        (["--deep", "false"], {"deep": False}),
        (["--deep=true"], {"deep": True}),
        (["--deep", "--size", "2"], {"deep": True, "size": 2}),
        (["--tags", "a", "--tags", "b,c"], {"tags": ["a", "b,c"]}),
        (["--tags", '["a", "b"]'], {"tags": ["a", "b"]}),
        (["--tone", "formal"], {"tone": Tone.FORMAL}),
        (["--kind", "news"], {"kind": "news"}),
        (["--due", "2024-02-29"], {"due": date(2024, 2, 29)}),
        (["--limits", '{"most": 3}'], {"limits": {"most": 3}}),
        (
            ["--stages", '{"most": 1}', "--stages", '{"most": 2}'],
            {"stages": ({"most": 1}, {"most": 2})},
        ),
        (["--weights", '{"a": 1}'], {"weights": {"a": 1.0}}),
        (["--note", "-5"], {"note": "-5"}),
        (["--note", "{not json"], {"note": "{not json"}),
        (["--note", "@@handle"], {"note": "@handle"}),
    ],
)
def test_option_is_read_by_field_type(arguments: list[str], values: dict[str, Any]) -> None:
    """An option is read as the type of its field says."""
    assert read("--topic", "tides", *arguments) == {"topic": "tides", **values}


def test_option_takes_file(tmp_path: Path) -> None:
    """`@file` is replaced by the text of the file."""
    (tmp_path / "t.txt").write_text("high\nwater\n")
    (tmp_path / "l.json").write_text('{"most": 4}')
    assert read("--topic", f"@{tmp_path}/t.txt", f"--limits=@{tmp_path}/l.json") == {
        "topic": "high\nwater\n",
        "limits": {"most": 4},
    }


@pytest.mark.parametrize("source", ["-", "@-"])
def test_input_reads_standard_input(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """`-` and `@-` read the input from standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"topic": "tides"}')))
    assert read(source=source) == {"topic": "tides"}


def test_option_takes_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`@-` is replaced by standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("größe".encode())))
    assert read("--topic", "@-") == {"topic": "größe"}


def test_json_from_word_and_file(tmp_path: Path) -> None:
    """JSON is read from a word and from a file."""
    (tmp_path / "input.json").write_text('\ufeff{"topic": "tides", "due": "2024-02-29"}')
    assert read(source='{"topic": "tides"}') == {"topic": "tides"}
    assert read(source=f"@{tmp_path}/input.json") == {"topic": "tides", "due": date(2024, 2, 29)}


def test_option_wins_over_json() -> None:
    """An option wins over the JSON."""
    assert read("--topic", "moons", source='{"topic": "tides", "size": 2}') == {
        "topic": "moons",
        "size": 2,
    }


def test_strict_model_takes_options() -> None:
    """A strict model takes options, although they are text."""

    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)
        count: int
        due: date

    assert read("--count", "3", "--due", "2024-02-29", model=Strict) == {
        "count": 3,
        "due": date(2024, 2, 29),
    }
    assert read(source='{"count": 3, "due": "2024-02-29"}', model=Strict) == {
        "count": 3,
        "due": date(2024, 2, 29),
    }
    with pytest.raises(
        InputError, match=r"count: Input should be a valid integer \(got '3', from --input\)"
    ):
        read(source='{"count": "3", "due": "2024-02-29"}', model=Strict)


def test_alias_and_name_are_accepted() -> None:
    """A field with an alias is known by both names."""

    class Aliased(BaseModel):
        topic: str = Field(alias="Thema")

    assert read("--topic", "tides", model=Aliased) == {"topic": "tides"}
    assert read(source='{"Thema": "tides"}', model=Aliased) == {"topic": "tides"}
    assert read(source='{"topic": "tides"}', model=Aliased) == {"topic": "tides"}


def test_open_model_takes_any_key() -> None:
    """A model that takes any field takes any key."""

    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        topic: str

    assert read(source='{"topic": "tides", "more": 1}', model=Open) == {"topic": "tides", "more": 1}


@pytest.mark.parametrize(
    "source, message",
    [
        (
            '{"topic": "x",}',
            # Where the comma stands, or what follows it: Python 3.13 names the former.
            r"--input is not JSON: .* at line 1, column 1[45], near `\{\"topic\": \"x\",\}`\. "
            r"Write an object such as",
        ),
        ("", r"--input is empty\. Write an object such as '\{\"topic\": \"…\", \"max_words\": 1,"),
        ("[1]", r"--input is a JSON list. It must be an object"),
        ("true", r"--input is a JSON truth value"),
        ("[" * 100_000, r"--input is nested too deeply"),
        ("@none.json", r"--input: file 'none\.json' cannot be read: no such file or directory"),
        ('{"topic": 1}', r"topic: Input should be a valid string \(got 1, from --input\)"),
        (
            '{"topic": "x", "limits": {"most": "many"}}',
            r"limits\.most: Input should be a valid integer",
        ),
    ],
)
def test_wrong_json_is_explained(source: str, message: str) -> None:
    """JSON that does not fit is explained."""
    with pytest.raises(InputError, match=message):
        read(source=source)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], r"topic: missing\. Give --topic TEXT, or 'topic' in --input\."),
        (
            ["--tpoic", "x"],
            r"--tpoic: there is no such option and no such field\. Did you mean '--topic'\?",
        ),
        (["--topic", "x", "--modle", "m"], r"--modle: .*Did you mean '--model'\?"),
        (
            ["--topic", "x", "stray"],
            r"stray: this word belongs to no option\. Put text with spaces in quotes",
        ),
        (["--topic"], r"topic: --topic needs a value\. Write --topic TEXT"),
        (["--topic", "--size", "3"], r"topic: --topic needs a value\. Write --topic TEXT"),
        (
            ["--topic", "@none.txt"],
            r"topic: --topic: file 'none\.txt' cannot be read: no such file",
        ),
        (
            ["--topic", "x", "--limits", "3 to 4"],
            r"limits: --limits is not JSON: .*Write --limits '\{…\}'",
        ),
        (
            ["--topic", "x", "--size", "many"],
            r"size: Input should be a valid integer.* \(got 'many', from --size\)",
        ),
        (
            ["--topic", "x", "--size", "0"],
            r"size: Input should be greater than or equal to 1 \(got '0', from --size\)",
        ),
        (
            ["--topic", "x", "--tone", "loud"],
            r"tone: Input should be 'plain' or 'formal' \(got 'loud', from --tone\)",
        ),
    ],
)
def test_wrong_option_is_explained(arguments: list[str], message: str) -> None:
    """An option that does not fit is explained."""
    with pytest.raises(InputError, match=message):
        read(*arguments)


def test_problems_are_listed_together() -> None:
    """All problems of an input are listed at once."""
    with pytest.raises(InputError) as caught:
        read("--sise", "3", "--limits", "{", source='{"tpoic": "x"}')
    lines = str(caught.value).split("\n")
    assert lines[0] == "The input (Brief) does not fit:"
    assert [line.split(":")[0] for line in lines[1:]] == [
        "  - tpoic",
        "  - --sise",
        "  - limits",
        "  - topic",
    ]


def test_long_value_is_cut() -> None:
    """A long value is cut in the message."""
    with pytest.raises(InputError) as caught:
        read("--topic", "x", "--size", "9" * 10_000 + "x")
    assert len(str(caught.value)) < 400


def test_first_problems_are_shown() -> None:
    """Of very many problems the first twenty are shown."""
    with pytest.raises(InputError) as caught:
        read("--topic", "x", "--stages", "[" + ",".join(["{}"] * 100) + "]")
    lines = str(caught.value).split("\n")
    assert lines[1].startswith("  - stages.0.most: Field required")
    assert (len(lines), lines[-1]) == (22, "  - and 80 more")


def test_lone_surrogate_is_explained() -> None:
    """A text that pydantic cannot take is one message."""
    with pytest.raises(InputError, match="topic"):
        read(source=json.dumps({"topic": "\ud800"}))


def test_option_replaces_json_of_other_kind() -> None:
    """A value in the JSON that is not a list has no items that an option could add to."""
    assert read("--topic", "x", "--tags", "a", source='{"tags": 5}')["tags"] == ["a"]
