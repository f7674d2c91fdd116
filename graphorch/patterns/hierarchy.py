"""A lead, teams that work at once, and a report; each team a flow with a lead and teams of its own, to any depth.

Known failure: three levels deep nobody finds what went wrong, or who spent the money. Teams are sub-flows of one run: errors, events and
the metadata of every model call carry the whole path (`order/fulfilment/stock`), the level and the department; and a budget is split down
the tree, so that one team cannot spend what another one was given.

    lead → sales, fulfilment → report
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from graphorch.graph.builder import GraphBuilder
from graphorch.graph.options import NodeBudget
from graphorch.patterns.pattern_builder import PatternBuilder


def hierarchy(
    builder: GraphBuilder[Any],
    lead: Any,
    teams: Sequence[Any],
    report: Any,
    shares: Mapping[Any, float],
) -> None:
    """See `Graph.hierarchy`."""
    wiring = PatternBuilder(builder)
    names = wiring.named(teams, "hierarchy(teams)")
    first, last = wiring.one(lead, "hierarchy(lead)"), wiring.one(report, "hierarchy(report)")
    if not names or not first or not last:
        return
    where = f"hierarchy of '{first}'"
    given = {wiring.one(team, "hierarchy(shares=…)"): share for team, share in shares.items()}
    for name, share in given.items():
        if name not in names:
            wiring.problem(
                "HIERARCHY_SHARES",
                where,
                f"'{name}' has a share, but is none of its teams",
                "name a node that is one of the teams",
            )
        elif not 0 < share <= 1:
            wiring.problem(
                "HIERARCHY_SHARES",
                where,
                f"the share of '{name}' is {share!r}",
                "give a part of the budget: above 0, at most 1",
            )
        else:
            wiring.pay_from(name, NodeBudget(f"team '{name}'", share=share))
    if sum(given.values()) > 1 + 1e-9 and all(math.isfinite(share) for share in given.values()):
        wiring.problem(
            "HIERARCHY_SHARES",
            where,
            f"the shares add up to {sum(given.values()):g}",
            "give shares that add up to at most 1",
        )
    for name in names:
        wiring.edge(wiring.exit_of(first), name)
        wiring.edge(wiring.exit_of(name), last)
