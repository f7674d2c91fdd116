"""`graphorch show`: describe a flow: its input, nodes, loops, joins, and the worst case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.input_options import list_options
from graphorch.cli.json_output import to_json_line
from graphorch.cli.shared_options import AsJson, Debug, FlowName
from graphorch.cli.tables import align_columns
from graphorch.cli.terminal import print_output, sanitize, sanitize_line
from graphorch.graph.edges import Edge, Loop
from graphorch.graph.estimate.estimator import Worst, worst_case
from graphorch.graph.node import summarize_tools
from graphorch.graph.plan import Plan, SignalSpec, Step


def show(flow: FlowName, as_json: AsJson = False, debug: Debug = False) -> None:
    """Describe a flow: input options, nodes, loops with bounds, joins, and the most a run can do.

    Exit codes: 0 done, 2 wrong usage, 3 the graph does not build.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        plan = load_flow(flow).flow.plan
        description = describe_flow(plan, worst_case(plan))
        if as_json:
            print_output(to_json_line(description))
        else:
            print_output(sanitize(format_description(description)))


# ---- as plain values -----------------------------------------------------------------------------
def describe_flow(plan: Plan, worst: Worst) -> dict[str, Any]:
    """Return a flow as plain values; nodes inside sub-flows and maps have paths."""
    return {
        "flow": plan.name,
        "input": plan.input.__name__,
        "output": plan.output.__name__,
        "options": [
            {
                "option": option.usage,
                "required": option.info.is_required(),
                "about": option.info.description or "",
            }
            for option in list_options(plan.input)
        ],
        "nodes": list(_describe_nodes(plan, worst, "")),
        "loops": list(_describe_loops(plan, "")),
        "joins": list(_describe_joins(plan, "")),
        "worst_case": {"activations": worst.activations, "model_calls": worst.calls},
    }


def _describe_nodes(plan: Plan, worst: Worst, prefix: str) -> Iterator[dict[str, Any]]:
    for step in plan.steps[:-1]:
        path = prefix + step.name
        targets = [_format_target(plan, edge) for edge in plan.topology.leaving[step.index]]
        yield {
            "path": path,
            "kind": _format_kind(step),
            "reads": _list_reads(step, plan),
            "writes": _list_writes(step),
            "next": targets,
            "at_most": worst.by_node.get(path),
            "tools": [asdict(tool) for tool in summarize_tools(step.node)],
            "undo": step.node.undo.name if step.node.undo is not None else "",
        }
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


def _describe_loops(plan: Plan, prefix: str) -> Iterator[dict[str, Any]]:
    for loop in plan.topology.loops:
        yield {
            "from": [prefix + plan.topology.name(source) for source in loop.sources],
            "back_to": prefix + plan.topology.name(loop.header),
            "while": loop.condition.name,
            "max_iterations": loop.bound,
            "exhausted": _format_exhausted(plan, loop),
        }
    for step in plan.steps:
        if step.inner_plan is not None and not step.max_depth:
            yield from _describe_loops(step.inner_plan, f"{prefix}{step.name}/")


def _format_exhausted(plan: Plan, loop: Loop) -> str:
    target = loop.exhausted_target
    return loop.exhausted if target is None else plan.topology.name(target)


def _describe_joins(plan: Plan, prefix: str) -> Iterator[dict[str, Any]]:
    """Yield the nodes at which branches meet; the two edges into a loop header are not a join."""
    for step in plan.steps:
        entering = [edge for edge in plan.topology.entering[step.index] if edge.kind != "loop"]
        sources = list(dict.fromkeys(plan.topology.name(edge.source) for edge in entering))
        if len(sources) > 1:
            yield {
                "at": prefix + plan.topology.name(step.index),
                "of": sources,
                "need": step.join.need if step.join is not None else "arriving",
                **({"rest": "finish"} if step.finishes else {}),
            }
        if step.inner_plan is not None and not step.max_depth:
            yield from _describe_joins(step.inner_plan, f"{prefix}{step.name}/")


# ---- in words ------------------------------------------------------------------------------------
def format_description(description: dict[str, Any]) -> str:
    """Return the description of a flow for people."""
    title = f"{description['flow']}: {description['input']} → {description['output']}"
    sections = [
        [title],
        ["input", *_format_options(description["options"])],
        ["nodes", *_format_nodes(description["nodes"])],
    ]
    tools = _format_tools(description["nodes"])
    if tools:
        sections.append(["tools", *tools])
    if description["loops"]:
        sections.append(["loops", *map(_format_loop, description["loops"])])
    if description["joins"]:
        sections.append(["joins", *map(_format_join, description["joins"])])
    sections.append([_format_worst_case(description["worst_case"])])
    return "\n\n".join("\n".join(section) for section in sections)


def _format_options(options: Sequence[dict[str, Any]]) -> list[str]:
    rows = [
        [option["option"], "required" if option["required"] else "optional", option["about"]]
        for option in options
    ]
    return _align(rows)


def _format_nodes(nodes: Sequence[dict[str, Any]]) -> list[str]:
    rows = [["name", "kind", "reads", "writes", "then", "at most"]]
    for node in nodes:
        count = node["at_most"]
        rows.append(
            [
                node["path"],
                f"{node['kind']}, undo {node['undo']}" if node["undo"] else node["kind"],
                ", ".join(node["reads"]) or "–",
                ", ".join(node["writes"]) or "–",
                ", ".join(node["next"]),
                "" if count is None else f"{count:,} ×",
            ]
        )
    return _align(rows)


def _format_tools(nodes: Sequence[dict[str, Any]]) -> list[str]:
    rows = [
        [
            node["path"],
            tool["name"],
            tool["effect"],
            tool["approval"] or "–",
            tool["bounds"] or "–",
        ]
        for node in nodes
        for tool in node["tools"]
    ]
    return _align([["agent", "tool", "effect", "approved by", "bounds"], *rows]) if rows else []


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    return align_columns([[sanitize_line(cell, 60) for cell in row] for row in rows], indent=2)


def _format_loop(loop: dict[str, Any]) -> str:
    return (
        f"  {', '.join(loop['from'])} → {loop['back_to']} while {loop['while']}, "
        f"at most {loop['max_iterations']} rounds, then: {loop['exhausted']}"
    )


def _format_join(join: dict[str, Any]) -> str:
    needs = {"arriving": "waits for every branch that can still arrive", "all": "waits for all"}
    need = needs.get(str(join["need"]), f"continues with the first {join['need']}")
    rest = ", the rest finishes" if join.get("rest") == "finish" else ""
    return f"  {join['at']} of {', '.join(join['of'])}: {need}{rest}"


def _format_worst_case(worst: dict[str, Any]) -> str:
    calls = worst["model_calls"]
    counted = "unknown: a node calls models itself" if calls is None else f"{calls:,}"
    return f"worst case of one run: {worst['activations']:,} activations, model calls: {counted}"
