"""Every statement that is ever sent to SQLite. None is built at run time: values are bound."""

from __future__ import annotations

APPLICATION_ID = 1735552882  # what `SET_STAMP` writes into the file: "gror"
FORMAT = 7  # the version of the tables below; a file of a later one is refused

BEGIN_READ = "BEGIN"
BEGIN_WRITE = "BEGIN IMMEDIATE"
COMMIT = "COMMIT"
ROLLBACK = "ROLLBACK"
GET_DATA_VERSION = "PRAGMA data_version"

GET_APPLICATION_ID = "PRAGMA application_id"
GET_FORMAT = "PRAGMA user_version"
GET_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"

USE_WAL = "PRAGMA journal_mode = WAL"
SYNC_EVERY_COMMIT = "PRAGMA synchronous = FULL"
SYNC_CHECKPOINTS = "PRAGMA synchronous = NORMAL"
OVERWRITE_WHAT_IS_DELETED = "PRAGMA secure_delete = ON"
DISTRUST_SCHEMA = "PRAGMA trusted_schema = OFF"
CHECK_CELLS = "PRAGMA cell_size_check = ON"
CHECKPOINT_EVERY_4000_PAGES = "PRAGMA wal_autocheckpoint = 4000"
KEEP_64_MB_OF_LOG = "PRAGMA journal_size_limit = 67108864"
ONLY_READ = "PRAGMA query_only = ON"
GET_PAGE_SIZE = "PRAGMA page_size"
DO_NOT_WAIT = "PRAGMA busy_timeout = 0"
MOVE_THE_LOG = "PRAGMA wal_checkpoint(PASSIVE)"
CHECK_ALL_PAGES = "PRAGMA integrity_check(1)"
EMPTY_THE_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"

# Steps from each format of the file to the next one; format 0 is an empty file.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    0: (
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            run_id TEXT NOT NULL UNIQUE,
            flow TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            format INTEGER NOT NULL,
            parent TEXT,
            tags TEXT NOT NULL,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            status TEXT NOT NULL,
            last_seq INTEGER NOT NULL,
            link BLOB NOT NULL,
            seal BLOB NOT NULL,
            salt BLOB NOT NULL,
            is_erased INTEGER NOT NULL,
            owner TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            expires_at REAL NOT NULL
        ) STRICT
        """,
        # Not keyed by (run, seq) itself: appends of many runs then share the last page instead of writing one page each, which is twice as fast.
        """
        CREATE TABLE records (
            run INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            kind TEXT NOT NULL,
            body BLOB,
            digest BLOB,
            link BLOB NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE snapshots (
            run INTEGER PRIMARY KEY,
            seq INTEGER NOT NULL,
            body BLOB NOT NULL,
            digest BLOB NOT NULL
        ) STRICT
        """,
        # What `graphorch.trace` reads out of the records. It can be made again from them at any time, and goes when they go.
        """
        CREATE TABLE traces (
            id INTEGER PRIMARY KEY,
            run_id TEXT NOT NULL UNIQUE,
            flow TEXT NOT NULL,
            status TEXT NOT NULL,
            reason TEXT NOT NULL,
            tags TEXT NOT NULL,
            parent TEXT,
            began REAL NOT NULL,
            seconds REAL,
            budget REAL,
            version INTEGER NOT NULL,
            seq INTEGER NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE spans (
            run INTEGER NOT NULL,
            id TEXT NOT NULL,
            parent TEXT NOT NULL,
            kind TEXT NOT NULL,
            path TEXT NOT NULL,
            step TEXT NOT NULL,
            node TEXT NOT NULL,
            level INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            began REAL NOT NULL,
            seconds REAL,
            status TEXT NOT NULL,
            error TEXT NOT NULL,
            message TEXT NOT NULL,
            model TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            policy TEXT NOT NULL,
            input_tokens INTEGER NOT NULL,
            output_tokens INTEGER NOT NULL,
            cached_tokens INTEGER NOT NULL,
            usd REAL NOT NULL,
            usd_source TEXT NOT NULL,
            first_token REAL,
            sent INTEGER NOT NULL,
            retries INTEGER NOT NULL,
            fallbacks INTEGER NOT NULL,
            hedges INTEGER NOT NULL,
            from_cache INTEGER NOT NULL,
            loop TEXT NOT NULL,
            findings TEXT,
            copied INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE INDEX spans_by_run ON spans (run)",
        "CREATE INDEX spans_by_time ON spans (kind, began)",
        "CREATE UNIQUE INDEX records_by_run ON records (run, seq)",
        "CREATE INDEX runs_by_age ON runs (created_at, run_id)",
        "CREATE INDEX runs_by_status ON runs (status, created_at, run_id)",
        "PRAGMA application_id = 1735552882",
        "PRAGMA user_version = 1",
    ),
    # Leases were claimed for 30 seconds, and no run had a key.
    1: (
        "ALTER TABLE runs ADD COLUMN lease_seconds REAL NOT NULL DEFAULT 30.0",
        "ALTER TABLE runs ADD COLUMN key_id BLOB NOT NULL DEFAULT x''",
        "PRAGMA user_version = 2",
    ),
    # Statistics counted a call at the model that answered, and not what budgets booked.
    2: (
        "ALTER TABLE spans ADD COLUMN unpriced INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE spans ADD COLUMN booked_usd REAL NOT NULL DEFAULT 0.0",
        "ALTER TABLE spans ADD COLUMN booked_tokens INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE spans ADD COLUMN failed_sent INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE spans ADD COLUMN unusable INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE spans ADD COLUMN has_requests INTEGER NOT NULL DEFAULT 0",
        "PRAGMA user_version = 3",
    ),
    # Runs had no mailbox. A number is never given twice, also after the newest letter was dropped.
    3: (
        """
        CREATE TABLE letters (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            run INTEGER NOT NULL,
            letter_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            body BLOB NOT NULL,
            sent_at REAL NOT NULL,
            error TEXT,
            message TEXT NOT NULL,
            seal BLOB NOT NULL
        ) STRICT
        """,
        "CREATE INDEX letters_by_run ON letters (run)",
        "PRAGMA user_version = 4",
    ),
    # No region was exclusive across runs.
    4: (
        """
        CREATE TABLE regions (
            name TEXT PRIMARY KEY,
            run_id TEXT NOT NULL,
            epoch INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        "PRAGMA user_version = 5",
    ),
    # Runs came into a shared region in no order.
    5: (
        """
        CREATE TABLE tickets (
            name TEXT NOT NULL,
            run_id TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            number INTEGER NOT NULL,
            PRIMARY KEY (name, run_id)
        ) STRICT, WITHOUT ROWID
        """,
        "PRAGMA user_version = 6",
    ),
    # Statistics did not tell tokens that were reported from those that were estimated.
    6: (
        "ALTER TABLE spans ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0",
        "PRAGMA user_version = 7",
    ),
}

FIND_RUN = """
    SELECT id, run_id, flow, fingerprint, format, parent, tags, created_at, updated_at, status, last_seq, link, seal, salt,
        is_erased, owner, epoch, expires_at, lease_seconds, key_id
    FROM runs WHERE run_id = ?
"""
ADD_RUN = """
    INSERT INTO runs (run_id, flow, fingerprint, format, parent, tags, created_at, updated_at, status, last_seq, link, seal, salt,
        is_erased, owner, epoch, expires_at, lease_seconds, key_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
SET_PROGRESS = "UPDATE runs SET updated_at = ?, last_seq = ?, link = ?, seal = ? WHERE id = ?"
# apart, so that the index on it is seldom touched
SET_STATUS = "UPDATE runs SET status = ? WHERE id = ?"
SET_LEASE = "UPDATE runs SET owner = ?, epoch = ?, expires_at = ?, lease_seconds = ? WHERE id = ?"
SET_ERASED = "UPDATE runs SET is_erased = ?, salt = ?, seal = ? WHERE id = ?"

ADD_RECORD = "INSERT INTO records (run, seq, kind, body, digest, link) VALUES (?, ?, ?, ?, ?, ?)"
GET_RECORDS = (
    "SELECT seq, kind, body, digest, link FROM records WHERE run = ? AND seq > ? ORDER BY seq"
)
GET_RECORD = "SELECT seq, kind, body, digest, link FROM records WHERE run = ? AND seq = ?"
GET_LAST_RECORD = "SELECT ifnull(max(rowid), 0) FROM records"
GET_RECORD_AT = """
    SELECT records.run, records.seq, runs.run_id, runs.created_at, records.link
    FROM records JOIN runs ON runs.id = records.run
    WHERE records.rowid <= ? ORDER BY records.rowid DESC LIMIT 1
"""
FIND_RECORD_OF_RUN = """
    SELECT runs.run_id, runs.created_at, records.link
    FROM runs LEFT JOIN records ON records.run = runs.id AND records.seq = ?
    WHERE runs.id = ?
"""
ERASE_RECORD = "UPDATE records SET body = NULL, digest = ? WHERE run = ? AND seq = ?"

GET_SNAPSHOT = "SELECT seq, body, digest FROM snapshots WHERE run = ?"
SET_SNAPSHOT = "INSERT OR REPLACE INTO snapshots (run, seq, body, digest) VALUES (?, ?, ?, ?)"

ADD_LETTER = """
    INSERT INTO letters (run, letter_id, kind, body, sent_at, error, message, seal)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
SET_LETTER = """
    UPDATE letters SET body = ?, error = ?, message = ?, seal = ? WHERE number = ? AND run = ?
"""
GET_LETTERS = """
    SELECT number, letter_id, kind, body, sent_at, error, message, seal
    FROM letters WHERE run = ? AND number > ? ORDER BY number
"""
FIND_MAIL = "SELECT 1 FROM letters WHERE run = ? AND error IS NULL LIMIT 1"
GET_NEWEST_LETTER = "SELECT ifnull(max(number), 0) FROM letters"

GET_REGION = "SELECT name, run_id, epoch FROM regions WHERE name = ?"
SET_REGION = "INSERT OR REPLACE INTO regions (name, run_id, epoch) VALUES (?, ?, ?)"
DROP_REGION = "DELETE FROM regions WHERE name = ?"
GET_TICKETS = "SELECT name, run_id, epoch, number FROM tickets WHERE name = ? ORDER BY number"
SET_TICKET = "INSERT OR REPLACE INTO tickets (name, run_id, epoch, number) VALUES (?, ?, ?, ?)"
DROP_TICKET = "DELETE FROM tickets WHERE name = ? AND run_id = ?"
GET_QUEUE_MARK = """
    SELECT ifnull(sum(number), 0) * 4096 + (SELECT count(*) FROM regions) FROM tickets
"""

LIST_RUNS = """
    SELECT id, run_id, flow, fingerprint, format, parent, tags, created_at, updated_at, status, last_seq, link, seal, salt,
        is_erased, owner, epoch, expires_at, lease_seconds, key_id
    FROM runs
    WHERE (:flow IS NULL OR flow = :flow)
        AND (:tag IS NULL OR (json_valid(tags) AND EXISTS (SELECT 1 FROM json_each(tags) WHERE key = :tag AND value = :value)))
        AND created_at >= :created_from AND created_at < :created_until
        AND (created_at, run_id) < (:before_time, :before_id)
    ORDER BY created_at DESC, run_id DESC LIMIT :limit
"""
LIST_RUNS_OF_STATUS = """
    SELECT id, run_id, flow, fingerprint, format, parent, tags, created_at, updated_at, status, last_seq, link, seal, salt,
        is_erased, owner, epoch, expires_at, lease_seconds, key_id
    FROM runs
    WHERE status = :status AND (:flow IS NULL OR flow = :flow)
        AND (:tag IS NULL OR (json_valid(tags) AND EXISTS (SELECT 1 FROM json_each(tags) WHERE key = :tag AND value = :value)))
        AND created_at >= :created_from AND created_at < :created_until
        AND (created_at, run_id) < (:before_time, :before_id)
    ORDER BY created_at DESC, run_id DESC LIMIT :limit
"""

FIND_PRUNABLE = """
    SELECT id FROM runs
    WHERE status IN (SELECT value FROM json_each(:statuses)) AND updated_at < :before
        AND NOT (owner <> '' AND expires_at > :now AND expires_at <= :now + 2 * lease_seconds)
        AND (:any_key OR key_id IN (x'', :key_id))
    ORDER BY id LIMIT :limit
"""
FIND_UNPRUNABLE = """
    SELECT run_id FROM runs
    WHERE status IN (SELECT value FROM json_each(:statuses)) AND updated_at < :before
        AND NOT (owner <> '' AND expires_at > :now AND expires_at <= :now + 2 * lease_seconds)
        AND NOT (:any_key OR key_id IN (x'', :key_id))
    ORDER BY id
"""
DROP_RECORDS = "DELETE FROM records WHERE run = ?"
DROP_SNAPSHOT = "DELETE FROM snapshots WHERE run = ?"
DROP_LETTERS = "DELETE FROM letters WHERE run = ?"
DROP_SPANS = "DELETE FROM spans WHERE run = (SELECT traces.id FROM traces JOIN runs USING (run_id) WHERE runs.id = ?)"
DROP_TRACE = "DELETE FROM traces WHERE run_id = (SELECT run_id FROM runs WHERE id = ?)"
DROP_RUN = "DELETE FROM runs WHERE id = ?"
