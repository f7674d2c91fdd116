"""Decide whether a failed attempt is repeated: pure functions, called before `NodeFailed`."""

from __future__ import annotations

import hashlib

from graphorch.core.tree import Activation, Status
from graphorch.errors import Ambiguous, BudgetExceeded, Withdrawn
from graphorch.graph.options import Retry
from graphorch.text import is_kind

_FINAL = (Ambiguous, BudgetExceeded, Withdrawn)  # no further attempt could end in another way


def retry_after(activation: Activation, error: Exception) -> float | None:
    """Return the pause in seconds before the next attempt, or None if there is none."""
    retry = activation.step.node.options.retry
    if retry is None or is_kind(error, _FINAL) or not is_kind(error, retry.on):
        return None
    if activation.status is Status.AWAITING_ANSWER:  # no attempt failed: a person did not answer
        return None
    # Attempts count from when the run was last resumed.
    attempts = activation.attempt - activation.first_attempt + 1
    if attempts >= retry.attempts:
        return None
    return jittered_pause(retry, activation)


def jittered_pause(retry: Retry, activation: Activation) -> float:
    """Return the pause in seconds, half of it fixed and half spread by a hash of the activation.

    So a replay waits equally long, and activations that failed together do not return together.
    """
    key = f"{activation.id}:{activation.attempt}".encode()
    digest = hashlib.blake2b(key, digest_size=4).digest()
    fraction = int.from_bytes(digest) / 2**32
    return retry.pause(activation.attempt) * (0.5 + 0.5 * fraction)


def find_handler(activation: Activation, error: Exception) -> int:
    """Return the index of the first error edge that fits, or -1."""
    for index, (kinds, _) in enumerate(activation.step.errors):
        if is_kind(error, kinds):
            return index
    return -1
