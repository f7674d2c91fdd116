"""Bodies: JSON with one meaning, whole, small and in time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from graphorch.server.gate.bodies import check_json, read_body
from graphorch.server.problems import Problem
from graphorch.server.settings import ServerLimits

LIMITS = ServerLimits(body_bytes=1_000, body_seconds=0.05, body_depth=8)
WRONG = {
    "nothing": (b" ", "line 1, column 2"),
    "no JSON": (b"topic=tides", "line 1, column 1"),
    "two values": (b"{} {}", "Extra data"),
    "a key twice": (b'{"user": "ann", "user": "bob"}', 'the key "user" twice'),
    "a key twice inside": (b'[{"a": {"b": 1, "b": 1}}]', 'the key "b" twice'),
    "a key twice, escaped": (b'{"user": 1, "us\\u0065r": 2}', 'the key "user" twice'),
    "not UTF-8": (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "byte order mark": (b'\xef\xbb\xbf{"a": 1}', "BOM"),
    "NaN": (b'{"a": NaN}', "NaN is no number"),
    "infinity": (b"[-Infinity]", "-Infinity is no number"),
    "too large a float": (b"[1e999]", "1e999 is too large"),
    "too long a number": (b"[" + b"9" * 500 + b"]", "a number has 500 digits"),
    "raw control character": (b'["a\x01"]', "Invalid control character"),
    "too deep": (b"[" * 12 + b"]" * 12, "nested more than 8 levels"),
    "far too deep": (b'{"a":' * 100_000, "nested more than 8 levels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_body_with_fault_is_refused(case: str) -> None:
    """A body that readers could take differently, or that cannot be kept, is refused with why."""
    body, why = WRONG[case]
    with pytest.raises(Problem) as caught:
        check_json(body, LIMITS)
    assert (caught.value.status, caught.value.name) == (400, "json")
    assert why in caught.value.detail


@pytest.mark.parametrize("body", [b'["\\u0000"]', b'{"a\\u0000": 1}', b'["\\ud800"]'])
def test_text_that_cannot_be_kept_is_refused(body: bytes) -> None:
    """NUL and half surrogate pairs are JSON, and no value that a store could hold."""
    with pytest.raises(Problem) as caught:
        check_json(body, LIMITS)
    assert (caught.value.status, caught.value.name) == (422, "unkept-text")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(values)
def test_every_other_value_is_taken(value: Any) -> None:
    """Whatever JSON can say without these faults gets in."""
    check_json(json.dumps(value).encode(), ServerLimits())
    check_json(json.dumps(value, ensure_ascii=False).encode(), ServerLimits())


def read(*messages: Message, limits: ServerLimits = LIMITS) -> bytes:
    """Read a body that comes in some messages; after them the client is silent."""

    async def main() -> bytes:
        left = list(messages)

        async def receive() -> Message:
            if not left:
                await asyncio.get_running_loop().create_future()
            return left.pop(0)

        return await read_body(receive, limits)

    return asyncio.run(main())


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_body_comes_in_parts() -> None:
    """The parts of a body are one body."""
    assert read(part(b"[1"), part(b", 2]", more=False)) == b"[1, 2]"


def test_long_body_is_refused_early() -> None:
    """A body is refused as soon as it is too long, whatever length it promised."""
    with pytest.raises(Problem) as caught:
        read(part(b"x" * 900), part(b"x" * 101))
    assert (caught.value.status, caught.value.name) == (413, "long-body")


def test_slow_body_is_refused() -> None:
    """A client that sends a little and waits does not hold its place."""
    with pytest.raises(Problem) as caught:
        read(part(b"{"))
    assert (caught.value.status, caught.value.name) == (408, "slow-body")


def test_client_that_leaves_begins_nothing() -> None:
    """Half a request of a client that has left is no request."""
    with pytest.raises(ConnectionError):
        read(part(b"{"), {"type": "http.disconnect"})
