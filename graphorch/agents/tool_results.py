"""Results of tools as texts for a model: anything that a function may return, in JSON if it fits.

Rules of this file:
1. A text stays as it is. Half surrogate pairs are escaped, since no request could carry them.
2. Everything else becomes JSON: bytes that are no text in base64, sets in order, and what JSON does
   not know by `str`, without addresses in memory.
3. Of what yields items one after the other, wherever it stands, a thousand are taken.
4. What cannot be written, or is too large for a record of a journal, raises `ValueError` with the
   reason, for the model to read.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any, Final, cast

from pydantic_core import to_json, to_jsonable_python

from graphorch.text import ADDRESS, clean, escape_surrogates

_MOST_ITEMS: Final = 1_000  # of a generator
_MORE: Final = "… more items were left out"
_MOST_BYTES: Final = 12_000_000  # of a text in a record, which has room for 16 MiB
_MOST_BYTES_OF_CHARACTER: Final = 6  # that a control character takes in JSON


def write_result(result: object) -> str:
    """Return the result of a tool as text.

    Raises `ValueError` if it cannot be written, or would take more than 12 MB in a record.
    """
    if isinstance(result, str):
        text = escape_surrogates(result)
    else:
        _check_size(result)
        text = _write_json(result)
    if len(text) * _MOST_BYTES_OF_CHARACTER > _MOST_BYTES:
        _check_bytes(len(to_json(text)))
    return text


def _check_size(result: object) -> None:
    """Raise `ValueError` for bytes that are too many before they are written in base64."""
    if isinstance(result, bytes | bytearray | memoryview):
        _check_bytes(len(cast("bytes", result)))


def _check_bytes(count: int) -> None:
    if count > _MOST_BYTES:
        raise ValueError(
            f"it takes {count:,} bytes, and {_MOST_BYTES:,} can be kept; return less of it, or "
            "where it can be found"
        )


def _write_json(result: object) -> str:
    try:
        plain = _take_items(result)
        return to_json(plain, fallback=_write_unknown, inf_nan_mode="constants").decode()
    except Exception:  # the border to values of users: they may raise anything when they are read
        return _write_with_care(result)


def _take_items(value: Any, around: tuple[int, ...] = ()) -> Any:
    """Return a value with lists for the iterators and sets inside of its containers.

    Those of one that holds itself are left to the writer, which refuses it.
    """
    if type(value) in _PLAIN or id(value) in around:
        return value
    inside = (*around, id(value))
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        if _PLAIN.issuperset(map(type, entries.values())):
            return entries
        return {key: _take_items(item, inside) for key, item in entries.items()}
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        if _PLAIN.issuperset(map(type, items)):
            return items
        return [_take_items(item, inside) for item in items]
    if isinstance(value, set | frozenset):
        members = cast("set[Any]", value)
        return sorted((_take_items(item, inside) for item in members), key=_write_sortable)
    if isinstance(value, Iterator):
        return [_take_items(item, inside) for item in _take_from(cast("Iterator[Any]", value))]
    return value.tobytes() if isinstance(value, memoryview) else value


_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes})


def _write_sortable(value: Any) -> bytes:
    return to_json(value, fallback=_write_unknown, inf_nan_mode="constants")


def _take_from(iterator: Iterator[Any]) -> list[Any]:
    return _cut_items(list(itertools.islice(iterator, _MOST_ITEMS + 1)))


def _write_with_care(result: object) -> str:
    """Return JSON with bytes in base64 and half surrogate pairs escaped."""
    options: dict[str, Any] = {"fallback": _write_unknown, "bytes_mode": "base64"}
    try:
        try:
            plain = to_jsonable_python(_take_items(result), **options)
        except UnicodeEncodeError:  # of a key
            plain = to_jsonable_python(_clean_keys(result), **options)
        return json.dumps(plain)
    except Exception as error:
        reason = clean(str(error), 200) if isinstance(error, ValueError) else type(error).__name__
        raise ValueError(reason) from None


def _clean_keys(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {clean(k) if isinstance(k, str) else k: _clean_keys(item) for k, item in items}
    if isinstance(value, list | tuple):
        return [_clean_keys(item) for item in cast("list[Any]", value)]
    return value


def _write_unknown(value: Any) -> str:
    try:
        return ADDRESS.sub("", str(value))
    except Exception as error:  # the class is a user's and may raise anything
        return f"<{type(value).__name__} whose text raises {type(error).__name__}>"


def collect_items(result: object) -> object:
    """Return a list of what an iterator yields, at most a thousand items; anything else as it is.

    Call it where the function ran: the rest of the body of a generator runs here.
    """
    if not isinstance(result, Iterator):
        return result
    iterator = cast("Iterator[Any]", result)
    items = _take_from(iterator)
    if isinstance(iterator, Generator):
        iterator.close()
    return items


async def finish(result: object) -> object:
    """Return what an awaitable gives, and a list of what an asynchronous generator yields."""
    if inspect.isawaitable(result):
        result = await result
    if not inspect.isasyncgen(result):
        return result
    generator = cast("AsyncGenerator[Any]", result)
    items: list[object] = []
    async for item in generator:
        items.append(item)
        if len(items) > _MOST_ITEMS:
            break
        await asyncio.sleep(0)
    await generator.aclose()
    return _cut_items(items)


def _cut_items(items: list[object]) -> list[object]:
    return items if len(items) <= _MOST_ITEMS else [*items[:_MOST_ITEMS], _MORE]
