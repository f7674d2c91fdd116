"""The nodes of a flow in words: what each reads and writes, where it leads, how often it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphorch.graph.edges import Edge
from graphorch.graph.estimate.estimator import Worst
from graphorch.graph.node import ToolSummary, summarize_tools
from graphorch.graph.plan import Plan, SignalSpec, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowNode:
    """A node of a flow; nodes inside sub-flows and maps have paths.

    `next` are the nodes to which it leads, each with its condition. It runs `at_most` so many times
    in a run; None if that is not known. `undo` is the name of what undoes it, "" without one.
    """

    path: str
    kind: str
    reads: list[str]
    writes: list[str]
    next: list[str]
    at_most: int | None
    tools: list[ToolSummary]
    undo: str


def list_nodes(plan: Plan, worst: Worst) -> list[FlowNode]:
    """Return the nodes of a flow, each before those inside it."""
    return list(_describe_nodes(plan, worst, ""))


def _describe_nodes(plan: Plan, worst: Worst, prefix: str) -> Iterator[FlowNode]:
    for step in plan.steps[:-1]:
        path = prefix + step.name
        targets = [_format_target(plan, edge) for edge in plan.topology.leaving[step.index]]
        yield FlowNode(
            path=path,
            kind=_format_kind(step),
            reads=_list_reads(step, plan),
            writes=_list_writes(step),
            next=targets,
            at_most=worst.by_node.get(path),
            tools=summarize_tools(step.node),
            undo=step.node.undo.name if step.node.undo is not None else "",
        )
        if step.inner_plan is not None and not step.max_depth:
            yield from _describe_nodes(step.inner_plan, worst, f"{path}/")


def _format_kind(step: Step) -> str:
    itself = f", this flow itself, at most {step.max_depth} deep" if step.max_depth else ""
    if step.map is not None:
        bounds = f"at most {step.map.max_items} items, {step.map.concurrency} at once"
        return ", ".join([f"map, {bounds}{itself}", *step.map.list_reviews()])
    if step.sub is not None:
        return f"{step.node.kind}{itself}"
    if isinstance(step.event, SignalSpec):
        return ", ".join((step.event.text, *step.event.details))
    if step.event is not None:
        return f"timer · {step.event.text}"
    if step.node.kind == "first":
        return "first of several"
    model = getattr(step.node.fn, "model", "")
    if step.node.kind == "agent" and model not in ("", "default"):
        return f"agent, {model}"
    return str(step.node.kind)


def _list_reads(step: Step, plan: Plan) -> list[str]:
    # a map, a sub-flow and a question read what their mapping takes
    reads = step.over.reads if step.over is not None else step.node.signature.reads
    names: list[str] = []
    for read in reads:
        name = (read.model or plan.schema.model).__name__
        names.append(f"{name} (or nothing)" if read.optional else name)
    return names


def _list_writes(step: Step) -> list[str]:
    signature = step.node.signature
    # a lambda that gathers a map or leaves a sub-flow may write any field of the state
    is_open = step.inner_plan is not None and signature.may_skip
    return [f"any of {model.__name__}" if is_open else model.__name__ for model in signature.writes]


def _format_target(plan: Plan, edge: Edge) -> str:
    name, kind = plan.topology.name(edge.target), str(edge.kind)
    source = plan.steps[edge.source]
    if source.node.kind == "first":
        return name  # all of its events begin
    if kind == "always" and source.rivals:
        return f"{name} (if it is first)"
    words = "/".join(map(_format_label, edge.labels))
    remarks = {
        "routed": f"if {words}",
        "loop": "back",
        "exhausted": "if the loop is exhausted",
        "error": f"on {words}",
    }
    return f"{name} ({remarks[kind]})" if kind in remarks else name


def _format_label(label: Any) -> str:
    return label.__name__ if isinstance(label, type) else str(getattr(label, "value", label))
