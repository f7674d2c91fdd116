"""Statements on the table of notes, on one connection."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from graphorch.distributed.node_messages import CANCEL
from graphorch.distributed.results import Note
from graphorch.journal.postgres.connection import Connection

CHANNEL: Final = "graphorch_notes"
_KEPT_SECONDS: Final = 600.0  # for which notes are kept that no owner drops
_LONGEST_HINT: Final = 7_000  # bytes of a notification; PostgreSQL takes 8,000

_NOTIFY: Final = f"SELECT pg_notify('{CHANNEL}', %s)"
_GIVEN: Final = """
unnest(%(runs)s::text[], %(topics)s::text[], %(keys)s::text[], %(bodies)s::bytea[])
    WITH ORDINALITY AS given(run_id, topic, key, body, place)
"""
_INSERT: Final = f"""
INSERT INTO graphorch.notes (run_id, topic, key, body)
SELECT run_id, topic, key, body FROM {_GIVEN} ORDER BY place
ON CONFLICT (topic, key) DO NOTHING RETURNING topic, key
"""
_FIND: Final = """
SELECT given.place, md5(n.body)
FROM unnest(%(topics)s::text[], %(keys)s::text[]) WITH ORDINALITY AS given(topic, key, place)
JOIN graphorch.notes n USING (topic, key)
"""
_LIST_STORED: Final = """
SELECT topic, key FROM unnest(%(topics)s::text[], %(keys)s::text[]) AS asked(topic, key)
JOIN graphorch.notes USING (topic, key)
"""
_COLUMNS: Final = "number, posted_in::text::bigint, run_id, topic, key, body"
_READ: Final = f"""
SELECT {_COLUMNS} FROM graphorch.notes
WHERE posted_in >= %(since)s::xid8 AND topic = ANY(%(topics)s) AND number <> ALL(%(known)s)
ORDER BY number
"""
# The first transaction that is not over yet.
_MARK: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_FIND_ALL: Final = f"""
SELECT {_COLUMNS} FROM graphorch.notes WHERE topic = ANY(%(topics)s) ORDER BY number
"""
_DROP_RUN: Final = f"DELETE FROM graphorch.notes WHERE run_id = %(run)s AND key <> '{CANCEL}'"
_DROP: Final = "DELETE FROM graphorch.notes WHERE topic = %(run)s AND key = ANY(%(keys)s)"
_DROP_OLD: Final = """
DELETE FROM graphorch.notes AS n
WHERE n.posted_at < graphorch.now() - %(seconds)s AND NOT EXISTS (
    SELECT FROM graphorch.runs AS r WHERE r.run_id = n.run_id AND r.status = 'running'
)
"""


class Place(NamedTuple):
    """Topic and key of a note."""

    topic: str
    key: str


class StoredNote(NamedTuple):
    """A note with its number, and the transaction that posted it."""

    number: int
    posted_in: int
    note: Note


class NotesTable:
    """The table of notes; a single thread uses it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def post(self, notes: Sequence[Note]) -> list[bool]:
        """Store notes in one commit, and return which of them count, in their order."""
        values = {
            "runs": [note.run for note in notes],
            "topics": [note.topic for note in notes],
            "keys": [note.key for note in notes],
            "bodies": [note.body for note in notes],
        }
        inserted = self._connection.execute(_INSERT, values).fetchall()
        if len(inserted) == len(notes):
            return [True] * len(notes)
        return self._compare(notes)

    def _compare(self, notes: Sequence[Note]) -> list[bool]:
        """Return which of some notes are stored as they are, and not others under their keys."""
        topics, keys = [note.topic for note in notes], [note.key for note in notes]
        rows = self._connection.execute(_FIND, {"topics": topics, "keys": keys})
        stored = dict(rows.fetchall())
        digests = [hashlib.md5(note.body, usedforsecurity=False).hexdigest() for note in notes]
        return [stored.get(place) == digest for place, digest in enumerate(digests, start=1)]

    def notify(self, topics: Collection[str]) -> None:
        """Wake those who watch some topics; a list that is too long wakes all processes."""
        hint = "\n".join(sorted(topics))
        is_long = len(hint.encode()) > _LONGEST_HINT
        self._connection.execute(_NOTIFY, ("" if is_long else hint,))

    def look(
        self, topics: Collection[str], since: int, known: Collection[int]
    ) -> tuple[int, list[StoredNote]]:
        """Return where the next look has to begin, and the unknown notes from `since` on."""
        # First the mark: what commits in between is found now, and once more by the next look.
        (mark,) = self._connection.execute(_MARK).fetchone() or (since,)
        values = {"topics": list(topics), "since": str(since), "known": list(known)}
        return mark, list(self._fetch(_READ, values))

    def find(self, topics: Collection[str]) -> dict[str, list[StoredNote]]:
        """Return all notes of some topics, in the order in which they were posted."""
        found: dict[str, list[StoredNote]] = {topic: [] for topic in topics}
        for stored in self._fetch(_FIND_ALL, {"topics": list(topics)}):
            found[stored.note.topic].append(stored)
        return found

    def list_stored(self, places: Collection[Place]) -> frozenset[Place]:
        """Return those places that have a note."""
        topics, keys = zip(*places, strict=True)
        rows = self._connection.execute(_LIST_STORED, {"topics": list(topics), "keys": list(keys)})
        return frozenset(Place(topic, key) for topic, key in rows.fetchall())

    def _fetch(self, statement: LiteralString, values: dict[str, Any]) -> Iterator[StoredNote]:
        cursor: psycopg.Cursor[Any] = self._connection.cursor(binary=True)
        for number, posted_in, run, topic, key, body in cursor.execute(statement, values):
            yield StoredNote(number, posted_in, Note(run, topic, key, bytes(body)))

    def drop(self, run: str, keys: Collection[str] | None) -> None:
        """Delete notes to the owner of a run, or all notes of the run."""
        if keys is None:
            self._connection.execute(_DROP_RUN, {"run": run})
        else:
            self._connection.execute(_DROP, {"run": run, "keys": list(keys)})

    def drop_old(self) -> None:
        """Delete notes of runs that are not under way: they came after the rest of their run."""
        self._connection.execute(_DROP_OLD, {"seconds": _KEPT_SECONDS})
