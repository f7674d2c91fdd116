"""Check that exclusive regions have one name each, and members that run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from graphorch.errors import Problem
from graphorch.graph.exclusive.deadlocks import check_circles
from graphorch.graph.spec import GraphSpec
from graphorch.text import LONGEST_NAME, is_name


def check_regions(spec: GraphSpec) -> Iterator[Problem]:
    """Yield what is wrong with the exclusive regions of a graph and of the flows inside it.

    `EXCLUSIVE_NAME`, `EXCLUSIVE_MEMBER` and `EXCLUSIVE_DEADLOCK`.
    """
    regions = spec.exclusives
    names = Counter(region.name for region in regions if is_name(region.name))
    by_members: dict[frozenset[str], str] = {}
    for region in regions:
        where = f"exclusive region {region.name!r:.80}"
        if not is_name(region.name):
            fix = f'use one line of 1 to {LONGEST_NAME} visible characters: exclusive("db", …)'
            yield Problem("EXCLUSIVE_NAME", where, "this is not a name for a region", fix)
            continue
        if names[region.name] > 1:
            what = "it is declared twice in this graph"
            yield Problem("EXCLUSIVE_NAME", where, what, "name all its nodes in one call")
        other = by_members.setdefault(frozenset(region.nodes), region.name)
        if other != region.name:
            what = f"it has the same nodes as region '{other}'"
            yield Problem("EXCLUSIVE_NAME", where, what, "keep one of the two names")
        yield from _check_members(region.nodes, where)
    yield from check_circles(spec)


def _check_members(nodes: Sequence[str], where: str) -> Iterator[Problem]:
    for name, times in Counter(nodes).items():
        if name in ("START", "END"):
            what = f"{name} is not a node: it runs nothing"
            yield Problem("EXCLUSIVE_MEMBER", where, what, "leave it out")
        elif times > 1:
            what = f"node '{name}' is named {times} times"
            yield Problem("EXCLUSIVE_MEMBER", where, what, "name each node once")
