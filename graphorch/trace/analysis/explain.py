"""Why a node ran, or did not; what it saw, why that model answered, why it cost what it cost; and where a run went wrong.

Reads a run as the core holds it (live, or rebuilt from its records), so every reason is the core's own: the tokens that were consumed,
the edges that were taken, the live positions that block a join.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphorch.core.run import Run
from graphorch.core.tree import Activation, Scope, Status
from graphorch.errors import InputError, did_you_mean
from graphorch.graph.edges import START_INDEX, Edge
from graphorch.trace.conversation.turns import Turn
from graphorch.trace.spans.model import Span, Trace, strip_index
from graphorch.trace.spans.redaction import Redaction

_MOST = 12  # of anything that is listed


@dataclass(slots=True)
class Reasons:
    """What is known about one activation, or about a node that has none: short sentences by question. `path` is "" for the whole run."""

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
    """The activations that a node's name, its path or a path with items names (`work`, `team/work`, `each[3]/work`), `#2` for the second.

    Raises `InputError` if the flow has no such node, or not so many activations.
    """
    name, mark, number = where.partition("#")
    every = [*run.history, *run.unfinished()]
    found = [
        activation
        for activation in every
        if name in (activation.path, strip_index(activation.path))
    ] or [activation for activation in every if activation.step.name == name]
    if not mark:
        return found
    if not number.isdigit() or not 0 < int(number) <= len(found):
        raise InputError(
            f"'{where}': '{name}' ran {len(found)} times. Write {name}#1 to {name}#{max(1, len(found))}, or leave the number out."
        )
    return [found[int(number) - 1]]


def why_it_ran(
    activation: Activation, trace: Trace, turns: Sequence[Turn], redaction: Redaction
) -> Reasons:
    """The reasons for one activation. `saw` is left to the caller, who can rebuild the state of that moment."""
    spans = [
        span
        for span in trace.spans
        if span.path == activation.path and _is_of(span, activation, trace)
    ]
    reasons = Reasons(activation.path, _WORDS[activation.status], activation=activation.id)
    reasons.because = [
        _arrival(activation, token.source, token.edge) for token in activation.tokens
    ]
    if len(activation.tokens) > 1:
        reasons.because.append(
            f"it joins: it waited until nothing live could bring it another token, and consumed these {len(activation.tokens)} at once"
        )
    rounds = [(loop, count) for loop, count in activation.counters.items() if count > 1]
    reasons.because += [
        f"round {count} of the loop back to '{_header(activation, loop)}'" for loop, count in rounds
    ]
    reasons.did = [redaction.text(line) for line in _outcome(activation, spans)]
    if activation.status is Status.ENTERED and activation.children is not None:
        reasons.did.append(
            f"{activation.children.unfinished} of {len(activation.children.updates)} inside are not finished: {_listed(_live_inside(activation))}"
        )
    calls = [span for span in spans if span.kind == "call"]
    about = {
        turn.seq: turn
        for turn in turns
        if turn.kind in ("calls", "unanswered") and turn.path == activation.path
    }
    reasons.model = [line for turn in list(about.values())[:_MOST] for line in _choice(turn)]
    reasons.cost = [redaction.text(line) for line in _costs(calls)]
    return reasons


def why_not(run: Run, where: str) -> Reasons:
    """Why a node has no activation. Raises `InputError` if the flow has no such node."""
    scope_path, name, path = _declared(run, where)
    scopes = [
        scope for scope in _scopes(run) if strip_index(scope.prefix.rstrip("/")) == scope_path
    ]
    reasons = Reasons(path, "did not run")
    if not scopes:
        above = scope_path.rpartition("/")[2]
        reasons.because.append(f"'{scope_path}', which it is part of, did not run")
        parent = why_not(run, scope_path) if not find_activations(run, scope_path) else None
        if parent is not None:
            reasons.because += parent.because
        else:
            reasons.because.append(f"'{above}' began and nothing was started inside of it")
        return reasons
    for scope in scopes:
        reasons.because += _absence(run, scope, name, set())
    reasons.because = list(dict.fromkeys(reasons.because))
    if run.stopping or run.status in ("failed", "stopped"):
        reasons.because.append(
            f"the run is {run.status} ({run.reason}): nothing new starts until it is resumed"
        )
    return reasons


def _absence(run: Run, scope: Scope, name: str, seen: set[int]) -> list[str]:
    """Why a node of a scope did not fire: what happened at the nodes before it, as far back as something did happen."""
    shape = scope.plan.topology
    index = scope.plan.end if name == "END" else shape.names.index(name)
    if index in seen:
        return []
    seen.add(index)
    waiting = scope.waiting.get(index)
    if waiting:
        blockers = [
            _position(scope, at)
            for at in _bits(scope.live_positions & scope.plan.steps[index].blockers)
        ]
        came = _listed([shape.name(token.edge.source) for token in waiting])
        if blockers:
            return [
                f"it holds {len(waiting)} token(s), from {came}, and waits for {_listed(blockers)}, which can still bring it another one"
            ]
        return [
            f"it holds {len(waiting)} token(s), from {came}, and was not started any more: the run stopped before"
        ]
    reasons: list[str] = []
    for edge in shape.entering[index]:
        reasons += _not_taken(run, scope, edge, seen)
    return reasons


def _not_taken(run: Run, scope: Scope, edge: Edge, seen: set[int]) -> list[str]:
    """Why nothing came along one edge."""
    shape = scope.plan.topology
    if edge.source == START_INDEX:
        return [] if run.started else ["the run was not started"]
    source = shape.name(edge.source)
    path = f"{scope.prefix}{source}"
    done = [
        item
        for item in [*run.history, *run.unfinished()]
        if item.scope is scope and item.step.index == edge.source
    ]
    if not done:
        return (
            []
            if edge.kind == "loop"
            else [f"'{path}' did not run", *_absence(run, scope, source, seen)]
        )
    reasons: list[str] = []
    for activation in done:
        if activation.status is Status.DONE and edge not in activation.taken_edges:
            went = (
                _listed([shape.name(taken.target) for taken in activation.taken_edges]) or "nowhere"
            )
            said = "its route" if edge.kind == "routed" else "it"
            if edge.kind not in ("loop", "error"):
                reasons.append(
                    f"after '{path}' {said} went to {went}{_labels(activation.taken_edges)}, not here"
                )
        elif activation.status is Status.HANDLED and edge not in activation.taken_edges:
            reasons.append(
                f"'{path}' failed ({_failure(activation)}), and its error edge went to {_listed([shape.name(taken.target) for taken in activation.taken_edges])}"
            )
        elif activation.status in (Status.FAILED, Status.SKIPPED):
            reasons.append(
                f"'{path}' {'was passed over' if isinstance(activation.failure, str) else 'failed'}: {_failure(activation)}"
            )
        elif activation.status is Status.CANCELLED:
            reasons.append(f"'{path}' was cancelled")
        elif not activation.is_over:
            reasons.append(f"'{path}' is not finished: {_WORDS[activation.status]}")
    return reasons


# ---- the whole run -------------------------------------------------------------------------------
def why_the_run(run: Run, trace: Trace, redaction: Redaction) -> Reasons:
    """How a run came to stand where it stands: the failures that ended it, the innermost first, or what it waits for; and what it survived."""
    reasons = Reasons(
        "",
        f"{trace.status}{f' ({trace.reason})' if trace.reason not in ('', trace.status) else ''}",
    )
    failed = [
        error
        for error in run.errors
        if error.status is Status.FAILED or error.status is Status.SKIPPED
    ]
    roots = [
        item
        for item in failed
        if not any(other.path.startswith((f"{item.path}/", f"{item.path}[")) for other in failed)
    ]
    for activation in roots:
        around = [above.path for above in _around(activation)]
        inside = (
            f", which took {' and '.join(repr(path) for path in around)} with it" if around else ""
        )
        reasons.because.append(
            redaction.text(
                f"'{activation.path}' failed in attempt {activation.attempt}: {_failure(activation)}{inside}"
            )
        )
    for activation in run.questions():
        reasons.because.append(
            f"'{activation.path}' waits for a person: {redaction.text(str(getattr(activation.question, 'text', '')))}"
        )
    if run.stopping and not roots:
        reasons.because.append(f"it was stopped: {run.stopping}")
    if trace.status == "crashed":
        lost = [
            span.path
            for span in trace.spans
            if span.status == "lost" and span.kind in ("node", "flow")
        ]
        under_way = [item.path for item in run.unfinished() if item.status is Status.RUNNING]
        reasons.because.append(
            f"its process is gone; under way were {_listed(list(dict.fromkeys([*lost, *under_way])))}. `resume` goes on with it"
        )
    elif trace.status == "running":
        reasons.because.append(
            f"it is under way: {_listed([item.path for item in run.unfinished() if item.status is not Status.ENTERED])}"
        )
    reasons.did = [
        f"the loop '{source} → {header}' reached its bound" for source, header in run.exhausted
    ]
    survived = [
        span
        for span in trace.spans
        if span.kind == "attempt"
        and span.status == "failed"
        and span.path not in {root.path for root in roots}
    ]
    reasons.did += [
        redaction.text(
            f"survived: '{span.path}' attempt {span.attempt}: {span.error}: {span.message}"
        )
        for span in survived[:_MOST]
    ]
    calls = [span for span in trace.spans if span.kind == "call" and not span.is_copy]
    reasons.cost = _costs(calls)
    if trace.budget:
        reasons.cost.append(
            f"{sum(span.usd for span in calls) / trace.budget:.0%} of its budget of ${trace.budget:g}"
        )
    return reasons


# ---- parts ---------------------------------------------------------------------------------------
def _is_of(span: Span, activation: Activation, trace: Trace) -> bool:
    """Whether a span belongs to this activation and not to another one of its path."""
    node = activation.id[:16]
    if span.id == node or span.parent == node:
        return True
    attempts = {item.id for item in trace.spans if item.parent == node}
    return span.parent in attempts


def _arrival(activation: Activation, source: Activation | None, edge: Edge) -> str:
    shape = activation.scope.plan.topology
    if source is None:
        around = activation.scope.parent
        return "the flow begins with it" if around is None else f"'{around.path}' begins with it"
    match edge.kind:
        case "routed":
            return f"the route after '{source.path}' chose it{_labels([edge])}"
        case "loop":
            return f"'{source.path}' went back to it: the loop '{shape.name(edge.source)} → {activation.step.name}' held and had room"
        case "exhausted":
            return f"the loop at '{source.path}' was used up, and this is where it leads then"
        case "error":
            return f"'{source.path}' failed ({_failure(source)}), and this handles it"
        case _:
            return f"'{source.path}' was done, and leads here"


def _outcome(activation: Activation, spans: Sequence[Span]) -> Iterator[str]:
    for span in spans:
        if span.kind == "attempt" and span.status in ("failed", "cancelled", "lost"):
            yield f"attempt {span.attempt} {span.status} after {span.seconds or 0.0:.3g} s: {span.error}: {span.message}".rstrip(
                ": "
            )
    if activation.update is not None:
        seconds = next(
            (span.seconds for span in spans if span.kind in ("node", "flow", "ask")), None
        )
        names = [activation.scope.plan.schema.fields[index].name for index in activation.update]
        took = f" in {seconds:.3g} s" if seconds is not None else ""
        yield f"wrote {_listed(names) or 'nothing'}{took}"
    elif isinstance(activation.failure, str):
        yield f"was passed over: {activation.failure}"
    if activation.taken_edges:
        shape = activation.scope.plan.topology
        yield f"went on to {_listed([shape.name(edge.target) for edge in activation.taken_edges])}{_labels(activation.taken_edges)}"


def _choice(turn: Turn) -> list[str]:
    if turn.decision:
        return turn.decision.splitlines()
    failed = " and did not answer" if turn.kind == "unanswered" else ""
    return [f"'{turn.model}' was asked{failed}: the node or the run names it, and no policy chose"]


def _costs(calls: Sequence[Span]) -> list[str]:
    if not calls:
        return []
    lines = [
        f"{span.model}: ${span.usd:.6f} ({_SOURCES.get(span.usd_source, span.usd_source)}) for {span.input_tokens} + {span.output_tokens} tokens"
        f"{f', {span.cached_tokens} of them cached' if span.cached_tokens else ''}{_extras(span)}"
        for span in calls[:_MOST]
    ]
    if len(calls) > _MOST:
        lines.append(f"and {len(calls) - _MOST} more calls")
    return [*lines, f"${sum(span.usd for span in calls):.6f} in all"] if len(calls) > 1 else lines


_SOURCES = {
    "reported": "reported by the endpoint", "table": "by the price list", "free": "nobody charges for it", "none": "the price is not known",
    "": "no bill",
}  # fmt: skip


def _extras(span: Span) -> str:
    parts = [
        f"{count} {what}"
        for count, what in (
            (span.retries, "retries"),
            (span.fallbacks, "fallbacks"),
            (span.hedges, "hedges"),
        )
        if count
    ]
    parts += ["from the cache"] if span.from_cache else []
    parts += [f"failed: {span.error}"] if span.error else []
    return f" ({', '.join(parts)})" if parts else ""


def _failure(activation: Activation) -> str:
    error = activation.failure
    if isinstance(error, Exception):
        return f"{getattr(error, 'kind', None) or type(error).__name__}: {error}"
    return str(error or "cancelled")


def _labels(edges: Iterable[Edge]) -> str:
    found = [str(label) for edge in edges if edge.kind == "routed" for label in edge.labels]
    return f" (label {', '.join(found)})" if found else ""


def _header(activation: Activation, loop: int) -> str:
    shape = activation.scope.plan.topology
    return shape.name(shape.loops[loop].header)


def _around(activation: Activation) -> Iterator[Activation]:
    above = activation.scope.parent
    while above is not None:
        yield above
        above = above.scope.parent


def _scopes(run: Run) -> Iterator[Scope]:
    yield run.root
    for activation in [*run.history, *run.unfinished()]:
        if activation.children is not None:
            yield from activation.children.scopes


def _live_inside(activation: Activation) -> list[str]:
    inner = activation.children
    return [
        item.path
        for scope in (inner.scopes if inner is not None else ())
        for item in scope.active.values()
    ]


def _declared(run: Run, where: str) -> tuple[str, str, str]:
    """Where a node is declared: the path of its flow, its name, its path. Raises `InputError`."""
    wanted = strip_index(where.partition("#")[0])
    known = dict(_nodes(run))
    if wanted in known:
        return known[wanted], wanted.rpartition("/")[2], wanted
    by_name = [path for path in known if path.rpartition("/")[2] == wanted]
    if len(by_name) == 1:
        return known[by_name[0]], wanted, by_name[0]
    if by_name:
        raise InputError(
            f"There are {len(by_name)} nodes '{wanted}': {', '.join(by_name)}. Give the path."
        )
    raise InputError(
        f"The flow '{run.plan.name}' has no node '{wanted}'. {did_you_mean(wanted, {*known, *(path.rpartition('/')[2] for path in known)})}"
    )


def _nodes(run: Run) -> Iterator[tuple[str, str]]:
    """Every declared node: its path, and the path of its flow."""
    pending = [("", run.plan)]
    while pending:
        above, plan = pending.pop()
        for step in plan.steps[:-1]:
            path = f"{above}/{step.name}" if above else step.name
            yield path, above
            if step.inner_plan is not None:
                pending.append((path, step.inner_plan))


def _position(scope: Scope, at: int) -> str:
    plan = scope.plan
    if at in plan.latch_headers:
        return f"the next round of '{plan.topology.name(plan.latch_headers[at])}'"
    activation = scope.active.get(at)
    state = f" ({_WORDS[activation.status]})" if activation is not None else ""
    return f"'{scope.prefix}{plan.topology.name(at)}'{state}"


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _listed(parts: Sequence[str]) -> str:
    shown = ", ".join(parts[:_MOST])
    return f"{shown} and {len(parts) - _MOST} more" if len(parts) > _MOST else shown


_WORDS = {
    Status.RUNNING: "running",
    Status.ROUTING: "waiting for its route",
    Status.RETRYING: "waiting for its next attempt",
    Status.ENTERED: "running inside",
    Status.AWAITING_ANSWER: "waiting for a person",
    Status.FAILED: "failed",
    Status.DONE: "done",
    Status.HANDLED: "failed, and handled",
    Status.SKIPPED: "a dead path",
    Status.CANCELLED: "cancelled",
}
