"""Arguments and options that several commands share, and how their values are read."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, LiteralString, TypeAlias, TypeVar

import typer

from graphorch.cli.completion import complete_flow, complete_run
from graphorch.errors import InputError, did_you_mean

Choice = TypeVar("Choice", bound=LiteralString)

# ---- arguments and options -----------------------------------------------------------------------
FlowName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FLOW",
        help="path.py, path.py:name or module:name",
        show_default=False,
        autocompletion=complete_flow,
    ),
]
RunId: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The id of a run, the beginning of one, or `last`, the newest.",
        autocompletion=complete_run,
    ),
]
Db: TypeAlias = Annotated[
    str,
    typer.Option(
        "--db",
        metavar="PATH|URL",
        help="The journal: a SQLite file, or postgresql://user@host/database. "
        "Default: GRAPHORCH_DB, or graphorch.sqlite here.",
    ),
]
JsonInput: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="JSON",
        help="The input: a JSON object, @file.json, or - for standard input.",
    ),
]
Output: TypeAlias = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write the output to a file, all of it or nothing."
    ),
]
Model: TypeAlias = Annotated[
    str,
    typer.Option("--model", metavar="NAME", help="Use this model for every agent in this run."),
]
ConfigFile: TypeAlias = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration of models. Default: graphorch.toml or pyproject.toml here.",
    ),
]
Usd: TypeAlias = Annotated[
    float | None, typer.Option("--usd", help="Spend at most this many US dollars.")
]
Seconds: TypeAlias = Annotated[
    float | None, typer.Option("--seconds", help="Stop after this many seconds.")
]
Activations: TypeAlias = Annotated[
    int | None,
    typer.Option("--activations", help="Run at most this many nodes, repetitions included."),
]
After: TypeAlias = Annotated[
    str,
    typer.Option(
        "--after",
        metavar="RUN",
        help="Make this run the next turn after RUN, with what the flow remembers.",
    ),
]
Tags: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="KEY=VALUE", help="A tag to find the run by. Repeatable."),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="For programs: print one JSON object on standard output.")
]
AsEvents: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--events", help="For programs: print each event as a line of JSON, the result last."
    ),
]
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show neither progress nor a summary.")
]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
NoWait: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--no-wait",
        help="For a run that another process drives: return before that process takes it in.",
    ),
]
FromNode: TypeAlias = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="NODE[#n]",
        help="The node to start from: node, node#2 for its second activation, team/node.",
    ),
]
Since: TypeAlias = Annotated[
    str,
    typer.Option(
        "--since",
        metavar="TIME",
        help="From this time on: 2026-03-31, 2026-03-31T18:00, or an age such as 12h or 30d.",
    ),
]
Until: TypeAlias = Annotated[str, typer.Option("--until", metavar="TIME", help="Before this time.")]
ThemeName: TypeAlias = Annotated[
    Literal["auto", "light", "dark"],
    typer.Option("--theme", help="Colours; auto follows the viewer's setting."),
]


# ---- values --------------------------------------------------------------------------------------
_SECONDS_PER_UNIT = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def parse_choice(value: str, option: str, choices: tuple[Choice, ...]) -> Choice:
    """Return the choice that a value names. Raises `InputError` if there is none."""
    for choice in choices:
        if choice == value:
            return choice
    raise InputError(f"{option} {value}: not a valid value. {did_you_mean(value, choices)}")


def parse_age(age: str, option: str) -> float:
    """Return `90s`, `15m`, `12h`, `30d` or `2w` in seconds. Raises `InputError`."""
    match = _AGE.fullmatch(age.strip())
    if match is None:
        raise InputError(
            f"{option} {age}: not an age. Write a number and a unit: 90s, 15m, 12h, 30d or 2w."
        )
    return float(match[1]) * _SECONDS_PER_UNIT[match[2]]


def parse_time(when: str, option: str) -> float:
    """Return a date, a date with a time, or an age before now, as seconds since 1970.

    Raises `InputError`.
    """
    if _AGE.fullmatch(when.strip()):
        return time.time() - parse_age(when, option)
    try:
        return datetime.fromisoformat(when.strip()).timestamp()
    except (ValueError, OverflowError):
        raise InputError(
            f"{option} {when}: not a time. "
            "Write 2026-03-31, 2026-03-31T18:00, or how long ago it is: 12h, 30d."
        ) from None


def read_utc_offset(when: str) -> float | None:
    """Return the seconds that the zone of a valid date lies east of UTC; None without a zone.

    Such a date, and an age, is one of this machine's zone.
    """
    if _AGE.fullmatch(when.strip()) or not when:
        return None
    offset = datetime.fromisoformat(when.strip()).utcoffset()
    return None if offset is None else offset.total_seconds()


def parse_window(since: str, until: str) -> tuple[float | None, float | None]:
    """Return the times that `--since` and `--until` give, None where one is empty.

    Raises `InputError`.
    """
    begin = parse_time(since, "--since") if since else None
    end = parse_time(until, "--until") if until else None
    return begin, end


def parse_pairs(values: Sequence[str], option: str, example: str) -> dict[str, str]:
    """Return the pairs of a repeatable `KEY=VALUE` option; a value may be empty.

    Raises `InputError`.
    """
    pairs: dict[str, str] = {}
    for text in values:
        key, separator, value = text.partition("=")
        if not (key.strip() and separator):
            raise InputError(f"{option} {text}: not KEY=VALUE. Write {option} {example}.")
        pairs[key] = value
    return pairs


def parse_tags(values: Sequence[str]) -> dict[str, str]:
    """Return the tags of `--tag KEY=VALUE`, which must have values. Raises `InputError`."""
    tags = parse_pairs(values, "--tag", "team=search")
    for key, value in tags.items():
        if not value:
            raise InputError(f"--tag {key}=: the value is missing. Write --tag team=search.")
    return tags


def require_start_node(start: str, command: str, flow: str) -> None:
    """Raise `InputError` if `--from` is empty."""
    if not start:
        raise InputError(
            "--from is missing. Name the node to start from: "
            f"`graphorch {command} {flow} RUN --from NODE`, or NODE#2 for its second activation."
        )
