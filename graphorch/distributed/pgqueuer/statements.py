"""Statements over PgQueuer's tables that it does not have, or not as an engine needs them.

PgQueuer ends a job by its number alone, so a process that was taken for dead would end the job of
its successor. Here each claim has its manager (a call of `serve`), and only that one ends it, keeps
it or gives it back.
"""

from __future__ import annotations

from graphorch.distributed.pgqueuer.names import CHANNEL, SCHEMA

_QUEUE = f"{SCHEMA}.pgqueuer"
_LOG = f"{SCHEMA}.pgqueuer_log"
_STATUS = f"{SCHEMA}.pgqueuer_status"

# The next moment at which one of the kinds has something to do: a job that waits may begin, or one
# that is handled was not heard of for too long.
FIND_DUE = f"""
SELECT asked.kind, extract(epoch FROM least(
    (SELECT min(execute_after) FROM {_QUEUE} WHERE entrypoint = asked.kind AND status = 'queued'),
    (SELECT min(heartbeat) FROM {_QUEUE} WHERE entrypoint = asked.kind AND status = 'picked')
        + $2::interval
) - now())::float8 AS seconds
FROM unnest($1::text[]) AS asked(kind)
"""

BEAT = f"""
UPDATE {_QUEUE} SET heartbeat = now()
WHERE id = ANY($1::bigint[]) AND queue_manager_id = $2 AND status = 'picked'
RETURNING id
"""

FINISH = f"""
WITH ended AS (
    SELECT * FROM unnest($1::bigint[], $2::text[]) AS ended(id, status)
), deleted AS (
    DELETE FROM {_QUEUE} AS job USING ended
    WHERE job.id = ended.id AND job.queue_manager_id = $3 AND job.status = 'picked'
    RETURNING job.id, job.entrypoint, job.priority, ended.status
)
INSERT INTO {_LOG} (job_id, status, entrypoint, priority)
SELECT id, status::{_STATUS}, entrypoint, priority FROM deleted
"""

# PgQueuer notifies of new jobs only, so this says that some wait again.
GIVE_BACK = f"""
WITH given AS (
    UPDATE {_QUEUE} SET status = 'queued', queue_manager_id = NULL, slot = NULL, updated = now()
    WHERE id = ANY($1::bigint[]) AND queue_manager_id = $2 AND status = 'picked'
    RETURNING id
)
SELECT pg_notify('{CHANNEL}', '{{"operation" : "insert"}}')
WHERE EXISTS (SELECT 1 FROM given)
"""

CANCEL = f"""
WITH withdrawn AS (
    DELETE FROM {_QUEUE} WHERE dedupe_key = ANY($1::text[]) AND status = 'queued'
    RETURNING id, entrypoint, priority
)
INSERT INTO {_LOG} (job_id, status, entrypoint, priority)
SELECT id, 'canceled', entrypoint, priority FROM withdrawn
"""

FORGET = (
    f"DELETE FROM {_QUEUE} WHERE dedupe_key = ANY($1::text[]) AND status IN ('queued', 'picked')"
)

LIST_ALIVE = f"""
SELECT dedupe_key FROM {_QUEUE}
WHERE dedupe_key = ANY($1::text[]) AND status IN ('queued', 'picked')
"""

READ_HEALTH = f"""
SELECT entrypoint AS kind,
    count(*) FILTER (WHERE status = 'queued') AS waiting,
    count(*) FILTER (WHERE status = 'picked') AS handled,
    coalesce(extract(epoch FROM now() - min(execute_after) FILTER (
        WHERE status = 'queued' AND execute_after < now())), 0)::float8 AS lag
FROM {_QUEUE} WHERE status IN ('queued', 'picked') GROUP BY entrypoint ORDER BY entrypoint
"""

# PgQueuer never deletes from its log, of which its dashboard shows the last minutes.
PRUNE_LOG = f"DELETE FROM {_LOG} WHERE created < now() - interval '15 minutes'"

# It fails where a table or column is missing, and reads nothing.
CHECK = f"""
SELECT id, priority, queue_manager_id, updated, heartbeat, execute_after, status, entrypoint,
    dedupe_key, payload, headers, slot, (SELECT max(created) FROM {_LOG} WHERE job_id < 0)
FROM {_QUEUE} LIMIT 0
"""

READ_SERVER_AGE = """
SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS seconds
"""

NOTIFY = f"SELECT pg_notify('{CHANNEL}', $1)"
LISTEN = f"LISTEN {CHANNEL}"
