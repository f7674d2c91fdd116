"""Commits to the file of a store: at once, or in a batch on a thread.

Theory of operation:

1. At `synchronous = NORMAL` a commit does not wait for the disk and takes some 30 µs; a thread
   would take longer than the commit. So the caller's thread commits (`commit_now`), unless it would
   have to wait: for the disk, for a batch on the thread, or for another process that writes.
2. The thread waits (`commit_all`). It also moves the log into the file (a checkpoint), which syncs
   in either mode.
3. `_room` counts the pages that may still go into the log. A commit without room goes to the
   thread, which moves the log first.
4. Every commit is followed by a look at the paths of the file and its log (`OpenedFile`): SQLite
   writes on into a file that was deleted or replaced, and nothing of that would ever be read.
   A file that was overwritten in place is still the same one. But only moving the log writes to
   it, so after any other change of the file it is checked (`_verify`) before a commit: that it
   holds what is remembered of it (`Landmarks`), and, if it is small, that its pages fit together.
5. SQLite itself would move the log at 4,000 pages, in the middle of any commit. So the log stays
   bounded even if the room was estimated wrongly, or if several processes fill it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from graphorch.clock import Clock
from graphorch.errors import JournalError
from graphorch.journal.errors import StoreReplaced
from graphorch.journal.runners.database_thread import Done, Operation, attempt
from graphorch.journal.sqlite import statements
from graphorch.journal.sqlite.connection import SQLITE_ERRORS, explain
from graphorch.journal.sqlite.landmarks import Landmarks
from graphorch.journal.sqlite.tables import SqliteTables
from graphorch.journal.sqlite.wal import LogFile
from graphorch.journal.tables import Tables
from graphorch.private_files import OpenedFile
from graphorch.sqlite_locks import insist

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
ROOM = 3000  # pages of the log between two checkpoints
AT_ONCE = 64 * 1024  # bytes; writing more would hold up the event loop
_PAGE = 4096
_ALL_PAGES = 16 * 1024 * 1024  # bytes; checking each page of more would hold up commits
_PAGES = 4  # of a commit beside its content: the run's row, the index, half-full pages


class Committer:
    """Runs operations in transactions; one thread at a time uses the connection.

    `name` is the path by which the file at `path` was opened, perhaps through a link.
    """

    def __init__(
        self,
        path: Path,
        name: Path,
        connection: sqlite3.Connection,
        *,
        waits_for_disk: bool,
        lock_timeout: float,
        clock: Clock,
    ) -> None:
        self._path = path
        self._db = connection
        self._tables = SqliteTables(connection, clock)
        self._file = OpenedFile(name)
        self._files = {
            str(name): self._file,
            f"{path}-wal": OpenedFile(Path(f"{path}-wal"), shrinks=True),
        }
        self._landmarks = Landmarks(connection, self._tables)
        self._verified = self._file.modified  # when the file was last known to be ours
        self._log = LogFile(path) if waits_for_disk else None
        self._lock_timeout = lock_timeout
        self._mutex = threading.Lock()
        self._room = ROOM
        connection.execute(statements.DO_NOT_WAIT)

    def commit_now(self, operation: Callable[[Tables], Any], size: int) -> bool:
        """Run an operation that writes `size` bytes, and commit it, if that needs no waiting.

        Returns False if it was not done, or may not have been: `commit_all` does it, or reports the
        error. Raises the operation's `JournalError`.
        """
        # It would wait for a checkpoint, for the disk, or hold up the event loop by its size …
        if self._room <= 0 or self._log is not None or size > AT_ONCE:
            return False
        # … or if the file has to be checked …
        if self._file.find_problem() or self._file.modified != self._verified:
            return False
        # … or for a batch on the thread.
        if not self._mutex.acquire(blocking=False):
            return False
        try:
            # Room is 0 if the connection was closed meanwhile.
            return self._room > 0 and self._commit(operation)
        finally:
            self._mutex.release()

    def commit_all(self, operations: Sequence[Operation]) -> Sequence[Done]:
        """Run operations in one transaction, or, if that fails, each in a transaction of its own.

        So an operation never fails because of another one. Waits as long as it takes.
        """
        with self._mutex:
            loss = self.find_loss()
            if loss is None and self._file.modified != self._verified:
                loss = self._verify()
            if loss is not None:
                return [Done(error=loss) for _ in operations]
            self._make_room()
            return self._commit_batch(operations)

    def find_loss(self) -> StoreReplaced | None:
        """Return the error of a file that is not at its path any more, or None."""
        for path, file in self._files.items():
            problem = file.find_problem()
            if problem:
                return _build_loss(path, problem)
        return None

    def _verify(self) -> StoreReplaced | None:
        """Check a file that another connection, or another program, wrote to.

        With a connection of its own, since the pages that this one remembers are as they were.
        """
        modified = self._file.modified
        path = str(self._path)
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as fresh:
                if not self._landmarks.are_in(fresh) or not _is_sound(fresh, path):
                    return _build_loss(path, "was overwritten")
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                return _build_loss(path, "was overwritten")
            return None  # it is busy, and checked before the next commit
        except OSError:
            return self.find_loss()
        self._verified = modified
        self._landmarks.take()
        return None

    def explain(self, error: Exception) -> Exception:
        """Return an error of SQLite as a `JournalError`, and any other one as it is.

        SQLite reports all kinds of errors about a file that is not where it was.
        """
        if isinstance(error, SQLITE_ERRORS):
            return self.find_loss() or explain(error, self._path)
        return error

    def close(self) -> None:
        """Close the connection once it is not in use."""
        with self._mutex:
            self._room = 0
            self._db.close()

    def _commit(self, operation: Callable[[Tables], Any]) -> bool:
        """Run an operation in a transaction of its own; False if SQLite refused."""
        try:
            self._db.execute(statements.BEGIN_WRITE)
            self._tables.refresh()
            operation(self._tables)
            self._db.execute(statements.COMMIT)
        except SQLITE_ERRORS:
            self._undo()
            return False
        # The operation refused before its first write, so cached rows are still right.
        except JournalError:
            roll_back(self._db)
            raise
        # A fault in the operation, or a cancellation, perhaps between two writes.
        except BaseException:
            self._undo()
            raise
        self._count_pages(1)
        if (loss := self.find_loss()) is not None:
            raise loss
        return True

    def _commit_batch(self, operations: Sequence[Operation]) -> Sequence[Done]:
        # A rollback of the last transaction may have failed.
        roll_back(self._db)
        # 1. Get the lock of the file, however many processes want it.
        try:
            insist(lambda: self._db.execute(statements.BEGIN_WRITE), self._lock_timeout)
            if self._log is not None:
                self._log.lengthen()
            self._tables.refresh()
        except SQLITE_ERRORS as error:
            roll_back(self._db)
            cause = self.explain(error)
            return [Done(error=cause) for _ in operations]
        # 2. Run the operations; one that raises a `JournalError` fails alone.
        try:
            outcomes = [attempt(operation, self._tables) for operation in operations]
            self._db.execute(statements.COMMIT)
        # The border of the thread: every error goes to the caller, and the thread goes on.
        except Exception as error:
            self._undo()
            # 3. The commit failed: find out whose fault it is, each in its own transaction.
            if len(operations) == 1:
                return [Done(error=self.explain(error))]
            return [done for operation in operations for done in self._commit_batch([operation])]
        self._count_pages(len(operations))
        if (loss := self.find_loss()) is not None:
            return [Done(error=outcome.error or loss) for outcome in outcomes]
        return outcomes

    def _make_room(self) -> None:
        """Move the log into the file if it is full.

        Pages that are still being read stay in the log; every commit then comes here, until all of
        it is moved.
        """
        if self._room <= 0:
            # The commit that follows meets the same error, and reports it.
            with suppress(sqlite3.Error):
                _, pages, moved = self._db.execute(statements.MOVE_THE_LOG).fetchone()
                if moved == pages:
                    self._room = ROOM
                    if self._log is not None:
                        self._log.start_over()
                if not self._file.find_problem():
                    self._verified = self._file.modified
                    self._landmarks.take()

    def _count_pages(self, commits: int) -> None:
        """Subtract the most pages that these commits wrote; those of a batch share pages."""
        pages = self._tables.take_size() // _PAGE + _PAGES * commits
        self._room -= pages
        if self._log is not None:
            self._log.advance(pages * _PAGE)

    def _undo(self) -> None:
        """Roll back, and forget cached rows, which may hold what was never stored."""
        roll_back(self._db)
        self._tables.forget()


def _is_sound(file: sqlite3.Connection, path: str) -> bool:
    """Return whether the pages of a file fit together, as far as there is time to look at them."""
    if os.path.getsize(path) > _ALL_PAGES:
        return True
    return file.execute(statements.CHECK_ALL_PAGES).fetchone()[0] == "ok"


def _build_loss(path: str, problem: str) -> StoreReplaced:
    return StoreReplaced(
        f"The journal '{path}' {problem} while it was open. What was written to it since then is "
        "lost, so the run cannot go on. Put the file back, or begin the run again; never delete, "
        "move or overwrite a journal or its '-wal' file under a run."
    )


def roll_back(connection: sqlite3.Connection) -> None:
    """Leave the transaction, if there is one."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):  # repeated before the next transaction
            connection.execute(statements.ROLLBACK)
