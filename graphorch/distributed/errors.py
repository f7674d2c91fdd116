"""Errors of an engine, by what the caller can do about them.

JournalError
└── EngineError             the engine that hands jobs to workers
    ├── EngineUnavailable   its server does not answer; repeating the call is always safe
    ├── EngineNotReady      its server has no tables for jobs, or of another version
    ├── NotificationsLost   its server cannot wake this process
    └── EngineClosed        the engine was closed
InputError
└── PayloadTooLarge         a job carries more than an engine takes

An engine belongs to the journal whose runs it hands out, so its errors are the journal's too; one
that is unavailable is a `StoreUnavailable`. No message holds a password.
"""

from __future__ import annotations

from graphorch.errors import InputError, JournalError
from graphorch.journal.errors import StoreUnavailable


class EngineError(JournalError):
    """Failure of the engine that hands jobs to workers."""


class EngineUnavailable(EngineError, StoreUnavailable):
    """Server that does not answer. Repeat the call: a job with the same key is not added twice."""


class EngineNotReady(EngineError):
    """Server without the tables for jobs, or whose tables this user may not change."""


class NotificationsLost(EngineError):
    """Server whose notifications do not arrive, as behind a pooler in transaction mode."""


class EngineClosed(EngineError):
    """Engine that was closed before the call, or while it served."""


class PayloadTooLarge(InputError):
    """Job that carries more than an engine takes; its work can be done in this process instead."""
