"""Notes between workers in a PostgreSQL database: `PostgresResults`."""
