"""Values that a store takes and returns.

The meaning of a body, plain JSON data, is not its concern.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Body: TypeAlias = Any
"""`dict` with text keys, `list`, `str`, `int`, finite `float`, `bool` or `None`, nested:

`codec.dump` refuses everything else.
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a run's journal.

    `seq` counts from 1 without a gap. An erased record keeps its place without its body.
    """

    seq: int
    kind: str
    body: Body
    is_erased: bool = False


@dataclass(frozen=True, slots=True)
class NewRun:
    """Header of a run to create; only its status ever changes.

    `parent` is the run that it was forked from. `is_keyed` is false for a run that gets no key even
    if the store has one: the fork of a run that anybody may have altered.
    """

    run_id: str
    flow: str
    fingerprint: str
    format: int
    status: str = "running"
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    parent: str | None = None
    is_keyed: bool = True


@dataclass(frozen=True, slots=True)
class Lease:
    """Right to append to a run until `expires_at` (seconds since 1970).

    Every claim raises the epoch, and an older epoch cannot commit. `seconds` is how long it lasts
    from a claim or a renewal on.
    """

    run_id: str
    owner: str
    epoch: int
    expires_at: float
    seconds: float = math.inf

    def is_running(self, now: float) -> bool:
        """Return whether it keeps others out at `now`, by a clock that may be another one.

        A lease that ends more than twice its length from now was claimed by a clock that was ahead,
        and has been corrected since. It tells nothing about its owner, and keeps nobody out.
        """
        return now < self.expires_at <= now + 2 * self.seconds


@dataclass(frozen=True, slots=True)
class RunHead:
    """Summary of a run that needs none of its records.

    Times are seconds since 1970; `lease` is the last one that was not released. `is_under_way`:
    it ran when this was read, by the clock of the store, which need not be that of this machine.
    `is_keyed`: only holders of the store's key can have written the records.
    """

    run_id: str
    flow: str
    fingerprint: str
    format: int
    status: str
    created_at: float
    updated_at: float
    tags: Mapping[str, str]
    parent: str | None
    last_seq: int
    lease: Lease | None = None
    is_erased: bool = False
    is_keyed: bool = False
    is_under_way: bool = False


@dataclass(frozen=True, slots=True)
class RunLog:
    """Run as it was at one instant: its head, and its records after a requested one."""

    head: RunHead
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Summary of the records 1 … `seq`: it saves reading them, and nothing else depends on it."""

    seq: int
    body: Body


@dataclass(frozen=True, slots=True)
class NewLetter:
    """Request to a run from outside, to be put into its mailbox.

    `letter_id` is a unique name that the sender makes, so that a repeated call is noticed.
    """

    run_id: str
    letter_id: str
    kind: str
    body: Body


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a letter.

    It was taken in, or refused: then `error` is the name of the error, and `message` its text.
    """

    error: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """Letter in the mailbox of a run.

    Owners take letters in by rising `number`. `sent_at` is when it was stored, in seconds since
    1970. `outcome` is None until the owner took it in; from then on `body` is None. `is_damaged`:
    it is not what was sent, or somebody without the key of the run wrote it.
    """

    run_id: str
    letter_id: str
    number: int
    kind: str
    body: Body
    sent_at: float
    outcome: Outcome | None = None
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """Outcome of the letter of this number, stored with the records that follow from it."""

    number: int
    outcome: Outcome


Cursor: TypeAlias = tuple[float, str]
"""End of a page of runs: the last run's `created_at` and id."""


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Filter of a list of runs, newest first; None matches everything.

    `created_from` ≤ created_at < `created_until`.
    """

    status: str | None = None
    flow: str | None = None
    tag: tuple[str, str] | None = None
    created_from: float | None = None
    created_until: float | None = None
    after: Cursor | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class RunPage:
    """One page of a list; `next` is the `after` of the query for the following page, or None.

    `damaged` names the runs of this page whose head was altered, and `refused` those that were
    made with a key that is not at hand: one of them never hides the others.
    """

    runs: tuple[RunHead, ...]
    next: Cursor | None = None
    damaged: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many runs a pruning deleted, and which it kept since their key is not at hand."""

    count: int
    refused: tuple[str, ...] = ()
