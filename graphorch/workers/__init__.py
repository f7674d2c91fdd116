"""Processes that take the runs and nodes of a database: `graphorch worker`."""
