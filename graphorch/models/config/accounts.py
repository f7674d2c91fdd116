"""The accounts of a configuration: that of a run, with its day and its tags beside it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeAlias

from graphorch.models.budgets.budget import Account, Alert, Budget
from graphorch.models.budgets.ledger import BlockStore, Persistence, SpendStore
from graphorch.models.budgets.spend_store import MemorySpend, SqliteSpend
from graphorch.models.config.schema import BudgetConfig, Config
from graphorch.text import format_usd

_LOG = logging.getLogger(__name__)

OnAlert: TypeAlias = Callable[[Alert], None]
USUAL_SHARES = (0.5, 0.8, 1.0)
"""Shares of a budget that are announced to a listener, if the configuration names none."""


def log_alert(alert: Alert) -> None:
    """Log an alert as a warning."""
    _LOG.warning("%s", format_alert(alert))


def format_alert(alert: Alert) -> str:
    """Return an alert as a sentence."""
    spent, cap = f"{alert.spent:g}", f"{alert.cap:g} {alert.unit}"
    if alert.unit == "usd":
        spent, cap = format_usd(alert.spent), format_usd(alert.cap)
    return f"The budget of '{alert.level}' has spent {alert.share:.0%}: {spent} of {cap}."


def utc_day() -> str:
    """Return today's date in UTC, which is when a day's budget starts over."""
    return datetime.now(UTC).date().isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFactory:
    """Opens the accounts of runs.

    The store keeps what a day and a tag have spent: give it a `SqliteSpend` to outlive the process;
    `blocks` is that store if machines share it. A tag's budget is for all time; for a budget per
    month, put the month into the tag. Shares of a budget that the configuration announces are
    logged, unless the run has a listener of its own.
    """

    config: Config
    store: SpendStore = field(default_factory=MemorySpend)
    blocks: BlockStore | None = None
    today: Callable[[], str] = utc_day
    clock: Callable[[], float] = time.monotonic

    def open_run(
        self,
        name: str,
        budget: Budget | None = None,
        *,
        tags: Sequence[str] = (),
        on_alert: OnAlert | None = None,
    ) -> Account:
        """Open the account of a run; a budget of its own goes before that of the configuration.

        `on_alert` hears of the shares that the configuration names, or of the usual ones. Raises
        `InputError` for a budget with a 0 in it.
        """
        budgets = self.config.budgets
        beside: list[Account] = []
        if budgets.day is not None:
            persistence = Persistence(self.store, self.today, self.blocks)
            level = self._open("day", budgets.day, on_alert, persistence=persistence)
            beside.append(level)
        for tag in tags:
            if tag in budgets.tags:
                persistence = Persistence(self.store, blocks=self.blocks)
                level = self._open(
                    f"tag {tag}", budgets.tags[tag], on_alert, persistence=persistence
                )
                beside.append(level)
        run = budgets.run or BudgetConfig()
        return self._open(name, run, on_alert, own=budget, beside=beside)

    def open_node(self, outer: Account, name: str, on_alert: OnAlert | None = None) -> Account:
        """Open the account of a node below another one; that one itself if nodes have no budget."""
        config = self.config.budgets.node
        if config is None:
            return outer
        return self._open(name, config, on_alert, beside=[outer])

    def _open(
        self,
        name: str,
        config: BudgetConfig,
        on_alert: OnAlert | None,
        *,
        own: Budget | None = None,
        beside: Sequence[Account] = (),
        persistence: Persistence | None = None,
    ) -> Account:
        rules = self.config.build_cap_rules(config)
        if on_alert is not None and not rules.alert_shares:
            rules = replace(rules, alert_shares=USUAL_SHARES)
        return Account(
            name,
            own or config.build_budget(),
            rules=replace(rules, on_alert=on_alert or log_alert),
            beside=beside,
            persistence=persistence,
            clock=self.clock,
        )


def open_spend_store(config: Config) -> SpendStore:
    """Return the store of what days and tags have spent: the file that the configuration names.

    Without one it lasts as long as the process. Raises `JournalError` if the file cannot be used.
    """
    path = config.budgets.kept
    return MemorySpend() if path is None else SqliteSpend(path)
