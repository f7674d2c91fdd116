"""What a rerun would do, before it does anything.

Theory of operation. The fork is selected and rebuilt as a rerun would, and never stored. It begins
where the fork is open, so what may run is what can be reached from there: the sum of the worst case
of these nodes in an estimate of a whole run is a bound of what the rerun costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphorch.core.tree import Activation, Status
from graphorch.engine.replay import ReplayedRun
from graphorch.graph.estimate.amounts import Amounts, Gap
from graphorch.graph.estimate.estimator import Estimate
from graphorch.graph.plan import Plan
from graphorch.runs.fork import SelectedChange
from graphorch.views.flows.flow_estimate import EstimatedUse, build_use


@dataclass(frozen=True, slots=True)
class RepeatedEffect:
    """An activation that acts on the world and would act again, by its effect class.

    `can_serve`: it returned something, which can be used instead of acting again.
    """

    path: str
    effect: str
    can_serve: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What a rerun from the activation at `start` would do.

    `anew` are the paths of activations that were done and would be done again, `served` those that
    are taken from the record. `begins` are the paths at which it would begin. `may_run` are the
    nodes that may run, with what is inside each. `worst` is what they use at most, and `unbounded`
    says why something is not bounded; its seconds are those of one after the other. `budget` is in
    US dollars what the new run may spend, None without one. `effects` would be repeated, unless
    they are served.
    """

    start: str
    anew: list[str]
    served: list[str]
    begins: list[str]
    may_run: list[str]
    effects: list[RepeatedEffect]
    worst: EstimatedUse
    unbounded: list[Gap]
    budget: float | None


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a whole run of the flow needs: with the models of the run, and with the other one.

    The other model is that of the node that runs again, if one is named.
    """

    of_run: Estimate
    of_change: Estimate | None = None


def describe_what_if(
    selected: SelectedChange, estimates: Estimates, *, gives_output: bool, budget: float | None
) -> WhatIf:
    """Return what a rerun would do; `gives_output`: the node itself is not run.

    Raises `InputError` for a run that cannot be forked there.
    """
    fork = selected.rebuild_fork()
    run, change = selected.old.run, selected.change
    rerun = [each for each in run.history if each.id in selected.gone and not each.scope.is_undo]
    if gives_output:
        rerun = [each for each in rerun if each is not change]
    known = {node.path for node in estimates.of_run.nodes}
    skips = change.path if gives_output else ""
    may_run = _find_outermost(_list_reachable(fork, known, skips))
    costs = _list_costs(estimates, _build_path(change, known))
    return WhatIf(
        start=change.path,
        anew=[each.path for each in rerun],
        served=[each.path for each in fork.run.history],
        begins=sorted(each.path for each in fork.unfinished() if each.path != skips),
        may_run=may_run,
        effects=[
            RepeatedEffect(
                each.path, str(each.step.node.options.effect), each.status is Status.DONE
            )
            for each in selected.effects
        ],
        worst=build_use(
            sum((each for path, each in costs.items() if _is_in(path, may_run)), Amounts())
        ),
        unbounded=_list_gaps(estimates.of_run.gaps, may_run),
        budget=budget,
    )


# ---- what may run --------------------------------------------------------------------------------
def _list_reachable(fork: ReplayedRun, known: set[str], skips: str) -> set[str]:
    """Return the paths of nodes that can be reached from where a fork is open.

    The activation at `skips` gives an output and is not run.
    """
    found: set[str] = set()
    unfinished = list(fork.unfinished())
    holders = {id(each.scope.parent) for each in unfinished if each.scope.parent is not None}
    for activation in unfinished:
        is_run = activation.path != skips and id(activation) not in holders
        inside: Activation | None = activation
        while inside is not None:
            found |= _follow_edges(inside, known, with_itself=is_run)
            inside, is_run = inside.scope.parent, False
    return found


def _follow_edges(activation: Activation, known: set[str], *, with_itself: bool) -> set[str]:
    """Return the paths of the nodes that may run after an activation, in the same flow."""
    plan, own = activation.scope.plan, _build_path(activation, known)
    above = own.rpartition("/")[0]
    if own not in known or plan.steps[activation.step.index].name != own.rpartition("/")[2]:
        return {own} if with_itself else set()  # a call of a tool, or a flow inside itself
    seen = _find_targets(plan, activation.step.index)
    if with_itself:
        seen.add(activation.step.index)
    paths = (f"{above}/{plan.steps[index].name}".lstrip("/") for index in seen)
    return {path for path in paths if path in known}


def _find_targets(plan: Plan, index: int) -> set[int]:
    """Return the steps that edges lead to from a step, in any number."""
    seen: set[int] = set()
    waiting = [index]
    while waiting:
        for edge in plan.topology.leaving[waiting.pop()]:
            if edge.target not in seen and edge.target < plan.end:
                seen.add(edge.target)
                waiting.append(edge.target)
    return seen


def _build_path(activation: Activation, known: set[str]) -> str:
    """Return the path of the node that stands for an activation in an estimate.

    That is the agent of a call of a tool, and the node that holds a flow inside itself.
    """
    names: list[str] = []
    inside: Activation | None = activation
    while inside is not None:
        names.insert(0, inside.step.name)
        inside = inside.scope.parent
    while len(names) > 1 and "/".join(names) not in known:
        names.pop()
    return "/".join(names)


def _find_outermost(paths: Iterable[str]) -> list[str]:
    """Return the paths that are inside no other one of them."""
    kept: list[str] = []
    for path in sorted(paths):
        if not _is_in(path, kept):
            kept.append(path)
    return kept


# ---- what it costs -------------------------------------------------------------------------------
def _list_costs(estimates: Estimates, changed: str) -> Mapping[str, Amounts]:
    """Return the worst case of each node, by path; that of the change with either model."""
    costs = {node.path: node.worst for node in estimates.of_run.nodes}
    if estimates.of_change is not None:
        other = {node.path: node.worst for node in estimates.of_change.nodes}
        for path in costs:
            if _is_in(path, [changed]):
                costs[path] = costs[path].or_more(other[path])
    return costs


def _list_gaps(gaps: Sequence[Gap], may_run: Sequence[str]) -> list[Gap]:
    return [gap for gap in gaps if _is_in(gap.path, may_run)]


def _is_in(path: str, nodes: Sequence[str]) -> bool:
    """Return whether a path is that of one of some nodes, or inside one."""
    return any(path == node or path.startswith(f"{node}/") for node in nodes)
