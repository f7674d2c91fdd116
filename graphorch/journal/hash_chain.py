"""Verified reading: records and snapshots are checked against the chain of hashes."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.journal import codec
from graphorch.journal.chain_key import ChainKey
from graphorch.journal.codec import BodyLimits
from graphorch.journal.errors import InvalidRecord, JournalDamaged
from graphorch.journal.records import Record, Snapshot
from graphorch.journal.tables import (
    RecordRow,
    RunRow,
    Tables,
    choose_secret,
    decode_tags,
    encode_header,
)


def read_records(
    tables: Tables, row: RunRow, key: ChainKey | None, after_seq: int, limits: BodyLimits
) -> Iterator[Record]:
    """Yield the records after a number, up to the end that the run's head names.

    Earlier records are trusted as far as their hash goes.

    Raises `WrongKey` if `key` is not the run's, and `JournalDamaged` at the first record that is
    missing, altered, moved or unreadable, and if the chain ends elsewhere.
    """
    secret = choose_secret(row, key)
    link, seq = _link_at(tables, row, after_seq, secret), after_seq
    for stored in tables.records(row.id, after_seq):
        seq += 1
        if seq > row.last_seq:
            raise _damage(row, seq, f"it lies beyond the end of the run, which is {row.last_seq}.")
        if stored.seq != seq:
            raise _damage(row, seq, f"it is missing; the next one is {stored.seq}.")
        record, link = _follow(row, link, stored, secret, limits)
        yield record
    if seq != row.last_seq:
        raise _damage(row, seq + 1, f"it is missing; the run ends at {row.last_seq}.")
    if link != row.link:
        raise _damage(row, seq, "the chain does not end where the run's head says.")


def read_snapshot(
    tables: Tables, row: RunRow, key: ChainKey | None, limits: BodyLimits
) -> Snapshot | None:
    """Return the latest snapshot.

    Raises `WrongKey` if `key` is not the run's, and `JournalDamaged` if the snapshot does not
    belong to the record that it names; the records still load.
    """
    secret = choose_secret(row, key)
    kept = tables.snapshot(row.id)
    if kept is None:
        return None
    last = tables.record(row.id, kept.seq)
    if last is None or kept.digest != codec.tie(last.link, kept.body, row.salt, secret):
        raise JournalDamaged(
            f"Run '{row.run_id}'",
            f"the snapshot at record {kept.seq} was altered; load the run without it.",
        )
    try:
        return Snapshot(kept.seq, codec.load(kept.body, limits))
    except InvalidRecord as error:
        raise JournalDamaged(
            f"Run '{row.run_id}'", f"the snapshot at record {kept.seq} cannot be read: {error}"
        ) from None


def _link_at(tables: Tables, row: RunRow, seq: int, secret: bytes | None) -> bytes:
    if seq == 0:
        return codec.first_link(encode_header(row, decode_tags(row)), secret)
    if seq > row.last_seq:
        raise _damage(
            row,
            row.last_seq + 1,
            f"it is missing: records after {seq} were requested and the run ends at "
            f"{row.last_seq}.",
        )
    stored = tables.record(row.id, seq)
    if stored is None:
        raise _damage(row, seq, "it is missing.")
    return stored.link


def _follow(
    row: RunRow, link: bytes, stored: RecordRow, secret: bytes | None, limits: BodyLimits
) -> tuple[Record, bytes]:
    """Return one verified record, and the chain including it."""
    if (stored.body is None) != bool(row.is_erased) or (stored.digest is None) != (
        stored.body is not None
    ):
        raise _damage(row, stored.seq, "its body is gone, or is there although it was erased.")
    body_digest = (
        stored.digest if stored.digest is not None else codec.digest(stored.body or b"", row.salt)
    )
    link = codec.next_link(link, stored.seq, stored.kind, body_digest, secret)
    if link != stored.link:
        hint = ", or what the run was created with" if stored.seq == 1 else ""
        raise _damage(row, stored.seq, f"it{hint} is not what was written.")
    if stored.body is None:
        return Record(stored.seq, stored.kind, None, is_erased=True), link
    try:
        return Record(stored.seq, stored.kind, codec.load(stored.body, limits)), link
    except InvalidRecord as error:
        raise _damage(row, stored.seq, f"it cannot be read: {error}") from None


def _damage(row: RunRow, seq: int, message: str) -> JournalDamaged:
    return JournalDamaged(f"Run '{row.run_id}', record {seq}", message, seq=seq)
