"""Histories of reducer fields: sets of writes, listed in canonical order when they are read.

Theory of operation. A history grows at its end: a write that has seen all others is linked to the
history before it. When histories are united that differ in more than a few such links, they become
bitmasks over the numbers of the writes: the union of sets is the union of bits, which takes next to
nothing whatever the shape of the graph. Nothing is put in order before somebody reads.

Writes get their numbers from a log, one for each field of a scope, when they are first needed.
Masks are cut into chunks, so that histories share what they have in common: the chunks of early
writes are soon the same ones in every history.

Rule 1: a write and a history are never changed, apart from its number and the mask that it keeps.
Rule 2: canonical order decides, never the order of arrival, which is that of the numbers.
Rule 3: writes are equal if they are the same object; two writes of one history differ in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from operator import attrgetter
from typing import Any, TypeAlias

from graphorch.errors import InternalError

Order: TypeAlias = int
"""Canonical order: depth * WIDTH + declaration index of the node; the input comes first."""

Mask: TypeAlias = tuple[int, ...]
"""Set of numbers: bit b of chunk c stands for number c * _CHUNK + b."""

_CHUNK = 2048  # bits: few chunks for long runs, and few bytes for each that changes
_LINKED_PER_BRANCH = 8  # writes up to which linking them is cheaper than making masks
_LINKS_PER_MASK = 32  # links between two histories of a chain that keep their masks
_UNNUMBERED = -1

_by_order = attrgetter("order")


class Write:
    """One write of a reducer field, by the node with this name."""

    __slots__ = ("by", "number", "order", "update")

    def __init__(self, order: Order, update: Any, by: str) -> None:
        self.order = order
        self.update = update
        self.by = by
        self.number = _UNNUMBERED


class WriteLog(list[Write]):
    """Writes of one field in one scope, each at its number."""

    __slots__ = ()

    def number(self, write: Write) -> int:
        """Return the number of a write; the first time, that is the next one."""
        if write.number == _UNNUMBERED:
            write.number = len(self)
            self.append(write)
        return write.number

    def list_writes(self, mask: Mask, without: Mask = ()) -> list[Write]:
        """Return the writes of a mask but those of another one, in canonical order."""
        return sort_writes([self[number] for number in _iterate(mask, without)])


class History:
    """Writes that a version has seen: `write` behind those of `previous`, or those of a mask."""

    __slots__ = ("_mask", "last_order", "log", "previous", "write")

    def __init__(self, previous: History | None, write: Write) -> None:
        self.previous = previous
        self.write = write  # the last one
        self.last_order: Order = write.order
        self.log: WriteLog | None = None  # set if the history is a mask, without links
        self._mask: Mask | None = None

    @classmethod
    def of_mask(cls, log: WriteLog, mask: Mask, last: Write) -> History:
        """Return the history of all writes in a mask, of which `last` is the last one."""
        history = cls(None, last)
        history.log, history._mask = log, mask
        return history

    def list_writes(self) -> list[Write]:
        """Return all writes in canonical order."""
        writes: list[Write] = []
        history: History | None = self
        while history is not None and history.log is None:
            writes.append(history.write)
            history = history.previous
        writes.reverse()
        if history is not None and history.log is not None:
            writes = [*history.log.list_writes(history.mask(history.log)), *writes]
        return writes

    def list_linked(self, earlier: History | None) -> list[Write]:
        """Return the writes that are linked behind an earlier history, in canonical order."""
        if self.previous is earlier:
            return [self.write]
        writes: list[Write] = []
        history: History | None = self
        while history is not earlier:
            assert history is not None, "the earlier history is not linked to this one"
            writes.append(history.write)
            history = history.previous
        return writes[::-1]

    def mask(self, log: WriteLog) -> Mask:
        """Return the writes as a mask, made once; each write that was only linked gets a number."""
        linked: list[History] = []
        history: History | None = self
        while history is not None and history._mask is None:
            linked.append(history)
            history = history.previous
        chunks = list(history._mask or ()) if history is not None else []
        # Chains that branch off this one later find a mask near the place where they do.
        for number, history in enumerate(reversed(linked)):
            _add_number(chunks, log.number(history.write))
            if history is self or number % _LINKS_PER_MASK == 0:
                history._mask = tuple(chunks)
        assert self._mask is not None
        return self._mask

    def may_begin_with(self, other: History, log: WriteLog) -> bool:
        """Return whether the history of some of these writes seems to hold the first of them.

        A quick look: the earliest of the other writes, by number, has to come after all of them.
        """
        number = next(_iterate(self.mask(log), other.mask(log)), None)
        return number is None or log[number].order > other.last_order


def sort_writes(writes: list[Write]) -> list[Write]:
    """Return writes in canonical order. Raises `InternalError` if two have the same place."""
    ordered = sorted(writes, key=_by_order)
    for before, after in pairwise(ordered):
        if before.order == after.order:
            raise InternalError(
                f"Two writes of a reducer field by '{after.by}' have one place in canonical order. "
                "Please report this as a bug of graphorch."
            )
    return ordered


# ---- uniting -------------------------------------------------------------------------------------
def unite_branches(base: History | None, branches: Sequence[History]) -> History | None:
    """Return the history of the branches of one fork, or None if it takes masks to tell.

    `base` is what they have in common. A fast path of `unite_histories` for branches that wrote
    little since the fork; tests/state/test_history.py compares both.
    """
    writes: dict[Order, Write] = {}
    limit = _LINKED_PER_BRANCH * len(branches)
    for branch in branches:
        history: History | None = branch
        while history is not base:
            if history is None or history.log is not None or not limit:
                return None
            limit -= 1
            writes[history.last_order] = history.write
            history = history.previous
    orders = sorted(writes)
    if base is not None and orders and orders[0] < base.last_order:
        return None
    united = base
    for order in orders:
        united = History(united, writes[order])
    return united


def unite_histories(log: WriteLog, histories: Sequence[History]) -> History:
    """Return the history with the writes of all, each once; one of them if it has them all."""
    masks = [history.mask(log) for history in histories]
    united = masks[0]
    for mask in masks[1:]:
        united = _unite_masks(united, mask)
    for history, mask in zip(histories, masks, strict=True):
        if mask == united:
            return history
    last = max(histories, key=lambda history: history.last_order)
    return History.of_mask(log, united, last.write)


# ---- masks ---------------------------------------------------------------------------------------
def _add_number(chunks: list[int], number: int) -> None:
    chunk, bit = divmod(number, _CHUNK)
    if chunk >= len(chunks):
        chunks += [0] * (chunk + 1 - len(chunks))
    chunks[chunk] |= 1 << bit


def _unite_masks(left: Mask, right: Mask) -> Mask:
    """Return the numbers of both. Chunks of the left are kept where they hold everything."""
    if left is right:
        return left
    chunks: list[int] = []
    for own, other in zip_longest(left, right, fillvalue=0):
        both = own if own is other else own | other
        chunks.append(own if both == own else both)
    return tuple(chunks)


def _iterate(mask: Mask, without: Mask) -> Iterator[int]:
    """Yield the numbers of a mask in order, but those of another one."""
    for chunk, (own, other) in enumerate(zip_longest(mask, without, fillvalue=0)):
        rest = own & ~other if own is not other else 0
        while rest:
            lowest = rest & -rest
            yield chunk * _CHUNK + lowest.bit_length() - 1
            rest ^= lowest
