"""The flow as the first record of its run describes it, so that a reader needs no plan.

Kinds of nodes, and where edges lead, at any depth.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias, cast

from graphorch.trace.spans.model import strip_index

Description: TypeAlias = dict[str, Any]

_LINE_KINDS = ("loop", "exhausted", "always")
_DECIDED = ("routed", "loop", "exhausted")  # edges that a selector or a loop condition decides


class FlowMap:
    """Nodes by path. Where the description lacks something, answers are only less precise."""

    def __init__(self, description: object) -> None:
        self._root = _as_object(description)
        self._scopes: dict[str, _Scope] = {}

    @property
    def records_tools(self) -> bool:
        """Whether calls of tools have records of their own, as they do from format 5 on."""
        format = self._root.get("format")
        return isinstance(format, int) and format >= 5

    def kind(self, path: str) -> str:
        """Return `agent`, `node`, `map`, `sub` or `ask`; "" if the description does not say."""
        return str(self._node(path).get("kind", ""))

    def writes(self, path: str) -> list[str]:
        """Return the names of the slices that a node writes."""
        return [str(name) for name in _as_list(self._node(path).get("writes"))]

    def first(self, path: str = "") -> list[str]:
        """Return the names of the nodes that a flow begins with.

        `path` is that of a sub-flow or map, "" of the outermost flow.
        """
        edges = self._scope(f"{path}/x" if path else "x").edges
        return [edge.target for edge in edges if edge.source == "START"]

    def readers(self, path: str) -> list[str]:
        """Return the names of the nodes that the plain edges out of a node lead to."""
        return self._targets(path, "always")

    def handlers(self, path: str) -> list[str]:
        """Return the names of the nodes that the error edges of a node lead to."""
        return self._targets(path, "error")

    def has_route(self, path: str) -> bool:
        """Return whether a selector or a loop decides what follows a node."""
        return _name(path) in self._scope(path).deciders

    def taken(
        self, path: str, loop: int, exhausted: int, routed: list[int]
    ) -> tuple[list[str], str]:
        """Return the names of the nodes that a decision led to, and the loop that it concerned.

        `loop` and `exhausted` are numbers of the node's loops (-1: none), `routed` numbers of edges
        of its flow. The loop reads `judge → write`, or `judge → write, exhausted`.
        """
        name = _name(path)
        loops = self._targets(path, "loop")
        if 0 <= loop < len(loops):
            return [loops[loop]], f"{name} → {loops[loop]}"

        ended = f"{name} → {loops[exhausted]}, exhausted" if 0 <= exhausted < len(loops) else ""
        instead = self._targets(path, "exhausted")
        if ended and instead:
            return instead[:1], ended

        edges = self._scope(path).edges
        chosen = [edges[number].target for number in routed if 0 <= number < len(edges)]
        return list(dict.fromkeys([*chosen, *self.readers(path)])), ended

    def list_lines(self, path: str, loop: int, exhausted: int, routed: list[int]) -> list[int]:
        """Return the numbers of the edges that a decision led along; see `taken`."""
        name = _name(path)
        edges = list(enumerate(self._scope(path).edges))
        mine = [(number, edge) for number, edge in edges if edge.source == name]
        by_kind = {kind: [n for n, edge in mine if edge.kind == kind] for kind in _LINE_KINDS}
        if 0 <= loop < len(by_kind["loop"]):
            return [by_kind["loop"][loop]]
        if 0 <= exhausted < len(by_kind["loop"]) and by_kind["exhausted"]:
            return by_kind["exhausted"][:1]
        known = {number for number, _ in mine}
        return [*(number for number in routed if number in known), *by_kind["always"]]

    def _targets(self, path: str, kind: str) -> list[str]:
        return list(self._scope(path).targets.get((_name(path), kind), ()))

    def _node(self, path: str) -> Description:
        return self._scope(path).nodes.get(_name(path), {})

    def _scope(self, path: str) -> _Scope:
        """Return the flow that declares the node at `path`."""
        above = strip_index(path).rpartition("/")[0]
        scope = self._scopes.get(above)
        if scope is None:
            description = self._root
            for name in above.split("/") if above else ():
                description = self._describe_inner(description, name)
            scope = self._scopes[above] = _Scope(description)
        return scope

    def _describe_inner(self, description: Description, name: str) -> Description:
        """Return the description of the flow inside of a node, or an empty one."""
        for node in _list_nodes(description):
            if node.get("name") == name:
                return description if node.get("itself") else self._resolve(node.get("inner"))
        return {}

    def _resolve(self, inner: object) -> Description:
        """Return a flow that is described in its place, or by its number in the list of flows."""
        flows = _as_list(self._root.get("flows"))
        if isinstance(inner, int) and 0 <= inner < len(flows):
            return _as_object(flows[inner])
        return _as_object(inner)


class _Edge(NamedTuple):
    source: str
    target: str
    kind: str


class _Scope:
    """Nodes and edges of one flow: `targets` by source and kind of edge, `deciders` of routes."""

    def __init__(self, description: Description) -> None:
        nodes = _list_nodes(description)
        self.nodes = {str(node.get("name")): node for node in nodes}
        edges = map(_as_list, _as_list(description.get("edges")))
        self.edges = [_Edge(*map(str, edge[:3])) for edge in edges if len(edge) >= 3]
        self.deciders = {edge.source for edge in self.edges if edge.kind in _DECIDED}
        self.targets: dict[tuple[str, str], list[str]] = {}
        for edge in self.edges:
            self.targets.setdefault((edge.source, edge.kind), []).append(edge.target)


def _list_nodes(description: Description) -> list[Description]:
    return [_as_object(node) for node in _as_list(description.get("nodes"))]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _as_object(value: object) -> Description:
    return cast("Description", value) if isinstance(value, dict) else {}


def _as_list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
