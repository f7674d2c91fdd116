"""Signals, timers and firsts fit: one meaning for each name, and events that begin together."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph, join_names
from graphorch.graph.plan import SignalSpec, list_flows_inside

_EVENT_KINDS = ("ask", "signal", "timer")


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`SIGNAL_TWICE`, `FIRST_EVENTS`, `FIRST_SOURCE` and `FIRST_EDGE`."""
    yield from _check_signals(graph)
    for name, events in graph.spec.firsts.items():
        if name in graph.spec.connected or name in graph.number:
            yield from _check_first(graph, name, tuple(filter(None, events)))


def _check_signals(graph: CheckedGraph) -> Iterator[Problem]:
    """Yield signals whose name means something else in a flow inside."""
    spec = graph.spec
    known = {name: event for name, event in spec.events.items() if isinstance(event, SignalSpec)}
    inner = [(name, sub.flow) for name, sub in spec.subs.items()]
    inner += [(name, map_.flow) for name, map_ in spec.maps.items() if map_.flow is not None]
    for name, node in spec.nodes.items():
        if node.kind == "agent":
            inner += [(name, flow) for flow in list_flows_inside(node, None)]
    for outer, flow in inner:
        for name, signal in flow.signals.items():
            other = known.setdefault(name, signal)
            if (other.value, other.keep) == (signal.value, signal.keep):
                continue
            what = (
                f"it has another value or another `keep` than the signal of this name in '{outer}'"
            )
            fix = "give one of them another name: whoever sends it knows the name only"
            yield Problem("SIGNAL_TWICE", f"signal '{name}'", what, fix)


def _check_first(graph: CheckedGraph, name: str, events: tuple[str, ...]) -> Iterator[Problem]:
    where, topology = f"first '{name}'", graph.topology
    wrong = [event for event in events if graph.spec.nodes[event].kind not in _EVENT_KINDS]
    if wrong:
        fix = "give nodes made by ask(), signal() or timer(); for others, join(…, need=1)"
        yield Problem("FIRST_EVENTS", where, f"{join_names(wrong)} waits for no event", fix)
    if len(set(events)) < 2:
        what = "only several events can have a first"
        yield Problem("FIRST_EVENTS", where, what, "give two or more, or chain the one")
    for event in dict.fromkeys(events):
        sources = [edge.source for edge in topology.entering[graph.number[event]]]
        if len(sources) > 1:
            others = [topology.name(source) for source in sources if source != graph.number[name]]
            what = f"event '{event}' is also reached from {join_names(others or [name])}"
            fix = f"lead there to '{name}' instead: the events of one first begin together"
            yield Problem("FIRST_SOURCE", where, what, fix)
    own = set(events)
    for edge in topology.leaving[graph.number[name]]:
        target = topology.name(edge.target)
        if edge.kind != "routed" or target not in own:
            fix = f"give what follows with its event: first('{name}', {{event: {target.lower()}}})"
            yield Problem("FIRST_EDGE", where, f"an edge leads from it to '{target}'", fix)
