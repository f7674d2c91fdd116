"""Arguments of a node function from the state, and an update of the state from its output.

Whatever a function of this file raises is the fault of the node or of its output; the attempt turns
it into an event.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import BaseModel

from graphorch.callables import discard, read_verdict
from graphorch.core.events import RouteDecision, Update
from graphorch.core.tree import Activation, ReviewedScopes, Scope, Token, format_place
from graphorch.errors import (
    GraphorchError,
    LoopExhausted,
    QuorumNotMet,
    RecursionLimit,
    TooManyItems,
    Unassigned,
    Withdrawn,
    WrongOutput,
    did_you_mean,
)
from graphorch.graph.edges import Edge
from graphorch.graph.plan import Step
from graphorch.graph.spec import ENOUGH, GO_BACK
from graphorch.state.version import InputUpdate, Version
from graphorch.text import (
    LINEAGE,
    blame,
    explain_error,
    format_error,
    format_value,
    list_kinds,
    name_error,
    plural,
)

if TYPE_CHECKING:
    from graphorch.graph.payloads import Failure, Missing


_MOST: Final = 5  # failures inside that an error names


class MissingInput(Unassigned):
    """A field that a node requires is not assigned: unlike an `Unassigned` of the node itself."""


def bind_arguments(activation: Activation) -> list[Any]:
    """Return the slices that a node reads, in the order of its parameters.

    Raises `MissingInput` for a slice that lacks a required field.
    """
    step, version = activation.step, activation.version
    assert version is not None
    try:
        if step.reads_one:
            return [step.reads[0][0].read(version)]
        arguments = [
            reader.read(version) if not optional or reader.is_assigned(version) else None
            for reader, optional in step.reads
        ]
    except Unassigned as error:
        raise MissingInput(str(error)) from error
    if step.failure_at >= 0:
        failed = next(token for token in activation.tokens if token.failure is not None)
        arguments.insert(step.failure_at, _build_failure(failed))
    return arguments


def build_update(step: Step, output: object, given: list[Any], version: Version | None) -> Update:
    """Return the validated update that an output means. Raises `WrongOutput`."""
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
            f"It returned {type(output).__name__}, but declares that it returns None. "
            "Annotate the slice that it writes."
        )
    pair = cast("tuple[object, ...]", output) if isinstance(output, tuple) else ()
    if len(pair) != len(writes):
        kind = type(cast("object", output)).__name__
        raise WrongOutput(
            f"It returned {kind}, but declares a tuple of {len(writes)} slices. Return them all."
        )
    update: Update = {}
    for writer, part in zip(writes, pair, strict=True):
        partial = writer.update(part)
        if shared := update.keys() & partial.keys():
            raise WrongOutput(
                f"Two slices that it returned set field number {min(shared)}. "
                "Set it in one of them."
            )
        update |= partial
    return update


def build_items(activation: Activation) -> list[Update]:
    """Return the inputs of a sub-flow (one) or of a map (one per item).

    Raises `TooManyItems`, `RecursionLimit` or `WrongOutput`.
    """
    step, plan = activation.step, activation.step.inner_plan
    assert step.over is not None
    assert plan is not None
    assert activation.version is not None
    try:
        value = step.over(activation.version)
        if step.map is None:
            values = [value]
        else:
            values = list_items(f"'{step.over.name}'", value, plan.input)
            if not step.map.unique:
                _check_room(step.map.max_items, len(values))
        updates = [plan.read_input.update(item) for item in values]
        if step.map is not None and step.map.unique:
            first: dict[str, Update] = {}
            for key, update in zip(find_keys(activation, updates), updates, strict=True):
                first.setdefault(key, update)
            updates = list(first.values())
            _check_room(step.map.max_items, len(updates))
    except Exception as error:
        blame(error, _name_function(step, "enter", "over"))
        raise
    if updates and plan.is_floor:
        raise _build_recursion_limit(activation)
    return updates


def _build_recursion_limit(activation: Activation) -> RecursionLimit:
    step, flow = activation.step, activation.scope.plan.name
    return RecursionLimit(
        f"Flow '{flow}' is inside itself {plural(step.max_depth, 'time')} already, which is its "
        "max_depth. Raise it, let the recursion end earlier, or lead this failure on: "
        f"on_error({step.name}, …, when=RecursionLimit).",
        max_depth=step.max_depth,
    )


def _check_room(max_items: int, count: int) -> None:
    if count > max_items:
        raise TooManyItems(
            f"{count} items came, and max_items is {max_items}. "
            "Raise max_items, or make fewer items."
        )


def find_keys(activation: Activation, updates: Sequence[Update]) -> list[str]:
    """Return the keys by which a map names its items if each of them is unique, or none."""
    spec, plan = activation.step.map, activation.step.inner_plan
    if spec is None or not spec.unique:
        return []
    assert plan is not None
    from graphorch.state.content_key import compute_key

    names = plan.input.model_fields
    keys: list[str] = []
    for update in updates:
        made: Mapping[int, Any] = update.defaults if isinstance(update, InputUpdate) else {}
        # A field that has its default is like one that was set to it.
        values = {
            field.name: field.default()
            for field in plan.schema.fields
            if field.name in names and field.index not in update
        }
        values |= {plan.schema.fields[at].name: it for at, it in {**made, **update}.items()}
        try:
            keys.append(compute_key(values))
        except TypeError as error:
            raise WrongOutput(
                f"An item cannot be told from others: {error}. Make unique items of plain values."
            ) from error
    return keys


def list_items(subject: str, value: object, item: Any, *, at_most: int | None = None) -> list[Any]:
    """Return the items that a function gave. Raises `WrongOutput` for what is no list of them."""
    items: Any = value
    if isinstance(items, Iterable) and not isinstance(items, str | bytes | Mapping | BaseModel):
        return list(itertools.islice(cast("Iterable[Any]", items), at_most))
    raise WrongOutput(
        f"{subject} returned {format_value(value)}, which is not a list of items. "
        f"Return list[{item.__name__}]."
    )


def review_item(activation: Activation, scope: Scope) -> tuple[bool, list[Update]]:
    """Return whether a map has enough with an item that is done, and the items that it grows.

    Raises `TooManyItems`, `WrongOutput`, and what `until` and `grow` raise.
    """
    spec = activation.step.map
    assert spec is not None
    if spec.until is not None and _has_agreed(activation, spec.until):
        return True, []
    return False, grow_items(activation, scope)


def grow_items(activation: Activation, scope: Scope) -> list[Update]:
    """Return the inputs of the items that the result of an item adds to its map.

    Raises `TooManyItems`, `WrongOutput`, and what `grow` raises.
    """
    spec = activation.step.map
    if spec is None or spec.grow is None:
        return []
    try:
        return _build_grown(activation, scope, spec.grow)
    except Exception as error:
        blame(error, f"grow of map '{activation.step.name}'")
        raise


def _has_agreed(activation: Activation, until: Callable[[list[Any]], object]) -> bool:
    """Return whether the results so far, in the order of `gather`, are enough."""
    children = activation.children
    assert isinstance(children, ReviewedScopes)
    read = children.scopes[0].plan.read_output.result
    later = children.reviews[1:]  # they are reviewed next, each with those before it
    begun = [number for number in children.list_in_order() if number < len(children.scopes)]
    done = [children.scopes[number] for number in begun if children.scopes[number] not in later]
    results = [read(scope.result) for scope in done if scope.result is not None]
    try:
        verdict = until(results)
        return check_verdict(f"'{_name_of(until)}'", verdict, ENOUGH)
    except Exception as error:
        blame(error, f"until of map '{activation.step.name}'")
        raise


def _build_grown(
    activation: Activation, scope: Scope, grow: Callable[[Any], object]
) -> list[Update]:
    children, spec, plan = activation.children, activation.step.map, scope.plan
    assert isinstance(children, ReviewedScopes)
    assert spec is not None
    assert scope.output is not None
    value = grow(plan.read_output.result(scope.output))
    room = spec.max_items - len(children.updates)
    # Of unique items many may be known.
    at_most = None if spec.unique else room + 1
    items = list_items(f"'{_name_of(grow)}'", value, plan.input, at_most=at_most)
    updates = [plan.read_input.update(item) for item in items]
    new = {*find_keys(activation, updates)} - children.numbers.keys() if spec.unique else items
    if len(new) > room:
        item = f"{activation.path}[{format_place(scope.place)}]"
        raise TooManyItems(
            f"with what '{item}' adds, there are more than {spec.max_items} items, which is "
            "max_items. Raise max_items, or grow fewer."
        )
    return updates


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _name_function(step: Step, of_sub: str, of_map: str) -> str:
    """Return how an error names a function that maps into a flow inside, or out of it."""
    kind, function = ("sub", of_sub) if step.map is None else ("map", of_map)
    return f"{function} of {kind} '{step.name}'"


def gather_children(activation: Activation, *, is_recorded: bool = False) -> Update:
    """Return the update that `leave` or `gather` makes of the results of the children.

    Whether a map had enough results is not asked again of one that is recorded: how many it needs
    may have changed since. Raises what makes the whole node fail.
    """
    step, inner, plan = activation.step, activation.children, activation.step.inner_plan
    assert inner is not None
    assert plan is not None
    if isinstance(inner, ReviewedScopes) and inner.review_failure is not None:
        raise inner.review_failure
    if activation.received is not None and step.map is None:
        return _build_kept(activation)
    if step.map is None:
        output = inner.scopes[0].result
        if output is None:
            raise build_inner_failed("Its flow did not reach its END", inner.scopes)
        assert step.sub is not None
        result = plan.read_output.result(output)
        try:
            return step.writes[0].update(step.sub.leave(result))
        except Exception as error:
            blame(error, _name_function(step, "leave", "gather"))
            raise
    from graphorch.graph.payloads import Missing

    results: list[Any] = []
    missing: list[Missing] = []
    late = inner.list_late() if isinstance(inner, ReviewedScopes) else ()
    for position, index in enumerate(inner.list_in_order()):
        output = None
        if index < len(inner.scopes):
            scope = inner.scopes[index]
            # `scope.result`, without a call for each item.
            output = scope.output if scope.finished and scope.late is None else None
        if output is not None and inner.scopes[index] not in late:
            results.append(plan.read_output.result(output))
        else:
            missing.append(Missing(position, _explain_missing(activation, index)))
    _check_enough(activation, results, missing, is_recorded=is_recorded)
    gather = step.map.gather
    try:
        gathered = gather(results, missing) if step.map.wants_missing else gather(results)
        return step.writes[0].update(gathered)
    except Exception as error:
        blame(error, _name_function(step, "leave", "gather"))
        raise


def _build_kept(activation: Activation) -> Update:
    """Return the update that `keep` makes of what a sub-flow had committed when a signal ended it.

    Raises `Withdrawn` without `keep`.
    """
    step = activation.step
    if step.keep is None:
        raise Withdrawn(
            f"Signal '{step.cancel_on}' ended it. Handle that with on_error(…, when=Withdrawn), or "
            "give keep= to keep what was done inside."
        )
    assert activation.partial is not None
    try:
        return step.writes[0].update(step.keep(activation.partial))
    except Exception as error:
        blame(error, f"keep of sub '{step.name}'")
        raise


class InnerFailed(GraphorchError):
    """A sub-flow, map or tool call did not finish; it is also of the kinds of the errors inside."""


def build_inner_failed(
    what: str, scopes: Sequence[Scope], isolated: Sequence[Activation] = ()
) -> InnerFailed:
    """Return the failure of a sub-flow, a map or tool calls, with what failed inside it.

    Of `isolated` failures, which close no scope, those in these scopes count too.
    """
    causes = list(_list_causes(scopes))
    causes += [item for item in isolated if item.scope in scopes and item not in causes]
    reasons = "; ".join(f"{cause.path}: {format_error(cause.failure)}" for cause in causes[:_MOST])
    error = InnerFailed(f"{what}: {reasons}" if reasons else f"{what}.")
    kinds = [kind for cause in causes for kind in list_kinds(cause.failure)]
    setattr(error, LINEAGE, tuple(dict.fromkeys([*list_kinds(error), *kinds])))
    return error


def _list_causes(scopes: Sequence[Scope]) -> Iterator[Activation]:
    """Yield the activations whose exceptions made these scopes fail, at any depth."""
    for scope in scopes:
        for failed in scope.failures:
            inner = failed.children.scopes if failed.children is not None else []
            causes = list(_list_causes(inner))
            if causes:
                yield from causes
            elif isinstance(failed.failure, Exception):
                yield failed


def _check_enough(
    activation: Activation, results: list[Any], missing: list[Missing], *, is_recorded: bool
) -> None:
    spec = activation.step.map
    assert spec is not None
    if activation.received is not None:
        return
    if isinstance(activation.children, ReviewedScopes) and activation.children.has_agreed:
        return
    count = len(results) + len(missing)
    is_short = spec.need is not None and len(results) < spec.need
    if is_short and spec.short == "fail" and not is_recorded:
        reasons = "; ".join(f"item {item.index}: {item.reason}" for item in missing[:_MOST])
        came = f", of {plural(count, 'item')}" if count < (spec.need or 0) else ""
        raise QuorumNotMet(
            f"{spec.need} results are needed, and {len(results)} came{came}"
            f"{f': {reasons}' if reasons else ''}. "
            'Give it enough items, or short="fire" to go on with fewer.'
        )
    if spec.need is None and spec.on_item_error == "fail" and missing:
        assert activation.children is not None
        raise build_inner_failed(
            f"{len(missing)} of {count} items did not finish", activation.children.scopes
        )


def _explain_missing(activation: Activation, index: int) -> str:
    """Return why an item of a map has no result."""
    children = activation.children
    assert children is not None
    if index >= len(children.scopes):
        return "not started"
    scope = children.scopes[index]
    if scope.late is not None:
        return "not finished when enough others were"
    if scope.output is not None:
        return "done after the others were enough"
    reason = next(_explain_failures(scope, ""), None)
    if reason is not None:
        return reason
    if scope.finished and not scope.failures:
        return "cancelled"
    return "its END was not reached"


def _explain_failures(scope: Scope, path: str) -> Iterator[str]:
    """Yield the failures in a scope, innermost first: of a failed sub-flow, those of its nodes."""
    for failed in scope.failures:
        child_scopes = failed.children.scopes if failed.children is not None else []
        for child in child_scopes:
            yield from _explain_failures(child, f"{path}{failed.step.name}/")
        if failed.failure is not None:
            failure = failed.failure
            reason = explain_error(failure) if isinstance(failure, Exception) else str(failure)
            yield f"{path}{failed.step.name}: {reason}" if path else reason


def evaluate_route(activation: Activation) -> RouteDecision:
    """Return where an activation goes: back in the first loop that may, else to routed targets.

    A loop goes back if its condition holds and its bound is not reached. Raises `LoopExhausted`,
    `WrongOutput`, and what selectors and conditions raise.
    """
    step, version = activation.step, activation.version
    assert version is not None
    exhausted = -1
    for number, loop_exit in enumerate(step.exits):
        try:
            held = loop_exit.condition(version)
            if held is not True and held is not False:
                held = check_verdict(f"'{loop_exit.condition.name}'", held, GO_BACK)
        except Exception as error:
            header = activation.scope.plan.steps[loop_exit.back.target].name
            blame(error, f"while_ of the loop '{step.name}' → '{header}'")
            raise
        if held:
            if activation.iteration(loop_exit.loop) < loop_exit.bound:
                return RouteDecision(loop=number)
            exhausted = number if exhausted < 0 else exhausted
    if exhausted >= 0:
        loop_exit = step.exits[exhausted]
        if loop_exit.exhausted == "fail":
            header = activation.scope.plan.steps[loop_exit.back.target].name
            raise LoopExhausted(
                f"The loop back to '{header}' ran {loop_exit.bound} times, and "
                f"'{loop_exit.condition.name}' still holds."
            )
        if loop_exit.exhausted == "node":
            return RouteDecision(exhausted=exhausted)
    try:
        return RouteDecision(exhausted=exhausted, edges=_select_edges(activation, version))
    except Exception as error:
        blame(error, f"the route of '{step.name}'")
        raise


def check_verdict(subject: str, value: object, fix: str) -> bool:
    """Return what a predicate returned as True or False. Raises `WrongOutput` if it is neither."""
    verdict = read_verdict(value)
    if verdict is None:
        discard(value)
        raise WrongOutput(
            f"{subject} returned {format_value(value)}, which is neither True nor False. "
            f"{fix[:1].upper()}{fix[1:]}."
        )
    return verdict


def _select_edges(activation: Activation, version: Version) -> tuple[Edge, ...]:
    """Return the edges that the selector of a step's route chooses, in order of their index."""
    route = activation.step.route
    if route is None:
        return ()
    selected = route.selector(version)
    labels: list[Any] = list(selected) if route.is_multi else [selected]
    name = route.selector.name
    if not labels:
        raise WrongOutput(f"The selector '{name}' returned no label. Return at least one.")
    edges: list[Edge] = []
    for label in labels:
        chosen = route.find_edges(label)
        if chosen is None:
            hint = did_you_mean(str(label), map(str, route.edges))
            raise WrongOutput(
                f"The selector '{name}' returned {label!r}, which leads nowhere. {hint}"
            )
        edges += [edge for edge in chosen if edge not in edges]
    return tuple(sorted(edges, key=lambda edge: edge.index))


def _build_failure(token: Token) -> Failure:
    from graphorch.graph.payloads import Failure

    source, error = token.source, token.failure
    assert source is not None
    assert error is not None
    return Failure(
        node=source.step.name,
        path=source.path,
        error=name_error(error),
        message=explain_error(error),
        attempt=source.attempt,
    )
