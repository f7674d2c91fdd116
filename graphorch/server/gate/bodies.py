"""Bodies of requests: whole, small, in time, and JSON that has one meaning.

1. A body is read before the request goes on, so that a slow client holds nothing but its place.
2. An object that has a key twice is refused: two readers could take different values.
3. NUL and half surrogate pairs are refused: not every store and file can keep them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn, cast

from starlette.types import Message, Receive, Scope

from graphorch.server.problems import Problem
from graphorch.server.settings import ServerLimits

_UNKEPT: Final = re.compile("[\0\ud800-\udfff]")
_DISCARD_SECONDS: Final = 1.0
_LONGEST_NUMBER: Final = 400  # digits; a float has 309 at most


async def read_body(receive: Receive, limits: ServerLimits) -> bytes:
    """Return the whole body of a request.

    Raises `Problem` for one that is too long or too slow, and `ConnectionError` if the client left.
    """
    parts: list[bytes] = []
    size, has_more = 0, True
    try:
        async with asyncio.timeout(limits.body_seconds):
            while has_more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionError("The client left before its request was whole.")
                part = message.get("body", b"")
                size += len(part)
                if size > limits.body_bytes:
                    raise too_long(limits)
                parts.append(part)
                has_more = message.get("more_body", False)
    except TimeoutError:
        raise Problem(
            408,
            "slow-body",
            f"The body did not come within {limits.body_seconds:g} s. Send it at once.",
        ) from None
    return b"".join(parts)


async def discard_body(scope: Scope, receive: Receive, limits: ServerLimits) -> None:
    """Read the body of a refused request, as far as it is short and comes at once."""
    if any(name == b"expect" for name, _ in scope["headers"]):
        return  # the client waits for leave to send it
    size, has_more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while has_more and size <= limits.body_bytes:
                message = await receive()
                size += len(message.get("body", b""))
                has_more = message.get("more_body", False)


def too_long(limits: ServerLimits) -> Problem:
    """Return the problem of a body that is longer than a server takes."""
    return Problem(
        413,
        "long-body",
        f"The body is longer than {limits.body_bytes:,} bytes. Put large inputs into a file that "
        "the flow reads, and send its name.",
    )


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read already, and then what comes after it."""
    is_given = False

    async def receive_again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def check_json(body: bytes, limits: ServerLimits) -> None:
    """Raise `Problem` unless a body is JSON that every reader reads alike, and a store can keep."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong(f"byte {error.start} is not UTF-8") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_build_object,
            parse_constant=_refuse_constant,
            parse_int=_read_int,
            parse_float=_read_float,
        )
    except json.JSONDecodeError as error:
        raise _wrong(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise _too_deep(limits) from None
    _check_values(value, limits)


def _wrong(what: str) -> Problem:
    return Problem(400, "json", f"The body is not JSON as this server takes it: {what}.")


def _too_deep(limits: ServerLimits) -> Problem:
    return _wrong(f"it is nested more than {limits.body_depth} levels deep")


def _build_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise _wrong(f"an object has the key {json.dumps(key)[:80]} twice")
        values[key] = value
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise _wrong(f"{name} is no number of JSON")


def _read_int(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise _wrong(f"a number has {len(digits):,} digits")
    return int(digits)


def _read_float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _wrong(f"{digits[:40]} is too large for a number")
    return number


def _check_values(value: Any, limits: ServerLimits) -> None:
    """Raise `Problem` for a text that cannot be kept, and for a value that is nested too deep."""
    level: list[Any] = [value]
    depth = 0
    while level:
        if depth > limits.body_depth:
            raise _too_deep(limits)
        depth += 1
        level = [inner for outer in level for inner in _list_inside(outer)]


def _list_inside(value: Any) -> Sequence[Any]:
    """Return what is inside of a value, keys included; a text is checked."""
    if isinstance(value, str):
        found = _UNKEPT.search(value)
        if found is not None:
            raise Problem(
                422,
                "unkept-text",
                f"A text in the body holds {found.group()!a}, which cannot be kept. Leave it out.",
            )
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value)
        return [*pairs, *pairs.values()]
    return cast("list[Any]", value) if isinstance(value, list) else ()
