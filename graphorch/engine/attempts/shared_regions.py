"""Exclusive regions that all runs of a journal share, for the time of one attempt.

Within a run the core gives the turns. Of several runs the one whose attempt enters a region in the
store first is in it; the others look again after a pause, which grows. A process that ended leaves
its regions when the lease of its run ends.
"""

from __future__ import annotations

import asyncio
from typing import Final

from graphorch.core.tree import Activation
from graphorch.engine.run_journal import RunJournal

FIRST_PAUSE: Final = 0.01  # seconds before the second look
LONGEST_PAUSE: Final = 0.5


class SharedRegions:
    """The regions that an attempt has to be alone in; the seconds before count as waited."""

    __slots__ = ("_activation", "_journal", "_names")

    def __init__(self, journal: RunJournal, activation: Activation) -> None:
        self._journal = journal
        self._activation = activation
        self._names = activation.step.shared_regions

    async def __aenter__(self) -> None:
        time = asyncio.get_running_loop().time
        began, pause = time(), FIRST_PAUSE
        try:
            while not await self._journal.enter_regions(self._names):
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        except BaseException:
            # It may have entered them although the reply was lost.
            await self._journal.leave_regions(self._names)
            raise
        if pause > FIRST_PAUSE:
            self._activation.waited += time() - began

    async def __aexit__(self, *_: object) -> None:
        await self._journal.leave_regions(self._names)
