"""Port to the limits that many machines share: budgets of days and tags, rates of targets."""

from __future__ import annotations

from typing import Protocol

from graphorch.models.budgets.ledger import BlockStore
from graphorch.models.policies.rate_slices import RateBook


class DatedBlockStore(BlockStore, Protocol):
    """A `BlockStore` that knows the date by a clock that all machines have in common."""

    def today(self) -> str:
        """Return the date in UTC."""
        ...


class MachineLimits(Protocol):
    """Limits that many machines share. They may be used again after `aclose`."""

    @property
    def spending(self) -> DatedBlockStore:
        """What days and tags have spent."""
        ...

    @property
    def rates(self) -> RateBook:
        """Requests and tokens per minute of targets, and the pauses that they asked for."""
        ...

    async def aclose(self) -> None:
        """Give back what is in hand, and release the connection."""
        ...
