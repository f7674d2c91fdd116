"""Exclusive regions that all runs of a journal share, for the time of one attempt.

Within a run the core gives the turns. Several runs stand in a queue that the store keeps, in the
order in which they came. Whoever leaves a region announces it to the first in its queue; a process
that ended announces nothing, and leaves its regions and its places when the lease of its run ends.
"""

from __future__ import annotations

import asyncio
from typing import Final

from graphorch.core.tree import Activation
from graphorch.engine.run_journal import RunJournal

LONGEST_WAIT: Final = 1.0  # seconds between two looks without an announcement


class SharedRegions:
    """The regions that an attempt has to be alone in; the seconds before count as waited."""

    __slots__ = ("_activation", "_is_nested", "_journal", "_names")

    def __init__(self, journal: RunJournal, activation: Activation) -> None:
        self._journal = journal
        self._activation = activation
        self._names = activation.step.shared_regions
        self._is_nested = _is_inside_another(activation)

    async def __aenter__(self) -> None:
        time = asyncio.get_running_loop().time
        began = time()
        try:
            if await self._enter():
                return
            announced = asyncio.Event()
            end_watch = self._journal.watch_regions(announced.set)
            try:
                await self._wait_for_turn(announced)
            finally:
                end_watch()
        except BaseException:
            # It gives up its place, and may have entered although the reply was lost.
            await self._journal.leave_regions(self._names)
            raise
        self._activation.waited += time() - began

    async def __aexit__(self, *_: object) -> None:
        await self._journal.leave_regions(self._names)

    async def _enter(self) -> bool:
        return await self._journal.enter_regions(self._names, is_nested=self._is_nested)

    async def _wait_for_turn(self, announced: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not await self._enter():
            timer = loop.call_later(LONGEST_WAIT, announced.set)
            try:
                await announced.wait()
            finally:
                timer.cancel()
            announced.clear()


def _is_inside_another(activation: Activation) -> bool:
    """Return whether an attempt around this one is in such regions itself."""
    around = activation.scope.parent
    while around is not None:
        if around.step.shared_regions:
            return True
        around = around.scope.parent
    return False
