"""Nodes by path, at every level of a flow: how a session's commands name them."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from graphorch.errors import InputError, did_you_mean
from graphorch.graph.node import Node, summarize_tools
from graphorch.graph.plan import Plan, Step
from graphorch.render.plan_picture import box_id

Place: TypeAlias = Node[Any] | str
"""A node, or its path (`team/research`); a node means its only place in the flow."""


def list_steps(plan: Plan, prefix: str = "") -> list[tuple[str, Step]]:
    """Return every node at every level, by path; of a flow inside itself, the outermost level."""
    steps: list[tuple[str, Step]] = []
    for step in plan.steps[: plan.end]:
        path = prefix + step.name
        steps.append((path, step))
        if step.inner_plan is not None and not step.max_depth:
            steps += list_steps(step.inner_plan, f"{path}/")
    return steps


def find_step(plan: Plan, path: str) -> Step:
    """Return the node at a path, whose parts may have item numbers.

    Raises `InputError` with the nearest name.
    """
    *outer_names, last = box_id(path).split("/")
    for name in outer_names:
        step = _find_in_level(plan, name, path)
        inner_plan = step.inner_plan
        if inner_plan is None and summarize_tools(step.node):
            raise InputError(
                f"'{path}' is inside of '{name}', which calls tools: a place is a node of the "
                f"flow. Name '{name}', and step into it."
            )
        if inner_plan is None:
            raise InputError(f"'{path}' names nothing: '{name}' is neither a sub-flow nor a map.")
        plan = inner_plan
    return _find_in_level(plan, last.partition("[")[0], path)


def _find_in_level(plan: Plan, name: str, path: str) -> Step:
    steps = plan.steps[: plan.end]
    for step in steps:
        if step.name == name:
            return step
    hint = did_you_mean(name, [step.name for step in steps])
    raise InputError(f"'{path}' does not name a node of '{plan.name}'. {hint}")


def resolve_path(plan: Plan, place: Place) -> str:
    """Return the path of a node, without item numbers.

    Raises `InputError` if the flow does not have it, or has it more than once.
    """
    if isinstance(place, str):
        find_step(plan, place)
        return box_id(place)
    steps = list_steps(plan)
    paths = [path for path, step in steps if step.name == place.name]
    if len(paths) == 1:
        return paths[0]
    if paths:
        raise InputError(
            f"'{place.name}' stands in several places: {', '.join(paths)}. Give the path instead."
        )
    hint = did_you_mean(place.name, [path for path, _ in steps])
    raise InputError(f"'{place.name}' is not a node of '{plan.name}'. {hint}")


def expand_item_paths(plan: Plan, path: str) -> list[str]:
    """Return the paths that activations at a path can have.

    One per item of each map on the way, unless the path names the item itself. Raises `InputError`
    for items of a map that grows, whose names are not known before.
    """
    *outer_parts, last = path.split("/")
    prefixes = [""]
    for part in outer_parts:
        name, _, item = part.partition("[")
        step = next(step for step in plan.steps if step.name == name)
        plan = cast("Plan", step.inner_plan)
        if item or step.map is None:
            level = [part]
        elif step.map.grow is not None:
            example = path.replace(name, f"{name}[0]", 1)
            raise InputError(
                f"'{path}' stands for all items of '{name}', which grows: their names are not "
                f"known before. Name one item, such as '{example}'."
            )
        else:
            level = [f"{name}[{index}]" for index in range(step.map.max_items)]
        prefixes = [f"{prefix}{text}/" for prefix in prefixes for text in level]
    return [prefix + last for prefix in prefixes]
