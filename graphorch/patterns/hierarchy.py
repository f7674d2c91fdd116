"""A lead, teams that work at once, and a report; a team is a flow that may have teams of its own.

Known failure: three levels deep it is hard to find what went wrong, or where the money went. Teams
are sub-flows of one run: errors, events and the metadata of every model call carry the whole path
(`order/fulfilment/stock`), the level and the department; and a budget is split down the tree, so
that a team cannot spend the share of another.

    lead → sales, fulfilment → report
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from graphorch.graph.builder import GraphBuilder
from graphorch.graph.options import NodeBudget
from graphorch.patterns.pattern_builder import PatternBuilder

_ROUNDING = 1e-9  # shares such as 0.1 + 0.2 + 0.7 may add up to a little more than 1


def hierarchy(
    builder: GraphBuilder[Any],
    lead: Any,
    teams: Sequence[Any],
    report: Any,
    shares: Mapping[Any, float],
) -> None:
    """See `Graph.hierarchy`."""
    pattern = PatternBuilder(builder)
    names = pattern.add_steps(teams, "hierarchy(teams)")
    first = pattern.add_step(lead, "hierarchy(lead)")
    last = pattern.add_step(report, "hierarchy(report)")
    if not names or not first or not last:
        return
    share_by_name = {
        pattern.add_step(team, "hierarchy(shares=…)"): share for team, share in shares.items()
    }
    _split_budget(pattern, f"hierarchy of '{first}'", names, share_by_name)
    for name in names:
        pattern.add_edges(pattern.find_exit(first), name)
        pattern.add_edges(pattern.find_exit(name), last)


def _split_budget(
    pattern: PatternBuilder, where: str, teams: Sequence[str], shares: Mapping[str, float]
) -> None:
    code = "HIERARCHY_SHARES"
    for name, share in shares.items():
        if name not in teams:
            what = f"'{name}' has a share, but is not one of its teams"
            pattern.add_problem(code, where, what, "name a node that is one of the teams")
        elif not 0 < share <= 1:
            what = f"the share of '{name}' is {share!r}"
            fix = "give a part of the budget: above 0, at most 1"
            pattern.add_problem(code, where, what, fix)
        else:
            pattern.set_budget(name, NodeBudget(f"team '{name}'", share=share))
    total = sum(shares.values())
    if total > 1 + _ROUNDING and math.isfinite(total):
        what = f"the shares add up to {total:g}"
        pattern.add_problem(code, where, what, "give shares that add up to at most 1")
