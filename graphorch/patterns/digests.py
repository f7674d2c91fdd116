"""Reports cut to a number of tokens, so that who reads them all reads a bounded amount, however many they are and however long.

Tokens are counted as a third of the bytes of UTF-8: more than any usual tokenizer makes of prose in any script, and the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

_LEAST = 24  # tokens of a text that keeps its end too


def count_tokens(text: str) -> int:
    """How many tokens a text counts as."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // 3)


def measure_report(value: object) -> int:
    """The tokens of all texts in a value, keys included; anything else in it counts as one."""
    if isinstance(value, str):
        return count_tokens(value)
    if isinstance(value, BaseModel):
        return sum(measure_report(item) for item in value.__dict__.values())
    if isinstance(value, dict):
        return sum(
            measure_report(key) + measure_report(item)
            for key, item in cast("dict[Any, Any]", value).items()
        )
    if isinstance(value, list | tuple | set | frozenset):
        return sum(measure_report(item) for item in cast("Sequence[Any]", value))
    return 0 if value is None else 1


def share_budget(sizes: Sequence[int], budget: int) -> list[int]:
    """What each gets of a budget: all it needs if that is less than its part, and an equal part of the rest otherwise."""
    shares = [0] * len(sizes)
    left, open_ones = budget, sorted(range(len(sizes)), key=lambda number: sizes[number])
    while open_ones:
        number = open_ones.pop(0)
        shares[number] = min(sizes[number], left // (len(open_ones) + 1))
        left -= shares[number]
    return shares


def build_digest(report: M, tokens: int) -> M:
    """The report with its texts cut so that it counts as at most so many tokens; of a long list the first entries are kept."""
    return report if measure_report(report) <= tokens else cast("M", _cut(report, tokens))


def _cut(value: Any, tokens: int) -> Any:
    if isinstance(value, str):
        return shorten_text(value, tokens)
    if isinstance(value, BaseModel):
        parts = value.__dict__
        shares = share_budget([measure_report(part) for part in parts.values()], tokens)
        return value.model_copy(
            update={
                name: _fitting(item, share)
                for (name, item), share in zip(parts.items(), shares, strict=True)
            }
        )
    if isinstance(value, dict):
        found = cast("dict[Any, Any]", value)
        return dict(_first(list(found.items()), tokens))
    if isinstance(value, list):
        return _first(cast("list[Any]", value), tokens)
    return value


def _fitting(value: Any, tokens: int) -> Any:
    return value if measure_report(value) <= tokens else _cut(value, tokens)


def _first(items: list[Any], tokens: int) -> list[Any]:
    """The first items, the last of them cut, as far as they fit."""
    found: list[Any] = []
    for item in items:
        size = measure_report(item)
        if size > tokens:
            if not isinstance(item, tuple) and tokens >= _LEAST:
                found.append(_cut(item, tokens))
            break
        found.append(item)
        tokens -= size
    return found


def shorten_text(text: str, tokens: int) -> str:
    """The beginning and the end of a text, and between them how much was left out."""
    whole = count_tokens(text)
    if whole <= tokens:
        return text
    if tokens < _LEAST:
        return _bytes(text, tokens * 3)
    mark = f" […{whole - tokens} tokens left out…] "
    room = (tokens - count_tokens(mark)) * 3
    head = _bytes(text, room * 2 // 3)
    return head + mark + _bytes(text[::-1], room - len(head.encode("utf-8", "surrogatepass")))[::-1]


def _bytes(text: str, count: int) -> str:
    """As many characters as fit into so many bytes."""
    raw = text[:count].encode("utf-8", "surrogatepass")[: max(count, 0)]
    return raw.decode("utf-8", "ignore")
