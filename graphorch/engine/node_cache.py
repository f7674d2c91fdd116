"""Results of nodes with a `Cache(ttl)`, kept in memory by the flow: equal inputs are served what an earlier run computed."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

from pydantic import BaseModel

from graphorch.core.events import Update
from graphorch.core.tree import Activation

_MOST = 1_024  # entries; the least recently used goes first


class NodeCache:
    """Updates by node and input. Only whole, validated updates are kept, and they are copied whenever a node is handed them."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[float, Update]] = OrderedDict()

    def get(self, key: str, now: float) -> Update | None:
        """The update that is kept under a key, unless it is too old."""
        entry = self._entries.get(key)
        if entry is None or now >= entry[0]:
            return None
        self._entries.move_to_end(key)
        return dict(entry[1])

    def put(self, key: str, update: Update, expires: float) -> None:
        """Keep an update until a time (seconds since the epoch)."""
        self._entries[key] = (expires, dict(update))
        self._entries.move_to_end(key)
        while len(self._entries) > _MOST:
            self._entries.popitem(last=False)


def compute_key(activation: Activation, given: list[Any], model: str) -> str:
    """What a result depends on: the node, the model that replaces its own, and the slices that it reads."""
    told = [
        f"{type(value).__name__}:{value.model_dump_json()}"
        if isinstance(value, BaseModel)
        else repr(value)
        for value in given
    ]
    parts = [activation.scope.plan.name, activation.step.name, model, *told]
    return hashlib.blake2b(
        "\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16
    ).hexdigest()
