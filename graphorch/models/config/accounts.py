"""The accounts that a configuration asks for: a run's own, with its day and its tags beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from graphorch.models.budgets.budget import Account, Alert, Budget
from graphorch.models.budgets.ledger import Persistence, SpendStore
from graphorch.models.budgets.spend_store import MemorySpend
from graphorch.models.config.schema import BudgetConfig, Config


def utc_day() -> str:
    """Today's date, in UTC: when a day's budget begins anew."""
    return datetime.now(UTC).date().isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFactory:
    """Opens the accounts of runs. What a day and a tag have spent is kept in the store: give it a `SqliteSpend` to outlive the process.

    A tag's budget is for all time; put the month into the tag if it is not.
    """

    config: Config
    store: SpendStore = field(default_factory=MemorySpend)
    on_alert: Callable[[Alert], None] | None = None
    today: Callable[[], str] = utc_day
    clock: Callable[[], float] = time.monotonic

    def open_run(
        self, name: str, budget: Budget | None = None, *, tags: Sequence[str] = ()
    ) -> Account:
        """The account of one run; a budget of its own goes before that of the configuration. Raises `InputError` for one with a 0 in it."""
        budgets = self.config.budgets
        beside = (
            []
            if budgets.day is None
            else [self._account("day", budgets.day, kept=Persistence(self.store, self.today))]
        )
        beside += [
            self._account(f"tag {tag}", budgets.tags[tag], kept=Persistence(self.store))
            for tag in tags
            if tag in budgets.tags
        ]
        return self._account(name, budgets.run or BudgetConfig(), own=budget, beside=beside)

    def open_node(self, run: Account, name: str) -> Account:
        """The account of a node of that run."""
        config = self.config.budgets.node
        return run.open(name) if config is None else self._account(name, config, beside=[run])

    def _account(
        self,
        name: str,
        config: BudgetConfig,
        *,
        own: Budget | None = None,
        beside: Sequence[Account] = (),
        kept: Persistence | None = None,
    ) -> Account:
        rules = replace(self.config.rules_of(config), on_alert=self.on_alert)
        return Account(
            name, own or config.value(), rules=rules, beside=beside, kept=kept, clock=self.clock
        )
