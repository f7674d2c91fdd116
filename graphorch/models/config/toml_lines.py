"""Find the line of a value in a TOML text, which the parser does not keep."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import TypeAlias, cast

Path: TypeAlias = tuple[str | int, ...]

_TRIPLE = re.compile(r'"""|\'\'\'')
_STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')


def find_line(text: str, path: Sequence[str | int]) -> int | None:
    """Return the line (from 1) of the value at a path such as `("policies", "x", "kind")`.

    Without a line of its own, that of the nearest table or key around it; None if there is none.
    """
    lines = dict(_places(text))
    for length in range(len(path), 0, -1):
        line = lines.get(tuple(path[:length]))
        if line is not None:
            return line
    return None


def _places(text: str) -> Iterator[tuple[Path, int]]:
    """Yield every table and key with its line, in a text that is known to be TOML."""
    table: Path = ()
    counts: dict[Path, int] = {}
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        is_inside = bool(quote or depth)
        rest, quote = _without_strings(line, quote)
        if (
            not is_inside
            and (header := re.match(r"\s*(\[\[?)(.*?)\]\]?\s*(?:#.*)?$", line))
            and not re.match(r"\s*[^\[\s]", line)
        ):
            table = _keys(header.group(2))
            if header.group(1) == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield table, number
            continue
        if not is_inside and (
            key := re.match(r"\s*((?:[\w-]+|\"(?:\\.|[^\"\\])*\"|'[^']*'|\s*\.\s*)+?)\s*=", line)
        ):
            yield (*table, *_keys(key.group(1))), number
        depth += sum(rest.count(entry) for entry in "[{") - sum(rest.count(entry) for entry in "]}")


def _without_strings(line: str, quote: str) -> tuple[str, str]:
    """Return a line without strings and comment, and the triple quote that stays open at its end."""
    kept = ""
    while line:
        if quote:
            _, end, line = line.partition(quote)
            quote = "" if end else quote
            continue
        triple, string, comment = _TRIPLE.search(line), _STRING.search(line), line.find("#")
        starts = [match.start() for match in (triple, string) if match] + (
            [comment] if comment >= 0 else []
        )
        start = min(starts, default=len(line))
        kept += line[:start]
        if triple and triple.start() == start:
            quote, line = triple.group(), line[triple.end() :]
        elif string and string.start() == start:
            line = line[string.end() :]
        else:
            line = ""
    return kept, quote


def _keys(dotted: str) -> Path:
    """Return the parts of a dotted key, with its quotes read by the parser itself."""
    value: object = tomllib.loads(f"{dotted} = 0")
    keys: list[str] = []
    while isinstance(value, dict):
        ((key, value),) = cast("dict[str, object]", value).items()
        keys.append(key)
    return tuple(keys)
