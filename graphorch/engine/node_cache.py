"""Results of nodes with a `Cache(ttl)`: identical inputs get what an earlier run computed.

They are kept in memory, by the flow. A key is the description of the real values, as the node sees
them: with secrets, and with fields that are left out of every JSON. It is compared, not only
hashed, so no input is ever served the result of another one. What a node that may ask a model
returned belongs to the client that the caller of the run passed, which may be that of one tenant.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final, cast

from graphorch.core.events import Update
from graphorch.core.tree import Activation
from graphorch.errors import GraphorchError

_CAPACITY: Final = 1_024  # entries; the least recently used is dropped first
_LONG: Final = 256  # characters or bytes of a part that is kept as its hash


class Uncacheable(GraphorchError):
    """An input of a node with a cache that cannot be compared with earlier ones."""


class NodeCache:
    """Validated updates by node and input, copied at each use."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, tuple[float, Update]] = OrderedDict()

    def get(self, key: Hashable, now: float) -> Update | None:
        """Return the update that is kept under a key, unless it is too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, update = entry
        if now >= expires:
            return None
        self._entries.move_to_end(key)
        return dict(update)

    def put(self, key: Hashable, update: Update, expires: float) -> None:
        """Keep an update until a time (seconds since the epoch)."""
        self._entries[key] = (expires, dict(update))
        self._entries.move_to_end(key)
        while len(self._entries) > _CAPACITY:
            self._entries.popitem(last=False)


class _SameClient:
    """A client that is equal to itself alone, however it compares; kept alive by the key."""

    __slots__ = ("_client",)

    def __init__(self, client: object) -> None:
        self._client = client

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameClient) and self._client is other._client

    def __hash__(self) -> int:
        return id(self._client)


def compute_key(
    activation: Activation, given: list[Any], model: str, client: object = None
) -> Hashable:
    """Return the key of a result: the step of the flow, the slices that it reads, and the model.

    `model` replaces the agent's own; empty if it does not. `client` is the one that the caller of
    the run passed, if any. Raises `Uncacheable`.
    """
    from graphorch.state.identity import Indescribable, describe  # only nodes with a cache need it

    try:
        described = [_shorten(describe(value)) for value in given]
    except Indescribable as error:
        raise Uncacheable(
            f"Node '{activation.step.name}' has a cache, and an input of it cannot be compared: "
            f"{error}. Leave the cache out, or read a slice without that value."
        ) from error
    # The plan of the flow keeps its steps, and those of its inner flows, alive.
    asked = _SameClient(client) if activation.step.has_context else None
    return id(activation.step), model, asked, tuple(described)


def _shorten(description: Hashable) -> Hashable:
    """Return a description in which long texts are replaced by their hashes."""
    if isinstance(description, tuple):
        return tuple(map(_shorten, cast("tuple[Hashable, ...]", description)))
    if isinstance(description, frozenset):
        return frozenset(map(_shorten, cast("frozenset[Hashable]", description)))
    if type(description) is str and len(description) > _LONG:
        return hashlib.blake2b(description.encode("utf-8", "surrogatepass")).digest()
    if type(description) is bytes and len(description) > _LONG:
        return hashlib.blake2b(description).digest()
    return description
