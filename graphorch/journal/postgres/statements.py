"""Every statement of the store. None is built at run time: values are bound.

A row that is going to be written is locked by a statement that reads no other table, and what the
others say is read by the next one: a statement that had to wait for a lock sees the row as it is
now, but all other tables as they were before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, LiteralString, TypeAlias

Statement: TypeAlias = LiteralString

BEGIN_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
BEGIN_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"
USE_INDEXES: Final = """
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off
"""
GET_TIME: Final = "SELECT graphorch.now()"

# ---- the server ----------------------------------------------------------------------------------
GET_SERVER: Final = """
SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
    current_setting('server_encoding'), current_setting('transaction_read_only') = 'on'
"""
GET_SESSION: Final = "SELECT pg_backend_pid()"
# A copy of the files of a server has the same one, but then the same runs.
GET_IDENTITY: Final = """
SELECT (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    'graphorch.runs'::regclass::oid
"""

# ---- runs ----------------------------------------------------------------------------------------
LOCK_RUN: Final = """
SELECT id, run_id, flow, fingerprint, format, parent, tags, created_at, updated_at, status,
    last_seq, link, seal, salt, is_erased, owner, epoch, key_id, process, expires_at
FROM graphorch.runs WHERE run_id = %b FOR NO KEY UPDATE
"""
LOCK_ALL_RUNS: Final = """
SELECT id, run_id, flow, fingerprint, format, parent, tags, created_at, updated_at, status,
    last_seq, link, seal, salt, is_erased, owner, epoch, key_id, process, expires_at
FROM graphorch.runs WHERE run_id = ANY(%b) ORDER BY run_id FOR NO KEY UPDATE
"""
GET_PROCESSES: Final = """
SELECT id, expires_at, seconds FROM graphorch.processes WHERE id = ANY(%b)
"""
GET_RUN: Final = """
SELECT r.id, run_id, flow, fingerprint, format, parent, tags, created_at, updated_at, status,
    last_seq, link, seal, salt, is_erased, owner, epoch,
    coalesce(r.expires_at, p.expires_at, 0), coalesce(p.seconds, 0), key_id, graphorch.now()
FROM graphorch.runs r LEFT JOIN graphorch.processes p ON p.id = r.process
WHERE run_id = %b
"""
ADD_RUNS: Final = """
INSERT INTO graphorch.runs (run_id, flow, fingerprint, format, parent, tags, labels, created_at,
    updated_at, status, last_seq, link, seal, salt, is_erased, key_id, owner, epoch)
SELECT run_id, flow, fingerprint, format, parent, tags, labels::jsonb, created_at, updated_at,
    status, 0, link, seal, salt, 0, key_id, '', 0
FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::text[], %b::text[], %b::text[],
    %b::double precision[], %b::double precision[], %b::text[], %b::bytea[], %b::bytea[],
    %b::bytea[], %b::bytea[])
AS t (run_id, flow, fingerprint, format, parent, tags, labels, created_at, updated_at, status, link,
    seal, salt, key_id)
"""
SET_PROGRESS: Final = """
UPDATE graphorch.runs SET updated_at = %b, last_seq = %b, link = %b, seal = %b WHERE id = %b
"""
SET_STATUS: Final = "UPDATE graphorch.runs SET status = %b WHERE id = %b"
SET_LEASES: Final = """
UPDATE graphorch.runs r
SET owner = t.owner, epoch = t.epoch, process = t.process, expires_at = t.expires_at
FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::bigint[], %b::double precision[])
    AS t (id, owner, epoch, process, expires_at)
WHERE r.id = t.id
"""
SET_ERASED: Final = "UPDATE graphorch.runs SET is_erased = %b, salt = %b, seal = %b WHERE id = %b"

# ---- processes -----------------------------------------------------------------------------------
ADD_PROCESS: Final = """
INSERT INTO graphorch.processes (name, seconds, expires_at, host, pid, started_at)
VALUES (%b, %b, %b, %b, %b, %b)
ON CONFLICT (name, seconds) DO UPDATE SET expires_at = excluded.expires_at
RETURNING id
"""
EXTEND_PROCESS: Final = "UPDATE graphorch.processes SET expires_at = %b WHERE id = %b"
# Also if it has expired: a claim of a run of an expired process drops the row of that one.
KEEP_PROCESS: Final = """
UPDATE graphorch.processes SET expires_at = graphorch.now() + %b WHERE id = %b RETURNING expires_at
"""
DROP_EXPIRED_PROCESSES: Final = """
DELETE FROM graphorch.processes WHERE id = ANY(%b) AND expires_at <= graphorch.now()
"""
END_PROCESS: Final = """
UPDATE graphorch.processes SET expires_at = least(expires_at, graphorch.now()) WHERE id = %b
"""
RELEASE: Final = """
UPDATE graphorch.runs SET owner = '', process = NULL, expires_at = NULL
WHERE run_id = %b AND owner = %b AND epoch = %b
"""
# Leases of runs whose owners have not renewed them in time, although their process lives.
END_LEASES: Final = """
UPDATE graphorch.runs r SET expires_at = %b
FROM unnest(%b::text[], %b::text[], %b::bigint[]) AS t (run_id, owner, epoch)
WHERE r.run_id = t.run_id AND r.owner = t.owner AND r.epoch = t.epoch AND r.expires_at IS NULL
"""
DROP_OLD_PROCESSES: Final = "DELETE FROM graphorch.processes WHERE expires_at < %b"

# ---- records -------------------------------------------------------------------------------------
# Appends of a batch: each gets in if its run still has the owner, the epoch and the end that the
# append expects, and if the lease of the owner's process runs.
APPEND: Final = """
WITH clock AS MATERIALIZED (
    SELECT graphorch.now() AS now
), input AS (
    SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[],
        %b::bytea[], %b::bytea[], %b::text[])
    AS t (run, owner, epoch, expected, last, link, seal, status)
), head AS (
    UPDATE graphorch.runs r
    SET last_seq = i.last, link = i.link, seal = i.seal, status = i.status, updated_at = clock.now
    FROM input i, clock, graphorch.processes p
    WHERE r.id = i.run AND r.owner = i.owner AND r.epoch = i.epoch AND r.last_seq = i.expected
        AND r.is_erased = 0 AND r.expires_at IS NULL
        AND p.id = r.process AND p.expires_at > clock.now
    RETURNING r.id
), added AS (
    INSERT INTO graphorch.records (run, seq, kind, body, link)
    SELECT t.* FROM unnest(%b::bigint[], %b::bigint[], %b::text[], %b::bytea[], %b::bytea[])
        AS t (run, seq, kind, body, link)
    -- not a join, which would compare each record with each run
    WHERE coalesce(t.run IN (SELECT id FROM head), false)
)
SELECT id FROM head
"""
ADD_RECORDS: Final = """
INSERT INTO graphorch.records (run, seq, kind, body, link)
SELECT %b, t.* FROM unnest(%b::bigint[], %b::text[], %b::bytea[], %b::bytea[])
    AS t (seq, kind, body, link)
"""
GET_RECORDS: Final = """
SELECT seq, kind, body, digest, link FROM graphorch.records WHERE run = %b AND seq > %b ORDER BY seq
"""
GET_RECORD: Final = """
SELECT seq, kind, body, digest, link FROM graphorch.records WHERE run = %b AND seq = %b
"""
ERASE_RECORD: Final = """
UPDATE graphorch.records SET body = NULL, digest = %b WHERE run = %b AND seq = %b
"""
GET_SNAPSHOT: Final = "SELECT seq, body, digest FROM graphorch.snapshots WHERE run = %b"
SET_SNAPSHOT: Final = """
INSERT INTO graphorch.snapshots (run, seq, body, digest) VALUES (%b, %b, %b, %b)
ON CONFLICT (run) DO UPDATE
SET seq = excluded.seq, body = excluded.body, digest = excluded.digest
"""

# ---- letters -------------------------------------------------------------------------------------
ADD_LETTER: Final = """
INSERT INTO graphorch.letters (run, letter_id, kind, body, sent_at, error, message, seal)
VALUES (%b, %b, %b, %b, %b, %b, %b, %b) RETURNING number
"""
SET_LETTER: Final = """
UPDATE graphorch.letters SET body = %b, error = %b, message = %b, seal = %b
WHERE number = %b AND run = %b
"""
GET_LETTERS: Final = """
SELECT number, letter_id, kind, body, sent_at, error, message, seal
FROM graphorch.letters WHERE run = %b AND number > %b ORDER BY number
"""
FIND_MAIL: Final = "SELECT 1 FROM graphorch.letters WHERE run = %b AND error IS NULL LIMIT 1"
# Transactions that are not over yet, and the runs with letters without an outcome of those that
# were not over at the last look.
LOOK_FOR_MAIL: Final = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text, ARRAY(
    SELECT DISTINCT r.run_id::text FROM graphorch.letters l JOIN graphorch.runs r ON r.id = l.run
    WHERE l.error IS NULL AND l.posted_in >= %s::xid8)
"""
# By channel: its name cannot be bound to a statement.
LISTEN: Final[Mapping[str, Statement]] = {
    "graphorch_mail": "LISTEN graphorch_mail",
    "graphorch_follows": "LISTEN graphorch_follows",
    "graphorch_records": "LISTEN graphorch_records",
    "graphorch_notes": "LISTEN graphorch_notes",
}
NOTIFY: Final = "SELECT pg_notify('graphorch_mail', %b)"
NOTIFY_ALL: Final = "SELECT pg_notify(%s, name) FROM unnest(%s::text[]) AS name"
GET_NEWEST_LETTER: Final = "SELECT coalesce(max(number), 0) FROM graphorch.letters"

# ---- regions -------------------------------------------------------------------------------------
LOCK_REGION: Final = "SELECT pg_advisory_xact_lock(1735552882, hashtext(%b))"
GET_REGION: Final = "SELECT name, run_id, epoch FROM graphorch.regions WHERE name = %b"
SET_REGION: Final = """
INSERT INTO graphorch.regions (name, run_id, epoch) VALUES (%b, %b, %b)
ON CONFLICT (name) DO UPDATE SET run_id = excluded.run_id, epoch = excluded.epoch
"""
DROP_REGION: Final = "DELETE FROM graphorch.regions WHERE name = %b"
GET_TICKETS: Final = """
SELECT name, run_id, epoch, number FROM graphorch.tickets WHERE name = %b ORDER BY number
"""
SET_TICKET: Final = """
INSERT INTO graphorch.tickets (name, run_id, epoch, number) VALUES (%b, %b, %b, %b)
ON CONFLICT (name, run_id) DO UPDATE SET epoch = excluded.epoch, number = excluded.number
"""
DROP_TICKET: Final = "DELETE FROM graphorch.tickets WHERE name = %b AND run_id = %b"

# ---- lists ---------------------------------------------------------------------------------------
LIST_RUNS: Final = """
SELECT r.id, run_id, flow, fingerprint, format, parent, tags, created_at, updated_at, status,
    last_seq, link, seal, salt, is_erased, owner, epoch,
    coalesce(r.expires_at, p.expires_at, 0), coalesce(p.seconds, 0), key_id
FROM graphorch.runs r LEFT JOIN graphorch.processes p ON p.id = r.process
WHERE (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(flow)s::text IS NULL OR flow = %(flow)s)
    AND (%(labels)s::jsonb IS NULL OR labels @> %(labels)s)
    AND created_at >= %(created_from)s AND created_at < %(created_until)s
    AND (created_at, run_id) < (%(before_time)s, %(before_id)s)
ORDER BY created_at DESC, run_id DESC LIMIT %(limit)s
"""

# ---- deleting ------------------------------------------------------------------------------------
FIND_PRUNABLE: Final = """
SELECT r.id FROM graphorch.runs r LEFT JOIN graphorch.processes p ON p.id = r.process
WHERE status = ANY(%(statuses)s) AND updated_at < %(before)s
    AND NOT (owner <> '' AND coalesce(r.expires_at, p.expires_at, 0) > %(now)s
        AND coalesce(r.expires_at, p.expires_at, 0) <= %(now)s + 2 * coalesce(p.seconds, 0))
    AND (%(any_key)s OR key_id = '' OR key_id = %(key_id)s)
ORDER BY r.id LIMIT %(limit)s
"""
FIND_UNPRUNABLE: Final = """
SELECT run_id FROM graphorch.runs r LEFT JOIN graphorch.processes p ON p.id = r.process
WHERE status = ANY(%(statuses)s) AND updated_at < %(before)s
    AND NOT (owner <> '' AND coalesce(r.expires_at, p.expires_at, 0) > %(now)s
        AND coalesce(r.expires_at, p.expires_at, 0) <= %(now)s + 2 * coalesce(p.seconds, 0))
    AND NOT (%(any_key)s OR key_id = '' OR key_id = %(key_id)s)
ORDER BY r.id
"""
LOCK_RUNS: Final = "SELECT id FROM graphorch.runs WHERE id = ANY(%b) ORDER BY id FOR UPDATE"
# The same runs, as far as nothing claimed or changed them before they were locked.
DROP_RUNS: Final = """
WITH gone AS (
    DELETE FROM graphorch.runs r
    WHERE r.id = ANY(%(ids)s) AND status = ANY(%(statuses)s) AND updated_at < %(before)s
        AND (owner = '' OR NOT EXISTS (
            SELECT FROM graphorch.processes p WHERE p.id = r.process
                AND coalesce(r.expires_at, p.expires_at) > %(now)s
                AND coalesce(r.expires_at, p.expires_at) <= %(now)s + 2 * p.seconds))
    RETURNING id, run_id
), records AS (
    DELETE FROM graphorch.records WHERE run IN (SELECT id FROM gone)
), snapshots AS (
    DELETE FROM graphorch.snapshots WHERE run IN (SELECT id FROM gone)
), letters AS (
    DELETE FROM graphorch.letters WHERE run IN (SELECT id FROM gone)
), notes AS (
    DELETE FROM graphorch.notes WHERE run_id IN (SELECT run_id FROM gone)
)
SELECT count(*) FROM gone
"""
DROP_SNAPSHOT: Final = "DELETE FROM graphorch.snapshots WHERE run = %b"
DROP_LETTERS: Final = "DELETE FROM graphorch.letters WHERE run = %b"
DROP_NOTES: Final = "DELETE FROM graphorch.notes WHERE run_id = %b"
