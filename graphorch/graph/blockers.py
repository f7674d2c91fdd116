"""Blockers of joins: the positions that can still bring a join a token of the same iteration.

A position is a node, or the latch of a loop header, where a token waits for its next iteration.

Node x blocks join v if a path leads from x to v that uses no loop edge into a header h ≠ v whose
body holds v, since such an edge begins another iteration. The latch of h blocks what h blocks, but
not the body of h.

Theory of operation. The loops of a checked graph nest: two bodies have nothing in common, or one
holds the other, and a body is entered by its header alone. So a loop is like a single node to
everything outside of it: where its header leads, all of its body leads, once around the loop, and
so do the latches inside. What leads to the body leads to the header. Hence no path needs to be
searched: in topological order, a node has the blockers of the nodes and the loops before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphorch.graph.analysis import sort_nodes
from graphorch.graph.edges import START_INDEX, Edge, Topology
from graphorch.graph.topology import LoopNest


def find_blockers(topology: Topology, latches: Mapping[int, int]) -> dict[int, int]:
    """Return the blockers of every node that more than one edge leads to, as masks of positions.

    `latches` gives the position of the latch of each loop header.

    Linear in the edges and the bodies of the loops, times the words of a bitmask. The graph has
    passed the checks of its loops.
    """
    nest = LoopNest(topology.loops)
    whole = _add_bodies(nest, {header: 1 << position for header, position in latches.items()})
    order, _ = sort_nodes(topology)
    before = [0] * (topology.end + 1)  # what leads to a node without its own loop
    masks: dict[int, int] = {}
    for node in order:
        if node == START_INDEX:
            continue
        mask = 0
        for edge in topology.entering[node]:
            source = edge.source
            if edge.kind == "loop" or source == START_INDEX:
                continue
            # The outermost loop that this edge leaves counts as one node.
            left = nest.find_left(edge)
            mask |= before[source] | 1 << source if left is None else before[left] | whole[left]
        before[node] = mask
        if len(topology.entering[node]) > 1:
            # A header waits for its own body, which leads to its next iteration, but not for the
            # token that begins this iteration.
            if node in whole:
                mask |= whole[node] & ~(1 << latches[node])
            masks[node] = mask & ~(1 << node)
    return masks


def find_blocked(topology: Topology, latches: Mapping[int, int], joins: int) -> list[int]:
    """Return for each position the joins that it blocks, as masks of nodes: the other way round.

    `joins` is the mask of the nodes that have blockers. As linear as `find_blockers`.
    """
    nest = LoopNest(topology.loops)
    order, _ = sort_nodes(topology)
    bodies = _add_bodies(nest, {})
    inside = [0] * (topology.end + 1)  # blocked by a node, in the body of its innermost loop
    behind = dict.fromkeys(nest.bodies, 0)  # by a loop, in the body of the loop around it
    leaving: dict[int, list[Edge]] = {header: [] for header in nest.bodies}  # edges out of a loop
    for node in reversed(order):
        if node == START_INDEX:
            continue
        for edge in topology.leaving[node]:
            if edge.kind == "loop":
                continue
            left = nest.find_left(edge)
            if left is not None:
                leaving[left].append(edge)
            else:
                inside[node] |= _find_reached(edge, nest, bodies, inside, behind)
        # All edges that leave a loop are known when its header is reached.
        for edge in leaving.get(node, ()):
            behind[node] |= _find_reached(edge, nest, bodies, inside, behind)
    # A loop blocks what is behind it, and behind those around it, and their headers.
    outside: dict[int | None, int] = {None: 0}
    for header, outer in nest.outer.items():
        outside[header] = outside[outer] | behind[header] | 1 << header
    blocked = [
        (inside[node] | outside[nest.innermost.get(node)]) & joins & ~(1 << node)
        for node in range(topology.end + 1)
    ]
    for header in sorted(latches, key=latches.__getitem__):
        blocked.append((behind[header] | outside[nest.outer[header]]) & joins)
    return blocked


def _find_reached(
    edge: Edge,
    nest: LoopNest,
    bodies: Mapping[int, int],
    inside: Sequence[int],
    behind: Mapping[int, int],
) -> int:
    """Return the nodes that an edge leads to, in the body of the loop around it."""
    target = edge.target
    if target in bodies and edge.source not in nest.bodies[target]:
        return bodies[target] | behind[target]
    return 1 << target | inside[target]


def _add_bodies(nest: LoopNest, masks: Mapping[int, int]) -> dict[int, int]:
    """Return for each header a mask with its body, and with the masks of all headers in it."""
    whole = {header: masks.get(header, 0) for header in nest.bodies}
    for node, header in nest.innermost.items():
        whole[header] |= 1 << node
    # Inner loops first: each goes into the loop around it.
    for header, outer in reversed(nest.outer.items()):
        if outer is not None:
            whole[outer] |= whole[header]
    return whole
