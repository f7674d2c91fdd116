"""Rows of a store, and the access to them that every kind of storage provides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from graphorch.journal import codec
from graphorch.journal.chain_key import ChainKey
from graphorch.journal.errors import InvalidRecord, JournalDamaged, WrongKey
from graphorch.journal.records import Lease, RunHead, RunQuery
from graphorch.text import is_run_id


@dataclass(slots=True)
class RunRow:
    """One run.

    `id` is the storage's own short number, `owner` is "" while the run has no lease, whose length
    is `lease_seconds`. `link` is the end of the chain, `seal` guards the head, and `key_id` names
    the key of both, b"" if there is none.
    """

    id: int
    run_id: str
    flow: str
    fingerprint: str
    format: int
    parent: str | None
    tags: bytes
    created_at: float
    updated_at: float
    status: str
    last_seq: int
    link: bytes
    seal: bytes
    salt: bytes
    is_erased: int
    owner: str
    epoch: int
    expires_at: float
    lease_seconds: float
    key_id: bytes


@dataclass(slots=True)
class RecordRow:
    """One record.

    `digest` is stored once the body is gone; before that it is computed from the body.
    """

    seq: int
    kind: str
    body: bytes | None
    digest: bytes | None
    link: bytes


@dataclass(slots=True)
class SnapshotRow:
    """Latest snapshot of a run; `digest` ties it to the chain at its record."""

    seq: int
    body: bytes
    digest: bytes


@dataclass(slots=True)
class LetterRow:
    """One letter in the mailbox of a run.

    `error` and `message` are its outcome: `error` is None until there is one, and "" if it was
    taken in. `body` is empty from then on. `seal` guards all but the number, which the storage
    chooses.
    """

    number: int
    letter_id: str
    kind: str
    body: bytes
    sent_at: float
    error: str | None
    message: str
    seal: bytes


@dataclass(frozen=True, slots=True)
class RegionRow:
    """An exclusive region, and the run that holds it with the lease of an epoch."""

    name: str
    run_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class TicketRow:
    """A place in the queue of an exclusive region, of a run with the lease of an epoch."""

    name: str
    run_id: str
    epoch: int
    number: int


@dataclass(frozen=True, slots=True)
class Pruning:
    """The runs to delete: of these statuses, last changed before a time, without an owner.

    Whether a run has an owner now is as `Lease.is_running` says. `key_id` names the key at hand,
    b"" if there is none: runs of another key are kept. `None` is every key.
    """

    before: float
    statuses: Sequence[str]
    key_id: bytes | None


class Tables(Protocol):
    """Rows of a store inside one transaction. `run` is the `id` of a run's row."""

    def now(self) -> float:
        """Return the time of the transaction by the clock of the storage."""
        ...

    def find_run(self, run_id: str) -> RunRow | None:
        """Return the row of a run, which nothing else changes until the transaction ends.

        The caller may change it only to write it.
        """
        ...

    def peek_run(self, run_id: str) -> RunRow | None:
        """Return the row of a run, which others may change meanwhile. It is only read."""
        ...

    def add_run(self, row: RunRow) -> None:
        """Insert a new run; the storage chooses the row's `id`."""
        ...

    def set_progress(self, row: RunRow) -> None:
        """Write the columns that an append changes: `updated_at`, `last_seq`, `link`, `seal`."""
        ...

    def set_status(self, row: RunRow) -> None:
        """Write `status`."""
        ...

    def begin_lease(self, row: RunRow, ttl: float) -> None:
        """Have the lease of `owner` and `epoch` run for `ttl` seconds from now.

        Sets `expires_at` and `lease_seconds`, and writes all four.
        """
        ...

    def set_lease(self, row: RunRow) -> None:
        """Write `owner`, `epoch`, `expires_at`, `lease_seconds`."""
        ...

    def add_records(self, run: int, rows: Sequence[RecordRow]) -> None:
        """Insert records."""
        ...

    def records(self, run: int, after_seq: int) -> Iterable[RecordRow]:
        """Return the records after a number, in order."""
        ...

    def record(self, run: int, seq: int) -> RecordRow | None:
        """Return one record."""
        ...

    def snapshot(self, run: int) -> SnapshotRow | None:
        """Return the latest snapshot."""
        ...

    def set_snapshot(self, run: int, row: SnapshotRow) -> None:
        """Store a snapshot in place of an earlier one."""
        ...

    def add_letter(self, run: int, row: LetterRow) -> int:
        """Insert a letter; return its number, which is greater than any before, of all runs."""
        ...

    def set_letter(self, run: int, row: LetterRow) -> None:
        """Write the columns that an outcome changes: `body`, `error`, `message`, `seal`."""
        ...

    def letters(self, run: int, after: int) -> Iterable[LetterRow]:
        """Return the letters of a run after a number, in order."""
        ...

    def has_mail(self, run: int) -> bool:
        """Return whether a run has a letter without an outcome."""
        ...

    def newest_letter(self) -> int:
        """Return the greatest number of a letter of any run, 0 if there is none."""
        ...

    def region(self, name: str) -> RegionRow | None:
        """Return which run entered a region last and has not left it, if there is one."""
        ...

    def set_region(self, row: RegionRow) -> None:
        """Write which run is in a region."""
        ...

    def drop_region(self, name: str) -> None:
        """Write that no run is in a region."""
        ...

    def tickets(self, name: str) -> Sequence[TicketRow]:
        """Return the queue of a region, in the order of its numbers."""
        ...

    def set_ticket(self, row: TicketRow) -> None:
        """Write the place of a run in the queue of a region; it has one."""
        ...

    def drop_ticket(self, name: str, run_id: str) -> None:
        """Delete the place of a run in the queue of a region."""
        ...

    def queue_mark(self) -> int:
        """Return a number that changes when a region is left, or its queue does."""
        ...

    def announce(self, run_id: str) -> None:
        """Have the processes that watch a run hear of it once this transaction is committed.

        Storages whose other processes look by themselves do nothing.
        """
        ...

    def list_runs(self, query: RunQuery) -> Iterable[RunRow]:
        """Return at most `query.limit` runs, by falling `(created_at, run_id)`."""
        ...

    def erase_record(self, run: int, seq: int, digest: bytes) -> None:
        """Replace a body with its digest."""
        ...

    def set_erased(self, row: RunRow) -> None:
        """Drop the snapshot, the letters and the salt, and write `is_erased` and `seal`."""
        ...

    def drop_finished(self, pruning: Pruning, limit: int) -> int:
        """Delete at most `limit` of the runs of a pruning, and return how many were deleted."""
        ...

    def list_refused(self, pruning: Pruning) -> Sequence[str]:
        """Return the ids of the runs that only their key keeps from being deleted."""
        ...


def encode_header(row: RunRow, tags: Mapping[str, str]) -> list[object]:
    """Return the header that the chain of a run starts with: all that never changes.

    The time is text, since a damaged one may not be a JSON number.
    """
    return [
        row.run_id,
        row.flow,
        row.fingerprint,
        row.format,
        row.parent,
        dict(tags),
        repr(row.created_at),
    ]


def decode_tags(row: RunRow) -> dict[str, str]:
    """Return the tags of a run. Raises `JournalDamaged` if they are not a dict of texts."""
    try:
        tags: object = codec.load(row.tags)
    except InvalidRecord as error:
        raise JournalDamaged(f"Run '{row.run_id}'", f"its tags cannot be read: {error}") from None
    if not isinstance(tags, dict) or not all(
        isinstance(value, str) for value in cast("dict[str, object]", tags).values()
    ):
        raise JournalDamaged(f"Run '{row.run_id}'", "its tags are not a dict of texts.")
    return cast("dict[str, str]", tags)


def choose_secret(row: RunRow, key: ChainKey | None) -> bytes | None:
    """Return the secret that the chain of a run is made with; None for a run without a key.

    Raises `WrongKey` if `key` is not the key of the run.
    """
    if not row.key_id:
        return None
    if key is None or key.id != row.key_id:
        raise WrongKey(row.run_id, row.key_id, None if key is None else key.id)
    return key.secret


def build_head(tables: Tables, row: RunRow, key: ChainKey | None) -> RunHead:
    """Return the head of a run.

    Raises `WrongKey` if `key` is not its key, and `JournalDamaged` if the row was altered.
    """
    if not is_run_id(row.run_id):
        raise JournalDamaged(f"Run {row.run_id!r:.80}", "its id is not what was written.")
    secret = choose_secret(row, key)
    is_sealed = row.seal == codec.seal(row.link, row.status, bool(row.is_erased), secret)
    if not is_sealed or len(row.salt) != (0 if row.is_erased else codec.SALT_BYTES):
        raise JournalDamaged(
            f"Run '{row.run_id}'", "its status or the end of its chain is not what was written."
        )
    tags = decode_tags(row)
    if row.last_seq == 0 and row.link != codec.first_link(encode_header(row, tags), secret):
        raise JournalDamaged(
            f"Run '{row.run_id}'", "what it was created with is not what was written."
        )
    lease = build_lease(row)
    is_under_way = lease is not None and lease.is_running(tables.now())
    return RunHead(
        row.run_id, row.flow, row.fingerprint, row.format, row.status,
        row.created_at, row.updated_at, tags, row.parent, row.last_seq,
        lease, bool(row.is_erased), bool(row.key_id), is_under_way,
    )  # fmt: skip


def build_lease(row: RunRow) -> Lease | None:
    """Return the lease that was claimed last, unless it was released."""
    if not row.owner:
        return None
    return Lease(row.run_id, row.owner, row.epoch, row.expires_at, row.lease_seconds)
