"""Reports cut to a number of tokens, so that all of them together stay within a bound.

A token is counted as three bytes of UTF-8: more tokens than any usual tokenizer makes of prose in
any script, and equal on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

_LEAST = 24  # tokens of a text that keeps its end too
_BYTES_PER_TOKEN = 3


def count_tokens(text: str) -> int:
    """Return the number of tokens that a text counts as."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def measure_report(value: object) -> int:
    """Return the tokens of all texts in a value, keys included; any other leaf counts as 1."""
    if isinstance(value, str):
        return count_tokens(value)
    if isinstance(value, BaseModel):
        return sum(measure_report(item) for item in value.__dict__.values())
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return sum(measure_report(key) + measure_report(item) for key, item in items)
    if isinstance(value, list | tuple | set | frozenset):
        return sum(measure_report(item) for item in cast("Sequence[Any]", value))
    return 0 if value is None else 1


def share_budget(sizes: Sequence[int], budget: int) -> list[int]:
    """Return the share of a budget for each size (max-min fairness).

    A size below its equal part gets all that it needs; the rest is shared equally by the others.
    """
    shares = [0] * len(sizes)
    left = budget
    # From small to large: what a small one leaves over is there for the larger ones.
    order = sorted(range(len(sizes)), key=lambda number: sizes[number])
    for position, number in enumerate(order):
        shares[number] = min(sizes[number], left // (len(order) - position))
        left -= shares[number]
    return shares


def build_digest(report: M, tokens: int) -> M:
    """Return the report with its texts cut to at most `tokens`; long lists keep their beginning."""
    return report if measure_report(report) <= tokens else cast("M", _cut(report, tokens))


def _cut(value: Any, tokens: int) -> Any:
    if isinstance(value, str):
        return shorten_text(value, tokens)
    if isinstance(value, BaseModel):
        parts = value.__dict__
        # Numbers and the like cannot be cut: what they count as is not shared.
        whole = sum(measure_report(part) for part in parts.values() if _is_leaf(part))
        sizes = [0 if _is_leaf(part) else measure_report(part) for part in parts.values()]
        shares = share_budget(sizes, max(0, tokens - whole))
        update = {
            name: part if measure_report(part) <= share else _cut(part, share)
            for (name, part), share in zip(parts.items(), shares, strict=True)
        }
        return value.model_copy(update=update)
    if isinstance(value, dict):
        items = list(cast("dict[Any, Any]", value).items())
        return dict(_take_first(items, tokens))
    if isinstance(value, list):
        return _take_first(cast("list[Any]", value), tokens)
    return value


def _is_leaf(value: object) -> bool:
    """Return whether a value counts as one token or none, whatever it holds."""
    containers = (str, BaseModel, dict, list, tuple, set, frozenset)
    return not isinstance(value, containers)


def _take_first(items: list[Any], tokens: int) -> list[Any]:
    """Return the first items that fit, the last of them cut."""
    kept: list[Any] = []
    for item in items:
        size = measure_report(item)
        if size > tokens:
            # A tuple is an entry of a dictionary: it is kept whole or not at all.
            if not isinstance(item, tuple) and tokens >= _LEAST:
                kept.append(_cut(item, tokens))
            break
        kept.append(item)
        tokens -= size
    return kept


def shorten_text(text: str, tokens: int) -> str:
    """Return the beginning and end of a text, and between them how much was left out."""
    whole = count_tokens(text)
    if whole <= tokens:
        return text
    if tokens < _LEAST:
        return _cut_bytes(text, tokens * _BYTES_PER_TOKEN)
    mark = f" […{whole - tokens} tokens left out…] "
    room = (tokens - count_tokens(mark)) * _BYTES_PER_TOKEN
    head = _cut_bytes(text, room * 2 // 3)
    rest = room - len(head.encode("utf-8", "surrogatepass"))
    tail = _cut_bytes(text[::-1], rest)[::-1]
    return head + mark + tail


def _cut_bytes(text: str, count: int) -> str:
    """Return the first characters of a text that fit into `count` bytes."""
    raw = text[:count].encode("utf-8", "surrogatepass")[: max(count, 0)]
    return raw.decode("utf-8", "ignore")
