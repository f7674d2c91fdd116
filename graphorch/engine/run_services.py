"""What the parts of one run share: its settings, clock, core, report, log and budgets.

Attempts, contexts and model calls get these services instead of the scheduler, so that none of
them can start, stop or route anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.event_log import EventLog
from graphorch.engine.events import RunEvent
from graphorch.engine.node_budgets import NodeBudgets
from graphorch.engine.report import RunReport
from graphorch.engine.settings import RunSettings

if TYPE_CHECKING:
    from graphorch.engine.prompt_log import CallDescription
    from graphorch.errors import ModelError
    from graphorch.models.budgets.budget import Account
    from graphorch.models.messages import Response


class RunServices:
    """Services of one run. `settings` may be replaced between two activations; the rest stays."""

    __slots__ = (
        "_budgets",
        "_recorded_responses",
        "epoch",
        "log",
        "loop",
        "report",
        "run",
        "settings",
        "time",
    )

    loop: asyncio.AbstractEventLoop
    time: Callable[[], float]

    def __init__(
        self,
        run: Run,
        settings: RunSettings,
        report: RunReport,
        log: EventLog,
        recorded_responses: Mapping[tuple[str, str], Response],
    ) -> None:
        self.run = run
        self.settings = settings
        self.report = report
        self.log = log
        self.epoch = 0.0  # seconds since the epoch when the time of the loop was 0
        # (activation, key of the request) → response of an attempt that vanished in a crash
        self._recorded_responses = recorded_responses
        self._budgets: NodeBudgets | None = None

    # ---- time ------------------------------------------------------------------------------------
    def enter_loop(self) -> None:
        """Take the time from the running event loop from here on."""
        self.loop = asyncio.get_running_loop()
        self.time = self.loop.time
        self.epoch = self.settings.clock() - self.time()

    def now(self) -> float:
        """Return seconds since the epoch, advancing with the event loop's time."""
        return self.epoch + self.time()

    # ---- observers -------------------------------------------------------------------------------
    @property
    def is_watched(self) -> bool:
        """Whether the run has observers."""
        return self.log.observers is not None

    def publish(self, event: RunEvent) -> None:
        """Hand an event to the observers."""
        self.log.publish(event)

    # ---- model calls -----------------------------------------------------------------------------
    @property
    def is_journaled(self) -> bool:
        """Whether the run has a journal."""
        return self.log.journal is not None

    def account_for(self, activation: Activation) -> Account | None:
        """Return the account that pays for an activation's model calls; None without a limit."""
        if self._budgets is None:
            self._budgets = NodeBudgets(self.report)
        return self._budgets.account_for(activation, self.settings.account)

    def reset_budgets(self) -> None:
        """Open the accounts of node budgets anew, with what was spent until now."""
        self._budgets = None

    def recorded_response(self, activation: Activation, key: str) -> Response | None:
        """Return the response that a vanished attempt got to the request with this key."""
        return self._recorded_responses.get((activation.id, key))

    async def record_call(
        self, activation: Activation, key: str, response: Response, call: CallDescription
    ) -> None:
        """Write a response to the journal, before the node sees it."""
        if self.log.journal is not None:
            self.log.journal.buffer_call(activation, key, response, call)
            await self.log.make_durable()

    def record_failed_call(
        self, activation: Activation, error: ModelError, call: CallDescription
    ) -> None:
        """Write to the journal that a model call failed."""
        if self.log.journal is not None:
            self.log.journal.buffer_failed_call(activation, error, call)
