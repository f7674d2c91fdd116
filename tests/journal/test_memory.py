"""The store in memory keeps the contract."""

from __future__ import annotations

from graphorch.journal.memory import MemoryStore
from graphorch.journal.store import Store
from tests.contracts.store_contract import FakeClock, Scenario, every_scenario, run


async def make(clock: FakeClock) -> Store:
    return MemoryStore(clock=clock)


@every_scenario
def test_contract(check: Scenario) -> None:
    """The store in memory keeps the contract."""
    run(check, make)
