"""The way of a marked value, node by node and field by field, for a message.

A search goes back from where the value arrives to the nearest place where a mark is declared. Every
marked value has such a place behind it, so the search always ends at one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from graphorch.graph.edges import START_INDEX
from graphorch.graph.information_flow.inspected_graph import InspectedGraph, split_mask
from graphorch.graph.information_flow.propagation import Inside, Propagation

Reason = Literal["untrusted", "secret", "decided"]
MANY = 12  # nodes of a way that a message names


@dataclass(frozen=True, slots=True)
class Place:
    """Where a marked value is, at one node.

    A field of it is marked `before` the node runs or `after` it has; the node is `touched` by what
    it reads; it `chooses` a way by a field, or `fails`; or it is `decided` by other nodes.
    """

    kind: Literal["before", "after", "touched", "chooses", "fails", "decided"]
    node: int
    field: int = -1


class PathFinder:
    """Finds ways in a graph whose marks were spread."""

    def __init__(self, graph: InspectedGraph, propagation: Propagation, inside: Inside) -> None:
        self._graph = graph
        self.spread = self._spread = propagation.spread
        self._propagation = propagation
        self._decisions = propagation.decisions
        self._inside = inside

    def find(self, goals: Sequence[Place]) -> list[Place]:
        """Return the shortest way from where a mark is declared to one of some places.

        Breadth-first, linear in the edges times the fields.
        """
        following: dict[Place, Place | None] = dict.fromkeys(goals)
        pending = list(goals)
        for place in pending:  # grows meanwhile
            before = list(self._before(place))
            if not before:
                way: list[Place] = []
                step: Place | None = place
                while step is not None:
                    way.append(step)
                    step = following[step]
                return way
            for earlier in before:
                if earlier not in following:
                    following[earlier] = place
                    pending.append(earlier)
        return list(goals[:1])

    def _before(self, place: Place) -> Iterator[Place]:
        """Yield the places that a marked value comes from; none where its mark is declared."""
        node, graph, spread = place.node, self._graph, self._spread
        match place.kind:
            case "before":
                edges = graph.topology.entering[node]
                edges = [edge for edge in edges if spread.along(edge) >> place.field & 1]
                if any(edge.source == START_INDEX for edge in edges):
                    return
                for edge in edges:
                    kind = "before" if edge.kind == "error" else "after"
                    yield Place(kind, edge.source, place.field)
            case "after":
                yield from self._before_leaving(place)
            case "touched":
                yield from self._before_touching(node)
            case "chooses":
                yield Place("after", node, place.field)
            case "fails":
                yield Place("touched", node)
            case "decided":
                yield from self._before_deciding(node)

    def _before_leaving(self, place: Place) -> Iterator[Place]:
        inspected = self._graph.nodes[place.node]
        bit = 1 << place.field
        if bit & inspected.writes & self._graph.declared[self._spread.mark]:
            return
        if bit & self._spread.arriving[place.node] & ~inspected.replaces:
            yield Place("before", place.node, place.field)
        if not bit & inspected.writes or not self._propagation.is_marking(place.node):
            return
        if place.node in self._spread.decided:
            yield Place("decided", place.node)
        if self._spread.touched[place.node] or inspected.has_inside:
            yield Place("touched", place.node)

    def _before_touching(self, node: int) -> Iterator[Place]:
        inspected, spread = self._graph.nodes[node], self._spread
        mark = spread.mark
        if mark == "untrusted" and inspected.untrusted_tools:
            return
        if inspected.has_inside and self._inside.gives(
            inspected, mark, is_given=False, is_decided=False
        ):
            return
        for field in split_mask(inspected.reads & spread.arriving[node]):
            yield Place("before", node, field)
        if inspected.takes_failure:
            for edge in self._graph.topology.entering[node]:
                if edge.kind == "error" and spread.touched[edge.source]:
                    yield Place("fails", edge.source)

    def _before_deciding(self, node: int) -> Iterator[Place]:
        for source in sorted(self._spread.decided[node]):
            if source == START_INDEX:
                return
            inspected = self._graph.nodes[source]
            fields = inspected.decides & self._spread.leaving[source]
            if fields and node in self._decisions.by_choice(source):
                for field in split_mask(fields):
                    yield Place("chooses", source, field)
            if self._spread.touched[source] and node in self._decisions.by_failing(source):
                yield Place("fails", source)
            if source in self._spread.decided and node in self._decisions.by_running(source):
                yield Place("decided", source)

    def lead_to(
        self, goal: Place, before: Mapping[Reason, Sequence[str]], prefix: str
    ) -> list[str]:
        """Return the shortest way to a place in words; `before` are the ways to the graph."""
        return self.put_into_words(self.find([goal]), before, prefix)

    def put_into_words(
        self, way: Sequence[Place], before: Mapping[Reason, Sequence[str]], prefix: str
    ) -> list[str]:
        """Return a way in words, after the one around the graph that it goes on from, if any."""
        reason: Reason = self._spread.mark
        if way[0].kind == "decided":
            reason = "decided"
        # A value that is marked here, and not before START, begins its way here.
        around = before.get(reason, ()) if way[0].kind in ("before", "decided") else ()
        return [*around, *self.describe(way, prefix)]

    # ---- in words ------------------------------------------------------------------------------
    def describe(self, way: Sequence[Place], prefix: str = "") -> list[str]:
        """Return a way as the nodes on it, each with the fields that it reads and writes.

        `prefix` is the path of the flow; the outermost one, "", begins with START.
        """
        first = way[0]
        hops: list[str] = []
        if first.kind == "before" and not prefix:
            hops.append(f"START ({self._graph.fields[first.field]})")
        for node, group in groupby(way, key=lambda place: place.node):
            words = self._describe_stop(list(group))
            name = f"'{prefix}{self._graph.name_of(node)}'"
            if node == self._graph.topology.end:
                name = "END"
            hops.append(f"{name} ({words})" if words else name)
        return hops

    def _describe_stop(self, places: list[Place]) -> str:
        """Return what becomes of a marked value at one node; "" if the node lets it pass."""
        kinds = [place.kind for place in places]
        names = {place.kind: self._name(place) for place in places}
        inspected = None
        if places[0].node != self._graph.topology.end:
            inspected = self._graph.nodes[places[0].node]
        came = names.get("before", "")
        if kinds[0] == "touched" and inspected is not None:
            came = "the Failure"
            if inspected.untrusted_tools and self._spread.mark == "untrusted":
                came = f"tool {inspected.untrusted_tools[0]}"
            elif inspected.has_inside:
                came = "what is inside"
        words = ""
        if "touched" in kinds and "after" in kinds:
            words = f"{came} → {names['after']}" if came else f"writes {names['after']}"
        elif "touched" in kinds or kinds == ["before"]:
            words = f"reads {came}" if came else ""
        elif kinds[0] == "after":
            words = f"writes {names['after']}"
        if "chooses" in kinds:
            choice = f"chooses by {names['chooses']}"
            words = f"{words}, {choice}" if words else choice
        if "fails" in kinds:
            words = f"{words}, may fail" if words else "may fail"
        return words

    def _name(self, place: Place) -> str:
        return self._graph.fields[place.field] if place.field >= 0 else ""


def join_hops(hops: Sequence[str]) -> str:
    """Return a way for a sentence; the middle of a long one is counted."""
    shown = list(hops)
    if len(shown) > MANY:
        half = MANY // 2
        shown[half:-half] = [f"… ({len(shown) - 2 * half} more)"]
    return " → ".join(shown)
