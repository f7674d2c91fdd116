"""Errors of a store, by what the caller can do about them. None leaves half a change behind.

JournalError
├── InvalidRecord       a body that is not plain JSON, too large or too deep, or a wrong number
├── InvalidName         an id, a name or an option that a store does not accept
├── RunNotFound         there is no run of that id
├── RunExists           another run has this id
├── RunErased           the content of the run was deleted; it cannot go on
├── RunAbandoned        the process of a run has ended, and nobody will continue it
├── LeaseHeld           another owner works on the run
├── LeaseLost           the lease is not the run's current one: another owner took over
│   └── LeaseExpired    no other owner took over: renew it and repeat the call
├── AppendConflict      the journal does not end where the caller thinks
├── WrongKey            the chain of the run was made with a key that is not at hand
├── JournalDamaged      records were altered, lost, moved or never were of this program
├── StoreNotOpened      the file cannot be used
│   ├── NotAJournal     it is another kind of file
│   └── NewerFormat     a later version of graphorch wrote it
├── StoreClosed         the store was closed
├── StoreReplaced       the file was deleted or replaced while it was open
└── StoreUnavailable    the storage failed; repeating the same call is always safe
    ├── StoreLocked     another process holds the file
    ├── StoreFull       no room
    └── StoreReadOnly   no permission
"""

from __future__ import annotations

from graphorch.errors import JournalError


class InvalidRecord(JournalError):
    """Body that would not come back equal, or is too large; or record in the wrong place."""


class InvalidName(JournalError):
    """Id, name, time or another option that a store does not accept."""


class RunNotFound(JournalError):
    """No run has the id `run_id`."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"There is no run '{run_id}' in this store. "
            "List the runs to see which there are, or open the store that holds it."
        )


class RunExists(JournalError):
    """Another run has this id."""

    def __init__(self, run_id: str, differences: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"Run '{run_id}' exists and is different: {differences}. "
            "Choose another id, or resume the run that exists."
        )


class RunAbandoned(JournalError):
    """Run whose process has ended, and that nothing but a resume continues."""


class RunErased(JournalError):
    """Content of the run was deleted, so nothing can be added to it."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"The content of run '{run_id}' was erased, so it cannot be continued. Start a new run."
        )


class LeaseHeld(JournalError):
    """Another owner works on the run until `expires_at` (seconds since 1970)."""

    def __init__(self, run_id: str, owner: str, expires_at: float, now: float) -> None:
        self.run_id, self.owner, self.expires_at = run_id, owner, expires_at
        self.seconds_left = expires_at - now  # by the clock of the store
        super().__init__(
            f"Run '{run_id}' belongs to '{owner}' for another {self.seconds_left:.1f} s. "
            "Stop that process, or the run with `graphorch runs stop`; if the process is gone "
            "already, try again when its lease has run out."
        )


class LeaseLost(JournalError):
    """Lease that is not the run's current one; nothing was committed."""

    def __init__(self, run_id: str, message: str) -> None:
        self.run_id = run_id
        super().__init__(f"Run '{run_id}': {message}")


class LeaseExpired(LeaseLost):
    """Lease that expired without another owner taking over; it can still be renewed.

    Nothing was committed.
    """


class AppendConflict(JournalError):
    """Journal that ends elsewhere, at `last_seq`, or holds other records."""

    def __init__(self, run_id: str, last_seq: int, message: str) -> None:
        self.run_id, self.last_seq = run_id, last_seq
        super().__init__(
            f"Run '{run_id}': {message} Nothing was appended; load the run again and "
            "continue from there."
        )


class WrongKey(JournalError):
    """Run whose chain was made with a key that is not the one at hand; nothing of it is read."""

    def __init__(self, run_id: str, key_id: bytes, have: bytes | None) -> None:
        self.run_id = run_id
        if have is None:
            problem = f"is protected by a key ({key_id.hex()}), and none is set"
        else:
            problem = (
                f"is protected by another key ({key_id.hex()}) than the one set ({have.hex()})"
            )
        super().__init__(
            f"Run '{run_id}' {problem}. "
            "Set GRAPHORCH_JOURNAL_KEY to the key that it was begun with."
        )


class JournalDamaged(JournalError):
    """Stored data that differs from what was written.

    `seq` is the first damaged record, or None if no record is concerned.
    """

    def __init__(self, where: str, message: str, *, seq: int | None = None) -> None:
        self.seq = seq
        super().__init__(f"{where}: {message} Restore it from a copy; nothing was changed.")


class StoreNotOpened(JournalError):
    """File that cannot be used as a store; it was not changed."""


class NotAJournal(StoreNotOpened):
    """File that is not a journal."""


class NewerFormat(StoreNotOpened):
    """File that a later version of graphorch wrote."""


class StoreClosed(JournalError):
    """Store that was closed before the call."""


class StoreReplaced(JournalError):
    """File of a store that was deleted, moved or replaced while it was open.

    What was written since then is not in the file that has its name now.
    """


class StoreUnavailable(JournalError):
    """Failure of the storage. Repeat the call with the same values: nothing is done twice."""


class StoreLocked(StoreUnavailable):
    """Store that another process locks for longer than this one waits."""


class StoreFull(StoreUnavailable):
    """Storage without room."""


class StoreReadOnly(StoreUnavailable):
    """Store that may not be written."""
