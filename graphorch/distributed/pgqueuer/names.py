"""Names of PgQueuer's tables, which lie in the schema of the journal, and of its notifications."""

from __future__ import annotations

from graphorch.distributed.errors import EngineNotReady

try:
    from pgqueuer.domain.settings import DBSettings, Durability
    from pgqueuer.domain.types import Channel
except ImportError as error:
    raise EngineNotReady(
        f"Jobs for workers need PgQueuer ({error}). Install it: pip install 'graphorch[postgres]'."
    ) from None

SCHEMA = "graphorch"
CHANNEL = "graphorch_jobs"  # channels belong to the whole database, so its own PgQueuer has another


def make_settings() -> DBSettings:
    """Return PgQueuer's settings. All names are given, so that no environment variable counts.

    The table of jobs survives a crash of the server; the log of what happened to them need not.
    """
    return DBSettings(
        prefix="",
        db_schema=SCHEMA,
        channel=Channel(CHANNEL),
        function="fn_pgqueuer_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table="pgqueuer",
        queue_table_log="pgqueuer_log",
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
        durability=Durability.balanced,
        widen_id=True,
    )
