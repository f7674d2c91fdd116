"""The causal version of the state that travels on a token: which writes it has seen, and how they fold.

Theory of operation. A version maps a field's index to an entry. A *plain* field's entry is the write that set it, with its value;
every write links the write that it replaced, so w₁ is before w₂ exactly if w₁ lies on w₂'s chain. A *reducer* field's entry is a
`FoldedField`: the history of writes in canonical order (depth, declaration order), folded only when somebody reads it.

A version is two layers: `base`, shared by all branches of a fork and never changed, and `own`, what was written since. So a step
costs what it writes, a fork copies once for all its branches, and a join of branches with one base looks only at what they wrote.

Rules of this file: `base` is never mutated; a version is moved to a sole successor and mutated only by the activation that holds it;
canonical order decides, never the order of arrival.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from graphorch.errors import InternalError, WriteConflict

Order: TypeAlias = int
"""Canonical order, as one number: depth * WIDTH + the declaration index of the node; the input comes before every node."""

WIDTH = 1 << 32  # more nodes than a graph can have

ReduceAll: TypeAlias = Callable[[Any, Sequence[Any]], Any]

INPUT: Order = 0  # of what a run, or what runs inside a sub-flow or map, begins with
UNSET: Any = object()

Plain: TypeAlias = tuple[Any, Any, Order, str]
"""Entry of a plain field: the write that it replaced (or None), the value, its order, and who wrote, for messages. Compared by identity.

A bare tuple, because one is made for every field that a node writes. That it keeps the values before alive costs nothing: the history of
the run does so anyway.
"""


class HistoryEntry:
    """One write of a reducer field in a history: a list that grows at the end and is shared by all who saw its beginning."""

    __slots__ = ("length", "order", "previous", "source", "update")

    def __init__(
        self,
        previous: HistoryEntry | None,
        order: Order,
        update: Any,
        source: HistoryEntry | None = None,
    ) -> None:
        self.previous = previous
        self.order = order
        self.update = update
        self.length: int = previous.length + 1 if previous is not None else 1
        # the first mark of the same write, if this is another one of it, in another history
        self.source = source

    @property
    def write(self) -> HistoryEntry:
        """What identifies the write in every history."""
        return self.source if self.source is not None else self


class FoldedField:
    """Entry of a reducer field: a history, and the nearest earlier fold from which its value can be continued."""

    __slots__ = ("head", "parent", "value")

    def __init__(self, head: HistoryEntry, parent: FoldedField | None, value: Any = UNSET) -> None:
        self.head = head
        self.parent = parent
        self.value = value

    def read(
        self,
        seed: Callable[[], Any],
        reduce: Callable[[Any, Any], Any],
        reduce_all: ReduceAll | None = None,
    ) -> Any:
        """The folded value; kept, so that it is computed once. `seed` gives the field's default, or `UNSET`.

        `reduce_all` folds many updates in one go; without it every stage on the way is kept too, so that branches behind it share the work.
        """
        pending: list[FoldedField] = []
        fold: FoldedField | None = self
        while fold is not None and fold.value is UNSET:
            pending.append(fold)
            fold = fold.parent
        value, known = (fold.value, fold.head) if fold is not None else (seed(), None)
        for fold in reversed(pending) if reduce_all is None else pending[:1]:
            updates: list[Any] = []
            for mark in _between(known, fold.head):
                if value is UNSET or mark.order < WIDTH:  # the input replaces the default
                    value, updates = mark.update, []
                else:
                    updates.append(mark.update)
            if updates:
                value = (
                    functools.reduce(reduce, updates, value)
                    if reduce_all is None
                    else reduce_all(value, updates)
                )
            fold.value, fold.parent, known = value, None, fold.head
        return value


Entry = Plain | FoldedField


class Version:
    """The writes that one token has seen."""

    __slots__ = ("base", "own")

    def __init__(self, base: dict[int, Entry], own: dict[int, Entry]) -> None:
        self.base = base
        self.own = own

    def get(self, field: int) -> Entry | None:
        """The entry of a field, or None if nothing has written it."""
        entry = self.own.get(field)
        return entry if entry is not None else self.base.get(field)

    def take(
        self, update: Mapping[int, Any], reducers: frozenset[int], order: Order, by: str
    ) -> None:
        """Put a whole update into this version; `reducers` are the fields that are folded."""
        own, base = self.own, self.base
        if not (own or base or reducers):  # an input
            for field, value in update.items():
                own[field] = (None, value, order, by)
            return
        for field, value in update.items():
            if field in reducers:
                self.fold(field, value, order)
            else:
                own[field] = (own.get(field) or base.get(field), value, order, by)

    def fold(self, field: int, update: Any, order: Order) -> None:
        """Add one write to a reducer field."""
        old = self.get(field)
        if isinstance(old, FoldedField):
            self.own[field] = FoldedField(HistoryEntry(old.head, order, update), old)
        else:
            self.own[field] = FoldedField(HistoryEntry(None, order, update), None)

    def split(self, count: int) -> list[Version]:
        """`count` versions that have all seen this one, and of each other nothing. This one is used up."""
        base = {**self.base, **self.own} if self.own else self.base
        return [Version(base, {}) for _ in range(count)]

    def entries(self) -> dict[int, Entry]:
        """Every written field with its entry."""
        return {**self.base, **self.own}


def unite(versions: Sequence[Version]) -> Version:
    """The union of what several versions have seen; a write that several saw counts once.

    Raises `WriteConflict` if a plain field has two writes of which neither saw the other.
    """
    if len(versions) == 1:
        return versions[0]
    base = versions[0].base
    if all(version.base is base for version in versions):
        return Version(base, _united([version.own for version in versions], [base]))
    flat = [version.entries() for version in versions]
    return Version(_united(flat, [*(version.base for version in versions), *flat]), {})


def _united(layers: Iterable[dict[int, Entry]], known: list[dict[int, Entry]]) -> dict[int, Entry]:
    found: dict[int, list[Entry]] = {}
    for layer in layers:
        for field, entry in layer.items():
            entries = found.get(field)
            if entries is None:
                found[field] = [entry]
            elif entries[-1] is not entry:
                entries.append(entry)
    return {
        field: entries[0] if len(entries) == 1 else _united_entry(field, entries, known)
        for field, entries in found.items()
    }


def _united_entry(field: int, entries: list[Entry], known: list[dict[int, Entry]]) -> Entry:
    plain = [entry for entry in entries if isinstance(entry, tuple)]
    if len(plain) == len(entries):
        return _last_write(plain)
    folds = [entry for entry in entries if isinstance(entry, FoldedField)]
    if plain:
        raise InternalError(
            f"Field {field} is both plain and folded. Please report this as a bug of graphorch."
        )
    bases = [entry for layer in known if isinstance(entry := layer.get(field), FoldedField)]
    return _united_fold(folds, [*bases, *folds])


def _last_write(entries: list[Plain]) -> Plain:
    latest = max(entries, key=lambda entry: entry[2])
    missing = {id(entry): entry for entry in entries}
    del missing[id(latest)]
    floor = min((entry[2] for entry in missing.values()), default=latest[2])
    write: Plain | None = latest
    while missing and write is not None and write[2] >= floor:
        missing.pop(id(write), None)
        write = write[0]
    if missing:
        _, _, _, other = min(missing.values(), key=lambda entry: entry[2])
        raise WriteConflict(
            f"'{latest[3]}' and '{other}' both wrote the field at once, and neither saw the other. "
            "Give the field a reducer, or order the two nodes with an edge."
        )
    return latest


def _united_fold(folds: list[FoldedField], known: list[FoldedField]) -> FoldedField:
    """One history with the writes of all; it continues the longest known fold that all share."""
    common: HistoryEntry | None = folds[0].head
    extra: dict[HistoryEntry, HistoryEntry] = {}
    for fold in folds[1:]:
        common = _common(common, fold.head, extra)
    floor = min((mark.order for mark in extra), default=None)
    while common is not None and floor is not None and common.order > floor:
        extra[common.write] = common
        common = common.previous
    parent = _longest_known(known, common)
    head = common
    for mark in sorted(extra.values(), key=lambda mark: mark.order):
        head = HistoryEntry(head, mark.order, mark.update, mark.write)
    if head is None:
        raise InternalError(
            "A reducer field has an empty history. Please report this as a bug of graphorch."
        )
    return parent if parent is not None and parent.head is head else FoldedField(head, parent)


def _common(
    left: HistoryEntry | None, right: HistoryEntry | None, extra: dict[HistoryEntry, HistoryEntry]
) -> HistoryEntry | None:
    """The last mark that both histories share; what lies behind it on either side goes into `extra`, once per write."""
    while left is not right:
        if right is None or (left is not None and left.length >= right.length):
            assert left is not None
            extra[left.write], left = left, left.previous
        else:
            extra[right.write], right = right, right.previous
    return left


def _longest_known(known: list[FoldedField], common: HistoryEntry | None) -> FoldedField | None:
    """The known fold with the longest history that is a beginning of `common`."""
    best: FoldedField | None = None
    heads = {fold.head: fold for fold in known}
    mark = common
    shortest = min((head.length for head in heads), default=0)
    while mark is not None and mark.length >= shortest and best is None:
        best = heads.get(mark)
        mark = mark.previous
    return best


def _between(start: HistoryEntry | None, end: HistoryEntry | None) -> list[HistoryEntry]:
    """The marks behind `start` up to `end`, oldest first."""
    found: list[HistoryEntry] = []
    while end is not start and end is not None:
        found.append(end)
        end = end.previous
    found.reverse()
    return found
