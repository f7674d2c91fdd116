"""Branches side by side, and a node that merges what they bring.

Known failure: the slowest branch rules, and one that fails brings all down. Here each branch has a deadline, and `need=k` of them are
enough; who merges is told which are missing, and why. A slow call may be hedged: asked a second time, the first answer counts.

    legal, financial, technical → brief_join → brief          the join takes the first `need`, and cancels the rest
    (failed) → brief_failures → brief_join                    fails, with every reason, if too few are left
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from graphorch.engine.attempts.context import NodeContext
from graphorch.errors import QuorumNotMet
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.plan import JoinSpec
from graphorch.patterns.pattern_builder import PatternBuilder
from graphorch.patterns.types import Gaps


def fan_out(
    builder: GraphBuilder[Any],
    branches: Sequence[Any],
    merge: Any,
    need: int | Literal["arriving"],
    deadline: float | None,
    hedge_after: float | None,
) -> None:
    """See `Graph.fan_out`."""
    wiring = PatternBuilder(builder)
    names, target = wiring.named(branches, "fan_out(branches)"), wiring.one(merge, "fan_out(merge)")
    where = f"fan_out into '{target}'"
    if not names or not target:
        return
    if not _is_possible(wiring, where, names, need, deadline):
        # drawn all the same, so that nothing is reported that only follows from this
        need, deadline = "arriving", None
    for name in names:
        wiring.change(name, deadline=deadline, hedge_after=hedge_after)
    exits = {wiring.exit_of(name): name for name in names}
    if need == "arriving" and deadline is None:
        for source in exits:
            wiring.edge(source, target)
        return
    join = _join(wiring, exits, target)
    for source in exits:
        wiring.edge(source, join)
    if need == "arriving":
        for source in exits:
            wiring.on_error(source, join, Exception)
    else:
        wiring.blueprint.joins.append(JoinSpec(join, need, "fail"))
        _failures(wiring, exits, target, join, need)


def _is_possible(
    wiring: PatternBuilder,
    where: str,
    names: Sequence[str],
    need: int | Literal["arriving"],
    deadline: float | None,
) -> bool:
    before = len(wiring.blueprint.problems)
    asked: object = need
    is_count = isinstance(asked, int) and not isinstance(asked, bool)
    if asked != "arriving" and not (is_count and 1 <= asked <= len(names)):
        wiring.problem(
            "FAN_OUT_NEED",
            where,
            f"need={need!r} of {len(names)} branches is not possible",
            f'give a number from 1 to {len(names)}, or "arriving"',
        )
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            wiring.problem(
                "FAN_OUT_TWICE",
                where,
                f"branch '{name}' is named twice",
                f"name it once, or run it twice: {name}.named('{name}_2')",
            )
        if deadline is not None and wiring.node(name).kind in ("map", "sub", "ask"):
            what = (
                f"deadline={deadline:g} cannot stop '{name}', which is a {wiring.node(name).kind}"
            )
            wiring.problem(
                "FAN_OUT_DEADLINE",
                where,
                what,
                "leave the deadline out, and give deadlines to the nodes inside",
            )
    return len(wiring.blueprint.problems) == before


def _join(wiring: PatternBuilder, exits: dict[str, str], target: str) -> str:
    """The node that the branches meet in; it writes down who is missing."""
    own = wiring.memory(f"{target}_gaps", dict[str, str], dict)
    model: type[BaseModel] = Gaps if wiring.has(Gaps) else own.model

    def meet(ctx: NodeContext) -> BaseModel:
        gaps = {exits[name]: why for name, why in ctx.missing_branches.items() if name in exits}
        if len(gaps) == len(exits):
            raise QuorumNotMet(_told(f"No branch into '{target}' brought anything", gaps))
        return Gaps(gaps=gaps) if model is Gaps else own.keep(gaps)

    def say(slice: BaseModel | None) -> str:
        gaps: dict[str, str] = (
            {} if slice is None else slice.gaps if isinstance(slice, Gaps) else own.of(slice)
        )
        return (
            ""
            if not gaps
            else "Some parts are missing; say so where it matters:\n"
            + "\n".join(f"- {name}: {why}" for name, why in gaps.items())
        )

    name = wiring.hidden(f"{target}_join", meet, (), (model,))
    wiring.edge(name, target)
    wiring.tell(target, [model], say)
    return name


def _failures(
    wiring: PatternBuilder, exits: dict[str, str], target: str, join: str, need: int
) -> None:
    """Where failed branches lead: it runs only if no other can come any more, so that too few have come."""

    def too_few(ctx: NodeContext) -> None:
        gaps = {exits[name]: why for name, why in ctx.missing_branches.items() if name in exits}
        raise QuorumNotMet(
            _told(
                f"'{target}' needs {need} of {len(exits)} branches, and only {len(exits) - len(gaps)} came",
                gaps,
            )
        )

    # Where one branch is enough, what each writes counts as written; this node never ends well, so it may say that it writes it too.
    writes = wiring.slices_of(*exits) if need == 1 else []
    name = wiring.hidden(f"{target}_failures", too_few, (), writes)
    for source in exits:
        wiring.on_error(source, name, Exception)
    wiring.edge(name, join)


def _told(what: str, gaps: dict[str, str]) -> str:
    return f"{what}. " + "; ".join(f"'{name}': {why}" for name, why in gaps.items())
