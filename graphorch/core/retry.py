"""When a failed attempt is repeated: pure functions that the driver asks before it reports a failure."""

from __future__ import annotations

import hashlib

from graphorch.core.tree import Activation
from graphorch.errors import BudgetExceeded
from graphorch.graph.options import Retry


def retry_after(one: Activation, error: Exception) -> float | None:
    """The pause in seconds before the next attempt, or None if there is none."""
    retry = one.step.node.options.retry
    if (
        retry is None
        or one.attempt - one.first_attempt + 1 >= retry.attempts
        or not isinstance(error, retry.on)
        or isinstance(error, BudgetExceeded)
    ):
        return None
    return jittered(retry, one)


def jittered(retry: Retry, one: Activation) -> float:
    """Half of the pause is fixed, half is spread by a hash of the activation, so that a replay waits the same and a crowd does not."""
    digest = hashlib.blake2b(f"{one.id}:{one.attempt}".encode(), digest_size=4).digest()
    return retry.pause(one.attempt) * (0.5 + 0.5 * int.from_bytes(digest) / 2**32)


def handler_of(one: Activation, error: Exception) -> int:
    """The number of the first error edge that fits, or -1."""
    for number, (kinds, _) in enumerate(one.step.errors):
        if isinstance(error, kinds):
            return number
    return -1
