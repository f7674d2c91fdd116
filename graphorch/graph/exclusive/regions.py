"""Check that exclusive regions have one name each, and members that run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from graphorch.errors import Problem, did_you_mean
from graphorch.graph.exclusive.deadlocks import check_circles, find_flow
from graphorch.graph.plan import ExclusiveSpec, Plan, list_flows_inside
from graphorch.graph.spec import GraphSpec
from graphorch.text import LONGEST_NAME, is_name, join_limited

_KINDS = {"sub": "sub-flow", "ask": "question", "first": "choice of events"}
_MOST_NAMED = 6  # events in a message


def check_regions(spec: GraphSpec) -> Iterator[Problem]:
    """Yield what is wrong with the exclusive regions of a graph and of the flows inside it.

    `EXCLUSIVE_NAME`, `EXCLUSIVE_MEMBER`, `EXCLUSIVE_EVENTS`, `EXCLUSIVE_ACROSS` and
    `EXCLUSIVE_DEADLOCK`.
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
        yield from _check_members(spec, region.nodes, where)
        yield from _check_events(spec, region.nodes, where)
        yield from _check_across(spec, region, where)
    yield from _check_sharing(spec)
    yield from check_circles(spec)


def _check_members(spec: GraphSpec, nodes: Sequence[str], where: str) -> Iterator[Problem]:
    for name, times in Counter(nodes).items():
        if name in ("START", "END"):
            what = f"{name} is not a node: it runs nothing"
            yield Problem("EXCLUSIVE_MEMBER", where, what, "leave it out")
        elif times > 1:
            what = f"node '{name}' is named {times} times"
            yield Problem("EXCLUSIVE_MEMBER", where, what, "name each node once")
        elif spec.nodes[name].options.hedge_after is not None:
            what = f"node '{name}' has hedge_after, so two copies of it may run at once"
            yield Problem("EXCLUSIVE_MEMBER", where, what, "hedge it, or make it exclusive")


def _check_events(spec: GraphSpec, nodes: Sequence[str], where: str) -> Iterator[Problem]:
    """Yield events of one first that could not wait at the same time."""
    for name, events in spec.firsts.items():
        shared = [event for event in dict.fromkeys(events) if event in nodes]
        if len(shared) > 1:
            named = join_limited([f"'{event}'" for event in shared], _MOST_NAMED)
            what = (
                f"{named} are events of first '{name}', which wait at the same time, "
                "and in one region only one of them could: the others would begin after it is over"
            )
            fix = "leave them out, and name what follows them instead, or give each its own region"
            yield Problem("EXCLUSIVE_EVENTS", where, what, fix)


def _check_across(spec: GraphSpec, region: ExclusiveSpec, where: str) -> Iterator[Problem]:
    """Yield members that cannot be exclusive across runs."""
    if region.across not in ("run", "journal"):
        what = f"across={region.across!r} is not possible"
        hint = did_you_mean(str(region.across), ("run", "journal"))
        yield Problem("EXCLUSIVE_ACROSS", where, what, f'give "run" or "journal". {hint}')
        return
    is_shared = region.across == "journal"
    for name in dict.fromkeys(region.nodes):
        kind = spec.nodes[name].kind
        if is_shared and kind not in ("node", "agent", "start", "end"):
            what = f"'{name}' is a {_KINDS.get(kind, kind)}, which may wait for long"
            fix = 'across="journal" is for nodes and agents: name those inside of it instead'
            yield Problem("EXCLUSIVE_ACROSS", where, what, fix)
        if is_shared and spec.nodes[name].options.goes_out:
            what = f"'{name}' runs on other workers, and the region belongs to the run's process"
            fix = "leave out its isolation and pool, or the region"
            yield Problem("EXCLUSIVE_ACROSS", where, what, fix)


def _check_sharing(spec: GraphSpec) -> Iterator[Problem]:
    """Yield regions that are shared with other runs by some of the flows that name them only."""
    shared, alone = dict[str, str](), dict[str, str]()
    for region in spec.exclusives:
        (shared if region.across == "journal" else alone)[region.name] = "here"
    for name, flow in _list_flows(spec):
        place = f"in flow '{flow.name}' of '{name}'"
        for region in sorted(flow.exclusive):
            (shared if region in flow.shared_regions else alone).setdefault(region, place)
    for region in sorted(shared.keys() & alone.keys()):
        what = f'it has across="journal" {shared[region]}, and across="run" {alone[region]}'
        where = f"exclusive region '{region}'"
        yield Problem("EXCLUSIVE_ACROSS", where, what, "declare it equally, or use two names")


def _list_flows(spec: GraphSpec) -> Iterator[tuple[str, Plan]]:
    for name, node in spec.nodes.items():
        if node.kind == "node":
            continue
        for flow in list_flows_inside(node, find_flow(spec, name)):
            yield name, flow
