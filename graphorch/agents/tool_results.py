"""Results of tools as texts for a model: anything that a function may return, in JSON if it fits.

Rules of this file:
1. A text stays as it is. Half surrogate pairs are escaped, since no request could carry them.
2. Everything else becomes JSON: bytes that are no text in base64, what JSON does not know by `str`.
3. What cannot be written raises `ValueError` with the reason, for the model to read.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
from collections.abc import AsyncGenerator, Generator
from typing import Any, Final, cast

from pydantic_core import to_json, to_jsonable_python

from graphorch.text import clean, escape_surrogates

_MOST_ITEMS: Final = 1_000  # of a generator
_MORE: Final = "… more items were left out"


def write_result(result: object) -> str:
    """Return the result of a tool as text. Raises `ValueError` if it cannot be written."""
    if isinstance(result, str):
        return escape_surrogates(result)
    try:
        return to_json(result, fallback=_write_unknown, inf_nan_mode="constants").decode()
    except Exception:  # the border to values of users: they may raise anything when they are read
        return _write_with_care(result)


def _write_with_care(result: object) -> str:
    """Return JSON with bytes in base64 and half surrogate pairs escaped."""
    options: dict[str, Any] = {"fallback": _write_unknown, "bytes_mode": "base64"}
    try:
        try:
            plain = to_jsonable_python(result, **options)
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
        return str(value)
    except Exception as error:  # the class is a user's and may raise anything
        return f"<{type(value).__name__} whose text raises {type(error).__name__}>"


def collect_items(result: object) -> object:
    """Return a list of what a generator yields, at most a thousand items; anything else as it is.

    Call it where the function ran: the rest of its body runs here.
    """
    if not inspect.isgenerator(result):
        return result
    generator = cast("Generator[Any]", result)
    items = list(itertools.islice(generator, _MOST_ITEMS + 1))
    generator.close()
    return _cut_items(items)


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
