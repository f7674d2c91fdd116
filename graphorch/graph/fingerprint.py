"""Identity of a graph for stored runs: nodes, edges, their order, joins, reducers, state schema.

Bounds, limits, models, retries and the code inside nodes are left out: a run may be resumed after
they changed. So is what a flow remembers: that decides with which input a run begins, and the input
is in the record. Since format 2, titles, descriptions and the names of classes are left out too:
renaming a class or editing a docstring does not lock stored runs. Format 3 includes what patterns
draw for failures (see `FallbackSpec`). A run keeps the fingerprint of the format that it began in.

Since format 6, a node that runs the graph itself says so (`itself`) instead of describing what is
inside, so that its bound is left out as well. And the flows inside of a large graph are described
once each, however often they occur: its description lists them (`flows`), and `inner` is a number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from graphorch.graph.plan import Plan, Step
from graphorch.graph.schema_identity import build_schema, strip_names
from graphorch.state.reducers import find_reducer, name_reducer

_LARGE = 1_000  # nodes, those of sub-flows as often as they occur

FORMAT = 7
"""The format of the records that runs are written in, and of the description of their graph."""


def describe(plan: Plan, format: int = FORMAT) -> dict[str, Any]:
    """Return the description of a graph as plain JSON, made once per plan; do not change it.

    The first record of a run holds it, so that a changed graph can report what changed. The names
    of slices that each node writes are there for people; the fingerprint of format 2 does not
    depend on them.
    """
    description = plan.descriptions.get(format)
    if description is None:
        description = plan.descriptions[format] = (
            _describe_1(plan) if format == 1 else _describe_later(plan, format)
        )
    return description


def compute_fingerprint(plan: Plan, format: int = FORMAT) -> str:
    """Return the fingerprint of a graph in a format of the journal: 32 hexadecimal digits."""
    fingerprint = plan.fingerprints.get(format)
    if fingerprint is None:
        identity = (
            describe(plan, format) if format == 1 else _without_writes(describe(plan, format))
        )
        text = _dump(identity).encode()
        fingerprint = plan.fingerprints[format] = hashlib.blake2b(text, digest_size=16).hexdigest()
    return fingerprint


def _dump(identity: dict[str, Any]) -> str:
    return json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def list_differences(stored: Any, plan: Plan) -> list[str]:
    """Return what changed since a description was stored: one short sentence each."""
    before: dict[str, Any] = stored if isinstance(stored, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    format = before.get("format")
    now = describe(plan, format if isinstance(format, int) and 2 <= format <= FORMAT else 1)
    old_nodes = [node["name"] for node in before.get("nodes", [])]
    new_nodes = [node["name"] for node in now["nodes"]]
    old_edges = [_format_edge(edge) for edge in before.get("edges", [])]
    new_edges = [_format_edge(edge) for edge in now["edges"]]
    old_fields: dict[str, Any] = before.get("state", {}).get("properties", {})
    new_fields: dict[str, Any] = now["state"].get("properties", {})
    differences = [
        *_compare_names("node", old_nodes, new_nodes),
        *_compare_names("edge", old_edges, new_edges),
        *_compare_names("field", list(old_fields), list(new_fields)),
    ]
    old_regions, new_regions = (
        {node["name"]: node.get("exclusive") for node in nodes}
        for nodes in (before.get("nodes", []), now["nodes"])
    )
    differences += [
        f"node '{name}' is in other exclusive regions"
        for name in old_regions
        if name in new_regions and old_regions[name] != new_regions[name]
    ]
    differences += [
        f"field '{name}' has another type"
        for name in old_fields
        if name in new_fields and old_fields[name] != new_fields[name]
    ]
    differences += [
        f"'{part}' changed"
        for part in ("reducers", "input", "output", "name")
        if before.get(part) != now[part]
    ]
    old_rest = {node["name"]: node.get("rest", []) for node in before.get("nodes", [])}
    differences += [
        f"'{node['name']}' {'lets its losers finish' if node.get('rest') else 'cancels its losers'}"
        for node in now["nodes"]
        if node["name"] in old_rest and old_rest[node["name"]] != node.get("rest", [])
    ]
    return differences or ["its order, joins or inner flows changed"]


# ---- since format 2: no titles, descriptions or names of classes ---------------------------------
def _describe_later(plan: Plan, format: int) -> dict[str, Any]:
    if format < 6 or plan.size <= _LARGE:
        return _describe_flow(plan, format, lambda inner: describe(inner, format))
    flows = _FlowTable(format)
    description = _describe_flow(plan, format, flows.find)
    return {**description, "flows": flows.listed}


class _FlowTable:
    """Flows inside of a graph, each described once. Two that are the same are one."""

    def __init__(self, format: int) -> None:
        self.listed: list[dict[str, Any]] = []
        self._format = format
        self._numbers: dict[str, int] = {}
        self._of_plans: dict[int, int] = {}

    def find(self, plan: Plan) -> int:
        """Return the number of a flow, after those of the flows inside of it."""
        if id(plan) not in self._of_plans:
            description = _describe_flow(plan, self._format, self.find)
            number = self._numbers.setdefault(_dump(_without_writes(description)), len(self.listed))
            if number == len(self.listed):
                self.listed.append(description)
            self._of_plans[id(plan)] = number
        return self._of_plans[id(plan)]


def _describe_flow(
    plan: Plan, format: int, describe_inner: Callable[[Plan], object]
) -> dict[str, Any]:
    memory = [strip_names(build_schema(model)) for model in _memory(plan, format)]
    # For readers of the records, which hide these fields.
    secrets = sorted(plan.marked.list_all_secrets()) if plan.marked is not None else []
    return {
        "format": format,
        "name": plan.name,
        "state": strip_names(build_schema(plan.schema.model)),
        **({"memory": memory} if memory else {}),
        "reducers": _reducers(plan),
        "input": list(plan.input.model_fields),
        "output": list(plan.output.model_fields),
        "nodes": [
            _describe_node_later(plan, step, format, describe_inner)
            for step in _steps(plan, format)
        ],
        "edges": _edges(plan, format),
        **({"secrets": secrets} if secrets and format >= 5 else {}),
        **({"compensate": True} if plan.compensate and format >= 6 else {}),
    }


def _describe_node_later(
    plan: Plan, step: Step, format: int, describe_inner: Callable[[Plan], object]
) -> dict[str, Any]:
    writes = _writes(plan, step, format)
    reviewed = [] if step.map is None else step.map.list_reviews()
    return {
        "name": step.name,
        "kind": step.node.kind,
        "writes": [model.__name__ for model in writes],
        "fields": [list(model.model_fields) for model in writes],
        "need": step.need,
        "inner": _describe_inner(step, describe_inner),
        # In every format: records of a node that has one of these do not fit a node without it, and
        # those of a run with exclusive regions no run without them.
        **({"reviewed": reviewed} if reviewed else {}),
        **({"exclusive": list(step.exclusive)} if step.exclusive else {}),
        **({"rest": rest} if (rest := _list_finishing(step)) else {}),
        **(_describe_undo(step) if format >= 6 else {}),
        **({"itself": True} if step.max_depth and format >= 6 else {}),
        # So do those of a map or sub-flow that a signal ends.
        **({"cancel_on": step.cancel_on} if step.cancel_on else {}),
        **({"keeps": True} if step.keep is not None else {}),
    }


def _list_finishing(step: Step) -> list[str]:
    """Return what lets its losers finish: the join of a node, the map that it is, or both."""
    is_map = step.map is not None and step.map.rest == "finish"
    return ["join"] * step.finishes + ["map"] * is_map


def _describe_undo(step: Step) -> dict[str, Any]:
    """Return whether a node can be undone, and whether what is inside is undone if it fails."""
    undo = {"undo": step.undo.steps[0].node.options.effect} if step.undo is not None else {}
    return {**undo, **({"compensate": True} if step.compensates else {})}


def _describe_inner(step: Step, describe_inner: Callable[[Plan], object]) -> object:
    if step.inner_plan is None or step.max_depth:
        return None
    return describe_inner(step.inner_plan)


def _without_writes(description: Any) -> dict[str, Any]:
    """Copy a description without the names of the slices that nodes write, at any depth.

    Which fields are secret is left out too: marking a field does not lock stored runs.
    """
    nodes: list[dict[str, Any]] = []
    for node in description["nodes"]:
        identity = {key: value for key, value in node.items() if key != "writes"}
        if isinstance(identity["inner"], dict):
            identity["inner"] = _without_writes(identity["inner"])
        nodes.append(identity)
    identity = {**description, "nodes": nodes}
    if "flows" in identity:
        identity["flows"] = [_without_writes(flow) for flow in identity["flows"]]
    identity.pop("secrets", None)
    return identity


# ---- format 1: as it was, for the runs that were begun in it -------------------------------------
def _describe_1(plan: Plan) -> dict[str, Any]:
    memory = [build_schema(model) for model in _memory(plan, 1)]
    return {
        "name": plan.name,
        "state": build_schema(plan.schema.model),
        **({"memory": memory} if memory else {}),
        "reducers": _reducers(plan),
        "input": plan.input.__name__,
        "output": plan.output.__name__,
        "nodes": [_describe_node_1(plan, step) for step in _steps(plan, 1)],
        "edges": _edges(plan, 1),
    }


def _describe_node_1(plan: Plan, step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "kind": step.node.kind,
        "writes": [model.__name__ for model in _writes(plan, step, 1)],
        "need": step.need,
        "inner": _describe_inner(step, lambda inner: describe(inner, 1)),
    }


# ---- what the formats share ----------------------------------------------------------------------
def _steps(plan: Plan, format: int) -> list[Step]:
    """Return the nodes that a format describes, without END."""
    hidden = _find_hidden(plan, format)
    return [step for step in plan.steps[:-1] if step.name not in hidden]


def _find_hidden(plan: Plan, format: int) -> set[str]:
    """Return the nodes of fallbacks that a format does not know yet."""
    return {name for name, since in plan.fallback_nodes.items() if format < since}


def _memory(plan: Plan, format: int) -> list[type[BaseModel]]:
    models = plan.memory
    return [model for model in models if format >= 3 or model not in plan.fallback_memory]


def _writes(plan: Plan, step: Step, format: int) -> list[type[BaseModel]]:
    models = step.node.signature.writes
    return [model for model in models if format >= 3 or model not in plan.fallback_memory]


def _reducers(plan: Plan) -> dict[str, str]:
    reducers = {field.name: find_reducer(field.info) for field in plan.schema.fields}
    return {
        name: name_reducer(reducer) for name, reducer in reducers.items() if reducer is not None
    }


def _edges(plan: Plan, format: int) -> list[list[Any]]:
    name = plan.topology.name
    hidden = _find_hidden(plan, format)
    return [
        [name(edge.source), name(edge.target), edge.kind, [str(label) for label in edge.labels]]
        for edge in plan.topology.edges
        if name(edge.source) not in hidden and name(edge.target) not in hidden
    ]


def _format_edge(edge: list[Any]) -> str:
    return f"{edge[0]} → {edge[1]} ({edge[2]})"


def _compare_names(what: str, before: list[str], now: list[str]) -> list[str]:
    gone = [f"{what} '{name}' is gone" for name in before if name not in now]
    new = [f"{what} '{name}' is new" for name in now if name not in before]
    return gone + new
