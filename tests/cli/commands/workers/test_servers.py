"""Commands on servers behind TLS or a pooler, and on servers that cannot be used: one clear line.

The commands end with exit code 2, show no password, and make nothing by halves.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cli.shell import Shell
from tests.postgres.certificates import make_certificate
from tests.postgres.cluster import Cluster
from tests.postgres.pgbouncer import find_pgbouncer, running_pgbouncer
from tests.workers.processes import FLOW, Launcher, launcher, open_site, prepare_database

__all__ = ["launcher"]

SECRET = "s3cret-word"
NEEDS_OPENSSL = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
NEEDS_PGBOUNCER = pytest.mark.skipif(
    not find_pgbouncer(), reason="PgBouncer is not installed: apt-get install pgbouncer"
)
COMMANDS = (["db"], ["worker", FLOW], ["submit", FLOW, "--kind", "quick"], ["workers"])


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> Iterator[str]:
    """A database with all tables, for all tests of this module."""
    made = cluster.create_database()
    prepare_database(made)
    yield made
    cluster.drop_database(made)


def change(url: str, *, host: str = "127.0.0.1", port: int = 0, options: str = "") -> str:
    """Return the URL of the same database elsewhere, with a password."""
    before, _, name = url.rpartition("/")
    port = port or int(before.rpartition(":")[2])
    return f"postgresql://postgres:{SECRET}@{host}:{port}/{name}{options}"


def check_refused(shell: Shell, url: str, text: str, commands: object = COMMANDS) -> None:
    """Check that no command works on a database, and each says why on one line."""
    assert isinstance(commands, tuple)
    for words in commands:
        ended = shell(*words, "--db", url)
        lines = [line for line in ended.err.splitlines() if not line.startswith("note: ")]
        assert (ended.code, len(lines)) == (2, 1), ended.err
        assert text in lines[0]
        assert SECRET not in ended.out + ended.err


# ---- TLS -----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def certificate(cluster: Cluster) -> Iterator[Path]:
    """The certificate of `localhost` with which the server offers TLS."""
    made = make_certificate(cluster.folder / "tls", "localhost")
    cluster.execute(f"ALTER SYSTEM SET ssl_cert_file = '{made}'")
    cluster.execute(f"ALTER SYSTEM SET ssl_key_file = '{made.with_suffix('.key')}'")
    switch_tls(cluster, "on")
    yield made
    switch_tls(cluster, "off")


def switch_tls(cluster: Cluster, value: str) -> None:
    """Have a server offer TLS or not, and return once it does."""
    cluster.execute(f"ALTER SYSTEM SET ssl = {value}")
    cluster.execute("SELECT pg_reload_conf()")
    end = time.monotonic() + 10
    while offers_tls(cluster) != (value == "on"):
        assert time.monotonic() < end
        time.sleep(0.02)


def offers_tls(cluster: Cluster) -> bool:
    try:
        psycopg.connect(f"{cluster.url()}?sslmode=require").close()
    except psycopg.OperationalError:
        return False
    return True


@NEEDS_OPENSSL
def test_tls_is_used_as_url_says(
    shell: Shell, url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal and the queue verify the server as libpq does, by the URL or its variables."""
    for options in ("sslmode=require", f"sslmode=verify-full&sslrootcert={certificate}"):
        db = change(url, host="localhost", options=f"?{options}")
        for words in (["db"], ["submit", FLOW, "--kind", "quick"], ["workers"]):
            ended = shell(*words, "--db", db)
            assert (ended.code, SECRET in ended.out + ended.err) == (0, False), ended.err
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(certificate))
    assert shell("db", "--db", change(url, host="localhost")).code == 0
    with psycopg.connect(change(url, host="localhost")) as connection:
        query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert connection.execute(query).fetchone() == (True,)


@NEEDS_OPENSSL
def test_wrong_certificates_are_named(
    shell: Shell, url: str, certificate: Path, tmp_path: Path
) -> None:
    """An authority that did not sign, another host, and a missing file are refused."""
    other = make_certificate(tmp_path / "other", "localhost")
    for host, file, text in (
        ("localhost", other, "certificate verify failed"),
        ("127.0.0.1", certificate, "does not match host name"),
        ("localhost", tmp_path / "missing", "does not exist"),
    ):
        options = f"?sslmode=verify-full&sslrootcert={file}"
        check_refused(shell, change(url, host=host, options=options), text)


def test_server_without_tls_is_named(shell: Shell, url: str, cluster: Cluster) -> None:
    """TLS that the URL asks for and the server does not offer is refused."""
    switch_tls(cluster, "off")
    db = change(url, options="?sslmode=require")
    check_refused(shell, db, "server does not support SSL", COMMANDS[:2])


# ---- a pooler ------------------------------------------------------------------------------------
@NEEDS_PGBOUNCER
@pytest.mark.slow
def test_pooler_in_session_mode_works(
    shell: Shell, cluster: Cluster, tmp_path: Path, launcher: Launcher
) -> None:
    """Behind PgBouncer in session mode, as it is configured by default, all works."""
    made = cluster.create_database()
    with running_pgbouncer(cluster, "session") as port:
        db = change(made, port=port)
        assert shell("db", "init", "--db", db).code == 0
        with open_site(db, tmp_path, launcher) as site:
            (worker,) = site.start_many(1)
            ended = shell("submit", FLOW, "--kind", "quick", "--wait", "--db", db)
            assert ended.code == 0, ended.err
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0
            assert SECRET not in worker.read()


@NEEDS_PGBOUNCER
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_pooler_without_sessions_is_refused(
    shell: Shell, cluster: Cluster, url: str, mode: str
) -> None:
    """Behind PgBouncer in another mode LISTEN does not work, which each command says."""
    empty = cluster.create_database()
    with running_pgbouncer(cluster, mode) as port:
        check_refused(shell, change(url, port=port), "is behind a pooler in transaction mode")
        db = change(empty, port=port)
        check_refused(shell, db, "is behind a pooler in transaction mode", (["db", "init"],))
    with psycopg.connect(empty) as connection:
        query = "SELECT to_regnamespace('graphorch')"
        assert connection.execute(query).fetchone() == (None,)


# ---- a server that cannot be used ----------------------------------------------------------------
def test_missing_rights_are_named(shell: Shell, url: str, cluster: Cluster) -> None:
    """A user who may not use the tables is refused."""
    cluster.execute("CREATE ROLE guest LOGIN")
    try:
        db = change(url).replace("postgres:", "guest:", 1)
        check_refused(shell, db, "permission denied")
    finally:
        cluster.execute("DROP ROLE guest")


def test_read_only_server_is_refused(shell: Shell, url: str, cluster: Cluster) -> None:
    """A database that is read-only by its settings is refused by all that writes."""
    name = url.rpartition("/")[2]
    cluster.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        commands = (*COMMANDS[:3], ["db", "init"], ["db", "upgrade"])
        check_refused(shell, change(url), "Connect to the primary server", commands)
    finally:
        cluster.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


@pytest.mark.slow
def test_standby_is_refused(shell: Shell, url: str, cluster: Cluster) -> None:
    """A server in recovery is refused by all that writes."""
    data = cluster.folder / "data"
    prepare_database(cluster.create_database())
    (data / "standby.signal").touch()
    if data.owner() == "postgres":
        shutil.chown(data / "standby.signal", "postgres", "postgres")
    try:
        cluster.restart("fast")
        commands = (*COMMANDS[:3], ["db", "init"], ["db", "upgrade"])
        check_refused(shell, change(url), "Connect to the primary server", commands)
    finally:
        (data / "standby.signal").unlink(missing_ok=True)
        cluster.restart("fast")
    assert shell("db", "--db", url).code == 0


def test_later_tables_are_refused(shell: Shell, url: str) -> None:
    """Tables of a later version are refused, and stay as they are."""
    statement = "UPDATE graphorch.schema_version SET version = version + %s"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement, (1,))
        try:
            commands = (*COMMANDS, ["db", "init"], ["db", "upgrade"])
            check_refused(shell, change(url), "made by a later version of graphorch", commands)
        finally:
            connection.execute(statement, (-1,))
