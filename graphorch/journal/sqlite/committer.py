"""The one connection of a store that writes to its file, and how a commit gets there: at once, or in a batch on a thread.

At `synchronous = NORMAL` a commit waits for no disk and takes some 30 µs: handing it to a thread and back would take longer than the commit.
So it is made where it is asked for, unless something would have to be waited for: the disk, the thread that is in the middle of a batch,
another process that writes. Waiting is for the thread, and so is moving the log into the file, which syncs in either mode: there is room
for so many pages in the log, and a commit without room goes to the thread, which moves the log first. SQLite itself would move it at 4,000
pages, in the middle of any commit; so there is an end to the log also when room was reckoned wrongly, or when several processes fill it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from graphorch.errors import JournalError
from graphorch.journal.sqlite import statements
from graphorch.journal.sqlite.connection import SQLITE_ERRORS, explain, insist
from graphorch.journal.sqlite.tables import SqliteTables
from graphorch.journal.sqlite.thread import Done, Operation
from graphorch.journal.sqlite.wal import LogFile
from graphorch.journal.tables import Tables

ROOM = 3000  # pages of the log between two times that it is moved into the file
AT_ONCE = 64 * 1024  # bytes; larger ones take so long to write that the event loop would be held up
_PAGE = 4096
_PAGES = 4  # of a commit beside its content: the run's row, the index, and what is half full


class Committer:
    """Runs operations in transactions, on whichever thread asks; one thread at a time uses the connection."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        *,
        waits_for_disk: bool,
        lock_timeout: float,
    ) -> None:
        self._path = path
        self._db = connection
        self._tables = SqliteTables(connection)
        self._log = LogFile(path) if waits_for_disk else None
        self._lock_timeout = lock_timeout
        self._mutex = threading.Lock()
        self._room = ROOM
        connection.execute(statements.DO_NOT_WAIT)

    def commit_now(self, operation: Callable[[Tables], Any], size: int) -> bool:
        """Run an operation that writes so many bytes, and commit it, if nothing has to be waited for; raises the operation's `JournalError`.

        False if it was not done, or is not known to be: `commit_all` does it, or says what is wrong.
        """
        if (
            self._room <= 0
            or self._log is not None
            or size > AT_ONCE
            or not self._mutex.acquire(blocking=False)
        ):
            return False
        try:
            # it may have been closed meanwhile
            return self._room > 0 and self._is_committed(operation)
        finally:
            self._mutex.release()

    def commit_all(self, operations: Sequence[Operation]) -> Sequence[Done]:
        """One transaction for all; if that fails, one for each, so that nobody pays for what another one asked. Waits for whatever it takes."""
        with self._mutex:
            self._make_room()
            return self._all_done(operations)

    def close(self) -> None:
        """Close the connection once nobody uses it."""
        with self._mutex:
            self._room = 0
            self._db.close()

    def _is_committed(self, operation: Callable[[Tables], Any]) -> bool:
        try:
            self._db.execute(statements.BEGIN_WRITE)
            self._tables.refresh()
            operation(self._tables)
            self._db.execute(statements.COMMIT)
        except SQLITE_ERRORS:
            self._undo()
            return False
        except JournalError:
            roll_back(self._db)  # nothing was written
            raise
        except BaseException:
            self._undo()
            raise
        self._use(1)
        return True

    def _all_done(self, operations: Sequence[Operation]) -> Sequence[Done]:
        roll_back(self._db)  # what is left if an earlier rollback failed too
        try:
            insist(lambda: self._db.execute(statements.BEGIN_WRITE), self._lock_timeout)
            if self._log is not None:
                self._log.lengthen()
            self._tables.refresh()
        except SQLITE_ERRORS as error:
            roll_back(self._db)
            return [Done(error=explain(error, self._path)) for _ in operations]
        try:
            outcomes = [attempt(operation, self._tables) for operation in operations]
            self._db.execute(statements.COMMIT)
        # the border of the thread: whatever it was, the caller is told and the thread goes on
        except Exception as error:
            self._undo()
            if len(operations) == 1:
                return [
                    Done(
                        error=explain(error, self._path)
                        if isinstance(error, SQLITE_ERRORS)
                        else error
                    )
                ]
            return [done for operation in operations for done in self._all_done([operation])]
        self._use(len(operations))
        return outcomes

    def _make_room(self) -> None:
        """Move the log into the file if it is full. What somebody still reads stays in it; then every commit comes here, until it is moved."""
        if self._room <= 0:
            # the commit that follows meets the same trouble, and tells
            with suppress(sqlite3.Error):
                _, pages, moved = self._db.execute(statements.MOVE_THE_LOG).fetchone()
                if moved == pages:
                    self._room = ROOM
                    if self._log is not None:
                        self._log.start_over()

    def _use(self, commits: int) -> None:
        """What so many operations wrote to the log, or more: those of a batch share pages."""
        pages = self._tables.take_size() // _PAGE + _PAGES * commits
        self._room -= pages
        if self._log is not None:
            self._log.use(pages * _PAGE)

    def _undo(self) -> None:
        roll_back(self._db)
        self._tables.forget()


def attempt(operation: Operation, tables: Tables) -> Done:
    """A `JournalError` comes before the first write of an operation, so it concerns nobody else in the transaction."""
    try:
        return Done(operation(tables))
    except JournalError as error:
        return Done(error=error)


def roll_back(connection: sqlite3.Connection) -> None:
    """Leave the transaction, if there is one."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):  # it is tried again before the next transaction
            connection.execute(statements.ROLLBACK)
