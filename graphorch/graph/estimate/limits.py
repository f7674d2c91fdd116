"""Seconds that limits add to an estimate: only so much of nodes, runs and endpoints runs at once.

Rule 1: whatever the order, a run takes no longer than its longest path, and for each limit its work
    divided by what the limit lets run at once: while the next node of the path waits, the limit is
    used in full. Of the limit of the run, the path itself uses a part (Graham 1969, "Bounds on
    multiprocessing timing anomalies"). And work that runs one after another takes its sum.
Rule 2: the expected case takes the longest of these: the limit that is the narrowest decides.
    An exclusive region lets one of its nodes run at once, with all that is inside of it.
Rule 3: waiting for a turn at an endpoint is part of an attempt and ends with its timeout, so the
    worst case has it. The limit of a map is counted where its items are (`estimator.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from graphorch.graph.estimate.amounts import Amounts
from graphorch.graph.plan import Plan, Step

_WORKING = ("node", "agent")  # kinds of nodes that take a slot while they run


@dataclass(frozen=True, slots=True)
class ModelPace:
    """Limits of one model: how many calls at once, and how many a minute; None is no limit."""

    concurrency: int | None = None
    per_minute: float | None = None


Pace: TypeAlias = Callable[[str], ModelPace | None]


@dataclass(frozen=True, slots=True)
class Row:
    """All activations of one node: its path, kind and model, and its amounts at most or usually."""

    path: str
    kind: str
    model: str
    amounts: Amounts


def no_pace(model: str) -> ModelPace | None:
    """Return None: no limit is known."""
    return None


def limit_worst(plan: Plan, rows: Sequence[Row], longest: float, concurrency: int | None) -> float:
    """Return the most seconds of a run whose longest path takes `longest` seconds."""
    shares = list(_list_shares(plan, rows, concurrency))
    limited = longest + sum(work / at_once for work, at_once in shares)
    if concurrency is not None and math.isfinite(longest):
        limited -= longest / concurrency
    # Seconds of maps are those of their items, which are rows of their own.
    in_turn = sum(row.amounts.seconds for row in rows)
    return max(longest, min(limited, in_turn))


def limit_expected(
    plan: Plan, rows: Sequence[Row], longest: float, concurrency: int | None, pace: Pace
) -> float:
    """Return the usual seconds of a run whose longest path usually takes `longest` seconds."""
    shares = list(_list_shares(plan, rows, concurrency))
    waits = [work / at_once for work, at_once in shares]
    by_model: dict[str, list[Amounts]] = {}
    for row in rows:
        if row.model:
            by_model.setdefault(row.model, []).append(row.amounts)
    for model, amounts in by_model.items():
        limits = pace(model)
        if limits is None:
            continue
        if limits.concurrency is not None:
            waits.append(sum(item.seconds for item in amounts) / limits.concurrency)
        if limits.per_minute is not None:
            # The bucket is full at the beginning: the calls of the first minute do not wait.
            calls = sum(item.calls for item in amounts)
            waits.append(60 * max(0.0, calls / limits.per_minute - 1))
    return max([longest, *waits])


def _list_shares(
    plan: Plan, rows: Sequence[Row], concurrency: int | None
) -> Iterator[tuple[float, int]]:
    """Return the seconds of work under each limit that may be met, and how many run at once."""
    if concurrency is not None:
        work = sum(row.amounts.seconds for row in rows if row.kind in _WORKING)
        yield work, concurrency
    seconds: Mapping[str, float] = {row.path: row.amounts.seconds for row in rows}
    for path, at_once in _list_node_limits(plan, "", 1):
        yield seconds[path], at_once
    for members in _group_members(plan).values():
        if sum(width for _, width in members) > 1:
            yield sum(_sum_inside(rows, path) for path, _ in members), 1


def _group_members(plan: Plan) -> dict[str, list[tuple[str, int]]]:
    """Return the nodes of each exclusive region by path, and how many of each may be ready."""
    regions: dict[str, list[tuple[str, int]]] = {}
    if plan.exclusive:
        for step, path, width in _walk(plan, "", 1):
            for name in step.exclusive:
                regions.setdefault(name, []).append((path, width))
    return regions


def _sum_inside(rows: Sequence[Row], path: str) -> float:
    """Return the seconds of a node, and of what is inside of it."""
    inside = f"{path}/"
    return sum(
        row.amounts.seconds for row in rows if row.path == path or row.path.startswith(inside)
    )


def _list_node_limits(plan: Plan, prefix: str, width: int) -> Iterator[tuple[str, int]]:
    """Return the nodes of which more could be ready than may run; `width` flows run at once."""
    for step, path, ready in _walk(plan, prefix, width):
        at_once = step.node.options.concurrency
        if at_once is not None and at_once < ready:
            yield path, at_once


def _walk(plan: Plan, prefix: str, width: int) -> Iterator[tuple[Step, str, int]]:
    """Return all steps, their paths, and how many of each could be ready in `width` flows."""
    for step in plan.steps[:-1]:
        yield step, f"{prefix}{step.name}", width
        if step.inner_plan is None:
            continue
        inside = width
        # A map counts with the limit of its own worker; several such maps at once share it.
        if step.map is not None and step.map.worker is None:
            inside *= min(step.map.concurrency, step.map.max_items)
        yield from _walk(step.inner_plan, f"{prefix}{step.name}/", inside)
