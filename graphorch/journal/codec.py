"""Bodies as canonical bytes, and the hashes that chain them.

Rules of this file:

1. Stored bytes are data: they never choose a type, a function or a format.
2. `load(dump(x)) == x` for everything that `dump` accepts, and `load` accepts only what `dump`
   would write, to the byte. So every value has one spelling, in the order of its keys: no white
   space, no NaN, no duplicate key, no escape that could be spelt otherwise.
3. `digest` hashes one body, and `next_link` adds it to all that came before. A body can be erased
   while its digest stays, so that the chain can still be followed.
4. The digest is keyed with a salt of the run that is erased along with the bodies: otherwise a
   short body ("yes", a name) could be guessed and confirmed.
5. A chain without a secret finds accidents: whoever can write the file can also compute it anew.
   With a secret (see `chain_key.py`) each link is an HMAC-SHA256, which only its holders can make.
"""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

from graphorch.journal.errors import InvalidRecord
from graphorch.journal.records import Body

HASH_BYTES = 32
SALT_BYTES = 16
INTEGER_BITS = 4096  # Python reads no more than 4,300 digits by default, and that can be set lower

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_decode = json.JSONDecoder().decode
_type_of: Callable[[object], type] = type
_only_text = frozenset([str]).issuperset
_ATOMS = frozenset([str, bool, float, type(None)])


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Limits of a body: its bytes as JSON, and how deep lists and objects may nest.

    A body with the description of a graph has three levels for each level of sub-flows. A value of
    the user may take `VALUE_DEPTH` levels of a body at most.
    """

    max_bytes: int = 16 * 1024 * 1024
    max_depth: int = 320


LIMITS = BodyLimits()
VALUE_DEPTH = 64
"""Levels of a body that holds values of the user: other programs read no deeper JSON."""


def dump(body: Body, limits: BodyLimits = LIMITS) -> bytes:
    """Return the canonical bytes of plain JSON data.

    Raises `InvalidRecord`, with the place, for a value that would not come back equal (other types
    and subclasses, keys that are not text, NaN, infinity, half of a surrogate pair, integers beyond
    4,096 bits) and for a body that is larger or deeper than the limits.
    """
    _check(body, limits)
    try:
        data = _encode(body).encode()
    except ValueError:  # NaN, infinity, a lone surrogate
        raise InvalidRecord(_explain(body, limits)) from None
    if len(data) > limits.max_bytes:
        raise InvalidRecord(_too_large(len(data), limits))
    return data


def load(data: bytes, limits: BodyLimits = LIMITS) -> Body:
    """Return the value of canonical bytes.

    Raises `InvalidRecord` for anything that `dump` would not have written.
    """
    if len(data) > limits.max_bytes:
        raise InvalidRecord(_too_large(len(data), limits))
    try:
        body = _decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidRecord(
            f"A stored body is not JSON: {type(error).__name__}: {str(error)[:200]}."
        ) from None
    if dump(body, limits) != data:
        raise InvalidRecord(
            "A stored body is JSON that another program wrote: it is not the canonical "
            "spelling of its value."
        )
    return body


def digest(data: bytes, salt: bytes) -> bytes:
    """Return the hash that stands for one body in the chain.

    A salt that is longer than any real one is damaged, and gives another hash.
    """
    return blake2b(data, digest_size=HASH_BYTES, key=salt[:64], person=b"graphorch body").digest()


def first_link(header: Body, secret: bytes | None = None) -> bytes:
    """Return the start of a run's chain, the hash of its header: records cannot change runs."""
    return _chain(b"graphorch run", dump(header), secret)


def next_link(
    link: bytes, seq: int, kind: str, body_digest: bytes, secret: bytes | None = None
) -> bytes:
    """Return the chain with one more record."""
    entry = link + seq.to_bytes(8, "big") + body_digest + kind.encode()
    return _chain(b"graphorch link", entry, secret)


def seal(link: bytes, status: str, is_erased: bool, secret: bytes | None = None) -> bytes:
    """Return the hash that guards the changing part of a run's head."""
    return _chain(b"graphorch head", link + bytes([is_erased]) + status.encode(), secret)


def tie(link: bytes, body: bytes, salt: bytes, secret: bytes | None = None) -> bytes:
    """Return the hash that ties a snapshot to the chain at its record."""
    body_digest = digest(link + body, salt)
    return body_digest if secret is None else _chain(b"graphorch snap", body_digest, secret)


def seal_letter(content: Body, secret: bytes | None = None) -> bytes:
    """Return the hash that guards a letter in the mailbox of a run."""
    return _chain(b"graphorch mail", dump(content), secret)


def _chain(purpose: bytes, data: bytes, secret: bytes | None) -> bytes:
    """Hash data for one purpose, with the secret of the run if it has one."""
    if secret is None:
        return blake2b(data, digest_size=HASH_BYTES, person=purpose).digest()
    return hmac.digest(secret, purpose + b"\0" + data, "sha256")


def _check(body: Body, limits: BodyLimits) -> None:
    """Raise `InvalidRecord` for values that are not plain JSON, too many or too deep.

    Level by level, without recursion; counting bounds shared and circular parts.
    """
    level: list[Any] = [body]
    depth = seen = 0
    while level:
        inner: list[Any] = []
        for value in level:
            kind = _type_of(value)
            if kind in _ATOMS:
                continue
            if kind is dict:
                if not _only_text(map(type, value)):
                    raise InvalidRecord(_explain(body, limits))
                inner.extend(value.values())
            elif kind is list:
                inner.extend(value)
            elif kind is not int or value.bit_length() > INTEGER_BITS:
                raise InvalidRecord(_explain(body, limits))
        depth += bool(inner)
        seen += len(inner)
        if seen > limits.max_bytes:
            raise InvalidRecord(_too_large(seen, limits))
        if depth > limits.max_depth:
            raise InvalidRecord(
                f"The body nests deeper than {limits.max_depth} levels. "
                "Flatten it, or raise the store's `max_depth`."
            )
        level = inner


def _too_large(size: int, limits: BodyLimits) -> str:
    return (
        f"The body has {size:,} bytes as JSON or more, the limit is {limits.max_bytes:,}. "
        "Keep large content elsewhere and store a reference to it, or raise the store's "
        "`max_bytes`."
    )


def _explain(body: Body, limits: BodyLimits) -> str:
    """Return the first fault of a body with its place; values may be secrets and are not shown."""
    fault = next(_faults(body, "body", limits.max_depth), "The body is not plain JSON data.")
    return (
        f"{fault} Store dict, list, str, int, float, bool and None, "
        "and convert everything else into them first."
    )


def _faults(value: Any, place: str, depth: int) -> Iterator[str]:
    kind = _type_of(value)
    if kind is dict and depth:
        for key, item in cast("dict[Any, Any]", value).items():
            if type(key) is not str:
                yield f"{place} has a key of type {type(key).__name__}; keys are text."
            elif not _is_unicode(key):
                yield f"{place} has the key {key!r:.80}, which holds half of a surrogate pair."
            else:
                yield from _faults(
                    item,
                    f"{place}.{key}" if key.isidentifier() else f"{place}[{key!r:.80}]",
                    depth - 1,
                )
    elif kind is list and depth:
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _faults(item, f"{place}[{index}]", depth - 1)
    elif kind is str and not _is_unicode(value):
        yield f"{place} is text that holds half of a surrogate pair."
    elif kind is float and not math.isfinite(value):
        yield f"{place} is {value}, which JSON does not have."
    elif kind is int and value.bit_length() > INTEGER_BITS:
        yield f"{place} is an integer of more than {INTEGER_BITS:,} bits."
    elif kind not in _ATOMS and kind not in (int, dict, list):
        yield f"{place} is of type {kind.__name__}, which would not come back as it is."


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
