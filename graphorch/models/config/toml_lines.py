"""Find the line of a value in a TOML text, which the parser does not keep."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import TypeAlias, cast

Path: TypeAlias = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)(.*?)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*((?:[\w-]+|\"(?:\\.|[^\"\\])*\"|'[^']*'|\s*\.\s*)+?)\s*=")
# The alternatives are tried in this order: a triple quote begins like an empty string.
_STRING_OR_COMMENT = re.compile(
    r"""(?P<triple>\"{3}|'{3}) | (?P<string>"(?:\\.|[^"\\])*"|'[^']*') | (?P<comment>\#)""",
    re.VERBOSE,
)


def find_line(text: str, path: Sequence[str | int]) -> int | None:
    """Return the line (from 1) of the value at a path such as `("policies", "x", "kind")`.

    A value without a line of its own has that of the nearest key or table around it, or of the
    first thing in that; None if there is none.
    """
    lines = dict(_list_places(text))
    for length in range(len(path), 0, -1):
        around = tuple(path[:length])
        inside = [line for place, line in lines.items() if place[:length] == around]
        if inside:
            return lines.get(around, min(inside))
    return None


def _list_places(text: str) -> Iterator[tuple[Path, int]]:
    """Yield every table and key with its line, in a text that is known to be TOML."""
    table: Path = ()
    counts: dict[Path, int] = {}
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        is_inside_value = bool(quote or depth)
        rest, quote = _remove_strings(line, quote)
        # 1. Only a line that continues no value from above can hold a header or a key.
        if not is_inside_value:
            header = _HEADER.match(line)
            if header:
                table = _enter_table(header[1], header[2], counts)
                yield table, number
                continue
            key = _KEY.match(line)
            if key:
                yield (*table, *_split_key(key[1])), number
        # 2. A bracket that stays open continues the value on the next line.
        depth += rest.count("[") + rest.count("{") - rest.count("]") - rest.count("}")


def _enter_table(brackets: str, name: str, counts: dict[Path, int]) -> Path:
    """Return the path of a table; one in an array of tables (`[[name]]`) gets the next number."""
    table = _split_key(name)
    if brackets == "[[":
        counts[table] = counts.get(table, -1) + 1
        table = (*table, counts[table])
    return table


def _remove_strings(line: str, quote: str) -> tuple[str, str]:
    """Return a line without strings and comment, and the triple quote that stays open after it.

    `quote` is the triple quote that is open before the line, or "".
    """
    kept = ""
    while line:
        # 1. Skip a string of several lines up to its end.
        if quote:
            _, end, line = line.partition(quote)
            if end:
                quote = ""
            continue
        # 2. Keep the text up to the next string or comment, and skip that.
        skipped = _STRING_OR_COMMENT.search(line)
        if skipped is None:
            return kept + line, ""
        kept += line[: skipped.start()]
        if skipped["comment"]:
            return kept, ""
        quote = skipped["triple"] or ""
        line = line[skipped.end() :]
    return kept, quote


def _split_key(dotted: str) -> Path:
    """Return the parts of a dotted key, with its quotes read by the parser itself."""
    value: object = tomllib.loads(f"{dotted} = 0")
    keys: list[str] = []
    while isinstance(value, dict):
        ((key, value),) = cast("dict[str, object]", value).items()
        keys.append(key)
    return tuple(keys)
