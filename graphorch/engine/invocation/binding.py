"""How a node function is called: what it is given, and what its return becomes.

Every function here either returns or raises what the node, or its output, is to be blamed for; the scheduler turns that into an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from graphorch.core.events import RouteDecision, Update
from graphorch.core.tree import Activation, Scope, Token
from graphorch.errors import (
    GraphorchError,
    LoopExhausted,
    QuorumNotMet,
    TooManyItems,
    Unassigned,
    WrongOutput,
    did_you_mean,
)
from graphorch.graph.edges import Edge
from graphorch.graph.plan import Step
from graphorch.state.version import Version

if TYPE_CHECKING:
    from graphorch.graph.payloads import Failure, Missing


class MissingInput(Unassigned):
    """A node's own input lacks a required field; what the node itself may raise is something else."""


def bind_arguments(activation: Activation) -> list[Any]:
    """The slices that a node reads, in the order of its parameters. Raises `Unreadable` for one that lacks a required field."""
    step, version = activation.step, activation.version
    assert version is not None
    try:
        if step.reads_one:
            return [step.reads[0][0].read(version)]
        found = [
            reader.read(version) if not optional or reader.is_assigned(version) else None
            for reader, optional in step.reads
        ]
    except Unassigned as error:
        raise MissingInput(str(error)) from error
    if step.failure_at >= 0:
        found.insert(
            step.failure_at,
            next(_failure_of(token) for token in activation.tokens if token.failure is not None),
        )
    return found


def build_update(step: Step, output: object, given: list[Any], version: Version | None) -> Update:
    """The validated update that an output is. Raises `WrongOutput`."""
    writes = step.writes
    if output is None and step.node.signature.may_skip:
        return {}
    if len(writes) == 1:
        writer = writes[0]
        for slice in given:
            if slice is output:
                assert version is not None
                return writer.returned_input(slice, version)
        return writer.update(output)
    if not writes:
        raise WrongOutput(
            f"It returned {type(output).__name__}, but declares that it returns None. Annotate the slice that it writes."
        )
    pair = cast("tuple[object, ...]", output) if isinstance(output, tuple) else ()
    if len(pair) != len(writes):
        raise WrongOutput(
            f"It returned {type(cast('object', output)).__name__}, but declares a tuple of {len(writes)} slices. Return them all."
        )
    update: Update = {}
    for writer, part in zip(writes, pair, strict=True):
        more = writer.update(part)
        if shared := update.keys() & more.keys():
            raise WrongOutput(
                f"Two slices that it returned set field number {min(shared)}. Set it in one of them."
            )
        update |= more
    return update


def build_items(activation: Activation) -> list[Update]:
    """The inputs of what runs inside a sub-flow (one) or map (one per item). Raises `TooManyItems` or `WrongOutput`."""
    step, plan = activation.step, activation.step.inner_plan
    assert step.over is not None
    assert plan is not None
    assert activation.version is not None
    value = step.over(activation.version)
    if step.map is None:
        return [plan.read_input.update(value)]
    items = list(value)
    if len(items) > step.map.max_items:
        raise TooManyItems(
            f"{len(items)} items came, and max_items is {step.map.max_items}. Raise max_items, or make fewer items."
        )
    return [plan.read_input.update(item) for item in items]


def gather_children(activation: Activation) -> Update:
    """What `leave` or `gather` makes of the inside. Raises what makes the whole node fail."""
    step, inner, plan = activation.step, activation.children, activation.step.inner_plan
    assert inner is not None
    assert plan is not None
    if step.map is None:
        scope = inner.scopes[0]
        if scope.output is None:
            raise InnerFailed("Its flow did not reach its END.")
        assert step.sub is not None
        output = step.sub.leave(plan.read_output.result(scope.output))
        return step.writes[0].update(output)
    from graphorch.graph.payloads import Missing

    found: list[Any] = []
    missing: list[Missing] = []
    for index in range(len(inner.updates)):
        output = inner.scopes[index].output if index < len(inner.scopes) else None
        if output is not None:
            found.append(plan.read_output.result(output))
        else:
            missing.append(Missing(index, _why_missing(activation, index)))
    _check_enough(activation, found, missing)
    gather = step.map.gather
    return step.writes[0].update(
        gather(found, missing) if step.map.wants_missing else gather(found)
    )


class InnerFailed(GraphorchError):
    """A sub-flow or map did not finish; what went wrong in it is told by the errors inside."""


def _check_enough(activation: Activation, found: list[Any], missing: list[Missing]) -> None:
    spec = activation.step.map
    assert spec is not None
    if spec.need is not None and len(found) < min(spec.need, len(found) + len(missing)):
        reasons = "; ".join(f"item {item.index}: {item.reason}" for item in missing[:5])
        raise QuorumNotMet(f"{spec.need} items are needed, and {len(found)} succeeded: {reasons}")
    if spec.need is None and spec.on_item_error == "fail" and missing:
        raise InnerFailed(f"{len(missing)} of {len(found) + len(missing)} items did not finish.")


def _why_missing(activation: Activation, index: int) -> str:
    inner = activation.children
    assert inner is not None
    if index >= len(inner.scopes):
        return "not started"
    scope = inner.scopes[index]
    reasons = list(_reasons(scope, ""))
    return (
        reasons[0]
        if reasons
        else "cancelled"
        if scope.finished and not scope.failures
        else "its END was not reached"
    )


def _reasons(scope: Scope, path: str) -> Iterator[str]:
    """What went wrong in a scope, from the inside out: of a sub-flow that failed, its own node and what that says."""
    for failed in scope.failures:
        within = failed.children.scopes if failed.children is not None else []
        for inner in within:
            yield from _reasons(inner, f"{path}{failed.step.name}/")
        if failed.failure is not None:
            yield f"{path}{failed.step.name}: {failed.failure}" if path else str(failed.failure)


def evaluate_route(activation: Activation) -> RouteDecision:
    """Where an activation goes: the first loop that holds and has room, else the routed targets. Raises what the selectors raise."""
    step, version = activation.step, activation.version
    assert version is not None
    exhausted = -1
    for number, chosen in enumerate(step.exits):
        if chosen.condition(version):
            if activation.iteration(chosen.loop) < chosen.bound:
                return RouteDecision(loop=number)
            exhausted = number if exhausted < 0 else exhausted
    if exhausted >= 0:
        chosen = step.exits[exhausted]
        if chosen.exhausted == "fail":
            raise LoopExhausted(
                f"The loop back to '{_target(activation, chosen.back)}' ran {chosen.bound} times, and '{chosen.condition.name}' still holds."
            )
        if chosen.exhausted == "node":
            return RouteDecision(exhausted=exhausted)
    return RouteDecision(exhausted=exhausted, edges=_routed(activation, version))


def _routed(activation: Activation, version: Version) -> tuple[Edge, ...]:
    routing = activation.step.route
    if routing is None:
        return ()
    said = routing.selector(version)
    labels: list[Any] = list(said) if routing.is_multi else [said]
    if not labels:
        raise WrongOutput(
            f"The selector '{routing.selector.name}' returned no label. Return at least one."
        )
    edges: list[Edge] = []
    for label in labels:
        taken = routing.find_edges(label)
        if taken is None:
            raise WrongOutput(
                f"The selector '{routing.selector.name}' returned {label!r}, which leads nowhere. {did_you_mean(str(label), map(str, routing.edges))}"
            )
        edges += [edge for edge in taken if edge not in edges]
    return tuple(sorted(edges, key=lambda edge: edge.index))


def _target(activation: Activation, edge: Edge) -> str:
    return activation.scope.plan.steps[edge.target].name


def _failure_of(token: Token) -> Failure:
    from graphorch.graph.payloads import Failure

    source, error = token.source, token.failure
    assert source is not None
    return Failure(
        node=source.step.name,
        path=source.path,
        error=type(error).__name__,
        message=str(error),
        attempt=source.attempt,
    )
