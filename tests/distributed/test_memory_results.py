"""The notes in memory that other tests use keep the contract, with their faults too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from graphorch.distributed.results import Results
from graphorch.testing import run_virtual
from tests.contracts.results_contract import CASES, Bench
from tests.distributed.memory_results import MemoryNotes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_contract_holds_in_memory(case: Callable[[Bench], Awaitable[None]]) -> None:
    """Notes in memory keep what the port promises."""

    async def main() -> None:
        notes = MemoryNotes()

        async def connect() -> Results:
            return notes.connect()

        await case(Bench(connect))

    run_virtual(main())
