"""When a failed attempt is repeated: pure functions that the driver asks before it reports a failure."""

from __future__ import annotations

import hashlib

from graphorch.core.tree import Activation
from graphorch.errors import BudgetExceeded
from graphorch.graph.options import Retry


def retry_after(activation: Activation, error: Exception) -> float | None:
    """The pause in seconds before the next attempt, or None if there is none."""
    retry = activation.step.node.options.retry
    if (
        retry is None
        or activation.attempt - activation.first_attempt + 1 >= retry.attempts
        or not isinstance(error, retry.on)
        or isinstance(error, BudgetExceeded)
    ):
        return None
    return jittered(retry, activation)


def jittered(retry: Retry, activation: Activation) -> float:
    """Half of the pause is fixed, half is spread by a hash of the activation, so that a replay waits the same and a crowd does not."""
    digest = hashlib.blake2b(
        f"{activation.id}:{activation.attempt}".encode(), digest_size=4
    ).digest()
    return retry.pause(activation.attempt) * (0.5 + 0.5 * int.from_bytes(digest) / 2**32)


def handler_of(activation: Activation, error: Exception) -> int:
    """The number of the first error edge that fits, or -1."""
    for number, (kinds, _) in enumerate(activation.step.errors):
        if isinstance(error, kinds):
            return number
    return -1
