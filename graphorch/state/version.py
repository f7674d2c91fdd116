"""Causal versions of the state: which writes a token has seen, and how they fold.

Theory of operation. A version maps the index of a field to an entry. The entry of a *plain* field
is the write that set it, with its value. Every write links the write that it replaced, so write v
comes before write w exactly if v lies on the chain of w. The entry of a *reducer* field is a
`FoldedField`: the history of its writes in canonical order (depth, then declaration order), folded
on first read.

A version has two layers: `base`, shared by all branches of a fork and never changed, and `own`,
with the writes since. So a step costs as much as it writes, a fork copies once for all its
branches, and a join of branches with one base looks only at what they wrote.

Rule 1: `base` is never mutated.
Rule 2: a version is moved to a sole successor, and mutated only by the activation that holds it.
Rule 3: canonical order decides, never the order of arrival.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from graphorch.errors import InternalError, WriteConflict

Order: TypeAlias = int
"""Canonical order: depth * WIDTH + declaration index of the node; the input comes first."""

WIDTH = 1 << 32  # more nodes than a graph can have

ReduceAll: TypeAlias = Callable[[Any, Sequence[Any]], Any]

INPUT: Order = 0  # of the input of a run, or of a scope inside a sub-flow or map
UNSET: Any = object()

FieldWrite: TypeAlias = tuple[Any, Any, Order, str]
"""Entry of a plain field: the write that it replaced or None, value, order, name of the writer.

It is compared by identity. A bare tuple, because one is made for every field that a node writes. It
keeps earlier values alive, which costs nothing: the history of the run does so anyway.
"""


class HistoryEntry:
    """One write in the history of a reducer field.

    A history is a linked list that grows at its end; all who saw its beginning share that.
    """

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
        # the first entry of this write, if it stands here again in another history
        self.source = source

    @property
    def write(self) -> HistoryEntry:
        """Identity of the write, equal in every history."""
        return self.source if self.source is not None else self


class FoldedField:
    """Entry of a reducer field: a history, and the nearest earlier fold to continue from."""

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
        """Return the folded value, computed on first read.

        `seed` returns the default of the field, or `UNSET`. `reduce_all` folds many updates in one
        go; without it every fold on the way is kept too, so that branches behind it share the work.
        """
        # 1. Go back to the nearest fold whose value is known.
        pending: list[FoldedField] = []
        fold: FoldedField | None = self
        while fold is not None and fold.value is UNSET:
            pending.append(fold)
            fold = fold.parent
        value, known = (fold.value, fold.head) if fold is not None else (seed(), None)
        # 2. Continue from there: through each fold on the way, or to this one at once.
        for fold in reversed(pending) if reduce_all is None else pending[:1]:
            updates: list[Any] = []
            for link in _list_between(known, fold.head):
                if value is UNSET or link.order < WIDTH:  # the input replaces the default
                    value, updates = link.update, []
                else:
                    updates.append(link.update)
            if updates:
                if reduce_all is None:
                    value = functools.reduce(reduce, updates, value)
                else:
                    value = reduce_all(value, updates)
            # The earlier fold is not needed any more, and may be freed.
            fold.value, fold.parent, known = value, None, fold.head
        return value


Entry = FieldWrite | FoldedField


class Version:
    """Writes that one token has seen."""

    __slots__ = ("base", "own")

    def __init__(self, base: dict[int, Entry], own: dict[int, Entry]) -> None:
        self.base = base
        self.own = own

    def get(self, field: int) -> Entry | None:
        """Return the entry of a field, or None if nothing has written it."""
        entry = self.own.get(field)
        return entry if entry is not None else self.base.get(field)

    def take(
        self, update: Mapping[int, Any], reducers: frozenset[int], order: Order, by: str
    ) -> None:
        """Put a whole update into this version; `reducers` are the fields that are folded."""
        own, base = self.own, self.base
        # An input on a state without reducers: nothing is replaced.
        if not (own or base or reducers):
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
        """Return `count` versions that have seen this one, which is used up, and not each other."""
        base = {**self.base, **self.own} if self.own else self.base
        return [Version(base, {}) for _ in range(count)]

    def entries(self) -> dict[int, Entry]:
        """Return every written field with its entry."""
        return {**self.base, **self.own}


def unite(versions: Sequence[Version]) -> Version:
    """Return the version that has seen everything that several versions have seen.

    A plain field takes the write that comes after all others. A reducer field takes one history
    with the writes of all, in canonical order; a write that several versions saw counts once.

    Parameters
    ----------
    versions
        At least one. They are not changed, but a sole one is returned itself.

    Returns
    -------
    Version
        It shares the base of the versions if they have one base, as after a fork.

    Raises
    ------
    WriteConflict
        If two writes of a plain field have not seen each other.
    InternalError
        If a field is plain in one version and folded in another.

    Notes
    -----
    Commutative, associative and idempotent. With one base it takes time proportional to what the
    versions wrote since the fork, else to all their fields. A plain field with several writes costs
    its chain back to the earliest of them; a reducer field costs the history since the last entry
    that all share, and sorting that.
    """
    if len(versions) == 1:
        return versions[0]
    base = versions[0].base
    if all(version.base is base for version in versions):
        return Version(base, _unite_layers([version.own for version in versions], [base]))
    flat = [version.entries() for version in versions]
    known = [*(version.base for version in versions), *flat]
    return Version(_unite_layers(flat, known), {})


def _unite_layers(
    layers: Iterable[dict[int, Entry]], known: list[dict[int, Entry]]
) -> dict[int, Entry]:
    """Unite layers field by field; `known` are the layers in which an earlier fold may be found."""
    entries_by_field: dict[int, list[Entry]] = {}
    for layer in layers:
        for field, entry in layer.items():
            entries = entries_by_field.get(field)
            if entries is None:
                entries_by_field[field] = [entry]
            elif entries[-1] is not entry:
                entries.append(entry)
    united: dict[int, Entry] = {}
    for field, entries in entries_by_field.items():
        united[field] = entries[0] if len(entries) == 1 else _unite_field(field, entries, known)
    return united


def _unite_field(field: int, entries: list[Entry], known: list[dict[int, Entry]]) -> Entry:
    plain = [entry for entry in entries if isinstance(entry, tuple)]
    if len(plain) == len(entries):
        return _find_last_write(plain)
    if plain:
        raise InternalError(
            f"Field {field} is both plain and folded. Please report this as a bug of graphorch."
        )
    folds = [entry for entry in entries if isinstance(entry, FoldedField)]
    bases = [entry for layer in known if isinstance(entry := layer.get(field), FoldedField)]
    return _unite_folds(folds, [*bases, *folds])


def _find_last_write(writes: list[FieldWrite]) -> FieldWrite:
    """Return the write that comes after all others, or raise `WriteConflict` if there is none."""
    # Only the latest in canonical order can be it, and only if its chain holds all the others.
    latest = max(writes, key=lambda write: write[2])
    missing = {id(write): write for write in writes}
    del missing[id(latest)]
    # A chain goes down in canonical order, so it need not be followed below the earliest of them.
    floor = min((write[2] for write in missing.values()), default=latest[2])
    write: FieldWrite | None = latest
    while missing and write is not None and write[2] >= floor:
        missing.pop(id(write), None)
        write = write[0]
    if missing:
        _, _, _, other = min(missing.values(), key=lambda write: write[2])
        raise WriteConflict(
            f"'{latest[3]}' and '{other}' both wrote the field at once, and neither saw the other. "
            "Give the field a reducer, or order the two nodes with an edge."
        )
    return latest


def _unite_folds(folds: list[FoldedField], known: list[FoldedField]) -> FoldedField:
    """Return one history with the writes of all; it continues the longest fold that they share."""
    # 1. Find the last entry that all histories share, and the writes behind it in any of them.
    common: HistoryEntry | None = folds[0].head
    extra: dict[HistoryEntry, HistoryEntry] = {}
    for fold in folds[1:]:
        common = _find_common(common, fold.head, extra)
    # 2. Shared entries that come after the earliest of these in canonical order move behind it too.
    floor = min((link.order for link in extra), default=None)
    while common is not None and floor is not None and common.order > floor:
        extra[common.write] = common
        common = common.previous
    # 3. Append them to what is left of the shared history, in canonical order.
    parent = _find_longest_known(known, common)
    head = common
    for link in sorted(extra.values(), key=lambda link: link.order):
        head = HistoryEntry(head, link.order, link.update, link.write)
    if head is None:
        raise InternalError(
            "A reducer field has an empty history. Please report this as a bug of graphorch."
        )
    # 4. If nothing was appended and that history has a fold already, it is the result.
    return parent if parent is not None and parent.head is head else FoldedField(head, parent)


def _find_common(
    left: HistoryEntry | None, right: HistoryEntry | None, extra: dict[HistoryEntry, HistoryEntry]
) -> HistoryEntry | None:
    """Return the last entry that both histories share; put later writes into `extra`, once."""
    # Step back on the longer side: entries that both share have the same length on both.
    while left is not right:
        if right is None or (left is not None and left.length >= right.length):
            assert left is not None
            extra[left.write], left = left, left.previous
        else:
            extra[right.write], right = right, right.previous
    return left


def _find_longest_known(
    known: list[FoldedField], common: HistoryEntry | None
) -> FoldedField | None:
    """Return the known fold with the longest history that is a beginning of `common`."""
    heads = {fold.head: fold for fold in known}
    shortest = min((head.length for head in heads), default=0)
    link = common
    while link is not None and link.length >= shortest:
        fold = heads.get(link)
        if fold is not None:
            return fold
        link = link.previous
    return None


def _list_between(start: HistoryEntry | None, end: HistoryEntry | None) -> list[HistoryEntry]:
    """Return the entries after `start` up to `end`, oldest first."""
    links: list[HistoryEntry] = []
    while end is not start and end is not None:
        links.append(end)
        end = end.previous
    links.reverse()
    return links
