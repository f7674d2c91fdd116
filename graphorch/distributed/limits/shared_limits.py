"""The limits that all processes of a database share: budgets of days and tags, rates of targets.

One connection per process, which is opened when a limit is first asked for and closed with the last
run. What is held in hand then goes back; a process that is killed returns nothing, so what it held
stays counted until the period of the cap ends. If the database is away, what is in hand may be used
up; then calls wait for it, as long as their own time and `PATIENCE` allow, and fail.
"""

from __future__ import annotations

import os
import secrets
import socket

from graphorch.distributed.limits.limits_thread import PATIENCE, LimitsThread
from graphorch.distributed.limits.rate_book import PostgresRateBook
from graphorch.distributed.limits.spend_book import PostgresSpendBook
from graphorch.models.budgets.blocks import BlockSpend


class PostgresLimits:
    """Limits that the processes of one database share. It may be used again after `aclose`.

    Nothing is connected until a limit is asked for, so it costs nothing where there is none. Raises
    `InputError` for a URL that is not valid.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self._thread = LimitsThread(url, patience=patience)
        process = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        book = PostgresSpendBook(self._thread, process)
        self.spending = BlockSpend(book, self._thread.run)
        self.rates = PostgresRateBook(self._thread)
        self._thread.keep(self.spending)
        self._thread.keep(self.rates)

    @property
    def statements(self) -> int:
        """Statements that were sent to the database so far."""
        return self._thread.statements

    async def aclose(self) -> None:
        """Return what is in hand, and close the connection."""
        await self._thread.close(self._finish)

    def _finish(self) -> None:
        self.spending.return_all()
        self.rates.finish()
