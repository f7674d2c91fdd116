"""Causal versions of the state: which writes a token has seen, and how they fold.

Theory of operation. A version maps the index of a field to an entry. The entry of a *plain* field
is the write that set it, with its value. Every write links the write that it replaced, so write v
comes before write w exactly if v lies on the chain of w. The entry of a *reducer* field is a
`FoldedField`: the history of its writes, put in canonical order (depth, then declaration order) and
folded on first read.

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
from operator import itemgetter
from typing import Any, TypeAlias

from graphorch.errors import InternalError, WriteConflict
from graphorch.state.history import (
    History,
    Order,
    Write,
    WriteLog,
    sort_writes,
    unite_branches,
    unite_histories,
)

_by_order = itemgetter(2)  # of a plain write
WIDTH = 1 << 32  # more nodes than a graph can have

ReduceAll: TypeAlias = Callable[[Any, Sequence[Any]], Any]

INPUT: Order = 0  # of the input of a run, or of a scope inside a sub-flow or map
UNSET: Any = object()

DEFAULT = "default"
"""Writer of the defaults that a run makes when it begins; they come before everything else."""

FieldWrite: TypeAlias = tuple[Any, Any, Order, str, int, Any]
"""Entry of a plain field: the write that it replaced or None, value, order, name of the writer; how
many writes it has replaced, and an earlier one to jump to, so that a search takes few steps [1].

It is compared by identity. A bare tuple, because one is made for every field that a node writes. It
keeps earlier values alive, which costs nothing: the history of the run does so anyway.

[1] Myers: An Applicative Random-Access Stack. Information Processing Letters 17 (1983).
"""


class InputUpdate(dict[int, Any]):
    """Update of the input of a scope, with the defaults that are made once for the scope."""

    __slots__ = ("defaults",)

    def __init__(self, update: Mapping[int, Any], defaults: Mapping[int, Any]) -> None:
        super().__init__(update)
        self.defaults = defaults


class FoldedField:
    """Entry of a reducer field: a history, and the nearest earlier fold to continue from.

    Of a history that is a mask, the parent is a guess: it holds some of the writes, perhaps not the
    first ones. A look at what it lacks tells, and only a reader has a reason to take it.
    """

    __slots__ = ("history", "parent", "value")

    def __init__(self, history: History, parent: FoldedField | None) -> None:
        self.history = history
        self.parent = parent
        self.value: Any = UNSET

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
        if self.value is not UNSET:
            return self.value
        # 1. Go back to the nearest fold whose value is known.
        pending: list[tuple[FoldedField, list[Write]]] = []
        fold: FoldedField | None = self
        while fold is not None and fold.value is UNSET:
            start, writes = fold.find_start()
            pending.append((fold, writes))
            fold = start
        value = fold.value if fold is not None else seed()
        # 2. Continue from there: through each fold on the way, or to this one at once.
        if reduce_all is not None:
            pending = [(self, [write for _, writes in reversed(pending) for write in writes])]
        while pending:
            fold, writes = pending.pop()
            updates: list[Any] = []
            for write in writes:
                if value is UNSET or write.order < WIDTH:  # the input replaces the default
                    value, updates = write.update, []
                else:
                    updates.append(write.update)
            if updates:
                if reduce_all is None:
                    value = functools.reduce(reduce, updates, value)
                else:
                    value = reduce_all(value, updates)
            # The earlier fold is not needed any more, and may be freed.
            fold.value, fold.parent = value, None
        return value

    def find_start(self) -> tuple[FoldedField | None, list[Write]]:
        """Return the nearest earlier fold that begins this one, and the writes behind it in order.

        Lists each of these writes once, however many earlier folds turn out to lack one before.
        """
        history, start = self.history, self.parent
        log = history.log
        if log is None:
            return start, history.list_linked(start.history if start is not None else None)
        writes: list[Write] = []
        rest, least = history.mask(log), history.last_order + 1
        while start is not None:
            # A fold that ends behind a write which it lacks does not begin the history.
            if start.history.last_order < least:
                mask = start.history.mask(log)
                missing = log.list_writes(rest, without=mask)
                writes += missing
                rest = mask
                if missing:
                    least = min(least, missing[0].order)
                if start.history.last_order < least:
                    return start, sort_writes(writes)
            start = start.parent
        return None, sort_writes(writes + log.list_writes(rest))


Entry = FieldWrite | FoldedField


class Version:
    """Writes that one token has seen. All versions of a scope share the logs of its fields."""

    __slots__ = ("base", "logs", "own")

    def __init__(
        self,
        base: dict[int, Entry],
        own: dict[int, Entry],
        logs: dict[int, WriteLog] | None = None,
    ) -> None:
        self.base = base
        self.own = own
        self.logs = {} if logs is None else logs

    def get(self, field: int) -> Entry | None:
        """Return the entry of a field, or None if nothing has written it."""
        entry = self.own.get(field)
        return entry if entry is not None else self.base.get(field)

    def is_written(self, field: int) -> bool:
        """Return whether the input or a node has written a field."""
        entry = self.get(field)
        if isinstance(entry, FoldedField):
            history = entry.history
            return history.last_order > INPUT or history.write.by != DEFAULT
        return entry is not None and (entry[2] > INPUT or entry[3] != DEFAULT)

    def take(
        self, update: Mapping[int, Any], reducers: frozenset[int], order: Order, by: str
    ) -> None:
        """Put a whole update into this version; `reducers` are the fields that are folded."""
        own, base = self.own, self.base
        # An input on a state without reducers: nothing is replaced.
        if not (own or base or reducers):
            for field, value in update.items():
                own[field] = (None, value, order, by, 0, None)
            return
        for field, value in update.items():
            if field in reducers:
                self.fold(field, value, order, by)
            else:
                old: Any = own.get(field) or base.get(field)
                if old is None:
                    own[field] = (None, value, order, by, 0, None)
                    continue
                # Inlined, since it runs for every write: after two jumps of one length the next
                # one is as long as both.
                jump = old[5]
                if jump is None or jump[5] is None or jump[4] - jump[5][4] != old[4] - jump[4]:
                    own[field] = (old, value, order, by, old[4] + 1, old)
                else:
                    own[field] = (old, value, order, by, old[4] + 1, jump[5])

    def fold(self, field: int, update: Any, order: Order, by: str) -> None:
        """Add one write to a reducer field."""
        old, write = self.get(field), Write(order, update, by)
        if isinstance(old, FoldedField):
            self.own[field] = FoldedField(History(old.history, write), old)
        else:
            self.own[field] = FoldedField(History(None, write), None)

    def take_defaults(self, defaults: Mapping[int, Any], reducers: frozenset[int]) -> None:
        """Put the defaults of an empty version under everything that is written."""
        self.take(defaults, reducers, INPUT, DEFAULT)
        self.base, self.own = self.own, {}

    def split(self, count: int) -> list[Version]:
        """Return `count` versions that have seen this one, which is used up, and not each other."""
        base = {**self.base, **self.own} if self.own else self.base
        return [Version(base, {}, self.logs) for _ in range(count)]

    def entries(self) -> dict[int, Entry]:
        """Return every written field with its entry."""
        return {**self.base, **self.own}


def pick_fields(version: Version, fields: Iterable[int]) -> Version:
    """Return a version that has seen the writes of some fields only."""
    entries = {field: version.get(field) for field in fields}
    known = {field: entry for field, entry in entries.items() if entry is not None}
    return Version(known, {}, version.logs)


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
    versions wrote since the fork, else to all their fields. Each write of a plain field costs
    the logarithm of its chain; a reducer field costs what the branches of one fork wrote, or the
    words of a bitmask over all its writes. Nothing is folded before it is read.
    """
    if len(versions) == 1:
        return versions[0]
    base, logs = versions[0].base, versions[0].logs
    if all(version.base is base for version in versions):
        return Version(
            base, _unite_layers([version.own for version in versions], [base], logs), logs
        )
    flat = [version.entries() for version in versions]
    known = [*(version.base for version in versions), *flat]
    return Version(_unite_layers(flat, known, logs), {}, logs)


def _unite_layers(
    layers: Iterable[dict[int, Entry]], known: list[dict[int, Entry]], logs: dict[int, WriteLog]
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
        united[field] = (
            entries[0] if len(entries) == 1 else _unite_field(field, entries, known, logs)
        )
    return united


def _unite_field(
    field: int,
    entries: list[Entry],
    known: list[dict[int, Entry]],
    logs: dict[int, WriteLog],
) -> Entry:
    plain = [entry for entry in entries if isinstance(entry, tuple)]
    if len(plain) == len(entries):
        return _find_last_write(plain)
    if plain:
        raise InternalError(
            f"Field {field} is both plain and folded. Please report this as a bug of graphorch."
        )
    folds = [entry for entry in entries if isinstance(entry, FoldedField)]
    bases = [entry for layer in known if isinstance(entry := layer.get(field), FoldedField)]
    if len(known) == 1:
        base = bases[0] if bases else None
        history = unite_branches(
            base.history if base is not None else None, [fold.history for fold in folds]
        )
        if history is not None:
            return FoldedField(history, base)
    log = logs.get(field)
    if log is None:
        log = logs[field] = WriteLog()
    return _unite_folds(folds, bases, log)


def _find_last_write(writes: list[FieldWrite]) -> FieldWrite:
    """Return the write that comes after all others, or raise `WriteConflict` if there is none."""
    # Only the latest in canonical order can be it, and only if its chain holds all the others. A
    # chain goes down in canonical order, so each of them is either at its place there or nowhere.
    latest, *others = sorted(writes, key=_by_order, reverse=True)
    write: FieldWrite | None = latest
    missing: FieldWrite | None = None
    for other in others:
        write = _go_back(write, other[2])
        if write is not other:
            missing = other
    if missing is not None:
        raise WriteConflict(
            f"'{latest[3]}' and '{missing[3]}' both wrote the field at once, and neither saw the "
            "other. Give the field a reducer, or order the two nodes with an edge."
        )
    return latest


def _go_back(write: FieldWrite | None, order: Order) -> FieldWrite | None:
    """Return the last write of a chain that is not after an order, or None."""
    while write is not None and write[2] > order:
        jump: FieldWrite | None = write[5]
        write = jump if jump is not None and jump[2] >= order else write[0]
    return write


def _unite_folds(folds: list[FoldedField], bases: list[FoldedField], log: WriteLog) -> FoldedField:
    """Return one history with the writes of all, and the longest fold that seems to begin it."""
    history = unite_histories(log, [fold.history for fold in folds])
    for fold in folds:
        if fold.history is history:
            return fold
    parent: FoldedField | None = None
    for fold in {id(fold): fold for fold in [*bases, *folds]}.values():
        is_longer = parent is None or fold.history.last_order > parent.history.last_order
        if is_longer and history.may_begin_with(fold.history, log):
            parent = fold
    return FoldedField(history, parent)
