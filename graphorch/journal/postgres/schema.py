"""Tables that graphorch keeps in a PostgreSQL database, in a schema of their own.

`MIGRATIONS` leads from each version of the schema to the next one; version 0 is a database without
it. Every statement names its schema, so nothing depends on a search path.
"""

from __future__ import annotations

from typing import Final, LiteralString

VERSION: Final = 2  # of the tables below; a database of a later one is refused

_VERSIONS: Final = """
CREATE SCHEMA graphorch;
CREATE TABLE graphorch.schema_version (version integer NOT NULL);
INSERT INTO graphorch.schema_version VALUES (0);
"""

# The only clock of all processes, in seconds since 1970.
_CLOCK: Final = """
CREATE FUNCTION graphorch.now() RETURNS double precision
LANGUAGE sql VOLATILE PARALLEL SAFE
AS 'SELECT extract(epoch FROM clock_timestamp())::double precision';
"""

# One row per process and length of its leases: the leases of all runs that the process owns.
_PROCESSES: Final = """
CREATE TABLE graphorch.processes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    seconds double precision NOT NULL,
    expires_at double precision NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at double precision NOT NULL,
    UNIQUE (name, seconds)
) WITH (fillfactor = 50);
"""

# A lease ends with that of its process, or at `expires_at` if that is set. `labels` are the tags
# once more, to search in; `tags` are the bytes that the chain starts with.
_RUNS: Final = """
CREATE TABLE graphorch.runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text COLLATE "C" NOT NULL UNIQUE,
    flow text NOT NULL,
    fingerprint text NOT NULL,
    format bigint NOT NULL,
    parent text,
    tags text NOT NULL,
    labels jsonb NOT NULL,
    created_at double precision NOT NULL,
    updated_at double precision NOT NULL,
    status text NOT NULL,
    last_seq bigint NOT NULL,
    link bytea NOT NULL,
    seal bytea NOT NULL,
    salt bytea NOT NULL,
    is_erased smallint NOT NULL,
    key_id bytea NOT NULL,
    owner text NOT NULL,
    epoch bigint NOT NULL,
    process bigint,
    expires_at double precision
) WITH (fillfactor = 50);
CREATE INDEX runs_by_age ON graphorch.runs (created_at, run_id);
CREATE INDEX runs_by_status ON graphorch.runs (status, created_at, run_id);
"""

_RECORDS: Final = """
CREATE TABLE graphorch.records (
    run bigint NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    body bytea,
    digest bytea,
    link bytea NOT NULL,
    PRIMARY KEY (run, seq)
);
CREATE TABLE graphorch.snapshots (
    run bigint PRIMARY KEY,
    seq bigint NOT NULL,
    body bytea NOT NULL,
    digest bytea NOT NULL
);
"""

# `message` is UTF-8: text of PostgreSQL holds no NUL. `posted_in` is the transaction, by which
# processes find what was committed since they looked.
_LETTERS: Final = """
CREATE TABLE graphorch.letters (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL,
    letter_id text NOT NULL,
    kind text NOT NULL,
    body bytea NOT NULL,
    sent_at double precision NOT NULL,
    error text,
    message bytea NOT NULL,
    seal bytea NOT NULL,
    posted_in xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX letters_by_run ON graphorch.letters (run, number);
CREATE INDEX unread_letters ON graphorch.letters (posted_in) WHERE error IS NULL;
"""

_REGIONS: Final = """
CREATE TABLE graphorch.regions (
    name text PRIMARY KEY,
    run_id text NOT NULL,
    epoch bigint NOT NULL
);
"""

# The queues of these regions: who came first has the smaller number.
_TICKETS: Final = """
CREATE TABLE graphorch.tickets (
    name text NOT NULL,
    run_id text NOT NULL,
    epoch bigint NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (name, run_id)
);
"""

# The runs that workers may take (see distributed/placed_runs.py), and the workers themselves.
# `due` holds for a run whose last record is number `due_seq`.
_WORKERS: Final = """
CREATE TABLE graphorch.placed_runs (
    run_id text COLLATE "C" PRIMARY KEY,
    flow text NOT NULL,
    fingerprint text NOT NULL,
    kind text NOT NULL,
    priority integer NOT NULL,
    placed_at double precision NOT NULL DEFAULT graphorch.now(),
    attempts integer NOT NULL DEFAULT 0,
    progress bigint NOT NULL DEFAULT -1,
    due double precision,
    due_seq bigint NOT NULL,
    problem text NOT NULL DEFAULT ''
) WITH (fillfactor = 70);
CREATE INDEX placed_runs_by_kind ON graphorch.placed_runs (kind);
CREATE TABLE graphorch.turns (
    kind text PRIMARY KEY,
    began_at double precision NOT NULL
);
CREATE TABLE graphorch.workers (
    name text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at double precision NOT NULL,
    seen_at double precision NOT NULL,
    kinds text[] NOT NULL,
    pools text[] NOT NULL,
    slots integer NOT NULL,
    used_slots integer NOT NULL,
    runs integer NOT NULL,
    most_runs integer NOT NULL
);
"""

# Grants of caps that processes share, in picodollars, tokens and calls: per key (a day, or a tag)
# what all were granted, and per process its share, with what it has used as far as it reported.
_SPENDING: Final = """
CREATE TABLE graphorch.spending (
    key text PRIMARY KEY,
    usd numeric NOT NULL DEFAULT 0,
    tokens numeric NOT NULL DEFAULT 0,
    calls numeric NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE graphorch.spending_shares (
    key text NOT NULL,
    process text NOT NULL,
    usd numeric NOT NULL DEFAULT 0,
    tokens numeric NOT NULL DEFAULT 0,
    calls numeric NOT NULL DEFAULT 0,
    used_usd numeric NOT NULL DEFAULT 0,
    used_tokens numeric NOT NULL DEFAULT 0,
    used_calls numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (key, process)
) WITH (fillfactor = 50);
"""

# When the limits of a target will be whole again, in seconds since 1970, if nothing more is sent,
# and until when it asked for a pause.
_RATES: Final = """
CREATE TABLE graphorch.rates (
    target text PRIMARY KEY,
    requests_full_at double precision NOT NULL DEFAULT 0,
    tokens_full_at double precision NOT NULL DEFAULT 0,
    blocked_until double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
"""

# Messages between the owner of a run and the workers that run its nodes: the first of a topic with
# a key counts. `posted_in` is the transaction, as with letters.
_NOTES: Final = """
CREATE TABLE graphorch.notes (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    posted_at double precision NOT NULL DEFAULT graphorch.now(),
    posted_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    UNIQUE (topic, key)
);
CREATE INDEX notes_by_run ON graphorch.notes (run_id);
CREATE INDEX new_notes ON graphorch.notes (posted_in);
"""

MIGRATIONS: Final[dict[int, tuple[LiteralString, ...]]] = {
    0: (
        _VERSIONS,
        _CLOCK,
        _PROCESSES,
        _RUNS,
        _RECORDS,
        _LETTERS,
        _REGIONS,
        _WORKERS,
        _SPENDING,
        _RATES,
        _NOTES,
    ),
    1: (_TICKETS,),
}
SET_VERSION: Final = "UPDATE graphorch.schema_version SET version = %s"
GET_VERSION: Final = "SELECT version FROM graphorch.schema_version"
# What stands under the name of the schema, if anything does: (schema, table with the version).
FIND_SCHEMA: Final = """
SELECT to_regnamespace('graphorch') IS NOT NULL, to_regclass('graphorch.schema_version') IS NOT NULL
"""
# Held while tables are made or changed, so that two processes do not do it at once.
LOCK: Final = "SELECT pg_advisory_xact_lock(1735552882, 0)"
