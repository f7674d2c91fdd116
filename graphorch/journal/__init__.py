"""Stores of the records of runs: plain JSON, chained by hashes, appended by one owner at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphorch._lazy import lazy_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from graphorch.journal.codec import BodyLimits as BodyLimits
    from graphorch.journal.errors import AppendConflict as AppendConflict
    from graphorch.journal.errors import InvalidName as InvalidName
    from graphorch.journal.errors import InvalidRecord as InvalidRecord
    from graphorch.journal.errors import JournalDamaged as JournalDamaged
    from graphorch.journal.errors import LeaseExpired as LeaseExpired
    from graphorch.journal.errors import LeaseHeld as LeaseHeld
    from graphorch.journal.errors import LeaseLost as LeaseLost
    from graphorch.journal.errors import NewerFormat as NewerFormat
    from graphorch.journal.errors import NotAJournal as NotAJournal
    from graphorch.journal.errors import RunErased as RunErased
    from graphorch.journal.errors import RunExists as RunExists
    from graphorch.journal.errors import RunNotFound as RunNotFound
    from graphorch.journal.errors import StoreClosed as StoreClosed
    from graphorch.journal.errors import StoreFull as StoreFull
    from graphorch.journal.errors import StoreLocked as StoreLocked
    from graphorch.journal.errors import StoreNotOpened as StoreNotOpened
    from graphorch.journal.errors import StoreReadOnly as StoreReadOnly
    from graphorch.journal.errors import StoreUnavailable as StoreUnavailable
    from graphorch.journal.memory import MemoryStore as MemoryStore
    from graphorch.journal.record_kinds import RECORD_KINDS as RECORD_KINDS
    from graphorch.journal.record_kinds import RecordKind as RecordKind
    from graphorch.journal.records import Lease as Lease
    from graphorch.journal.records import Letter as Letter
    from graphorch.journal.records import NewLetter as NewLetter
    from graphorch.journal.records import NewRun as NewRun
    from graphorch.journal.records import Outcome as Outcome
    from graphorch.journal.records import Pruned as Pruned
    from graphorch.journal.records import Record as Record
    from graphorch.journal.records import RunHead as RunHead
    from graphorch.journal.records import RunLog as RunLog
    from graphorch.journal.records import RunPage as RunPage
    from graphorch.journal.records import RunQuery as RunQuery
    from graphorch.journal.records import Settlement as Settlement
    from graphorch.journal.records import Snapshot as Snapshot
    from graphorch.journal.sqlite.store import SqliteStore as SqliteStore
    from graphorch.journal.store import Store as Store
    from graphorch.journal.wrappers import ForwardingStore as ForwardingStore
    from graphorch.journal.wrappers import Mask as Mask
    from graphorch.journal.wrappers import MaskedStore as MaskedStore

# Where each public name lives.
__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__, __getattr__, __dir__ = lazy_names(  # pyright: ignore[reportUnsupportedDunderAll]
    __name__,
    {
        "codec": "BodyLimits",
        "errors": (
            "AppendConflict InvalidName InvalidRecord JournalDamaged LeaseExpired LeaseHeld "
            "LeaseLost NewerFormat NotAJournal RunErased RunExists RunNotFound StoreClosed "
            "StoreFull StoreLocked StoreNotOpened StoreReadOnly StoreUnavailable"
        ),
        "memory": "MemoryStore",
        "record_kinds": "RECORD_KINDS RecordKind",
        "records": (
            "Lease Letter NewLetter NewRun Outcome Pruned Record RunHead RunLog RunPage RunQuery "
            "Settlement Snapshot"
        ),
        "sqlite.store": "SqliteStore",
        "store": "Store",
        "wrappers": "ForwardingStore Mask MaskedStore",
    },
)
