"""Blockers of joins: the positions that can still bring a join a token of the same iteration.

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

from collections.abc import Mapping

from graphorch.graph.analysis import sort_nodes
from graphorch.graph.edges import START_INDEX, Topology
from graphorch.graph.topology import LoopNest


def find_blockers(topology: Topology, latches: Mapping[int, int]) -> dict[int, int]:
    """Return the blockers of every node that more than one edge leads to, as masks of positions.

    `latches` gives the position of the latch of each loop header.

    Linear in the edges and the bodies of the loops, times the words of a bitmask. The graph has
    passed the checks of its loops.
    """
    nest = LoopNest(topology.loops)
    whole = _make_body_masks(nest, latches)
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


def _make_body_masks(nest: LoopNest, latches: Mapping[int, int]) -> dict[int, int]:
    """Return for each header its body and the latches of all loops in it."""
    whole = {header: 1 << position for header, position in latches.items()}
    for node, header in nest.innermost.items():
        whole[header] |= 1 << node
    # Inner loops first: each goes into the loop around it.
    for header, outer in reversed(nest.outer.items()):
        if outer is not None:
            whole[outer] |= whole[header]
    return whole
