"""Connections to a PostgreSQL server, and its errors as errors of a journal.

Rules of this file:

1. A password is never in a message, a representation or a note: a URL is shown as its `place`, see
   `journal/address.py`.
2. How to connect is libpq's business: TLS, passwords and services come from the URL, from the
   variables of the environment (`PGPASSFILE`, `PGSERVICE`, …) and from its files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from graphorch.errors import JournalError
from graphorch.journal.address import parse_address
from graphorch.journal.errors import (
    StoreFull,
    StoreLocked,
    StoreNotOpened,
    StoreReadOnly,
    StoreReplaced,
    StoreUnavailable,
)

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
except ImportError as error:
    raise StoreNotOpened(
        f"A journal on PostgreSQL needs psycopg ({error}). "
        "Install it: pip install 'graphorch[postgres]'."
    ) from None

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]
LOST: Final = (psycopg.OperationalError, psycopg.InterfaceError)

OLDEST_SERVER: Final = 130_000
PATIENCE: Final = 5.0  # seconds to wait for a server that restarts
PAUSE: Final = 0.1  # between two attempts to connect
# Unless the URL says otherwise: a machine that is gone is noticed within seconds.
DEFAULTS: Final = {
    "connect_timeout": "5",
    "fallback_application_name": "graphorch",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# A process that is stopped in the middle of a transaction must not keep its locks for ever. A
# commit is durable, whatever the default of the database. All statements are short: to compile one,
# as the server does if its plan looks dear, takes far longer than to run it.
_CONFIGURE: Final = """
SET search_path = pg_catalog, pg_temp;
SET default_transaction_isolation = 'read committed';
SET idle_in_transaction_session_timeout = '5s';
SET lock_timeout = '2s';
SET statement_timeout = '60s';
SET jit = off;
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
"""
_STARTING: Final = ("starting up", "shutting down", "recovery mode", "not yet accepting")


class Address:
    """URL of a database, and what is shown of it. Only `url` holds the password, for the driver.

    Raises `InputError` for a URL that is not valid.
    """

    __slots__ = ("place", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self.place = parse_address(url).shown

    def __repr__(self) -> str:
        return f"Address({self.place!r})"

    def connect(self, **options: str) -> Connection:
        """Return a new connection, on which each statement is a transaction of its own.

        Options of libpq hold unless the URL has them.

        Raises `psycopg.OperationalError`, and `StoreNotOpened` for an option that does not exist.
        """
        try:
            given = conninfo_to_dict(self.url)
        except psycopg.ProgrammingError:
            # What it says, and an option that is misspelt, may hold the password.
            raise StoreNotOpened(
                f"'{self.place.partition('?')[0]}' has options that libpq does not know. Check "
                "what stands behind the question mark of the URL."
            ) from None
        options = {**DEFAULTS, **options}
        defaults = {name: value for name, value in options.items() if name not in given}
        connection = psycopg.connect(self.url, autocommit=True, **defaults)  # pyright: ignore[reportArgumentType]
        try:
            connection.execute(_CONFIGURE)
        except BaseException:
            connection.close()
            raise
        return connection


def open_connection(address: Address) -> Connection:
    """Return the first connection of a store; waits for a server that is starting.

    Raises `StoreNotOpened`.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return address.connect()
        except psycopg.Error as error:
            reason = describe(error)
            is_starting = any(part in reason for part in _STARTING)
            if not is_starting or time.monotonic() >= end:
                raise build_refusal(error, address.place) from None
        time.sleep(PAUSE)


def build_refusal(error: BaseException, place: str) -> BaseException:
    """Return the error for a database that cannot be opened, with what to do about it.

    It is the same one, unless the driver raised it.
    """
    if not isinstance(error, psycopg.Error):
        return error
    reason = describe(error)
    return StoreNotOpened(f"'{place}' cannot be opened: {reason} {_advise(reason)}")


class Session:
    """Connection that is made again after it was lost; one thread at a time uses it.

    `configure` is run on every new connection.
    """

    def __init__(
        self,
        address: Address,
        connection: Connection | None = None,
        configure: Callable[[Connection], object] | None = None,
    ) -> None:
        self.address = address
        self._configure = configure
        self._connection = connection
        if connection is not None and configure is not None:
            configure(connection)

    def acquire(self, until: float) -> Connection:
        """Return the connection, made again if it was lost. `until` is in monotonic seconds.

        Raises `StoreUnavailable` if the server cannot be reached until then.
        """
        while self._connection is None:
            try:
                connection = self.address.connect()
                if self._configure is not None:
                    self._configure(connection)
                self._connection = connection
            except psycopg.Error as error:
                if time.monotonic() + PAUSE >= until:
                    raise StoreUnavailable(
                        f"'{self.address.place}' cannot be reached: {describe(error)} Nothing was "
                        "stored by this call, or all of it. Repeat it once the server is there."
                    ) from None
                time.sleep(PAUSE)
        return self._connection

    def drop_if_lost(self) -> bool:
        """Return whether the connection was lost; then it is made again at the next use."""
        connection = self._connection
        if connection is not None and not (connection.closed or connection.broken):
            return False
        self.close()
        return True

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def explain(error: Exception, place: str) -> Exception:
    """Return an error of PostgreSQL as a `JournalError`, and any other one as it is."""
    if isinstance(error, JournalError) or not isinstance(error, psycopg.Error):
        return error
    where = f"'{place}': PostgreSQL says: {describe(error)}"
    code = error.sqlstate or ""
    # 25006: read-only transaction; 42501: no privilege
    if code in ("25006", "42501"):
        return StoreReadOnly(
            f"{where} Nothing was stored. Connect to a server that may be written, as a user who "
            "may write the schema graphorch."
        )
    if code in ("53100", "53200"):  # disk full, out of memory
        return StoreFull(
            f"{where} Nothing was stored. Free some room, or delete old runs with `prune`."
        )
    # A lock was waited for too long, in a circle, or the statement took too long.
    if code in ("55P03", "40P01", "57014", "40001"):
        return StoreLocked(f"{where} Another process holds what this call needs. Repeat it.")
    # Missing: schema, table, column, function
    if code in ("3F000", "42P01", "42703", "42883"):
        return StoreReplaced(
            f"{where} The tables of graphorch were deleted or changed while they were in use. "
            "Run `graphorch db init`, or restore the database from a copy."
        )
    return StoreUnavailable(f"{where} Repeat the call; if it fails again, check the server.")


def describe(error: Exception) -> str:
    """Return what PostgreSQL or libpq says, on one line that ends with a full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = "; ".join(lines) or type(error).__name__
    return text if text.endswith(".") else f"{text}."


def _advise(reason: str) -> str:
    """Return what to do about a connection that was refused."""
    advice = {
        "password": "Check the user and the password (libpq also reads PGPASSWORD and PGPASSFILE).",
        "does not exist": "Create it, or correct the URL.",
        "could not translate host name": "Correct the name of the host.",
        "failed to resolve host": "Correct the name of the host.",
        "refused": "Start the server, or correct the host and the port.",
        "too many": "Raise max_connections of the server, or stop other programs.",
        "certificate": "Check sslmode, sslrootcert and the certificate of the server.",
        "SSL": "Check sslmode in the URL.",
        "permission denied": "Connect as a user who may use the schema graphorch.",
    }
    return next((hint for part, hint in advice.items() if part in reason), "Check the URL.")
