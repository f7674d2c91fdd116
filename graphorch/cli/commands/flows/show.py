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
from graphorch.graph.edges import Loop
from graphorch.graph.estimate.estimator import Worst, worst_case
from graphorch.graph.plan import Plan
from graphorch.views.flows.flow_nodes import list_nodes


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
        "nodes": [asdict(node) for node in list_nodes(plan, worst)],
        "loops": list(_describe_loops(plan, "")),
        "joins": list(_describe_joins(plan, "")),
        "worst_case": {"activations": worst.activations, "model_calls": worst.calls},
    }


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
