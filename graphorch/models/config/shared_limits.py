"""Port to the limits that many machines share: what days and tags may spend."""

from __future__ import annotations

from typing import Protocol

from graphorch.models.budgets.ledger import BlockStore


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

    async def aclose(self) -> None:
        """Give back what is in hand, and release the connection."""
        ...
