"""Results of nodes with a `Cache(ttl)`: equal inputs get what an earlier run computed.

They are kept in memory, by the flow.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, Final

from pydantic import BaseModel

from graphorch.core.events import Update
from graphorch.core.tree import Activation

_CAPACITY: Final = 1_024  # entries; the least recently used is dropped first


class NodeCache:
    """Validated updates by node and input, copied at each use."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[float, Update]] = OrderedDict()

    def get(self, key: str, now: float) -> Update | None:
        """Return the update that is kept under a key, unless it is too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, update = entry
        if now >= expires:
            return None
        self._entries.move_to_end(key)
        return dict(update)

    def put(self, key: str, update: Update, expires: float) -> None:
        """Keep an update until a time (seconds since the epoch)."""
        self._entries[key] = (expires, dict(update))
        self._entries.move_to_end(key)
        while len(self._entries) > _CAPACITY:
            self._entries.popitem(last=False)


def compute_key(activation: Activation, given: list[Any], model: str) -> str:
    """Return the key of a result: a hash of the node, the slices that it reads, and the model.

    `model` replaces the models of all agents in the run; empty if it does not.
    """
    slices = [_describe_slice(value) for value in given]
    parts = [activation.scope.plan.name, activation.step.name, model, *slices]
    content = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _describe_slice(value: Any) -> str:
    if isinstance(value, BaseModel):
        return f"{type(value).__name__}:{value.model_dump_json()}"
    return repr(value)
