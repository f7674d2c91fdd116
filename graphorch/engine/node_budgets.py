"""Who pays for a model call: the run's account, or the innermost wallet around the node.

A wallet is a level below the next one around it, so what it spends counts there too. It belongs to one scope: a sub-flow that runs once per
item of a map has a wallet of its own for each item. What the record says was spent before (a run that was resumed) is spent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from graphorch.core.tree import Activation, Scope
from graphorch.graph.options import NodeBudget

if TYPE_CHECKING:
    from graphorch.engine.scheduler import Scheduler
    from graphorch.models.budgets.budget import Account, Budget

_NOTHING_LEFT = 1e-12  # dollars; an account does not open with 0


class NodeBudgets:
    """The accounts of one run's wallets, opened at the first call that one of them pays."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._open: dict[tuple[Scope, str], Account] = {}

    def account_for(self, activation: Activation) -> Account | None:
        """The account that an activation's calls are paid by; None if nothing limits them."""
        account = self._scheduler.settings.account
        for scope, wallet in reversed(list(_around(activation))):
            account = self._account(scope, wallet, account)
        return account

    def _account(self, scope: Scope, wallet: NodeBudget, above: Account | None) -> Account | None:
        key = (scope, wallet.name)
        if key not in self._open:
            from graphorch.models.budgets.budget import (  # for runs with a wallet only
                Account,
                CapRules,
            )

            budget = _budget(wallet, above, self._spent(scope, wallet))
            if budget is None:
                return above
            rules = CapRules(at_cap="route")
            self._open[key] = (
                Account(wallet.name, budget, rules=rules)
                if above is None
                else above.open(wallet.name, budget, rules=rules)
            )
        return self._open[key]

    def _spent(self, scope: Scope, wallet: NodeBudget) -> float:
        """Dollars that the record says were spent from a wallet."""
        calls = self._scheduler.report.calls
        return sum(
            call.response.usd
            for activation, call in calls
            if call.response is not None and (scope, wallet) in _around(activation)
        )


def _around(activation: Activation) -> Iterator[tuple[Scope, NodeBudget]]:
    """The wallets of a node and of the sub-flows and maps around it, from the inside out."""
    around: Activation | None = activation
    while around is not None:
        wallet = around.step.node.options.budget
        if wallet is not None:
            yield around.scope, wallet
        around = around.scope.parent


def _budget(wallet: NodeBudget, above: Account | None, spent: float) -> Budget | None:
    """What a wallet may spend, or None if nothing limits it."""
    from graphorch.models.budgets.budget import Budget

    if wallet.usd is not None:
        return Budget(usd=max(wallet.usd - spent, _NOTHING_LEFT))
    given = above.budget if above is not None else Budget()
    if wallet.share is None or all(
        value is None for value in (given.usd, given.tokens, given.calls)
    ):
        return None
    usd = None if given.usd is None else max(given.usd * wallet.share - spent, _NOTHING_LEFT)
    tokens, calls = (
        None if value is None else max(1, int(value * wallet.share))
        for value in (given.tokens, given.calls)
    )
    return Budget(usd=usd, tokens=tokens, calls=calls)
