"""Fork a run with something changed: which records stay true, and how the outcomes differ.

Theory of operation. Changing what an activation wrote, or running it again, makes untrue exactly
what depends on it: its causal descendants, everything inside a descendant, and the outcome of each
sub-flow or map around it (but not the other work in there). What an item of a map grew depends on
the item. The next iteration of a loop begins once the late work of the one before has ended, so it
depends on that, too. All other records are copied, with their ids, and given to the core in the old
order; what is to be done anew is then open there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from graphorch.core.run import Run
from graphorch.core.tree import (
    Activation,
    ReviewedScopes,
    Status,
    ToolScope,
    format_place,
)
from graphorch.engine.report import RunReport
from graphorch.errors import InputError, did_you_mean
from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.records import Record
from graphorch.state.identity import is_identical, list_parts
from graphorch.state.marks import HIDDEN
from graphorch.text import format_dollars, format_usd, truncate_repr

OUTCOME_KINDS: Final[frozenset[RecordKind]] = frozenset(
    {"commit", "routed", "failed", "skipped", "starting", "sending", "call", "unanswered"}
)
"""Kinds of records that say how an activation went."""

DROPPED_KINDS: Final[frozenset[RecordKind]] = frozenset(
    {
        "forked",
        "pinned",
        "migrated",
        "rules",
        "stopping",
        "grace",
        "continued",
        "resumed",
        "ended",
        "retry",
        "cancelled",
    }
)
"""Kinds of records that concern the old run only."""

_FAILED: Final = frozenset({Status.FAILED, Status.SKIPPED, Status.CANCELLED})

_CALL_KINDS: Final[frozenset[RecordKind]] = frozenset({"sending", "call", "unanswered"})

_LONGEST_VALUE: Final = 120  # characters of a value in a difference


def find_activation(run: Run, where: str) -> Activation:
    """Return the activation that `node`, `node#2` (the second one) or `team/node` names.

    Raises `InputError` if it does not exist or did not end.
    """
    name, _, number = where.partition("#")
    ended: list[Activation] = []
    for activation in run.history:
        if activation.scope.is_undo:
            continue
        agent = _find_agent(activation)
        if agent is not None and where in (activation.path, activation.step.name):
            raise _build_inside_call(activation, agent)
        if agent is None and activation.status in (Status.DONE, Status.HANDLED):
            ended.append(activation)
    matches = [
        activation for activation in ended if name in (activation.path, activation.step.name)
    ]
    if not matches:
        hint = did_you_mean(name, [activation.path for activation in ended])
        raise InputError(f"'{name}' was not done in run {run.run_id}. {hint}")
    is_number = not number or number.isdigit()
    index = int(number) - 1 if number.isdigit() else 0
    if is_number and 0 <= index < len(matches):
        return matches[index]
    raise InputError(
        f"'{where}': '{name}' was done {len(matches)} times in run {run.run_id}. "
        f"Use #1 to #{len(matches)}."
    )


def _find_agent(activation: Activation) -> Activation | None:
    """Return the outermost node for whose tool calls an activation runs; None outside of any."""
    agent, inner = None, activation
    while (outer := inner.scope.parent) is not None:
        if isinstance(inner.scope, ToolScope):
            agent = outer
        inner = outer
    return agent


def _build_inside_call(activation: Activation, agent: Activation) -> InputError:
    return InputError(
        f"'{activation.path}' is what the model of '{agent.path}' asked for, so nothing can start "
        f"there. Start at '{agent.path}': effects=\"serve\" gives each call that the model repeats "
        "what it returned."
    )


def find_affected(run: Run, change: Activation) -> tuple[set[str], set[str]]:
    """Return ids of what depends on a change, and ids of the activations around the change.

    The first set includes the change. Of those around it, only the outcome depends on it.
    """
    around = _list_around(change)
    affected = {change, *around, *_find_rivals(run, [change, *around])}
    candidates = [*run.history, *run.unfinished()]
    followers = _find_followers(candidates)
    # Activations are not in causal order, so repeat until nothing is added.
    has_grown = True
    while has_grown:
        has_grown = False
        for activation in candidates:
            if activation not in affected and (
                _depends(activation, affected, around)
                or not affected.isdisjoint(followers.get(activation, ()))
            ):
                affected.add(activation)
                has_grown = True
    # What was undone in the old run was not undone in the fork.
    undos = {activation for activation in candidates if activation.scope.is_undo}
    descendants = {activation.id for activation in affected | undos if activation not in around}
    return descendants, {activation.id for activation in around}


def _find_rivals(run: Run, reopened: Sequence[Activation]) -> list[Activation]:
    """Return what is open in an exclusive region that something reopened holds again.

    It came later in the old run, and is done anew in the fork: both cannot go on at once.
    """
    regions = {name for activation in reopened for name in activation.step.exclusive}
    return [
        activation
        for activation in run.unfinished()
        if activation not in reopened and not regions.isdisjoint(activation.step.exclusive)
    ]


def _list_around(change: Activation) -> list[Activation]:
    """Return the sub-flows and maps around a change whose outcome depends on it.

    That of a map does not depend on its late items.
    """
    around: list[Activation] = []
    scope = change.scope
    while True:
        if scope.late is not None and not scope.late.is_region:
            scope = scope.late.host
        elif (parent := scope.parent) is not None:
            around.append(parent)
            scope = parent.scope
        else:
            return around


def _find_followers(candidates: Sequence[Activation]) -> dict[Activation, set[Activation]]:
    """Return for each header of a loop what it waited for as late work, or would have, if late.

    No token leads there. Yet the next iteration begins only once late work has ended, so its
    records do not fit a run in which that is to be done again.
    """
    if not any(item.scope.plan.late_positions for item in candidates):
        return {}
    followers: dict[Activation, set[Activation]] = {}
    ended: list[tuple[Activation, str, int]] = []
    for item in candidates:
        waits_for = item.step.blockers & item.scope.plan.late_positions
        if waits_for:
            before = {
                other
                for other, prefix, positions in ended
                if positions & waits_for and prefix == item.scope.prefix
            }
            followers[item] = before
        ended += [(item, prefix, positions) for prefix, positions in _list_late_positions(item)]
    return followers


def _list_late_positions(activation: Activation) -> Iterator[tuple[str, int]]:
    """Yield the scopes, by prefix, in which an activation may be late work, and as which."""
    level: Activation | None = activation
    while level is not None:
        steps = level.scope.plan.steps
        positions = 0
        for step in steps if level.scope.plan.late_positions else ():
            is_inside = step is level.step and level is not activation
            if is_inside or level.step.index in step.region:
                positions |= step.late_bit
        if positions:
            yield level.scope.prefix, positions
        level = level.scope.parent


def find_survived(run: Run, around: set[str]) -> set[str]:
    """Return ids of what failed for good inside of a sub-flow or map whose outcome holds it.

    A map left the item out, or an error edge handled the failure of the whole. A map or sub-flow
    `around` a change that failed is tried again instead, with what failed inside.
    """
    return {
        activation.id
        for activation in run.history
        if activation.status in _FAILED and _is_survived(activation, around)
    }


def _is_survived(activation: Activation, around: set[str]) -> bool:
    outer = activation.scope.parent
    while outer is not None:
        is_retried = outer.id in around and outer.status is not Status.DONE
        if outer.status in (Status.DONE, Status.HANDLED) and not is_retried:
            return True
        outer = outer.scope.parent
    return False


def find_open_reviews(run: Run, gone: set[str], around: set[str]) -> set[tuple[str, str]]:
    """Return the reviews of items that are made anew, by the id of their map and the item.

    `gone` and `around` are the ids that `find_affected` returns.
    """
    reviews: set[tuple[str, str]] = set()
    for activation in (*run.history, *run.unfinished()):
        parent = activation.scope.parent
        is_affected = activation.id in gone or activation.id in around
        if is_affected and parent is not None and isinstance(parent.children, ReviewedScopes):
            reviews.add((parent.id, format_place(activation.scope.place)))
    return reviews


def select_records(
    records: Sequence[Record],
    gone: set[str],
    around: set[str],
    budget: dict[str, float] | None = None,
    *,
    survived: Set[str] = frozenset(),
    open_reviews: Set[tuple[str, str]] = frozenset(),
) -> list[Record]:
    """Return the records that stay true, numbered from 2: record 1 of a fork names its origin.

    `gone` and `around` are the ids that `find_affected` returns, `survived` those of
    `find_survived`, and `open_reviews` are those of `find_open_reviews`; `budget` is that of the
    new run.
    """
    copies: list[Record] = []
    begun_anew = _find_retries(records)
    taken = _find_taken_signals(records, gone | around)
    for record in records:
        is_outdated = record.seq in taken or (
            record.kind in _CALL_KINDS
            and record.seq < begun_anew.get(record.body["id"], 0)
            and not _led_to_calls(record)
        )
        if record.kind == "reviewed":
            is_outdated = _is_open_review(record, records, around, survived, open_reviews)
        if not is_outdated and _stays_true(record, gone, around, survived):
            body = _adapt_body(record.kind, record.body, budget)
            copies.append(Record(len(copies) + 2, record.kind, body))
    return copies


def _is_open_review(
    record: Record,
    records: Sequence[Record],
    around: set[str],
    survived: Set[str],
    open_reviews: Set[tuple[str, str]],
) -> bool:
    """Return whether a map has to decide again after an item.

    So it is if the item is made anew, and if the decision was the outcome of a map around the
    change. A review that failed stays true if it is the failure of a map that another node handled,
    or that was left out.
    """
    body = record.body
    if "failure" not in body:
        is_outcome = body["enough"] and body["id"] in around
        return is_outcome or (body["id"], body["item"]) in open_reviews
    for later in records[record.seq :]:
        if later.body.get("id") == body["id"] and later.kind in ("reviewed", "failed"):
            is_kept = later.kind == "failed" and _stays_true(later, set(), around, survived)
            return body["id"] in around or not is_kept
    return True


def _find_taken_signals(records: Sequence[Record], anew: set[str]) -> set[int]:
    """Return the numbers of the signals that ended a sub-flow or map which is done anew.

    They would end it in the fork before anything is done in it.
    """
    waiting: dict[tuple[str, str], str] = {}
    taken: set[int] = set()
    for record in records:
        body = record.body
        if record.kind == "entered" and body.get("signal") and body["id"] in anew:
            waiting[body["signal"], body.get("key", "")] = body["id"]
        elif record.kind == "signal":
            if waiting.pop((body["name"], body.get("key", "")), None) is not None:
                taken.add(record.seq)
        elif record.kind == "commit" and body["id"] in waiting.values():
            waiting = {signal: id for signal, id in waiting.items() if id != body["id"]}
    return taken


def _led_to_calls(record: Record) -> bool:
    """Return whether a model's answer led to calls of tools, which no retry makes again."""
    return record.kind == "call" and bool(record.body["response"].get("tool_calls"))


def _find_retries(records: Sequence[Record]) -> dict[str, int]:
    """Return the number of the last retry of each activation that has not ended.

    The fork attempts it again, and serves it what its last attempt was answered.
    """
    retries: dict[str, int] = {}
    for record in records:
        if record.kind == "retry":
            retries[record.body["id"]] = record.seq
        elif record.kind == "commit":
            retries.pop(record.body["id"], None)
    return retries


def _stays_true(record: Record, gone: set[str], around: set[str], survived: Set[str]) -> bool:
    kind, activation = record.kind, record.body.get("id")
    if kind in DROPPED_KINDS or activation in gone:
        return False
    if activation in around and kind in OUTCOME_KINDS:
        return False
    if kind != "failed" or record.body["handler"] >= 0:
        return True
    # Another failure that is not handled was retried, or stopped the old run.
    return activation in survived and record.body["retry_after"] is None


def _adapt_body(kind: str, body: dict[str, Any], budget: dict[str, float] | None) -> dict[str, Any]:
    if "late" in body:  # whether it is late is decided anew
        body = {name: value for name, value in body.items() if name != "late"}
    if kind == "failed":
        kept = {name: value for name, value in body.items() if name != "undoes"}
        return {**kept, "attempt": 1, "retry_after": None}
    if kind == "started":
        # The fork has its own rules and its own budget.
        kept = {name: value for name, value in body.items() if name not in ("rules", "budget")}
        return kept if budget is None else {**kept, "budget": budget}
    return body


def find_effects(run: Run, gone: set[str]) -> list[Activation]:
    """Return the affected activations whose effect on the world would happen under another key."""
    return [
        activation
        for activation in run.history
        if activation.id in gone
        and activation.step.node.options.effect != "pure"
        and activation.status is not Status.SKIPPED
        and not activation.scope.is_undo
        and not _was_refused(activation)
    ]


def _was_refused(activation: Activation) -> bool:
    """Return whether a person did not let a tool be called, or answered instead of it."""
    if not isinstance(activation.scope, ToolScope) or activation.update is None:
        return False
    plan = activation.scope.plan
    assert activation.scope.output is not None
    return plan.read_output.result(activation.scope.output).outcome in ("refused", "answered")


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of a changed run from the old one.

    `fields` holds (old, new) by field; `ran` what the new run did not take over: what it ran, and
    the node whose output it was given. `usd` and `seconds` are new minus old. `unpriced` counts the
    requests of both whose dollars are not known. `paid_usd` is what the new run paid itself, and
    `kept_usd` what was paid before for what it took over.
    """

    old_run: str
    new_run: str
    fields: dict[str, tuple[Any, Any]]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    ran: tuple[str, ...]
    usd: float
    unpriced: int
    seconds: float
    paid_usd: float
    kept_usd: float

    def __str__(self) -> str:
        ran = ", ".join(self.ran) or "nothing"
        lines = [f"{self.new_run} beside {self.old_run}: done anew: {ran}"]
        lines += [f"  only before: {path}" for path in self.only_old]
        lines += [f"  only now: {path}" for path in self.only_new]
        for name, (before, now) in self.fields.items():
            old_value = truncate_repr(before, _LONGEST_VALUE)
            new_value = truncate_repr(now, _LONGEST_VALUE)
            lines.append(f"  {name}: {old_value} → {new_value}")
        sign = "-" if self.usd < 0 else "+"
        cost = f"{sign}{format_dollars(abs(self.usd))} $"
        if self.unpriced:
            cost = f"{cost} and calls of unknown price" if self.usd else "unknown"
        lines.append(f"  cost {cost}, time {self.seconds:+.2f} s")
        if self.paid_usd or self.kept_usd:
            paid, kept = format_usd(self.paid_usd), format_usd(self.kept_usd)
            lines.append(f"  paid {paid} for what it ran; what it took over had cost {kept}")
        return "\n".join(lines)


def compare_runs(old: RunReport, new: RunReport, copied: set[str]) -> Difference:
    """Return how two runs differ in path, state, cost and latency.

    `copied` are the ids of activations that the new run took over.
    """
    old_paths = [activation.path for activation in old.run.history]
    new_paths = [activation.path for activation in new.run.history]
    old_ran = [activation for activation in old.run.history if activation.id not in copied]
    new_ran = [activation for activation in new.run.history if activation.id not in copied]
    return Difference(
        old_run=old.run_id,
        new_run=new.run_id,
        fields=_compare_states(old.run, new.run),
        only_old=tuple(_subtract(old_paths, new_paths)),
        only_new=tuple(_subtract(new_paths, old_paths)),
        ran=tuple(activation.path for activation in new_ran),
        usd=_sum_usd(new) - _sum_usd(old),
        unpriced=sum(call.charge.unpriced for _, call in (*old.calls, *new.calls)),
        seconds=_sum_seconds(new_ran) - _sum_seconds(old_ran),
        paid_usd=new.usd,
        kept_usd=_sum_usd(new) - new.usd,
    )


def _depends(activation: Activation, affected: set[Activation], around: list[Activation]) -> bool:
    """Return whether an activation consumed something affected, or lies inside such a thing."""
    sources = [token.source for token in activation.tokens if token.source is not None]
    if any(source in affected for source in sources):
        return True
    scope = activation.scope
    parent = scope.parent
    if parent is None:
        return False
    if isinstance(parent.children, ReviewedScopes):
        grower = parent.children.parents.get(scope.place)
        items = {item.scope.place for item in affected if item.scope.parent is parent}
        if grower in items:
            return True
    return parent in affected and parent not in around


def _compare_states(old: Run, new: Run) -> dict[str, tuple[Any, Any]]:
    """Return (old, new) of each field that differs; nothing unless both runs reached their end."""
    before, now = _read_state(old), _read_state(new)
    if before is None or now is None:
        return {}
    marked = new.plan.marked
    secrets = marked.secrets if marked is not None else ()
    differing = [
        name for name in sorted({*before, *now}) if not _is_equal(before.get(name), now.get(name))
    ]
    return {
        name: (HIDDEN, HIDDEN) if name in secrets else (before.get(name), now.get(name))
        for name in differing
    }


def _is_equal(before: Any, now: Any) -> bool:
    """Return whether two values are the same for people: NaN is, and so are two names of a zone."""
    if is_identical(before, now):
        return True
    try:
        return bool(before == now)
    except Exception:  # the class is a user's: `==` may raise, or return an array
        return False


def _read_state(run: Run) -> dict[str, Any] | None:
    """Return the values of the state at the end; not as JSON, which leaves fields out."""
    output = run.root.output
    return list_parts(run.plan.read_state.read(output)) if output else None


def _sum_usd(report: RunReport) -> float:
    """Return what all that is in a run cost, also what another run paid for."""
    return sum(call.charge.usd for _, call in report.calls)


def _sum_seconds(activations: Iterable[Activation]) -> float:
    """Return the seconds of all that ended; what was cancelled has no end of its own."""
    return sum(
        activation.ended_at - activation.started_at
        for activation in activations
        if activation.ended_at
    )


def _subtract(paths: list[str], others: list[str]) -> list[str]:
    """Return the paths that occur more often than in `others`, in order."""
    remaining = list(others)
    left: list[str] = []
    for path in paths:
        if path in remaining:
            remaining.remove(path)
        else:
            left.append(path)
    return left
