"""Identity of a graph for stored runs: nodes, edges, their order, joins, reducers, state schema.

Bounds, limits, models, retries and the code inside nodes are left out: a run may be resumed after
they changed. So is what a flow remembers: that decides with which input a run begins, and the input
is in the record. Since format 2, titles, descriptions and the names of classes are left out too:
renaming a class or editing a docstring does not lock stored runs. A run of format 1 keeps the
fingerprint of format 1, which includes them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from graphorch.graph.plan import Plan, Step
from graphorch.graph.schema_identity import strip_names

FORMAT = 2
"""Format of the description of a graph. Runs of format 2 and of every later one hold it."""


def describe(plan: Plan, format: int = FORMAT) -> dict[str, Any]:
    """Return the description of a graph as plain JSON, made once per plan; do not change it.

    The first record of a run holds it, so that a changed graph can report what changed. The names
    of slices that each node writes are there for people; the fingerprint of format 2 does not
    depend on them.
    """
    format = min(format, FORMAT)
    description = plan.descriptions.get(format)
    if description is None:
        description = plan.descriptions[format] = (
            _describe_1(plan) if format == 1 else _describe_2(plan)
        )
    return description


def compute_fingerprint(plan: Plan, format: int = FORMAT) -> str:
    """Return the fingerprint of a graph in a format of the journal: 32 hexadecimal digits."""
    format = min(format, FORMAT)
    fingerprint = plan.fingerprints.get(format)
    if fingerprint is None:
        identity = (
            describe(plan, format) if format == 1 else _without_writes(describe(plan, format))
        )
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        fingerprint = plan.fingerprints[format] = hashlib.blake2b(
            text.encode(), digest_size=16
        ).hexdigest()
    return fingerprint


def list_differences(stored: Any, plan: Plan) -> list[str]:
    """Return what changed since a description was stored: one short sentence each."""
    before: dict[str, Any] = stored if isinstance(stored, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    now = describe(plan, 2 if before.get("format") == 2 else 1)
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
    return differences or ["its order, joins or inner flows changed"]


# ---- format 2: no titles, descriptions or names of classes ---------------------------------------
def _describe_2(plan: Plan) -> dict[str, Any]:
    memory = [strip_names(model.model_json_schema()) for model in plan.memory]
    return {
        "format": 2,
        "name": plan.name,
        "state": strip_names(plan.schema.model.model_json_schema()),
        **({"memory": memory} if memory else {}),
        "reducers": _reducers(plan),
        "input": list(plan.input.model_fields),
        "output": list(plan.output.model_fields),
        "nodes": [_describe_node_2(step) for step in plan.steps[:-1]],
        "edges": _edges(plan),
    }


def _describe_node_2(step: Step) -> dict[str, Any]:
    writes = step.node.signature.writes
    return {
        "name": step.name,
        "kind": step.node.kind,
        "writes": [model.__name__ for model in writes],
        "fields": [list(model.model_fields) for model in writes],
        "need": step.need,
        "inner": describe(step.inner_plan, 2) if step.inner_plan is not None else None,
    }


def _without_writes(description: dict[str, Any]) -> dict[str, Any]:
    """Copy a description without the names of the slices that nodes write, at any depth."""
    nodes: list[dict[str, Any]] = []
    for node in description["nodes"]:
        identity = {key: value for key, value in node.items() if key != "writes"}
        if identity["inner"] is not None:
            identity["inner"] = _without_writes(identity["inner"])
        nodes.append(identity)
    return {**description, "nodes": nodes}


# ---- format 1: as it was, for the runs that were begun in it -------------------------------------
def _describe_1(plan: Plan) -> dict[str, Any]:
    memory = [model.model_json_schema() for model in plan.memory]
    return {
        "name": plan.name,
        "state": plan.schema.model.model_json_schema(),
        **({"memory": memory} if memory else {}),
        "reducers": _reducers(plan),
        "input": plan.input.__name__,
        "output": plan.output.__name__,
        "nodes": [_describe_node_1(step) for step in plan.steps[:-1]],
        "edges": _edges(plan),
    }


def _describe_node_1(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "kind": step.node.kind,
        "writes": [model.__name__ for model in step.node.signature.writes],
        "need": step.need,
        "inner": describe(step.inner_plan, 1) if step.inner_plan is not None else None,
    }


# ---- what both formats share ---------------------------------------------------------------------
def _reducers(plan: Plan) -> dict[str, str]:
    return {
        field.name: _name_reducer(field.info)
        for field in plan.schema.fields
        if field.reduce is not None
    }


def _name_reducer(info: Any) -> str:
    candidates = (
        item for item in info.metadata if callable(item) and hasattr(item, "__qualname__")
    )
    return next((reducer.__qualname__ for reducer in candidates), "")


def _edges(plan: Plan) -> list[list[Any]]:
    name = plan.topology.name
    return [
        [name(edge.source), name(edge.target), edge.kind, [str(label) for label in edge.labels]]
        for edge in plan.topology.edges
    ]


def _format_edge(edge: list[Any]) -> str:
    return f"{edge[0]} → {edge[1]} ({edge[2]})"


def _compare_names(what: str, before: list[str], now: list[str]) -> list[str]:
    gone = [f"{what} '{name}' is gone" for name in before if name not in now]
    new = [f"{what} '{name}' is new" for name in now if name not in before]
    return gone + new
