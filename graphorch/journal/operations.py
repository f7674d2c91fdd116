"""Operations of a store over the rows of one transaction; every storage runs exactly these.

Rules of this file:

1. An operation raises its `JournalError` *before* its first write. So a storage may run many
   operations in one transaction, each succeeding or failing on its own, without savepoints.
2. An operation changes a row that it read only to write it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

from graphorch.journal import codec
from graphorch.journal.chain_key import ChainKey
from graphorch.journal.codec import BodyLimits
from graphorch.journal.errors import (
    AppendConflict,
    InvalidRecord,
    JournalDamaged,
    LeaseExpired,
    LeaseHeld,
    LeaseLost,
    RunErased,
    RunExists,
    RunNotFound,
    WrongKey,
)
from graphorch.journal.hash_chain import read_records, read_snapshot
from graphorch.journal.records import (
    Lease,
    Letter,
    NewLetter,
    NewRun,
    Outcome,
    RunHead,
    RunLog,
    RunPage,
    RunQuery,
    Settlement,
    Snapshot,
)
from graphorch.journal.tables import (
    LetterRow,
    Pruning,
    RecordRow,
    RegionRow,
    RunRow,
    SnapshotRow,
    Tables,
    TicketRow,
    build_head,
    build_lease,
    choose_secret,
    encode_header,
)

T = TypeVar("T")
Entry = tuple[str, bytes]
"""Record to append: its kind, and its body as canonical bytes."""


def create(tables: Tables, run: NewRun, salt: bytes, key: ChainKey | None) -> RunHead:
    """Insert a new run; return the existing one if its header is equal: the call was repeated."""
    key_id = b"" if key is None or not run.is_keyed else key.id
    tags = codec.dump(dict(run.tags))
    row = tables.find_run(run.run_id)
    if row is None:
        now = float(tables.now())  # as the storage returns it, since the chain starts with it
        row = RunRow(
            0, run.run_id, run.flow, run.fingerprint, run.format, run.parent, tags,
            now, now, run.status, 0, b"", b"", salt, 0, "", 0, 0.0, 0.0, key_id,
        )  # fmt: skip
        secret = choose_secret(row, key)
        row.link = codec.first_link(encode_header(row, run.tags), secret)
        row.seal = codec.seal(row.link, row.status, False, secret)
        tables.add_run(row)
        return build_head(tables, row, key)
    # The run exists: that is fine if this is the same call again.
    have = {
        "flow": row.flow,
        "fingerprint": row.fingerprint,
        "format": row.format,
        "parent": row.parent,
        "tags": row.tags.decode(),
    }
    want = {
        "flow": run.flow,
        "fingerprint": run.fingerprint,
        "format": run.format,
        "parent": run.parent,
        "tags": tags.decode(),
    }
    differences = [
        f"{name} is {have[name]!r}, not {want[name]!r}" for name in have if have[name] != want[name]
    ]
    if differences:
        raise RunExists(run.run_id, "; ".join(differences))
    return build_head(tables, row, key)


def claim(tables: Tables, run_id: str, owner: str, ttl: float, key: ChainKey | None) -> Lease:
    """Make `owner` the owner of a free run; the epoch rises, also for the same owner."""
    row = _require_run(tables, run_id)
    _check_not_erased(row)
    build_head(tables, row, key)  # raises for a damaged run
    if row.owner != owner:
        _check_free(row, tables.now())
    # The new epoch ends every earlier lease, so a process that was stopped cannot go on writing.
    row.owner, row.epoch = owner, row.epoch + 1
    tables.begin_lease(row, ttl)
    return Lease(run_id, owner, row.epoch, row.expires_at, row.lease_seconds)


def shorten_lease(tables: Tables, run_id: str) -> None:
    """Let the lease of a run end at most its own length from now.

    It ends later if the clock that it was claimed by was ahead of this one. An owner that is still
    there renews it, as always; one that is gone does not, and others wait for the run no longer
    than a lease lasts.
    """
    row = _require_run(tables, run_id)
    longest = tables.now() + row.lease_seconds
    if row.owner and row.expires_at > longest:
        row.expires_at = longest
        tables.set_lease(row)


def renew(tables: Tables, lease: Lease, ttl: float) -> Lease:
    """Extend a lease, even an expired one, unless another owner claimed the run."""
    row = _require_run(tables, lease.run_id)
    _check_not_erased(row)
    _check_current(row, lease)
    tables.begin_lease(row, ttl)
    return replace(lease, expires_at=row.expires_at, seconds=row.lease_seconds)


def release(tables: Tables, lease: Lease) -> None:
    """End a lease, if it is still the current one."""
    row = _require_run(tables, lease.run_id)
    if (row.owner, row.epoch) == (lease.owner, lease.epoch):
        row.owner, row.expires_at = "", 0.0
        tables.set_lease(row)


def release_unless_mail(tables: Tables, lease: Lease) -> bool:
    """End a lease unless the run has letters to take in; return whether it ended.

    A lease that is not the current one has ended.
    """
    row = _require_run(tables, lease.run_id)
    if (row.owner, row.epoch) != (lease.owner, lease.epoch):
        return True
    if tables.has_mail(row.id):
        return False
    release(tables, lease)
    return True


def enter_regions(tables: Tables, lease: Lease, names: Sequence[str], *, is_nested: bool) -> bool:
    """Have a run be in exclusive regions, in all of them or in none; return whether it is.

    Otherwise it has a place in the queue of each, under one number, so that no two runs wait for
    each other. What `is_nested` waits for no queue: it may be what those before it wait for.
    """
    _require_owned(tables, lease)
    # In an order that all callers have: each name is locked when it is read.
    regions = {name: tables.region(name) for name in sorted(names)}
    wanted = [
        name
        for name, region in regions.items()
        if region != RegionRow(name, lease.run_id, lease.epoch)
    ]
    are_taken = [_is_taken(tables, lease.run_id, regions[name]) for name in wanted]
    queues = [_list_waiting(tables, name) for name in wanted]
    waiting = [ticket for queue in queues for ticket in queue]
    own = {ticket.number for ticket in waiting if ticket.run_id == lease.run_id}
    first = min((ticket.number for ticket in waiting), default=1)
    number = min(own, default=1 + max((ticket.number for ticket in waiting), default=0))
    if any(are_taken) or (first < number and not is_nested):
        tickets = [TicketRow(name, lease.run_id, lease.epoch, number) for name in wanted]
        for ticket in tickets:
            if ticket not in waiting:
                tables.set_ticket(ticket)
        return False
    for name in wanted:
        tables.set_region(RegionRow(name, lease.run_id, lease.epoch))
        if own:
            tables.drop_ticket(name, lease.run_id)
    return True


def _is_taken(tables: Tables, run_id: str, region: RegionRow | None) -> bool:
    """Return whether another run is in a region, by a lease that still runs."""
    return region is not None and region.run_id != run_id and _is_current(tables, region)


def _is_current(tables: Tables, row: RegionRow | TicketRow) -> bool:
    """Return whether the lease by which a run is in a region, or waits for it, still runs."""
    run = tables.peek_run(row.run_id)
    held = None if run is None else build_lease(run)
    return held is not None and held.epoch == row.epoch and held.is_running(tables.now())


def _list_waiting(tables: Tables, name: str) -> list[TicketRow]:
    """Return the queue of a region, and drop from it the runs whose owners are gone."""
    waiting: list[TicketRow] = []
    for ticket in tables.tickets(name):
        if _is_current(tables, ticket):
            waiting.append(ticket)
        else:
            tables.drop_ticket(name, ticket.run_id)
    return waiting


def leave_regions(tables: Tables, lease: Lease, names: Sequence[str]) -> frozenset[str]:
    """Free those of some exclusive regions that a run entered by this lease.

    It waits for none of them any more. Returns the runs that are first in their queues now.
    """
    following: set[str] = set()
    for name in sorted(names):
        region = tables.region(name)
        if region == RegionRow(name, lease.run_id, lease.epoch):
            tables.drop_region(name)
        waiting = _list_waiting(tables, name)
        if any((ticket.run_id, ticket.epoch) == (lease.run_id, lease.epoch) for ticket in waiting):
            tables.drop_ticket(name, lease.run_id)
        others = [ticket.run_id for ticket in waiting if ticket.run_id != lease.run_id]
        following.update(others[:1])
    for run_id in following:
        tables.announce(run_id)
    return frozenset(following)


def append(
    tables: Tables,
    lease: Lease,
    expected_last_seq: int,
    entries: Sequence[Entry],
    status: str | None,
    settled: Sequence[Settlement],
    key: ChainKey | None,
) -> None:
    """Add records after the expected last one, set the status, and settle letters.

    Records that are there already with equal content are not added again.
    """
    row, now = _require_owned(tables, lease)
    secret = choose_secret(row, key)
    # An append whose reply was lost is made again: its records must be there already, and with them
    # the outcomes of its letters.
    if row.last_seq != expected_last_seq:
        _require_repetition(tables, row, expected_last_seq, entries)
        return
    letters = _settle(tables, row, settled, secret)
    # Extend the chain: the link of each record covers all records before it.
    link, rows = row.link, list[RecordRow]()
    for seq, (kind, body) in enumerate(entries, expected_last_seq + 1):
        link = codec.next_link(link, seq, kind, codec.digest(body, row.salt), secret)
        rows.append(RecordRow(seq, kind, body, None, link))
    row.last_seq, row.link, row.updated_at = expected_last_seq + len(rows), link, now
    is_new_status = status not in (None, row.status)
    row.status = status or row.status
    # The seal covers the end of the chain and the status, so neither changes unnoticed.
    row.seal = codec.seal(link, row.status, False, secret)
    tables.add_records(row.id, rows)
    tables.set_progress(row)
    if is_new_status:
        tables.set_status(row)
    for letter in letters:
        tables.set_letter(row.id, letter)


@dataclass(frozen=True, slots=True)
class OfRun(Generic[T]):
    """An operation that begins with the row of a run, so that a storage may read many at once."""

    run_id: str
    operation: Callable[[Tables], T]

    def __call__(self, tables: Tables) -> T:
        """Run the operation."""
        return self.operation(tables)


class Append(NamedTuple):
    """An append as an operation, which a storage may also commit by a faster way of its own."""

    lease: Lease
    expected_last_seq: int
    entries: Sequence[Entry]
    status: str | None
    settled: Sequence[Settlement]
    key: ChainKey | None

    @property
    def run_id(self) -> str:
        """The run that it appends to."""
        return self.lease.run_id

    def __call__(self, tables: Tables) -> None:
        """Run the operation `append` with these values."""
        append(tables, *self)


def post(tables: Tables, letter: NewLetter, body: bytes, key: ChainKey | None) -> Letter:
    """Put a letter into the mailbox of a run; one that is there already is not added again."""
    run = _require_run(tables, letter.run_id)
    _check_not_erased(run)
    build_head(tables, run, key)  # raises for a damaged run, and for another key
    secret = choose_secret(run, key)
    for known in tables.letters(run.id, 0):
        if known.letter_id == letter.letter_id:
            return _build_letter(run, known, secret, codec.LIMITS)
    sent_at = float(tables.now())
    row = LetterRow(0, letter.letter_id, letter.kind, body, sent_at, None, "", b"")
    row.seal = _seal_letter(run, row, secret)
    row.number = tables.add_letter(run.id, row)
    return _build_letter(run, row, secret, codec.LIMITS)


def list_letters(
    tables: Tables, run_id: str, after: int, key: ChainKey | None, limits: BodyLimits
) -> tuple[Letter, ...]:
    """Return the letters of a run after a number, in order."""
    run = _require_run(tables, run_id)
    secret = choose_secret(run, key)
    return tuple(_build_letter(run, row, secret, limits) for row in tables.letters(run.id, after))


def load(
    tables: Tables, run_id: str, after_seq: int, key: ChainKey | None, limits: BodyLimits
) -> RunLog:
    """Return the head and the records after a number, verified from there to the end."""
    row = _require_run(tables, run_id)
    head = build_head(tables, row, key)
    return RunLog(head, tuple(read_records(tables, row, key, after_seq, limits)))


class ReadHead(NamedTuple):
    """Reading a head as an operation, which a storage may do without a transaction."""

    run_id: str
    key: ChainKey | None

    def __call__(self, tables: Tables) -> RunHead:
        """Return the head of the run. Raises as `load` does."""
        return build_head(tables, _require_run(tables, self.run_id), self.key)


def save_snapshot(
    tables: Tables, lease: Lease, seq: int, body: bytes, key: ChainKey | None
) -> None:
    """Store a snapshot of the records 1 … seq, unless there is a later one."""
    row, _ = _require_owned(tables, lease)
    secret = choose_secret(row, key)
    last = tables.record(row.id, seq)
    if last is None:
        raise InvalidRecord(
            f"Run '{row.run_id}' has no record {seq} to make a snapshot at; it ends at "
            f"{row.last_seq}."
        )
    kept = tables.snapshot(row.id)
    if kept is None or kept.seq <= seq:
        tie = codec.tie(last.link, body, row.salt, secret)
        tables.set_snapshot(row.id, SnapshotRow(seq, body, tie))


def load_snapshot(
    tables: Tables, run_id: str, key: ChainKey | None, limits: BodyLimits
) -> Snapshot | None:
    """Return the latest snapshot, verified against the chain."""
    return read_snapshot(tables, _require_run(tables, run_id), key, limits)


def list_runs(tables: Tables, query: RunQuery, key: ChainKey | None) -> RunPage:
    """Return one page of heads, newest first."""
    # Ask for one more than the page holds, to know whether another page follows.
    rows = list(tables.list_runs(replace(query, limit=query.limit + 1)))
    heads, damaged, refused = list[RunHead](), list[str](), list[str]()
    for row in rows[: query.limit]:
        # A damaged run must not hide the others, nor one of another key.
        try:
            heads.append(build_head(tables, row, key))
        except JournalDamaged:
            damaged.append(row.run_id)
        except WrongKey:
            refused.append(row.run_id)
    following = None
    if len(rows) > query.limit:
        last = rows[query.limit - 1]
        following = (last.created_at, last.run_id)
    return RunPage(tuple(heads), following, tuple(damaged), tuple(refused))


def erase(tables: Tables, run_id: str, key: ChainKey | None) -> None:
    """Replace all bodies of a run with their digests; the chain can still be followed."""
    row = _require_run(tables, run_id)
    secret = choose_secret(row, key)
    _check_free(row, tables.now())
    if row.is_erased:
        return
    # Read all digests before the first write: a read may raise for a damaged row.
    digests: dict[int, bytes] = {}
    for record in tables.records(row.id, 0):
        digests[record.seq] = record.digest or codec.digest(record.body or b"", row.salt)
    for seq, digest in digests.items():
        tables.erase_record(row.id, seq, digest)
    # Without the salt, no digest can be matched with a guessed body.
    row.is_erased, row.salt = 1, b""
    row.seal = codec.seal(row.link, row.status, True, secret)
    tables.set_erased(row)


def prune(tables: Tables, pruning: Pruning, limit: int) -> int:
    """Delete at most `limit` of the runs of a pruning, and return how many were deleted."""
    return tables.drop_finished(pruning, limit)


def list_refused(tables: Tables, pruning: Pruning) -> Sequence[str]:
    """Return the ids of the runs that only their key keeps from being deleted."""
    return tables.list_refused(pruning)


def _settle(
    tables: Tables, run: RunRow, settled: Sequence[Settlement], secret: bytes | None
) -> list[LetterRow]:
    """Return the rows of letters with their outcomes; those that have one already are left out.

    Raises `InvalidRecord` for a letter that the run does not have.
    """
    if not settled:
        return []
    first = min(settlement.number for settlement in settled)
    rows = {row.number: row for row in tables.letters(run.id, first - 1)}
    changed: list[LetterRow] = []
    for settlement in settled:
        row = rows.get(settlement.number)
        if row is None:
            raise InvalidRecord(f"Run '{run.run_id}' has no letter {settlement.number} to settle.")
        if row.error is None:
            # What it said is in the records now, or counts for nothing.
            row.body, row.error = b"", settlement.outcome.error
            row.message = settlement.outcome.message
            row.seal = _seal_letter(run, row, secret)
            changed.append(row)
    return changed


def _seal_letter(run: RunRow, row: LetterRow, secret: bytes | None) -> bytes:
    content = [
        run.run_id,
        row.letter_id,
        row.kind,
        row.body.hex(),
        repr(row.sent_at),
        row.error,
        row.message,
    ]
    return codec.seal_letter(content, secret)


def _build_letter(run: RunRow, row: LetterRow, secret: bytes | None, limits: BodyLimits) -> Letter:
    """Return a letter; one that was altered has no body."""
    outcome = None if row.error is None else Outcome(row.error, row.message)
    body, is_damaged = None, row.seal != _seal_letter(run, row, secret)
    if outcome is None and not is_damaged:
        try:
            body = codec.load(row.body, limits)
        except InvalidRecord:
            is_damaged = True
    return Letter(
        run.run_id, row.letter_id, row.number, row.kind, body, row.sent_at, outcome, is_damaged
    )


def _require_run(tables: Tables, run_id: str) -> RunRow:
    row = tables.find_run(run_id)
    if row is None:
        raise RunNotFound(run_id)
    return row


def _require_owned(tables: Tables, lease: Lease) -> tuple[RunRow, float]:
    """Return the run of a lease that is current and has not expired, and the time."""
    row = _require_run(tables, lease.run_id)
    _check_not_erased(row)
    _check_current(row, lease)
    now = tables.now()  # the row may have been waited for
    if (over := now - row.expires_at) >= 0:
        raise LeaseExpired(
            row.run_id,
            f"the lease of '{lease.owner}' ran out {over:.1f} s ago. "
            "Renew it, and renew leases well before they expire.",
        )
    return row, now


def _check_free(row: RunRow, now: float) -> None:
    """Raise `LeaseHeld` while a lease runs. No lease runs for longer than it was claimed for."""
    lease = build_lease(row)
    if lease is not None and lease.is_running(now):
        until = min(lease.expires_at, now + lease.seconds)
        raise LeaseHeld(row.run_id, lease.owner, until, now)


def _check_not_erased(row: RunRow) -> None:
    if row.is_erased:
        raise RunErased(row.run_id)


def _check_current(row: RunRow, lease: Lease) -> None:
    if (row.owner, row.epoch) != (lease.owner, lease.epoch):
        now_with = f"'{row.owner}' has it in epoch {row.epoch}" if row.owner else "it was released"
        raise LeaseLost(
            row.run_id,
            f"'{lease.owner}' had it in epoch {lease.epoch}, now {now_with}. "
            "Stop working on it, or claim it again.",
        )


def _require_repetition(
    tables: Tables, row: RunRow, expected: int, entries: Sequence[Entry]
) -> None:
    """Raise `AppendConflict` unless an append that does not fit the end was made before.

    In that case all of its records are there, with equal content.
    """
    end = expected + len(entries)
    if not entries or row.last_seq < end:
        raise AppendConflict(
            row.run_id,
            row.last_seq,
            f"the caller expects it to end at record {expected}, it ends at {row.last_seq}.",
        )
    for seq, entry in enumerate(entries, expected + 1):
        kept = tables.record(row.id, seq)
        if kept is None or (kept.kind, kept.body) != entry:
            raise AppendConflict(
                row.run_id, row.last_seq, f"record {seq} exists already with another content."
            )
