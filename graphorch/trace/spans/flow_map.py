"""What a run's first record says of its flow: kinds of nodes, and where edges lead, at any depth; so a reader needs no plan."""

from __future__ import annotations

from typing import Any, cast

from graphorch.trace.spans.model import strip_index

Described = dict[str, Any]

_ALONE = ("loop", "exhausted", "error")  # edges that are taken instead of all others


class FlowMap:
    """Looks nodes up by path. Whatever is missing or odd in the description, the answer is just less precise."""

    def __init__(self, described: object) -> None:
        self._root = _object(described)
        self._scopes: dict[str, _Scope] = {}

    def kind(self, path: str) -> str:
        """`agent`, `node`, `map`, `sub` or `ask`; "" if the description does not say."""
        return str(self._of(path).nodes.get(_name(path), {}).get("kind", ""))

    def writes(self, path: str) -> list[str]:
        """The names of the slices that a node writes."""
        return [
            str(item) for item in _list(self._of(path).nodes.get(_name(path), {}).get("writes"))
        ]

    def first(self, path: str = "") -> list[str]:
        """The names of the nodes that a flow begins with; `path` is that of the sub-flow or map, "" the outermost flow."""
        scope = self._of(f"{path}/x" if path else "x")
        return [edge[1] for edge in scope.edges if edge[0] == "START"]

    def readers(self, path: str) -> list[str]:
        """Where the plain edges out of a node lead, by name."""
        return [
            edge[1]
            for edge in self._of(path).edges
            if edge[0] == _name(path) and edge[2] == "always"
        ]

    def has_route(self, path: str) -> bool:
        """Whether a selector or a loop decides where it goes on."""
        return any(
            edge[0] == _name(path) and edge[2] in ("routed", "loop", "exhausted")
            for edge in self._of(path).edges
        )

    def taken(
        self, path: str, loop: int, exhausted: int, routed: list[int]
    ) -> tuple[list[str], str]:
        """Where a decision led: the names of the nodes, and the loop that went back or ended (`judge → write`)."""
        scope, name = self._of(path), _name(path)
        loops = [edge[1] for edge in scope.edges if edge[0] == name and edge[2] == "loop"]
        if 0 <= loop < len(loops):
            return [loops[loop]], f"{name} → {loops[loop]}"
        ended = f"{name} → {loops[exhausted]}, exhausted" if 0 <= exhausted < len(loops) else ""
        instead = [edge[1] for edge in scope.edges if edge[0] == name and edge[2] == "exhausted"]
        if ended and instead:
            return instead[:1], ended
        chosen = [scope.edges[index][1] for index in routed if 0 <= index < len(scope.edges)]
        return list(dict.fromkeys([*chosen, *self.readers(path)])), ended

    def handlers(self, path: str) -> list[str]:
        """Where the error edges of a node lead."""
        return [
            edge[1]
            for edge in self._of(path).edges
            if edge[0] == _name(path) and edge[2] == "error"
        ]

    def _of(self, path: str) -> _Scope:
        above = strip_index(path).rpartition("/")[0]
        scope = self._scopes.get(above)
        if scope is None:
            described = self._root
            for part in above.split("/") if above else ():
                inner = [
                    item.get("inner")
                    for item in map(_object, _list(described.get("nodes")))
                    if item.get("name") == part
                ]
                described = _object(inner[0] if inner else None)
            scope = self._scopes[above] = _Scope(described)
        return scope


class _Scope:
    def __init__(self, described: Described) -> None:
        nodes = [_object(item) for item in _list(described.get("nodes"))]
        self.nodes = {str(node.get("name")): node for node in nodes}
        edges = [_list(item) for item in _list(described.get("edges"))]
        self.edges = [
            (str(edge[0]), str(edge[1]), str(edge[2])) for edge in edges if len(edge) >= 3
        ]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _object(value: object) -> Described:
    return cast("Described", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
