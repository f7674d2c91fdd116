"""Branches side by side, and a node that merges their results.

Known failure: the slowest branch rules, and a failed one brings all down. Here each branch has a
deadline, and `need=k` of them are enough; the prompt of the merging node names the missing ones
with the reasons. A slow call may be hedged: sent a second time, and the first answer counts.

    legal, financial, technical → brief_join → brief    the join takes the first `need`, and
                                                        cancels the rest, or lets it finish
    (failed) → brief_failures → brief_join              fails with every reason if too few are left
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from graphorch.engine.attempts.context import NodeContext
from graphorch.errors import QuorumNotMet
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.plan import JoinSpec, Rest
from graphorch.patterns.pattern_builder import PatternBuilder
from graphorch.patterns.types import Gaps


def fan_out(
    builder: GraphBuilder[Any],
    branches: Sequence[Any],
    merge: Any,
    need: int | Literal["arriving"],
    rest: Rest,
    deadline: float | None,
    hedge_after: float | None,
) -> None:
    """See `Graph.fan_out`."""
    pattern = PatternBuilder(builder)
    names = pattern.add_steps(branches, "fan_out(branches)")
    target = pattern.add_step(merge, "fan_out(merge)")
    if not names or not target:
        return
    if not _check(pattern, f"fan_out into '{target}'", names, need, rest, deadline):
        # Draw it anyway, so that `build()` reports nothing that only follows from the problem.
        need, deadline = "arriving", None
    for name in names:
        pattern.set_defaults(name, deadline=deadline, hedge_after=hedge_after)
    exits = {pattern.find_exit(name): name for name in names}

    if need == "arriving" and deadline is None:
        for source in exits:
            pattern.add_edges(source, target)
        return
    join = _draw_join(pattern, exits, target)
    for source in exits:
        pattern.add_edges(source, join)
    if need == "arriving":
        for source in exits:
            pattern.add_error_edge(source, join, Exception)
    else:
        pattern.spec.joins.append(JoinSpec(join, need, "fail", rest))
        _draw_failures(pattern, exits, target, join, need)


def _check(
    pattern: PatternBuilder,
    where: str,
    names: Sequence[str],
    need: int | Literal["arriving"],
    rest: Rest,
    deadline: float | None,
) -> bool:
    before = len(pattern.spec.problems)
    wanted: object = need
    is_integer = isinstance(wanted, int) and not isinstance(wanted, bool)
    if wanted != "arriving" and not (is_integer and 1 <= wanted <= len(names)):
        what = f"need={need!r} of {len(names)} branches is not possible"
        fix = f'give a number from 1 to {len(names)}, or "arriving"'
        pattern.add_problem("FAN_OUT_NEED", where, what, fix)
    if rest not in ("cancel", "finish"):
        what = f"rest={rest!r} is not possible"
        pattern.add_problem("FAN_OUT_REST", where, what, 'give "cancel" or "finish"')
    elif rest == "finish" and need == "arriving":
        what = 'rest="finish" has no meaning without need, which leaves nothing unfinished'
        pattern.add_problem("FAN_OUT_REST", where, what, "give need a number, or leave rest out")
    for name in dict.fromkeys(names):
        kind = pattern.node(name).kind
        if names.count(name) > 1:
            what = f"branch '{name}' is named twice"
            fix = f"name it once, or run it twice: {name}.named('{name}_2')"
            pattern.add_problem("FAN_OUT_TWICE", where, what, fix)
        if deadline is not None and kind in ("ask", "signal", "timer"):
            what = f"deadline={deadline:g} cannot stop '{name}', which is a {kind}"
            fix = "leave the deadline out, or put the branch into a sub-flow"
            pattern.add_problem("FAN_OUT_DEADLINE", where, what, fix)
    return len(pattern.spec.problems) == before


def _draw_join(pattern: PatternBuilder, exits: dict[str, str], target: str) -> str:
    """Draw the node that the branches meet in; it writes down which are missing."""
    memory = pattern.add_memory(f"{target}_gaps", dict[str, str], dict)
    has_slice = pattern.has_slice(Gaps)
    model: type[BaseModel] = Gaps if has_slice else memory.model

    def meet(ctx: NodeContext) -> BaseModel:
        gaps = _list_gaps(ctx, exits)
        if len(gaps) == len(exits):
            raise QuorumNotMet(_format_gaps(f"No branch into '{target}' brought anything", gaps))
        return Gaps(gaps=gaps) if has_slice else memory.wrap(gaps)

    def write(slice: BaseModel | None) -> str:
        gaps: dict[str, str] = {}
        if slice is not None:
            gaps = slice.gaps if isinstance(slice, Gaps) else memory.unwrap(slice)
        if not gaps:
            return ""
        lines = [f"- {name}: {reason}" for name, reason in gaps.items()]
        return "\n".join(["Some parts are missing; say so where it matters:", *lines])

    name = pattern.add_node(f"{target}_join", meet, (), (model,))
    pattern.add_edges(name, target)
    pattern.extend_prompt(target, [model], write)
    return name


def _draw_failures(
    pattern: PatternBuilder, exits: dict[str, str], target: str, join: str, need: int
) -> None:
    """Draw the node that failed branches lead to.

    It runs only if no other branch can arrive at the join any more, so that too few have. Where the
    rest finishes, it may also run once enough have: what failed too late is missed by no one.
    """

    def too_few(ctx: NodeContext) -> tuple[BaseModel, ...] | BaseModel | None:
        gaps = _list_gaps(ctx, exits)
        arrived = len(exits) - len(gaps)
        if arrived >= need:
            return _write_nothing(writes)
        what = f"'{target}' needs {need} of {len(exits)} branches, and only {arrived} came"
        raise QuorumNotMet(_format_gaps(what, gaps))

    # If one branch is enough, the slices that each of them writes count as written after the join.
    # This node fails, or comes too late for the join, so it may declare that it writes them too.
    writes = pattern.written_slices(*exits) if need == 1 else []
    name = pattern.add_node(f"{target}_failures", too_few, (), writes)
    for source in exits:
        pattern.add_error_edge(source, name, Exception)
    pattern.add_edges(name, join)


def _write_nothing(models: Sequence[type[BaseModel]]) -> tuple[BaseModel, ...] | BaseModel | None:
    """Return slices in which no field is set, as a node of this signature returns them."""
    slices = tuple(model.model_construct() for model in models)
    return slices if len(slices) > 1 else next(iter(slices), None)


def _list_gaps(ctx: NodeContext, exits: dict[str, str]) -> dict[str, str]:
    """Return the reasons of the branches that brought nothing, by name."""
    missing = ctx.missing_branches.items()
    return {exits[name]: reason for name, reason in missing if name in exits}


def _format_gaps(what: str, gaps: dict[str, str]) -> str:
    return f"{what}. " + "; ".join(f"'{name}': {reason}" for name, reason in gaps.items())
