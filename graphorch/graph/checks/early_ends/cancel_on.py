"""Maps and sub-flows that a signal ends can be ended at any moment, and leave something behind.

What `keep` reads was committed by some of the nodes inside, and by others not. So each field that
it reads is part of the input of the inner flow or has a default. Two writes of it that did not see
each other are possible only in branches that race for a `need=1` join: the race check refuses all
others.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from graphorch.errors import Problem
from graphorch.graph.checks.annotations import format_hint, is_clash, read_return
from graphorch.graph.checks.checked_graph import CheckedGraph, join_names
from graphorch.graph.checks.quorums import find_once
from graphorch.graph.plan import Plan, SignalSpec, Step, SubSpec
from graphorch.graph.signature import StateFunction

_FIX_ONCE = (
    "move the effect behind it, or leave cancel_on out; or, if a second call with an equal key "
    'does nothing, pass ctx.key on and say effect="idempotent"'
)


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`CANCEL_ON` and `SUB_KEEP`."""
    for name, signal in graph.spec.cancelling.items():
        kind = "map" if name in graph.spec.maps else "sub"
        yield from _check_signal(graph, name, signal, f"{kind} '{name}'")
    for name, sub in graph.spec.subs.items():
        if sub.keep is not None:
            where = f"keep of sub '{name}'"
            yield from _check_keep(sub, sub.keep, where)


# ---- the signal ----------------------------------------------------------------------------------
def _check_signal(graph: CheckedGraph, name: str, signal: str, where: str) -> Iterator[Problem]:
    spec = graph.spec
    event = spec.events.get(signal)
    if not isinstance(event, SignalSpec):
        return
    if event.expires is not None and signal not in spec.connected:
        what = f"expires={event.expires:g} of signal '{signal}' means nothing: no node waits for it"
        yield Problem("CANCEL_ON", where, what, "leave it out, and give the node a deadline")
    flow = (spec.maps.get(name) or spec.subs[name]).flow
    if flow is not None and signal in flow.signals and event.key is None:
        what = f"it takes each signal '{signal}', so that what waits for it inside never gets any"
        fix = "give one of the two signals another name, or this one a key"
        yield Problem("CANCEL_ON", where, what, fix)
    for path in find_once(graph, graph.number[name]) if name in graph.number else ():
        what = (
            f"signal '{signal}' may interrupt '{path}', which has effect=\"once\", and nobody "
            "would know whether it has acted"
        )
        yield Problem("CANCEL_ON", where, what, _FIX_ONCE)


# ---- what is kept --------------------------------------------------------------------------------
def _check_keep(sub: SubSpec, keep: StateFunction, where: str) -> Iterator[Problem]:
    if not sub.cancel_on:
        what = "it is never called: nothing ends the sub-flow before it is done"
        yield Problem("SUB_KEEP", where, what, "name the signal that does: cancel_on=…")
    if sub.max_depth:
        what = "it reads the state of a flow that runs itself, at whatever depth"
        yield Problem("SUB_KEEP", where, what, "leave it out, and handle Withdrawn: on_error(…)")
        return
    plan, state = sub.flow, sub.flow.schema.model
    given, wanted = read_return(keep.fn), read_return(sub.leave)
    if is_clash(given, wanted):
        what = f"it returns {format_hint(given)}, but leave returns {format_hint(wanted)}"
        yield Problem("SUB_KEEP", where, what, "let both make the same slice")
    for read in keep.reads:
        model = read.model
        if model is not None and not issubclass(state, model):
            what = f"it reads {model.__name__}, which is no slice of the state of '{plan.name}'"
            yield Problem("SUB_KEEP", where, what, f"read slices of {state.__name__}")
        elif model is not None and model is not state:
            yield from _check_assigned(plan, model, where)
    fields = _list_fields(keep, state)
    for name, first, second in _find_conflicts(plan, fields):
        what = (
            f"it reads '{name}', which '{first}' and '{second}' may both have written when the "
            "signal comes, without seeing each other's write"
        )
        fix = "fold the writes with a reducer, or let keep read something else"
        yield Problem("SUB_KEEP", where, what, fix)


def _check_assigned(plan: Plan, model: type[BaseModel], where: str) -> Iterator[Problem]:
    """Yield fields that nothing may have assigned yet."""
    given = plan.input.model_fields
    open_fields = [
        field.name
        for field in plan.schema.reader(model).fields
        if field.required and field.name not in given
    ]
    if open_fields:
        what = (
            f"{join_names([f'{model.__name__}.{name}' for name in open_fields])} may not be "
            "assigned yet when the signal comes, and has no default"
        )
        yield Problem("SUB_KEEP", where, what, "give a default, or leave it out of what keep reads")


def _list_fields(keep: StateFunction, state: type[BaseModel]) -> set[str]:
    return {name for read in keep.reads for name in (read.model or state).model_fields}


def _find_conflicts(plan: Plan, fields: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield each field that two nodes write in different branches of a race, with these nodes."""
    folded = {field.name for field in plan.schema.fields if field.reduce is not None}
    seen: set[str] = set()
    for join in plan.steps:
        branches = [plan.steps[index] for index in join.region] if join.need == 1 else []
        for number, first in enumerate(branches):
            for second in branches[number + 1 :]:
                shared = _list_written(first) & _list_written(second) & fields - folded - seen
                if shared and not _meet_before(plan, first, second, join.index):
                    seen |= shared
                    yield min(shared), first.name, second.name


def _list_written(step: Step) -> set[str]:
    return {name for model in step.node.signature.writes for name in model.model_fields}


def _meet_before(plan: Plan, first: Step, second: Step, join: int) -> bool:
    """Return whether what two nodes lead to comes together before a join."""
    ahead = [
        {step.index} | plan.topology.find_reachable([step.index], without=join)
        for step in (first, second)
    ]
    return bool(ahead[0] & ahead[1])
