"""The accounts of node budgets: who pays for a model call.

It is paid by the run's account, or by that of the innermost node budget around the node. The
account of a node budget lies below the next one around it, so what is spent counts in both. It
belongs to one scope: in a map, a sub-flow has its own account for each item. What the run spent
before it was resumed counts too.

A node without a budget of its own has the one that the configuration gives each node, below the
accounts around it; it is for all activations of the node in one scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from graphorch.core.tree import Activation, Scope
from graphorch.engine.report import RunReport
from graphorch.graph.options import NodeBudget

if TYPE_CHECKING:
    from graphorch.engine.settings import OpenNode
    from graphorch.models.budgets.budget import Account, Amount, Budget

_NOTHING_LEFT = 1e-12  # dollars; an account does not open with 0


class NodeBudgets:
    """Accounts of one run's node budgets, each opened at the first call that it pays."""

    def __init__(self, report: RunReport) -> None:
        self._report = report
        self._accounts: dict[tuple[Scope, str], Account] = {}
        self._usual: dict[tuple[Scope, int], Account] = {}

    def account_for(
        self, activation: Activation, run_account: Account | None, open_node: OpenNode
    ) -> Account | None:
        """Return the account that pays for an activation's calls; None if nothing limits them.

        `open_node` opens the account of a node without a budget of its own.
        """
        account = run_account
        for scope, node_budget in reversed(list(_find_budgets(activation))):
            account = self._open_account(scope, node_budget, account)
        if account is None or activation.step.node.options.budget is not None:
            return account
        return self._open_usual(activation, account, open_node)

    def _open_usual(self, activation: Activation, outer: Account, open_node: OpenNode) -> Account:
        """Return the account that the configuration gives a node, or the one around it."""
        scope, step = activation.scope, activation.step
        key = (scope, step.index)
        if key not in self._usual:
            account = open_node(outer, step.name)
            if account is not outer:
                from graphorch.models.budgets.charge import sum_charges

                spent = [
                    call.charge
                    for caller, call in self._report.calls
                    if not call.is_copy and caller.scope is scope and caller.step is step
                ]
                account.count_earlier(sum_charges(spent).booked)
            self._usual[key] = account
        return self._usual[key]

    def _open_account(
        self, scope: Scope, node_budget: NodeBudget, outer: Account | None
    ) -> Account | None:
        key = (scope, node_budget.name)
        if key in self._accounts:
            return self._accounts[key]
        budget = _build_budget(node_budget, outer)
        if budget is None:
            return outer
        from graphorch.models.budgets.budget import Account, CapRules

        rules = CapRules()
        if outer is None:
            account = Account(node_budget.name, budget, rules=rules)
        else:
            account = outer.open(node_budget.name, budget, rules=rules)
        account.count_earlier(self._sum_spent(scope, node_budget))
        self._accounts[key] = account
        return account

    def _sum_spent(self, scope: Scope, node_budget: NodeBudget) -> Amount:
        """Return what the reported calls spent from a node budget."""
        from graphorch.models.budgets.charge import sum_charges

        return sum_charges(
            call.charge
            for activation, call in self._report.calls
            if not call.is_copy and (scope, node_budget) in _find_budgets(activation)
        ).booked


def _find_budgets(activation: Activation) -> Iterator[tuple[Scope, NodeBudget]]:
    """Yield the budgets of a node and of the sub-flows and maps around it, innermost first."""
    outer: Activation | None = activation
    while outer is not None:
        node_budget = outer.step.node.options.budget
        if node_budget is not None:
            yield outer.scope, node_budget
        outer = outer.scope.parent


def _build_budget(node_budget: NodeBudget, outer: Account | None) -> Budget | None:
    """Return the budget of a node; None if it is a share of something without a limit."""
    from graphorch.models.budgets.budget import Budget

    if node_budget.usd is not None:
        return Budget(usd=node_budget.usd)
    whole = outer.budget if outer is not None else Budget()
    share = node_budget.share
    if share is None or (whole.usd is None and whole.tokens is None and whole.calls is None):
        return None
    usd = None if whole.usd is None else max(whole.usd * share, _NOTHING_LEFT)
    return Budget(
        usd=usd, tokens=_take_share(whole.tokens, share), calls=_take_share(whole.calls, share)
    )


def _take_share(count: int | None, share: float) -> int | None:
    return None if count is None else max(1, int(count * share))
