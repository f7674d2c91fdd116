"""`graphorch db`: a database is prepared, checked and upgraded."""

from __future__ import annotations

import psycopg
import pytest

from tests.cli.shell import Shell
from tests.postgres.cluster import Cluster


def test_database_is_prepared(shell: Shell, database: str) -> None:
    """After `db init` a database is ready, and repeating it changes nothing."""
    assert shell("db", "--db", database).code == 2
    first = shell("db", "init", "--db", database)
    assert (first.code, first.out) == (0, f"made the tables of graphorch in {database}\n")
    again = shell("db", "init", "--db", database)
    assert (again.code, again.out) == (0, f"the tables were there already in {database}\n")
    ready = shell("db", "--db", database)
    assert (ready.code, ready.out) == (0, f"ready: {database}\n")
    upgraded = shell("db", "upgrade", "--db", database)
    assert (upgraded.code, upgraded.out.partition(" in ")[0][:-2]) == (
        0,
        "upgraded the tables of version",
    )


def test_half_made_database_is_completed(shell: Shell, database: str) -> None:
    """A database whose queue is missing is not ready, and `db init` completes it."""
    assert shell("db", "init", "--db", database).code == 0
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP TABLE graphorch.pgqueuer")
    ended = shell("db", "--db", database)
    assert (ended.code, "has no tables for jobs" in ended.err) == (2, True)
    assert f"`graphorch db init --db {database}`" in ended.err
    assert shell("db", "init", "--db", database).code == 0
    assert shell("db", "--db", database).code == 0


@pytest.mark.parametrize("words", [["db"], ["db", "init"], ["db", "upgrade"]])
def test_wrong_databases_are_named(shell: Shell, cluster: Cluster, words: list[str]) -> None:
    """A file, a database that does not exist and one without tables: one line, exit code 2."""
    missing = cluster.url("missing").replace("postgres@", "postgres:secret@")
    for db, text in (
        ("runs.sqlite", "needs a PostgreSQL database"),
        (missing, 'database "missing" does not exist'),
    ):
        ended = shell(*words, "--db", db)
        assert (ended.code, text in ended.err) == (2, True)
        assert "secret" not in ended.out + ended.err
        assert "Traceback" not in ended.err


def test_upgrade_needs_tables(shell: Shell, database: str) -> None:
    """A database without tables cannot be upgraded."""
    ended = shell("db", "upgrade", "--db", database)
    assert (ended.code, "has no tables of graphorch" in ended.err) == (2, True)


def test_option_may_stand_before_command(shell: Shell, database: str) -> None:
    """A database that is named before the command is the one that is prepared."""
    assert shell("db", "--db", database, "init").code == 0
    assert shell("db", "--db", database).code == 0
