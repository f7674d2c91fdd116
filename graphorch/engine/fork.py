"""A run as it would have gone with something changed: which records stay true, and what differs in the end.

Theory of operation. Changing what an activation wrote (or running it again) makes untrue exactly what depends on it: its causal
descendants, everything inside a descendant, and the outcome of each sub-flow or map that it lies in (but not the other work inside).
All other records are copied, with their ids, and the core is given them in the old order; it then has open what has to be done anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status
from graphorch.engine.report import RunReport as RunRecord
from graphorch.errors import InputError, did_you_mean
from graphorch.journal.records import Record

# kinds that say how an activation went
_ENDS = ("commit", "routed", "failed", "skipped", "starting", "call", "unanswered")
# kinds that a fork does not take over
_OF_THE_RUN = (
    "forked",
    "migrated",
    "rules",
    "stopping",
    "grace",
    "resumed",
    "ended",
    "retry",
    "cancelled",
)


def find_activation(run: Run, where: str) -> Activation:
    """The activation that `node`, `node#2` (the second one) or `team/node` names. Raises `InputError`."""
    name, _, number = where.partition("#")
    done = [
        activation
        for activation in run.history
        if activation.status in (Status.DONE, Status.HANDLED)
    ]
    found = [activation for activation in done if name in (activation.path, activation.step.name)]
    index = int(number) - 1 if number.isdigit() else 0
    if found and 0 <= index < len(found) and (not number or number.isdigit()):
        return found[index]
    if found:
        raise InputError(
            f"'{where}': '{name}' was done {len(found)} times in run {run.run_id}. Use #1 to #{len(found)}."
        )
    raise InputError(
        f"'{name}' was not done in run {run.run_id}. {did_you_mean(name, [activation.path for activation in done])}"
    )


def find_affected(run: Run, change: Activation) -> tuple[set[str], set[str]]:
    """The ids of the activations that depend on a change, itself included, and of those around it, whose outcome does."""
    around: list[Activation] = []
    above = change.scope.parent
    while above is not None:
        around.append(above)
        above = above.scope.parent
    changed = {change, *around}
    everything = [*run.history, *run.unfinished()]
    grown = True
    while grown:
        grown = False
        for activation in everything:
            if activation not in changed and _depends(activation, changed, around):
                changed.add(activation)
                grown = True
    return {item.id for item in changed if item not in around}, {item.id for item in around}


def select_records(records: Sequence[Record], gone: set[str], around: set[str]) -> list[Record]:
    """The records that stay true, numbered from 2; record 1 of a fork says where they come from."""
    copied: list[Record] = []
    for record in records:
        body: dict[str, Any] = record.body
        if (
            record.kind in _OF_THE_RUN
            or body.get("id") in gone
            or (body.get("id") in around and record.kind in _ENDS)
        ):
            continue
        if record.kind == "failed" and body["handler"] < 0:
            continue  # an attempt that was repeated, or that stopped the old run
        if record.kind == "failed":
            body = {**body, "attempt": 1, "retry_after": None}
        if record.kind == "started":
            # the fork has its own
            body = {name: value for name, value in body.items() if name != "rules"}
        copied.append(Record(len(copied) + 2, record.kind, body))
    return copied


def find_effects(run: Run, gone: set[str]) -> list[Activation]:
    """The affected activations whose effect on the world would happen again, under another key."""
    return [
        activation
        for activation in run.history
        if activation.id in gone and activation.step.node.options.effect != "pure"
    ]


@dataclass(frozen=True, slots=True)
class Difference:
    """What a changed run did otherwise than the old one. `fields` holds (old, new) by field; the rest is new minus old."""

    old_run: str
    new_run: str
    fields: dict[str, tuple[Any, Any]]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    ran: tuple[str, ...]
    usd: float
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"{self.new_run} beside {self.old_run}: ran again: {', '.join(self.ran) or 'nothing'}"
        ]
        lines += [f"  only before: {path}" for path in self.only_old] + [
            f"  only now: {path}" for path in self.only_new
        ]
        lines += [
            f"  {name}: {_short(before)} → {_short(now)}"
            for name, (before, now) in self.fields.items()
        ]
        lines.append(f"  cost {self.usd:+.4f} $, time {self.seconds:+.2f} s")
        return "\n".join(lines)


def compare_runs(old: RunRecord, new: RunRecord, copied: set[str]) -> Difference:
    """How two runs differ in path, state, cost and latency; `copied` are the ids that the new one took over."""
    # both have come to their end
    before, now = (
        (_state(old.run), _state(new.run))
        if old.run.root.output and new.run.root.output
        else ({}, {})
    )
    fields = {
        name: (before.get(name), now.get(name))
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    }
    old_paths, new_paths = (
        [activation.path for activation in old.run.history],
        [activation.path for activation in new.run.history],
    )
    ran = [activation for activation in new.run.history if activation.id not in copied]
    return Difference(
        old.run_id,
        new.run_id,
        fields,
        tuple(_beyond(old_paths, new_paths)),
        tuple(_beyond(new_paths, old_paths)),
        tuple(activation.path for activation in ran),
        new.usd - old.usd,
        sum(activation.ended_at - activation.started_at for activation in ran)
        - sum(
            activation.ended_at - activation.started_at
            for activation in old.run.history
            if activation.id not in copied
        ),
    )


def _depends(activation: Activation, changed: set[Activation], around: list[Activation]) -> bool:
    """Whether an activation consumed something that changed, or lies inside something that began because of it."""
    if any(token.source in changed for token in activation.tokens if token.source is not None):
        return True
    parent = activation.scope.parent
    return parent is not None and parent in changed and parent not in around


def _state(run: Run) -> dict[str, Any]:
    assert run.root.output is not None
    return run.plan.read_state.read(run.root.output).model_dump()


def _beyond(paths: list[str], others: list[str]) -> list[str]:
    left = list(others)
    found: list[str] = []
    for path in paths:
        if path in left:
            left.remove(path)
        else:
            found.append(path)
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:119]}…"
