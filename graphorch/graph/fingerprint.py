"""What a graph is, as far as a stored run depends on it: nodes, edges, their order, joins, reducers, and the schema of the state.

Bounds, limits, models, retries and the code inside nodes are no part of it: a run may be resumed after they changed. Nor is what a flow
remembers: that decides with which input a run begins, and the input is in the record.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from graphorch.graph.plan import Plan, Step


def described(plan: Plan) -> dict[str, Any]:
    """The description that is hashed, as plain JSON; kept with a run, so that a changed graph can say what changed. Nobody changes it."""
    if plan.description is None:
        plan.description = _described(plan)
    return plan.description


def _described(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "state": plan.schema.model.model_json_schema(),
        **({"memory": [model.model_json_schema() for model in plan.blueprint.memory]} if plan.blueprint.memory else {}),
        "reducers": {field.name: _reducer(field.info) for field in plan.schema.fields if field.reduce is not None},
        "input": plan.input.__name__,
        "output": plan.output.__name__,
        "nodes": [_node(step) for step in plan.steps[:-1]],
        "edges": [[plan.shape.name(edge.source), plan.shape.name(edge.target), edge.kind, [str(label) for label in edge.labels]] for edge in plan.shape.edges],
    }


def fingerprint(plan: Plan) -> str:
    """32 hexadecimal digits."""
    if not plan.fingerprint:
        text = json.dumps(described(plan), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        plan.fingerprint = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return plan.fingerprint


def differences(stored: Any, plan: Plan) -> list[str]:
    """What changed since a description was stored: one short sentence each."""
    now = described(plan)
    before: dict[str, Any] = stored if isinstance(stored, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    found: list[str] = []
    found += _changed("node", [node["name"] for node in before.get("nodes", [])], [node["name"] for node in now["nodes"]])
    found += _changed("edge", [_arrow(edge) for edge in before.get("edges", [])], [_arrow(edge) for edge in now["edges"]])
    old_fields, new_fields = before.get("state", {}).get("properties", {}), now["state"].get("properties", {})
    found += _changed("field", list(old_fields), list(new_fields))
    found += [f"field '{name}' has another type" for name in old_fields if name in new_fields and old_fields[name] != new_fields[name]]
    found += [f"'{part}' changed" for part in ("reducers", "input", "output", "name") if before.get(part) != now[part]]
    return found or ["its order, joins or inner flows changed"]


def _node(step: Step) -> dict[str, Any]:
    inner = described(step.inner_plan) if step.inner_plan is not None else None
    return {
        "name": step.name,
        "kind": step.node.kind,
        "writes": [model.__name__ for model in step.node.signature.writes],
        "need": step.need,
        "inner": inner,
    }


def _reducer(info: Any) -> str:
    return next((one.__qualname__ for one in info.metadata if callable(one) and hasattr(one, "__qualname__")), "")


def _arrow(edge: list[Any]) -> str:
    return f"{edge[0]} → {edge[1]} ({edge[2]})"


def _changed(what: str, before: list[str], now: list[str]) -> list[str]:
    gone = [f"{what} '{one}' is gone" for one in before if one not in now]
    return gone + [f"{what} '{one}' is new" for one in now if one not in before]
