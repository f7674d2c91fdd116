"""What the parts of one run share: its settings, clock, core, report, log and budgets.

Attempts, contexts and model calls get these services instead of the scheduler, so that none of
them can start, stop or route anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from graphorch.clock import is_virtual, system_clock
from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.calls.node_budgets import NodeBudgets
from graphorch.engine.event_log import EventLog
from graphorch.engine.report import RunReport
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphorch.agents.tool import Tool
    from graphorch.agents.tool_sources import ServerTools
    from graphorch.engine.calls.kept_answers import KeptAnswers
    from graphorch.engine.calls.tool_servers import RunServers
    from graphorch.engine.events import RunEvent
    from graphorch.engine.tool_calls.rounds import ToolRounds
    from graphorch.journal.record_kinds import ListedBody
    from graphorch.models.budgets.budget import Account
    from graphorch.trace_context import TraceContext


class RunServices:
    """Services of one run. `settings` may be replaced between two activations; the rest stays."""

    __slots__ = (
        "_budgets",
        "_last_call",
        "_listings",
        "epoch",
        "kept_answers",
        "log",
        "loop",
        "report",
        "run",
        "servers",
        "settings",
        "time",
        "tool_rounds",
        "trace",
    )

    loop: asyncio.AbstractEventLoop
    time: Callable[[], float]

    def __init__(
        self,
        run: Run,
        settings: RunSettings,
        report: RunReport,
        log: EventLog,
        kept_answers: KeptAnswers,
        last_call: int,
        listings: dict[str, ListedBody],
    ) -> None:
        self.run = run
        self.settings = settings
        self.report = report
        self.log = log
        self.epoch = 0.0  # seconds since the epoch when the time of the loop was 0
        # of activations that have not committed: an attempt after a resume is served from here
        self.kept_answers = kept_answers
        self._last_call = last_call
        self.tool_rounds: ToolRounds | None = None  # while something of the run is running
        self.trace: TraceContext | None = None  # what ties the calls of the run to its trace
        self._budgets: NodeBudgets | None = None
        self._listings = listings  # of the servers whose tools the run uses
        self.servers: RunServers | None = None  # made by the first of them

    # ---- time ------------------------------------------------------------------------------------
    def enter_loop(self) -> None:
        """Take the time from the running event loop from here on."""
        self.loop = asyncio.get_running_loop()
        self.time = self.loop.time
        try:
            self.epoch = self.settings.clock() - self.time()
        except TypeError as error:
            raise InputError(
                "The clock of the run has to return the seconds since the epoch as a number. "
                "Write clock=time.time, or leave it out."
            ) from error

    def now(self) -> float:
        """Return seconds since the epoch, advancing with the event loop's time."""
        return self.epoch + self.time()

    def read_clock(self) -> float:
        """Return what the clock shows, which jumps where `now` does not: times of waits are its.

        A clock that a test passes may stand still, as the machine's does for a loop with virtual
        time: then the time of the loop goes on.
        """
        shown = self.settings.clock()
        if self.settings.clock is system_clock and not is_virtual(self.loop):
            return shown
        return max(shown, self.now())

    # ---- observers -------------------------------------------------------------------------------
    @property
    def is_watched(self) -> bool:
        """Whether the run has observers."""
        return self.log.observers is not None

    def publish(self, event: RunEvent) -> None:
        """Hand an event to the observers."""
        self.log.publish(event)

    def open_trace(self) -> None:
        """Find the trace that the run is part of, if there is one."""
        from graphorch.trace_context import open_context  # runs without tags are part of none

        journal = self.log.journal
        tags = self.settings.tags if journal is None else {**self.settings.tags, **journal.tags}
        is_recorded = journal is not None and journal.is_traced
        self.trace = open_context(
            self.run.run_id, tags, engagement=self.report.engagement, is_recorded=is_recorded
        )

    # ---- model calls -----------------------------------------------------------------------------
    @property
    def is_journaled(self) -> bool:
        """Whether the run has a journal."""
        return self.log.journal is not None

    @property
    def format(self) -> int | None:
        """Format of the run's records; None without a journal."""
        journal = self.log.journal
        return None if journal is None else journal.format

    def account_for(self, activation: Activation) -> Account | None:
        """Return the account that pays for an activation's model calls; None without a limit."""
        if self._budgets is None:
            self._budgets = NodeBudgets(self.report)
        settings = self.settings
        return self._budgets.account_for(activation, settings.account, settings.open_node)

    def reset_budgets(self) -> None:
        """Open the accounts of node budgets anew, with what was spent until now."""
        self._budgets = None

    def number_call(self) -> int:
        """Return the number of the next model call that the journal announces."""
        self._last_call += 1
        return self._last_call

    # ---- servers of tools ------------------------------------------------------------------------
    async def open_tools(self, servers: Sequence[ServerTools]) -> list[Tool]:
        """Return the tools of servers; see `RunServers`."""
        if self.servers is None:
            from graphorch.engine.calls.tool_servers import RunServers

            self.servers = RunServers(
                self._listings,
                self._record_listing,
                # A client that was made in a program may have none.
                getattr(self.settings.client, "config", None),
            )
        return await self.servers.open_tools(servers)

    def _record_listing(self, listing: ListedBody) -> None:
        if self.log.journal is not None:
            self.log.journal.buffer_listing(listing)
