"""`graphorch show`: a flow in words: its input, its nodes with what they read and write, loops, joins, and the worst case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphorch.cli.encoding import as_object
from graphorch.cli.ending import ending
from graphorch.cli.safe import one_line, result, safe

if TYPE_CHECKING:
    from graphorch.graph.edges import Loop
    from graphorch.graph.estimate.estimator import Worst
    from graphorch.graph.plan import Plan, Step


def show(
    flow: Annotated[
        str,
        typer.Argument(
            metavar="FLOW", help="path.py, path.py:name or module:name", show_default=False
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: one JSON object on standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Describe a flow: the options of its input, its nodes, loops with their bounds, joins, and the most that one run can do.

    Exit codes: 0 done, 2 wrong usage, 3 the graph does not build.
    """
    with ending(debug=debug, as_json=as_json):
        from graphorch.cli.finding import find
        from graphorch.graph.estimate.estimator import worst_case

        plan = find(flow).flow.plan
        about = described(plan, worst_case(plan))
        result(as_object(about) if as_json else safe(in_words(about)))


# ---- what there is to say ------------------------------------------------------------------------
def described(plan: Plan, worst: Worst) -> dict[str, Any]:
    """The flow as plain values; nodes inside sub-flows and maps have paths."""
    from graphorch.cli.reading import options_of

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
            for option in options_of(plan.input)
        ],
        "nodes": _nodes(plan, worst, ""),
        "loops": _loops(plan, ""),
        "joins": _joins(plan, ""),
        "worst_case": {"activations": worst.activations, "model_calls": worst.calls},
    }


def _nodes(plan: Plan, worst: Worst, prefix: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for step in plan.steps[:-1]:
        path = prefix + step.name
        found.append(
            {
                "path": path,
                "kind": _kind(step),
                "reads": _reads(step, plan),
                "writes": _writes(step),
                "next": [
                    _target(plan, edge.target, edge.labels, edge.kind)
                    for edge in plan.topology.leaving[step.index]
                ],
                "at_most": worst.by_node.get(path),
            }
        )
        if step.inner_plan is not None:
            found += _nodes(step.inner_plan, worst, f"{path}/")
    return found


def _kind(step: Step) -> str:
    model = getattr(step.node.fn, "model", "")
    if step.map is not None:
        return f"map, at most {step.map.max_items} items, {step.map.concurrency} at once"
    return (
        f"agent, {model}"
        if step.node.kind == "agent" and model not in ("", "default")
        else str(step.node.kind)
    )


def _reads(step: Step, plan: Plan) -> list[str]:
    reads = step.over.reads if step.over is not None else step.node.signature.reads
    return [
        (read.model or plan.schema.model).__name__ + (" (or nothing)" if read.optional else "")
        for read in reads
    ]


def _writes(step: Step) -> list[str]:
    """What a map or sub-flow writes is not known if a lambda gathers it: any field of the state."""
    signature = step.node.signature
    is_open = step.inner_plan is not None and signature.may_skip
    return [f"any of {model.__name__}" if is_open else model.__name__ for model in signature.writes]


def _target(plan: Plan, target: int, labels: tuple[Any, ...], kind: str) -> str:
    name = plan.topology.name(target)
    words = "/".join(
        label.__name__ if isinstance(label, type) else str(getattr(label, "value", label))
        for label in labels
    )
    said = {
        "routed": f"if {words}",
        "loop": "back",
        "exhausted": "if the loop is exhausted",
        "error": f"on {words}",
    }
    return f"{name} ({said[kind]})" if kind in said else name


def _loops(plan: Plan, prefix: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "from": [prefix + plan.topology.name(source) for source in loop.sources],
            "back_to": prefix + plan.topology.name(loop.header),
            "while": loop.condition.name,
            "max_iterations": loop.bound,
            "exhausted": _exhausted(plan, loop),
        }
        for loop in plan.topology.loops
    ]
    return found + [
        loop
        for step in plan.steps
        if step.inner_plan is not None
        for loop in _loops(step.inner_plan, f"{prefix}{step.name}/")
    ]


def _exhausted(plan: Plan, loop: Loop) -> str:
    target = loop.exhausted_target
    return loop.exhausted if target is None else plan.topology.name(target)


def _joins(plan: Plan, prefix: str) -> list[dict[str, Any]]:
    """Nodes at which branches meet; the two edges of a loop header do not."""
    found: list[dict[str, Any]] = []
    for step in plan.steps:
        entering = [edge for edge in plan.topology.entering[step.index] if edge.kind != "loop"]
        sources = list(dict.fromkeys(plan.topology.name(edge.source) for edge in entering))
        if len(sources) > 1:
            need = step.join.need if step.join is not None else "arriving"
            found.append(
                {"at": prefix + plan.topology.name(step.index), "of": sources, "need": need}
            )
        if step.inner_plan is not None:
            found += _joins(step.inner_plan, f"{prefix}{step.name}/")
    return found


# ---- in words ------------------------------------------------------------------------------------
def in_words(about: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{about['flow']}: {about['input']} → {about['output']}", "", "input"]
    rows = [
        [item["option"], "required" if item["required"] else "optional", item["about"]]
        for item in about["options"]
    ]
    lines += _aligned(rows)
    nodes = [
        [
            item["path"],
            item["kind"],
            ", ".join(item["reads"]) or "–",
            ", ".join(item["writes"]) or "–",
            ", ".join(item["next"]),
            _times(item["at_most"]),
        ]
        for item in about["nodes"]
    ]
    lines += [
        "",
        "nodes",
        *_aligned([["name", "kind", "reads", "writes", "then", "at most"], *nodes]),
    ]
    if about["loops"]:
        lines += ["", "loops"]
        lines += [
            f"  {', '.join(item['from'])} → {item['back_to']} while {item['while']}, at most {item['max_iterations']} rounds, then: {item['exhausted']}"
            for item in about["loops"]
        ]
    if about["joins"]:
        lines += [
            "",
            "joins",
            *(
                f"  {item['at']} of {', '.join(item['of'])}: {_need(item['need'])}"
                for item in about["joins"]
            ),
        ]
    worst = about["worst_case"]
    calls = (
        "unknown: a node asks models itself"
        if worst["model_calls"] is None
        else f"{worst['model_calls']:,}"
    )
    return "\n".join(
        [
            *lines,
            "",
            f"worst case of one run: {worst['activations']:,} activations, model calls: {calls}",
        ]
    )


def _times(count: int | None) -> str:
    return "" if count is None else f"{count:,} ×"


def _need(need: object) -> str:
    words = {"arriving": "waits for every branch that can still arrive", "all": "waits for all"}
    return words.get(str(need), f"goes on with the first {need}")


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns as wide as their widest cell."""
    cells = [[one_line(cell, 60) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
