"""What can go wrong with a store, by what the caller can do about it. None of them leaves half of anything behind.

JournalError
├── InvalidRecord       the caller: a body that is no plain JSON data, too large or too deep, or a wrong number
├── InvalidName         the caller: an id, a name or an option that a store does not take
├── RunNotFound         there is no run of that id
├── RunExists           another run has this id
├── RunErased           the content of the run was deleted; it cannot go on
├── LeaseHeld           somebody else works on the run
├── LeaseLost           the lease is not the run's current one: somebody took over
│   └── LeaseExpired    nobody took over yet: renew it and repeat the call
├── AppendConflict      the journal does not end where the caller thinks
├── JournalDamaged      records were altered, lost, moved or never were of this program
├── StoreNotOpened      the file cannot be used
│   ├── NotAJournal     it is something else
│   └── NewerFormat     a later version of graphorch wrote it
├── StoreClosed         the store was closed
└── StoreUnavailable    the storage; repeating the same call is safe, also when it is not known whether it took effect
    ├── StoreLocked     another process holds the file
    ├── StoreFull       no room
    └── StoreReadOnly   no permission
"""

from __future__ import annotations

from graphorch.errors import JournalError


class InvalidRecord(JournalError):
    """A body that would not come back as it was, that is too large or too deep, or a record in the wrong place."""


class InvalidName(JournalError):
    """An id, a name, a time or another option that a store does not take."""


class RunNotFound(JournalError):
    """There is no run of this id. `run_id` names it."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"There is no run '{run_id}' in this store. List the runs to see which there are, or open the store that holds it."
        )


class RunExists(JournalError):
    """A run of this id was created with something else."""

    def __init__(self, run_id: str, differences: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"Run '{run_id}' exists and is another one: {differences}. Choose another id, or resume the run that exists."
        )


class RunErased(JournalError):
    """The content of the run was deleted, so nothing can be added to it."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"The content of run '{run_id}' was erased, so it cannot go on. Start a new run."
        )


class LeaseHeld(JournalError):
    """Somebody else works on the run. `owner` says who, `expires_at` until when (seconds since 1970)."""

    def __init__(self, run_id: str, owner: str, expires_at: float, now: float) -> None:
        self.run_id, self.owner, self.expires_at = run_id, owner, expires_at
        left = expires_at - now
        super().__init__(
            f"Run '{run_id}' belongs to '{owner}' for another {left:.1f} s. Wait until its lease ends, or stop that owner."
        )


class LeaseLost(JournalError):
    """The lease is not the current one of the run, so nothing was committed."""

    def __init__(self, run_id: str, message: str) -> None:
        self.run_id = run_id
        super().__init__(f"Run '{run_id}': {message}")


class LeaseExpired(LeaseLost):
    """The lease ran out and nobody took over, so nothing was committed; it can still be renewed."""


class AppendConflict(JournalError):
    """The journal ends elsewhere or holds something else. `last_seq` is where it ends."""

    def __init__(self, run_id: str, last_seq: int, message: str) -> None:
        self.run_id, self.last_seq = run_id, last_seq
        super().__init__(
            f"Run '{run_id}': {message} Nothing was appended; load the run again and go on from what it holds."
        )


class JournalDamaged(JournalError):
    """What is stored is not what was written. `seq` is the first damaged record, None if it is not about a record."""

    def __init__(self, where: str, message: str, *, seq: int | None = None) -> None:
        self.seq = seq
        super().__init__(f"{where}: {message} Restore it from a copy; nothing was changed.")


class StoreNotOpened(JournalError):
    """The file of a store cannot be used; it was left as it is."""


class NotAJournal(StoreNotOpened):
    """The file holds something else."""


class NewerFormat(StoreNotOpened):
    """A later version of graphorch wrote the file."""


class StoreClosed(JournalError):
    """The store was closed before the call."""


class StoreUnavailable(JournalError):
    """The storage did not do it. Repeat the same call with the same values: what took effect already is not done twice."""


class StoreLocked(StoreUnavailable):
    """Another process holds the store for longer than this one waits."""


class StoreFull(StoreUnavailable):
    """There is no room left."""


class StoreReadOnly(StoreUnavailable):
    """The store may not be written."""
