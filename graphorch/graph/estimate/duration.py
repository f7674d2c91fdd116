"""Duration of a run: the seconds of nodes that wait for each other, along the longest path.

A loop counts as one node that takes the seconds of its body's longest path, as often as it can
iterate: the way out of the last iteration may leave the body anywhere, so the iterations before
must not be counted along that way. Natural loops with different headers are nested or apart, so
this can be done from the outermost in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from statistics import fmean

from graphorch.graph.analysis import Analysis
from graphorch.graph.edges import Edge
from graphorch.graph.estimate.totals import rounds_at, usual_choices
from graphorch.graph.plan import Plan, Step, TimerSpec

Later = Callable[[int], float]  # the seconds from a node on
Follow = Callable[[int, Later], float]  # the seconds after a node, out of those from its targets on


@dataclass(frozen=True, slots=True)
class _Span:
    plan: Plan
    seconds: Mapping[int, float]  # of one activation of each node
    share: float  # of the further rounds of a loop
    edges: Mapping[int, Sequence[Edge]]
    follow: Follow

    def measure(self, nodes: Sequence[int], depth: int) -> float:
        """Return the seconds from the first to the last of some nodes.

        `depth` is the number of loops that are around all of them.
        """
        # 1. Take the outermost loops together: a group is the body of one, or a single node.
        groups: dict[int, list[int]] = defaultdict(list)
        home: dict[int, int] = {}
        for node in nodes:
            chain = self._headers(node)
            home[node] = chain[depth] if len(chain) > depth else node
            groups[home[node]].append(node)
        ahead = {group: self._ahead(group, members, home) for group, members in groups.items()}
        # 2. From the last group backwards: its own seconds, and those of what comes after it.
        left: dict[int, float] = {}

        def later(node: int) -> float:
            return left.get(home.get(node, -1), 0.0)

        for group in TopologicalSorter(ahead).static_order():  # what lies ahead comes first
            is_loop = len(self._headers(group)) > depth
            if is_loop:
                # The last iteration may be left by any way out of the body.
                after = max(map(later, ahead[group]), default=0.0)
                own = self._measure_loop(group, groups[group], depth)
            else:
                after = self.follow(group, later)
                own = self.seconds.get(group, 0.0)
            left[group] = after + own
        return max(left.values(), default=0.0)

    def _measure_loop(self, header: int, members: Sequence[int], depth: int) -> float:
        """Return the seconds of all iterations of the loops of a header."""
        loops = (loop for loop in self.plan.topology.loops if loop.header == header)
        return rounds_at(loops, self.share) * self.measure(members, depth + 1)

    def _headers(self, node: int) -> list[int]:
        """Return the headers of the loops around a node, from the outermost in."""
        loops = [self.plan.topology.loops[loop] for loop in self.plan.steps[node].inside]
        # Bodies with different headers are nested here, since the node is in all of them.
        sizes = {loop.header: len(loop.body) for loop in loops}
        return sorted(sizes, key=lambda header: -sizes[header])

    def _ahead(self, group: int, members: Sequence[int], home: Mapping[int, int]) -> set[int]:
        """Return the groups that a group leads to."""
        targets = (edge.target for node in members for edge in self.edges[node])
        return {home[target] for target in targets if home.get(target, group) != group}


def compute_wait(step: Step) -> float:
    """Return the seconds of a timer, if they are fixed; other waits are not known, and count 0."""
    event = step.event
    return event.seconds or 0.0 if isinstance(event, TimerSpec) else 0.0


def compute_longest_wait(plan: Plan, step: Step) -> float:
    """Return the most seconds that a node waits for an event, as far as they are known.

    Of several events of which the first counts, none is waited for after the shortest timer.
    """
    events = [step, *(plan.steps[index] for index in step.rivals)]
    return min((wait for each in events if (wait := compute_wait(each))), default=0.0)


def worst_seconds(plan: Plan, seconds: Mapping[int, float]) -> float:
    """Return the most seconds that a run takes.

    `seconds` are those of one activation of each node at worst.
    """
    edges = {
        node: [edge for edge in plan.topology.leaving[node] if edge.kind != "loop"]
        for node in range(len(plan.steps))
    }

    def longest(node: int, later: Later) -> float:
        return max((later(edge.target) for edge in edges[node]), default=0.0)

    return _Span(plan, seconds, 1.0, edges, longest).measure(range(len(plan.steps)), 0)


def compute_expected_seconds(
    plan: Plan, analysis: Analysis, seconds: Mapping[int, float], share: float
) -> float:
    """Return the seconds that a usual run takes.

    The longest of the branches of a fork counts, and the mean of the choices of a route.
    """
    choices = {node: usual_choices(analysis, node) for node in range(len(plan.steps))}
    edges = {node: [edge for choice in own for edge in choice] for node, own in choices.items()}

    def usual(node: int, later: Later) -> float:
        if not choices[node]:
            return 0.0
        return fmean(max(later(edge.target) for edge in choice) for choice in choices[node])

    return _Span(plan, seconds, share, edges, usual).measure(range(len(plan.steps)), 0)
