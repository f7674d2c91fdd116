"""PgQueuer as the engine: jobs in tables of PostgreSQL, beside the journal."""
