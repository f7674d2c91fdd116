"""Why a node ran or did not, why its models were chosen, and where a run went wrong.

Reads a run as the core holds it (live, or rebuilt from its records), so every reason is the core's
own: the tokens that were consumed, the edges that were taken, the live positions that block a join.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphorch.core.run import Run
from graphorch.core.tree import (
    Activation,
    Late,
    ReviewedScopes,
    Scope,
    Status,
    ToolScope,
    ToolScopes,
    UndoScope,
)
from graphorch.errors import InputError, did_you_mean
from graphorch.graph.edges import START_INDEX, Edge
from graphorch.graph.plan import Plan, SignalSpec, Step
from graphorch.statuses import HALTED_STATUSES
from graphorch.text import format_cost, format_error, format_moment, join_limited, plural, truncate
from graphorch.trace.conversation.turns import Turn
from graphorch.trace.spans.model import Span, Trace, strip_index
from graphorch.trace.spans.redaction import Redaction
from graphorch.trace_context import shorten_activation_id

_MOST = 12  # items of a list
_LONGEST = 300  # characters of what a tool or a person said

_STATES = {
    Status.RUNNING: "running",
    Status.ROUTING: "waiting for its route",
    Status.UNDOING: "failed, and what it committed is being undone",
    Status.RETRYING: "waiting for its next attempt",
    Status.ENTERED: "running inside",
    Status.AWAITING_ANSWER: "waiting for a person",
    Status.AWAITING_EVENT: "waiting for an event",
    Status.HELD: "waiting for its turn",
    Status.FAILED: "failed",
    Status.DONE: "done",
    Status.HANDLED: "failed, and handled",
    Status.SKIPPED: "a dead path",
    Status.CANCELLED: "cancelled",
}
_CANCELLED = "cancelled: "  # begins the line about it in the story of an activation
_PRICE_SOURCES = {
    "reported": "reported by the endpoint",
    "table": "by the price list",
    "free": "free of charge",
    "": "no bill",
}


@dataclass(slots=True)
class Reasons:
    """Short sentences by question about an activation, a node without one, or a whole run.

    `path` is "" for the whole run.
    """

    path: str
    status: str
    because: list[str] = field(default_factory=list[str])
    saw: Mapping[str, Any] = field(default_factory=dict[str, Any])
    did: list[str] = field(default_factory=list[str])
    model: list[str] = field(default_factory=list[str])
    cost: list[str] = field(default_factory=list[str])
    activation: str = ""


# ---- a node --------------------------------------------------------------------------------------
def find_activations(run: Run, where: str) -> list[Activation]:
    """Return the activations that a node's name or path stands for.

    `where` is a name, a path, or a path with items (`work`, `team/work`, `each[3]/work`), each with
    `#2` for the second activation. A call of a tool has a path too (`write/r1/search#0`), and the
    name of a tool stands for all of its calls. Raises `InputError` if there are not so many.
    """
    activations = [*run.history, *run.unfinished()]
    calls = [item for item in activations if item.tool and item.path == where]
    if calls:
        return calls
    name, mark, number = where.partition("#")
    matching = [item for item in activations if name in (item.path, strip_index(item.path))]
    if not matching:
        matching = [item for item in activations if name in (item.step.name, item.tool)]
    if not mark or not matching:
        return matching
    if not number.isdigit() or not 0 < int(number) <= len(matching):
        raise InputError(
            f"'{where}': '{name}' ran {plural(len(matching), 'time')}. "
            f"Write {name}#1 to {name}#{max(1, len(matching))}, or leave the number out."
        )
    return [matching[int(number) - 1]]


def explain_activation(
    activation: Activation, trace: Trace, turns: Sequence[Turn], redaction: Redaction
) -> Reasons:
    """Return the reasons for one activation.

    `saw` is left to the caller, which can rebuild the state of that moment.
    """
    path = activation.path
    id_ = shorten_activation_id(activation.id)
    spans = [span for span in trace.spans if span.activation == id_]
    reasons = Reasons(path, _describe_state(activation), activation=activation.id)
    reasons.because = _list_causes(activation)
    reasons.did = [redaction.text(line) for line in _list_outcomes(activation, spans)]
    undos = [span for span in trace.spans if span.path == f"{path}/undo" and span.is_activation]
    if undos and activation.step.undo is not None:
        outcome = "was undone by" if undos[-1].status == "ok" else "is not undone: see"
        reasons.did.append(f"{outcome} '{undos[-1].path}'")
    children = activation.children
    if isinstance(children, ReviewedScopes):
        reasons.did += children.describe()
    if activation.status is Status.ENTERED and children is not None:
        total = len(children.updates) or len(children.scopes)
        reasons.did.append(
            f"{children.unfinished} of {total} inside are not finished: "
            f"{_join(_list_active_inside(activation))}"
        )
    calls = {turn.seq: turn for turn in turns if turn.is_model_call and turn.path == path}
    for turn in list(calls.values())[:_MOST]:
        reasons.model += _explain_model(turn)
    costs = _list_costs([span for span in spans if span.kind == "call"])
    reasons.cost = [redaction.text(line) for line in costs]
    return reasons


def explain_turn(activation: Activation, run: Run) -> Iterator[str]:
    """Yield what a node waits for, or how long it waited, to be alone in its exclusive regions."""
    if not activation.step.exclusive:
        return
    regions = _join([f"'{name}'" for name in activation.step.exclusive])
    if activation.status is not Status.HELD:
        if activation.held_at and activation.started_at:
            seconds = activation.started_at - activation.held_at
            yield f"waited {seconds:.3g} s for its turn in {regions}"
        return
    holder = run.exclusive.find_holder(activation) if run.exclusive is not None else None
    if holder is None:
        yield f"waits for its turn in {regions}, until the run is resumed"
    else:
        yield f"waits for its turn in {regions}: '{holder.path}' is {_describe_state(holder)}"


def explain_absence(run: Run, where: str) -> Reasons:
    """Return why a node has no activation, or a tool no call.

    Raises `InputError` if the flow has neither.
    """
    if (waiting := _find_waiting_call(run, where)) is not None:
        reasons = Reasons(where, "called, and not begun")
        reasons.because.append(f"'{waiting.path}' called it, and calls before it have not ended")
        return reasons
    for agent, tool in _list_tools(run.plan):
        if where in (tool, f"{agent}/{tool}"):
            reasons = Reasons(f"{agent}/{tool}", "was not called")
            reasons.because.append(f"no model that '{agent}' asked called this tool")
            return reasons
    scope_path, name, path = _find_declaration(run, where)
    reasons = Reasons(path, "did not run")
    scopes = [
        scope for scope in _list_scopes(run) if strip_index(scope.prefix.rstrip("/")) == scope_path
    ]
    if not scopes:
        reasons.because.append(f"'{scope_path}', which it is part of, did not run")
        if find_activations(run, scope_path):
            above = scope_path.rpartition("/")[2]
            reasons.because.append(f"'{above}' began and nothing was started inside of it")
        else:
            reasons.because += explain_absence(run, scope_path).because
        return reasons
    step = next((step for step in scopes[0].steps if step.name == name), None)
    if step is not None and isinstance(step.event, SignalSpec):
        kept = sum(
            len(values) for (signal, _), values in run.kept_signals.items() if signal == name
        )
        keeps = (
            f"; {plural(kept, 'such signal')} came before and {'is' if kept == 1 else 'are'} kept"
        )
        reasons.because.append(f"nothing waits for the signal '{name}'{keeps if kept else ''}")
    for scope in scopes:
        reasons.because += _list_absence_causes(run, scope, name, set())
    reasons.because = list(dict.fromkeys(reasons.because))
    if run.stopping or run.status in HALTED_STATUSES:
        reasons.because.append(
            f"the run is {run.status} ({run.reason}): nothing new starts until it is resumed"
        )
    return reasons


def _find_waiting_call(run: Run, where: str) -> Activation | None:
    """Return the agent of a tool call that has not begun, by the path of the call."""
    for activation in run.unfinished():
        if isinstance(activation.children, ToolScopes):
            for scope in activation.children.scopes:
                if where == f"{scope.prefix}{scope.steps[0].name}":
                    return activation
    return None


def _list_absence_causes(run: Run, scope: Scope, name: str, seen: set[int]) -> list[str]:
    """Return why a node of a scope did not fire.

    Follows the edges backwards, as far as something happened; `seen` ends the walk at loops.
    """
    topology = scope.plan.topology
    index = scope.plan.end if name == "END" else topology.names.index(name)
    if index in seen:
        return []
    seen.add(index)
    regions = (late for late in scope.detached if late.late and late.late.is_region)
    scope = next((late for late in regions if index in late.waiting), scope)
    waiting = scope.waiting.get(index)
    if not waiting:
        reasons: list[str] = []
        for edge in topology.entering[index]:
            reasons += _explain_edge(run, scope, edge, seen)
        return reasons

    # Tokens wait at the node: either a live position can bring another one, or the run stopped.
    sources = _join([topology.name(token.edge.source) for token in waiting])
    holds = f"it holds {len(waiting)} token(s), from {sources}, and"
    blocking = scope.live_positions & scope.plan.steps[index].blockers
    blockers = [_describe_position(scope, position) for position in _list_bits(blocking)]
    if blockers:
        return [f"{holds} waits for {_join(blockers)}, which can still bring it another one"]
    return [f"{holds} was not started any more: the run stopped before"]


def _explain_edge(run: Run, scope: Scope, edge: Edge, seen: set[int]) -> list[str]:
    """Return why no token came along an edge."""
    if edge.source == START_INDEX:
        return [] if run.started else ["the run was not started"]
    source = scope.plan.topology.name(edge.source)
    activations = [
        item
        for item in [*run.history, *run.unfinished()]
        if _is_part_of(item.scope, scope) and item.step.index == edge.source
    ]
    if activations:
        reasons = (_explain_untaken(scope, edge, item) for item in activations)
        return [reason for reason in reasons if reason]
    # The source of a way back runs after the node itself: its absence explains nothing.
    if edge.kind == "loop":
        return []
    causes = _list_absence_causes(run, scope, source, seen)
    return [f"'{scope.prefix}{source}' did not run", *causes]


def _is_part_of(scope: Scope, other: Scope) -> bool:
    """Return whether a scope is another one, or late work of its joins."""
    while scope is not other and scope.late is not None and scope.late.is_region:
        scope = scope.late.host
    return scope is other


def _explain_untaken(scope: Scope, edge: Edge, activation: Activation) -> str:
    """Return why an activation sent no token along an edge, or ""."""
    topology = scope.plan.topology
    path = f"{scope.prefix}{topology.name(edge.source)}"
    taken = activation.taken_edges
    targets = _join([topology.name(other.target) for other in taken])
    match activation.status:
        case Status.DONE if edge not in taken and edge.kind not in ("loop", "error"):
            subject = "its route" if edge.kind == "routed" else "it"
            where = targets or "nowhere"
            labels = _format_labels(activation, taken)
            return f"after '{path}' {subject} went to {where}{labels}, not here"
        case Status.HANDLED if edge not in taken:
            failure = _format_failure(activation)
            return f"'{path}' failed ({failure}), and its error edge went to {targets}"
        case Status.FAILED | Status.SKIPPED:
            verb = "was passed over" if isinstance(activation.failure, str) else "failed"
            return f"'{path}' {verb}: {_format_failure(activation)}"
        case Status.CANCELLED:
            verb = "withdrawn" if activation.step.rivals else "cancelled"
            return f"'{path}' was {verb}{_format_cancellation(activation)}"
        case _ if not activation.is_over:
            return f"'{path}' is not finished: {_STATES[activation.status]}"
        case _:
            return ""


# ---- the whole run -------------------------------------------------------------------------------
def explain_run(
    run: Run, trace: Trace, redaction: Redaction, in_doubt: Collection[Activation] = ()
) -> Reasons:
    """Return why a run stands where it stands.

    `because` has the failures that ended it, the innermost first, or what it waits for; `did` the
    failures that it survived. `in_doubt` are nodes that must not act twice, began, and did not
    finish.
    """
    reason = f" ({trace.reason})" if trace.reason not in ("", trace.status) else ""
    reasons = Reasons("", f"{trace.status}{reason}")
    roots = _find_root_failures(run)
    reasons.because = [redaction.text(_describe_root(root)) for root in roots]
    for activation in run.questions():
        question = redaction.text(_to_line(getattr(activation.question, "text", "")))
        reasons.because.append(f"'{activation.path}' waits for a person: {question}")
    for activation in run.waits():
        if activation.status is Status.AWAITING_EVENT and activation.wait is not None:
            waits_for = activation.wait.describe()
            reasons.because.append(f"'{activation.path}' waits for {waits_for}")
    for activation in run.ending_early():
        if activation.wait is not None:
            what = activation.wait.describe_end()
            reasons.because.append(f"'{activation.path}' may be ended by {what}")
    reasons.because += [_describe_doubt(activation) for activation in in_doubt]
    for undo in run.undoing.failed if run.undoing is not None else ():
        failure = redaction.text(_format_failure(undo))
        reasons.because.append(f"'{undo.path}' failed, so its work is not undone: {failure}")
    for activation in run.pauses():
        when = format_moment(activation.retry_at)
        reasons.because.append(f"'{activation.path}' waits for its next attempt, {when}")
    if run.stopping and not (run.is_paused or roots or in_doubt):
        reasons.because.append(f"it was stopped: {run.stopping}")
    if trace.status == "crashed":
        reasons.because.append(_describe_crash(run, trace))
    elif trace.status == "running":
        unfinished = run.unfinished()
        paths = [item.path for item in unfinished if item.status is not Status.ENTERED]
        reasons.because.append(f"it is under way: {_join(paths)}")

    for source, header in run.exhausted:
        reasons.did.append(f"the loop '{source} → {header}' reached its bound")
    fatal = {root.path for root in roots}
    fatal |= {above.path for root in roots for above in _list_around(root)}
    survived = [span for span in trace.spans if _has_failed(span) and span.path not in fatal]
    for span in survived[:_MOST]:
        failure = f"'{span.path}' attempt {span.attempt}: {span.error}: {span.message}"
        reasons.did.append(redaction.text(f"survived: {failure}"))

    calls = trace.paid_calls
    reasons.cost = _list_costs_by_node(calls)
    if trace.budget:
        share = sum(call.booked_usd for call in calls) / trace.budget
        reasons.cost.append(f"{share:.0%} of its budget of ${trace.budget:g} is booked")
    return reasons


def _describe_doubt(activation: Activation) -> str:
    return (
        f"'{activation.path}' must not act twice; it began, did not finish, and whether it acted "
        "is not known. `resume --ambiguous repeat` runs it again, `--ambiguous fail` goes on as if "
        "it had failed"
    )


def _find_root_failures(run: Run) -> list[Activation]:
    """Return the failed activations that contain no other failed one."""
    failed = [
        item for item in dict.fromkeys(run.errors) if item.status in (Status.FAILED, Status.SKIPPED)
    ]
    roots: list[Activation] = []
    for activation in failed:
        inside = (f"{activation.path}/", f"{activation.path}[")
        if not any(other.path.startswith(inside) for other in failed):
            roots.append(activation)
    return roots


def _describe_root(activation: Activation) -> str:
    failure = _format_failure(activation)
    text = f"'{activation.path}' failed in attempt {activation.attempt}: {failure}"
    around = [repr(above.path) for above in _list_around(activation)]
    return f"{text}, which took {' and '.join(around)} with it" if around else text


def _describe_crash(run: Run, trace: Trace) -> str:
    lost = [
        span.path for span in trace.spans if span.status == "lost" and span.kind in ("node", "flow")
    ]
    running = [item.path for item in run.unfinished() if item.status is Status.RUNNING]
    paths = _join(list(dict.fromkeys([*lost, *running])))
    return f"its process is gone; under way were {paths}. `resume` continues it"


def _has_failed(span: Span) -> bool:
    return span.kind == "attempt" and span.status == "failed"


# ---- parts of an explanation ---------------------------------------------------------------------
def _list_causes(activation: Activation) -> list[str]:
    """Return what made an activation begin."""
    if isinstance(activation.scope, ToolScope):
        return _list_call_causes(activation, activation.scope)
    if isinstance(activation.scope, UndoScope):
        scope = activation.scope
        return [f"it takes back what '{scope.undone.path}' committed: {scope.reason}"]
    tokens = activation.tokens
    causes = [_describe_arrival(activation, token.source, token.edge) for token in tokens]
    if activation.step.need:
        causes.append(_describe_quorum(activation))
    elif len(tokens) > 1:
        causes.append(
            "it joins: it waited until nothing live could bring it another token, and consumed "
            f"these {len(tokens)} at once"
        )
    for loop, count in activation.counters.items():
        if count > 1:
            causes.append(f"round {count} of the loop back to '{_find_header(activation, loop)}'")
    return causes


def _is_late(late: Late | None, edge: Edge) -> bool:
    """Return whether a token along an edge is consumed by name: its join has decided."""
    return late is not None and late.is_region and late.node == edge.target


def _list_call_causes(activation: Activation, scope: ToolScope) -> list[str]:
    """Return what made a call of a tool begin."""
    agent = scope.parent
    assert agent is not None
    label = scope.round.label
    causes = [f"the model that '{agent.path}' asked called it, in round {label}"]
    if scope.call.is_barrier and scope.call.place:
        causes.append("it acts, so it runs after the calls before it in its round")
    if scope.call.asks:
        causes.append("it needs the approval of a person")
    return causes


def _describe_quorum(activation: Activation) -> str:
    """Return what decided a join with `need=k`: its k-th branch, or that no more could come."""
    step, topology = activation.step, activation.scope.plan.topology
    entering = [edge for edge in topology.entering[step.index] if edge.kind != "loop"]
    arrived = {token.edge.index for token in activation.tokens}
    missing = [topology.name(edge.source) for edge in entering if edge.index not in arrived]
    needs = f"it joins, and needs {step.need} of {len(entering)} branches"
    if len(arrived) < step.need:
        outcome = "goes on with these" if step.short == "fire" else "fails"
        return f"{needs}: nothing live could bring more than {len(arrived)}, so it {outcome}"
    decided = f"{needs}: with {len(arrived)} it was decided"
    rest = ", which may finish" if step.finishes else ""
    return f"{decided}, without {_join(missing)}{rest}" if missing else decided


def _describe_arrival(activation: Activation, source: Activation | None, edge: Edge) -> str:
    if source is None:
        around = activation.scope.parent
        return "the flow begins with it" if around is None else f"'{around.path}' begins with it"
    match edge.kind:
        case "routed" if source.step.node.kind == "first":
            return f"'{source.path}' waits for it, and takes the first of its events"
        case "always" if source.step.rivals:
            first = f"'{source.path}' came first"
            rivals = _join([f"'{source.scope.steps[index].name}'" for index in source.step.rivals])
            return f"{first}, before {rivals}, and leads here"
        case "routed":
            return f"the route after '{source.path}' chose it{_format_labels(source, [edge])}"
        case "loop":
            origin = activation.scope.plan.topology.name(edge.source)
            loop = f"'{origin} → {activation.step.name}'"
            return f"'{source.path}' went back to it: the loop {loop} held and had room"
        case "exhausted":
            return f"the loop at '{source.path}' was used up, and leads here then"
        case "error":
            return f"'{source.path}' failed ({_format_failure(source)}), and this handles it"
        case _:
            return f"'{source.path}' was done, and leads here"


def _list_outcomes(activation: Activation, spans: Sequence[Span]) -> Iterator[str]:
    """Yield failed attempts, the result, and the nodes that follow."""
    plan = activation.scope.plan
    yield from _list_tool_calls(activation)
    yield from _describe_event(activation)
    for span in spans:
        if span.kind == "attempt" and span.hedges:
            yield _describe_hedge(span, spans)
        elif span.kind == "attempt" and span.status in ("failed", "cancelled", "lost"):
            attempt = f"attempt {span.attempt} {span.status} after {span.seconds or 0.0:.3g} s"
            yield f"{attempt}: {span.error}: {span.message}".rstrip(": ")
    calls = [span for span in spans if span.role == "tool"]
    if calls:
        yield from _describe_call(activation, calls[-1])
        return
    if activation.update is not None:
        names = [plan.schema.fields[index].name for index in activation.update]
        seconds = [span.seconds for span in spans if span.is_activation]
        took = f" in {seconds[-1]:.3g} s" if seconds and seconds[-1] is not None else ""
        yield f"wrote {_join(names) or 'nothing'}{took}"
    elif isinstance(activation.failure, str):
        yield f"was passed over: {activation.failure}"
    late = activation.scope.late
    if late is not None:
        decided = f"{late.host.prefix}{late.host.steps[late.node].name}"
        yield f"came too late for '{decided}', which had what it needs and lets the rest finish"
    taken = [edge for edge in activation.taken_edges if not _is_late(late, edge)]
    if taken and not activation.scope.is_undo:
        targets = _join([plan.topology.name(edge.target) for edge in taken])
        yield f"went on to {targets}{_format_labels(activation, taken)}"
    if activation.status is Status.CANCELLED:
        verb = "withdrawn" if activation.step.rivals else "cancelled"
        yield f"was {verb}{_format_cancellation(activation)}"


def _describe_event(activation: Activation) -> Iterator[str]:
    """Yield what a node waits for, or what it was given."""
    wait = activation.wait
    if wait is None:
        return
    if activation.status is Status.AWAITING_EVENT:
        yield f"waits for {wait.describe()}"
    elif activation.received is not None:
        key = f" with key '{wait.key}'" if wait.key else ""
        yield f"was given the signal '{wait.signal}'{key}"
    elif activation.status is Status.DONE:
        yield f"waited for {wait.describe()}"


def _list_tool_calls(activation: Activation) -> Iterator[str]:
    """Yield how often each tool was called inside of an activation, and in how many rounds."""
    children = activation.children
    if isinstance(children, ToolScopes) and children.scopes:
        counts = Counter(
            scope.call.tool for round in children.rounds.values() for scope in round.scopes
        )
        tools = [f"{name} {plural(count, 'time')}" for name, count in counts.items()]
        yield f"called {_join(tools)}, in {plural(len(children.rounds), 'round')}"


def _describe_call(activation: Activation, call: Span) -> Iterator[str]:
    """Yield what a call of a tool ran with, and what the model read of it."""
    scope = activation.scope
    assert isinstance(scope, ToolScope)
    if call.arguments and json.loads(call.arguments) != scope.call.arguments:
        yield f"a person changed its arguments to {_to_line(call.arguments)}"
    took = "" if call.seconds is None else f" in {call.seconds:.3g} s"
    match call.outcome:
        case "failed":
            yield f"failed{took}, and the model was told: {_to_line(call.message)}"
        case "refused":
            yield f"did not run: {_to_line(call.message)}"
        case "answered":
            yield "did not run: a person answered instead of the tool"
        case "ok":
            yield f"returned{took}"
        case _ if activation.status is Status.CANCELLED:
            yield f"was cancelled{_format_cancellation(activation)}"
        case _:
            pass


def _to_line(text: object) -> str:
    return truncate(" ".join(str(text).split()), _LONGEST)


def _describe_state(activation: Activation) -> str:
    if activation.status is Status.ENTERED and isinstance(activation.children, ToolScopes):
        return "waiting until people decide about its calls of tools"
    return _STATES[activation.status]


def _describe_hedge(copy: Span, spans: Sequence[Span]) -> str:
    """Return what became of the second copy of an attempt."""
    first = next(
        span.began
        for span in spans
        if span.kind == "attempt" and span.attempt == copy.attempt and not span.hedges
    )
    after = f"{copy.began - first:.3g} s"
    started = f"a second copy of attempt {copy.attempt} was started after {after}"
    if copy.status == "ok":
        return f"{started}, and ended first: its result counts"
    if copy.status == "failed":
        return f"{started}, and failed too"
    return f"{started}, and was cancelled when the first one ended"


def _explain_model(turn: Turn) -> list[str]:
    """Return why a model was called."""
    if turn.decision:
        return turn.decision.splitlines()
    outcome = " and did not answer" if turn.kind == "unanswered" else ""
    return [f"'{turn.model}' was asked{outcome}: the node or the run names it, and no policy chose"]


def _list_costs(calls: Sequence[Span]) -> list[str]:
    """Return the cost of each call, equal ones on one line, and the sum of several."""
    counts = Counter(map(_describe_cost, calls))
    lines = [f"{count} × {text}" if count > 1 else text for text, count in counts.items()]
    return [*_limit_lines(lines), *_sum_costs(calls)]


def _list_costs_by_node(calls: Sequence[Span]) -> list[str]:
    """Return the cost of the calls of each node, all items of a map together, and their sum."""
    by_path: dict[str, list[Span]] = {}
    for span in calls:
        by_path.setdefault(span.step, []).append(span)
    lines = [
        f"{path}: {plural(len(spans), 'call')}, {_describe_sum(spans)}"
        for path, spans in by_path.items()
    ]
    return [*_limit_lines(lines), *_sum_costs(calls)]


def _limit_lines(lines: Sequence[str]) -> list[str]:
    hidden = len(lines) - _MOST
    return [*lines[:_MOST], f"and {hidden} more lines"] if hidden > 0 else list(lines)


def _sum_costs(calls: Sequence[Span]) -> list[str]:
    return [f"in all: {_describe_sum(calls)}"] if len(calls) > 1 else []


def _describe_sum(calls: Sequence[Span]) -> str:
    """Return what calls cost together, and their tokens."""
    unpriced = sum(span.unpriced for span in calls)
    booked = sum(span.booked_usd for span in calls)
    cost = format_cost(sum(span.usd for span in calls), unpriced, 6, booked)
    inputs = sum(span.input_tokens for span in calls)
    return f"{cost}, {inputs:,} + {sum(span.output_tokens for span in calls):,} tokens"


def _describe_cost(span: Span) -> str:
    source = _PRICE_SOURCES.get(span.usd_source, span.usd_source)
    cost = format_cost(span.usd, span.unpriced, 6, span.booked_usd)
    has_source = not span.is_unpriced and (span.usd_source or not span.usd)
    price = f"{cost} ({source})" if has_source else cost
    tokens = f"{span.input_tokens} + {span.output_tokens} tokens"
    cached = f", {span.cached_tokens} of them cached" if span.cached_tokens else ""
    extras = [
        plural(count, *words)
        for count, *words in (
            (span.retries, "retry", "retries"),
            (span.fallbacks, "fallback"),
            (span.hedges, "hedge"),
        )
        if count
    ]
    if span.from_cache:
        extras.append("from the cache")
    if span.error:
        extras.append(f"failed: {span.error}")
    bracket = f" ({', '.join(extras)})" if extras else ""
    return f"{span.model}: {price} for {tokens}{cached}{bracket}"


def _format_failure(activation: Activation) -> str:
    error = activation.failure
    if isinstance(error, Exception):
        return format_error(error)
    return str(error or "cancelled")


def _format_cancellation(activation: Activation) -> str:
    """Return why an activation was cancelled, with a colon before it, or ""."""
    reasons = [line for line in activation.story or () if line.startswith(_CANCELLED)]
    return f": {reasons[-1].removeprefix(_CANCELLED)}" if reasons else ""


def _format_labels(source: Activation, edges: Iterable[Edge]) -> str:
    """Return the labels that lead from a node along routed edges, in brackets.

    Which of the labels without a target of their own led to the default is not recorded.
    """
    route = source.step.route
    if route is None:
        return ""
    default = route.default or ()
    labels = [
        str(label)
        for edge in edges
        for label, targets in route.edges.items()
        if edge in targets and targets != default
    ]
    parts = [f"label {', '.join(labels)}"] if labels else []
    if any(edge in default for edge in edges):
        without = [str(label) for label, targets in route.edges.items() if targets == default]
        parts.append(f"by default: its label was {' or '.join(without)}")
    return f" ({' or '.join(parts)})" if parts else ""


def _join(parts: Sequence[str]) -> str:
    return join_limited(parts, _MOST)


# ---- the tree of a run ---------------------------------------------------------------------------
def _find_header(activation: Activation, loop: int) -> str:
    topology = activation.scope.plan.topology
    return topology.name(topology.loops[loop].header)


def _list_around(activation: Activation) -> Iterator[Activation]:
    """Yield the activations around one, the innermost first."""
    above = activation.scope.parent
    while above is not None:
        yield above
        above = above.scope.parent


def _list_scopes(run: Run) -> Iterator[Scope]:
    yield run.root
    for activation in [*run.history, *run.unfinished()]:
        if activation.children is not None:
            yield from activation.children.scopes


def _list_active_inside(activation: Activation) -> list[str]:
    if activation.children is None:
        return []
    return [item.path for scope in activation.children.scopes for item in scope.active.values()]


def _describe_position(scope: Scope, position: int) -> str:
    """Return a live position in words: a node, or the next round of a loop."""
    plan = scope.plan
    if 1 << position & plan.late_positions:
        step = next(step for step in plan.steps if step.late == position)
        return f"the losers of '{scope.prefix}{step.name}', which finish before its next round"
    if position in plan.latch_headers:
        header = plan.topology.name(plan.latch_headers[position])
        return f"the next round of '{header}'"
    activation = scope.active.get(position)
    state = f" ({_STATES[activation.status]})" if activation is not None else ""
    return f"'{scope.prefix}{plan.topology.name(position)}'{state}"


def _list_bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


# ---- the nodes of a flow -------------------------------------------------------------------------
def _find_declaration(run: Run, where: str) -> tuple[str, str, str]:
    """Return the path of the flow that declares a node, the node's name, and its path.

    Raises `InputError` for an unknown or ambiguous name.
    """
    wanted = strip_index(where.partition("#")[0])
    above, _, name = wanted.rpartition("/")
    if _is_declared(run.plan, above, name):
        return above, name, wanted
    flow_by_path = dict(_list_nodes(run.plan))
    paths = [path for path in flow_by_path if path.rpartition("/")[2] == wanted]
    if len(paths) == 1:
        return flow_by_path[paths[0]], wanted, paths[0]
    if paths:
        raise InputError(
            f"There are {len(paths)} nodes '{wanted}': {', '.join(paths)}. Give the path."
        )
    hint = did_you_mean(wanted, list_node_names(run.plan))
    raise InputError(f"The flow '{run.plan.name}' has no node '{wanted}'. {hint}")


def _is_declared(plan: Plan, above: str, name: str) -> bool:
    """Return whether the flow at a path has a node of this name, at any level of a recursion."""
    for part in above.split("/") if above else ():
        inner = next((step.inner_plan for step in plan.steps[:-1] if step.name == part), None)
        if inner is None:
            return False
        plan = inner
    return name in plan.topology.names


def list_node_names(plan: Plan) -> set[str]:
    """Return the path and the name of every declared node, also inside of sub-flows and maps."""
    paths = {path for path, _ in _list_nodes(plan)}
    return paths | {path.rpartition("/")[2] for path in paths}


def _list_tools(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the path of every agent with each of its tools."""
    for path, _, step in _walk(plan):
        for tool in getattr(step.node.fn, "tools", ()):
            if isinstance(getattr(tool, "name", None), str):
                yield path, tool.name


def _list_nodes(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the path of every declared node, and that of its flow."""
    for path, above, _ in _walk(plan):
        yield path, above


def _walk(plan: Plan) -> Iterator[tuple[str, str, Step]]:
    """Yield the path of every declared node, that of its flow, and the node.

    Of a flow that runs itself these are the nodes of the outermost level.
    """
    pending = [("", plan)]
    while pending:
        above, inner = pending.pop()
        for step in inner.steps[:-1]:
            path = f"{above}/{step.name}" if above else step.name
            yield path, above, step
            if step.inner_plan is not None and not step.max_depth:
                pending.append((path, step.inner_plan))
