"""The values that a store takes and gives. They know nothing of what a record means: a body is plain JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Body: TypeAlias = Any
"""`dict` with text keys, `list`, `str`, `int`, finite `float`, `bool` or `None`, nested: `codec.dump` refuses everything else."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a run's journal. `seq` counts from 1 without a gap; an erased record keeps its place and lost its body."""

    seq: int
    kind: str
    body: Body
    is_erased: bool = False


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a run is created with. All but the status stays as it is for good; `parent` is the run that it was forked from."""

    run_id: str
    flow: str
    fingerprint: str
    format: int
    status: str = "running"
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to append to a run until `expires_at` (seconds since 1970). A claim raises the epoch, and an older epoch commits nothing."""

    run_id: str
    owner: str
    epoch: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class RunHead:
    """What is known of a run without reading its records. Times are seconds since 1970; `lease` is the last one that was not released."""

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


@dataclass(frozen=True, slots=True)
class RunLog:
    """A run as it was at one instant: its head, and its records after the one that was asked for."""

    head: RunHead
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A summary of the records 1 … `seq`: it spares reading them, and nothing else depends on it."""

    seq: int
    body: Body


Cursor: TypeAlias = tuple[float, str]
"""Where a page of runs ended: the last run's `created_at` and id."""


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to list, the newest first; None lets everything pass. `created_from` ≤ created_at < `created_until`."""

    status: str | None = None
    flow: str | None = None
    tag: tuple[str, str] | None = None
    created_from: float | None = None
    created_until: float | None = None
    after: Cursor | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class RunPage:
    """One page of a list; `next` is the `after` of the query for the following page, None on the last one.

    `damaged` names the runs of this page whose head is not what was written: one of them never hides the others.
    """

    runs: tuple[RunHead, ...]
    next: Cursor | None = None
    damaged: tuple[str, ...] = ()
