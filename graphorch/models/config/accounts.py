"""The accounts of a configuration: that of a run, with its day and its tags beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from graphorch.models.budgets.budget import Account, Alert, Budget
from graphorch.models.budgets.ledger import Persistence, SpendStore
from graphorch.models.budgets.spend_store import MemorySpend, SqliteSpend
from graphorch.models.config.schema import BudgetConfig, Config


def utc_day() -> str:
    """Return today's date in UTC, which is when a day's budget starts over."""
    return datetime.now(UTC).date().isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFactory:
    """Opens the accounts of runs.

    The store keeps what a day and a tag have spent: give it a `SqliteSpend` to outlive the process.
    A tag's budget is for all time; for a budget per month, put the month into the tag.
    """

    config: Config
    store: SpendStore = field(default_factory=MemorySpend)
    on_alert: Callable[[Alert], None] | None = None
    today: Callable[[], str] = utc_day
    clock: Callable[[], float] = time.monotonic

    def open_run(
        self, name: str, budget: Budget | None = None, *, tags: Sequence[str] = ()
    ) -> Account:
        """Open the account of a run; a budget of its own goes before that of the configuration.

        Raises `InputError` for a budget with a 0 in it.
        """
        budgets = self.config.budgets
        beside: list[Account] = []
        if budgets.day is not None:
            persistence = Persistence(self.store, self.today)
            beside.append(self._open("day", budgets.day, persistence=persistence))
        for tag in tags:
            if tag in budgets.tags:
                persistence = Persistence(self.store)
                beside.append(self._open(f"tag {tag}", budgets.tags[tag], persistence=persistence))
        return self._open(name, budgets.run or BudgetConfig(), own=budget, beside=beside)

    def open_node(self, run: Account, name: str) -> Account:
        """Open the account of a node of that run."""
        config = self.config.budgets.node
        if config is None:
            return run.open(name)
        return self._open(name, config, beside=[run])

    def _open(
        self,
        name: str,
        config: BudgetConfig,
        *,
        own: Budget | None = None,
        beside: Sequence[Account] = (),
        persistence: Persistence | None = None,
    ) -> Account:
        return Account(
            name,
            own or config.build_budget(),
            rules=replace(self.config.build_cap_rules(config), on_alert=self.on_alert),
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
