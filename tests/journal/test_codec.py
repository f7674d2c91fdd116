"""Canonical bytes: a body comes back equal, and all other bytes are refused."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphorch.journal import codec
from graphorch.journal.codec import BodyLimits
from graphorch.journal.errors import InvalidRecord

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
BODIES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
ANYTHING = st.recursive(
    ATOMS
    | st.floats()
    | st.binary()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"]))
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=150)
@given(BODIES)
def test_body_round_trips_canonically(body: Any) -> None:
    """A body comes back equal and has one spelling."""
    data = codec.dump(body)
    assert codec.load(data) == body
    assert codec.dump(codec.load(data)) == data
    assert data == json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


@settings(max_examples=300)
@given(ANYTHING)
def test_body_is_refused_or_round_trips(body: Any) -> None:
    """A body is refused or comes back equal."""
    try:
        data = codec.dump(body)
    except InvalidRecord:
        return
    assert codec.load(data) == body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ((1, 2), "body is of type tuple"),
        ({"a": [1, {"b c": {1}}]}, "body.a[1]['b c'] is of type set"),
        ({"a": {7: 1}}, "body.a has a key of type int"),
        ([float("nan")], "body[0] is nan"),
        ({"x": float("-inf")}, "body.x is -inf"),
        ({"x": "\ud800"}, "body.x is text that holds half of a surrogate pair"),
        ({"\udc00": 1}, "body has the key '\\udc00', which holds half of a surrogate pair"),
        ([2**4096], "body[0] is an integer of more than 4,096 bits"),
        ([type("Text", (str,), {})("x")], "body[0] is of type Text"),
        ([type("Number", (int,), {})(1)], "body[0] is of type Number"),
        ([type("Dict", (dict,), {})()], "body[0] is of type Dict"),
    ],
)
def test_lossy_values_are_refused_with_place(body: Any, message: str) -> None:
    """A value that would not come back equal is refused with its place."""
    with pytest.raises(InvalidRecord) as caught:
        codec.dump(body)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(
        "Store dict, list, str, int, float, bool and None, and convert everything else "
        "into them first."
    )


def test_refused_value_is_not_shown() -> None:
    """The message of a refused value does not show it, since it may be a secret."""
    with pytest.raises(InvalidRecord) as caught:
        codec.dump({"key": [b"sk-canary", "\ud800sk-canary"]})
    assert "canary" not in str(caught.value)


def nested(depth: int) -> list[Any]:
    body: list[Any] = []
    for _ in range(depth):
        body = [body]
    return body


def test_depth_limit_applies_both_ways() -> None:
    """Depth is limited for writing and for reading."""
    limits = BodyLimits(max_depth=3)
    assert codec.load(codec.dump(nested(3), limits), limits) == nested(3)
    with pytest.raises(InvalidRecord, match="deeper than 3 levels"):
        codec.dump(nested(4), limits)
    with pytest.raises(InvalidRecord, match="deeper than 3 levels"):
        codec.load(codec.dump(nested(4)), limits)
    assert codec.load(codec.dump(nested(64))) == nested(64)


def test_size_limit_applies_both_ways() -> None:
    """Size is limited for writing and for reading."""
    limits = BodyLimits(max_bytes=10)
    assert codec.dump("é" * 4, limits) == '"éééé"'.encode()
    with pytest.raises(InvalidRecord, match="has 12 bytes as JSON or more, the limit is 10"):
        codec.dump("é" * 5, limits)
    with pytest.raises(InvalidRecord, match="the limit is 10"):
        codec.load(b'"' + b"x" * 9 + b'"', limits)


def test_circular_body_is_refused() -> None:
    """A body that contains itself is refused."""
    body: list[Any] = [1]
    body.append(body)
    with pytest.raises(InvalidRecord, match="nests deeper"):
        codec.dump(body)


def test_exponential_body_is_refused() -> None:
    """A small body that would be huge as JSON is refused."""
    body: list[Any] = []
    for _ in range(60):
        body = [body, body]
    with pytest.raises(InvalidRecord, match="the limit is 100,000"):
        codec.dump(body, BodyLimits(max_bytes=100_000))


@pytest.mark.parametrize(
    "data",
    [
        b"", b" 1", b"1 ", b"{}\n", b'{"a":1,"a":1}', b"NaN", b"-Infinity", b"1e400", b"1.50",
        b"01", b"-0", b"+1", b"1E5", b"1e5",
        b'"\\u0041"', b'"\\ud800"', b'"\xff"', b"\xef\xbb\xbf1", b"'a'", b"[1,]", b"{1:1}",
        b"[" * 100_000, b"[" * 400 + b"]" * 400,
        b"1" * 5000, b"9" * 1300, b"null null", b'{"a": 1}', b"\x80\x04.", b"True", b"\x00",
        "1".encode("utf-16"), b'"\\/"',
    ],
)  # fmt: skip
def test_other_spellings_are_refused(data: bytes) -> None:
    """Bytes in any but the canonical spelling are refused."""
    with pytest.raises(InvalidRecord):
        codec.load(data)


def test_chain_depends_on_all_parts() -> None:
    """The chain depends on every part."""
    parts: list[tuple[bytes, int, str, bytes]] = [
        (b"l" * 32, 1, "commit", b"d" * 32), (b"m" * 32, 1, "commit", b"d" * 32),
        (b"l" * 32, 2, "commit", b"d" * 32),
        (b"l" * 32, 1, "call", b"d" * 32), (b"l" * 32, 1, "commit", b"e" * 32),
    ]  # fmt: skip
    assert len({codec.next_link(*part) for part in parts}) == len(parts)
    assert (
        len({codec.seal(b"l", status, erased) for status in ("a", "b") for erased in (True, False)})
        == 4
    )
    assert codec.digest(b"yes", b"s" * 16) != codec.digest(b"yes", b"t" * 16)


def mutated(rng: random.Random) -> bytes:
    """Return bytes that are almost JSON, or not at all."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randrange(40))
    if kind == 1:
        return bytes(
            rng.choice(b'{}[]",:0123456789.eE+-\\u NaNtrufls') for _ in range(rng.randrange(40))
        )
    data = bytearray(
        codec.dump({"a": [1, 2.5, "é", None, {"b": True, "c": "\\\n\u2028"}], "d": -7})
    )
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if kind == 2:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


def fuzz(cases: int) -> None:
    rng = random.Random(1)
    accepted = 0
    for _ in range(cases):
        data = mutated(rng)
        try:
            body = codec.load(data)
        except InvalidRecord:
            continue
        accepted += 1
        assert codec.dump(body) == data
    assert 0 < accepted < cases


def test_random_bytes_are_refused_or_canonical() -> None:
    """Random bytes are refused or canonical."""
    fuzz(600)


@pytest.mark.slow
def test_many_random_bytes_are_refused_or_canonical() -> None:
    """Many random bytes are refused or canonical."""
    fuzz(20_000)
