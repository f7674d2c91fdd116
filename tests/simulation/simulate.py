"""Run random graphs under random schedules; compare each run with the reference and others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphorch.errors import WriteConflict
from tests.simulation.driver import Broken, Outcome, Schedule, drive
from tests.simulation.graphs import Sample, random_graph
from tests.simulation.reference import (
    Conflict,
    Result,
    Stuck,
    TooLong,
    lead_reference,
    run_reference,
)

CALM: dict[str, dict[str, Any]] = {
    "free": {},
    "one at a time": {"limit": 1},
    "two at a time": {"limit": 2},
    "late and doubled events": {"stale": 12, "retries": 12},
    "retries": {"retries": 25, "limit": 4},
}
STOPPING: dict[str, dict[str, Any]] = {
    "stops": {"stops": 8, "stale": 8},
    "failures": {"failures": 8, "grace": 5},
    "cancelled by failures": {"failures": 6, "policy": "cancel"},
    "questions": {"asks": 20, "limit": 4},
    "limits on activations": {"activations": 4},
    "everything": {"stops": 3, "failures": 3, "retries": 10, "asks": 10, "stale": 5, "limit": 3},
}
EVENTS: dict[str, dict[str, Any]] = {
    "early and late": {"happens": 25},
    "one at a time, late": {"happens": 10, "limit": 1},
    "late and doubled events, retries": {"happens": 20, "stale": 10, "retries": 10},
    "crashes": {"happens": 20, "crashes": 8, "limit": 3},
    "crashes of all kinds": {"happens": 15, "crashes": 5, "retries": 10, "asks": 10},
    "stops": {"happens": 20, "stops": 8},
    "failures": {"happens": 20, "failures": 6, "grace": 5},
    "everything": {
        "happens": 15,
        "crashes": 3,
        "stops": 3,
        "failures": 3,
        "retries": 8,
        "asks": 8,
        "stale": 5,
        "limit": 3,
    },
    "limits on activations": {"happens": 20, "activations": 4, "crashes": 3},
}
LONGEST = 10_000  # activations in a reference that follows a run
# a stop lets branches of a race finish that would have been cancelled
SCHEDULES = {**CALM, **STOPPING}


@dataclass(slots=True)
class Tally:
    """Coverage of a simulation."""

    graphs: int = 0
    refused: int = 0  # two nodes may write one plain field at once, or the run is too long
    runs: int = 0
    commits: int = 0
    features: Counter[str] = field(default_factory=Counter)
    signals: int = 0
    refused_signals: int = 0
    crashes: int = 0

    def add(self, outcome: Outcome | None) -> None:
        """Count a run; one whose branches wrote one field at once has no outcome."""
        self.runs += 1
        if outcome is not None:
            self.commits += len(outcome.done)
            self.signals += outcome.signals
            self.refused_signals += outcome.refused
            self.crashes += outcome.crashes

    def __str__(self) -> str:
        covered = ", ".join(f"{name} {count}" for name, count in sorted(self.features.items()))
        runs = f"{self.runs} runs of {self.graphs} graphs ({self.refused} refused)"
        return f"{runs}, {self.commits} commits; graphs with {covered}"


def simulate(
    seed: int, *, graphs: int, schedules: Iterable[str] = tuple(SCHEDULES), runs: int = 1 << 60
) -> Tally:
    """Run graphs from a seed on, until so many graphs or runs are done.

    Raise `Broken`, or what the core raises, with the seed.
    """
    tally = Tally()
    while tally.graphs < graphs and tally.runs < runs:
        sample = random_graph(seed)
        try:
            reference = run_reference(sample)
        except (Conflict, TooLong):
            tally.refused += 1
        else:
            tally.graphs += 1
            tally.features.update(features(sample))
            _run_all(sample, reference, tuple(schedules), tally)
        seed += 1
    return tally


def simulate_events(seed: int, *, graphs: int) -> Tally:
    """Run so many graphs with signals, timers and firsts under all schedules of events.

    Raise `Broken`, or what the core raises, with the seed.
    """
    tally = Tally()
    while tally.graphs < graphs:
        sample = random_graph(seed, events=True)
        seed += 1
        if not sample.has_events:
            continue
        try:
            run_reference(sample)
        except (Conflict, TooLong):
            tally.refused += 1
            continue
        tally.graphs += 1
        tally.features.update(features(sample))
        for number, name in enumerate(EVENTS):
            schedule = Schedule(sample.seed * 31 + number, **EVENTS[name])
            try:
                outcome = check_events(sample, schedule)
            except Exception as error:
                graph = f"random_graph({sample.seed}, events=True)"
                error.add_note(f"schedule '{name}': drive({graph}, {schedule})")
                raise
            tally.add(outcome)
    return tally


def check_events(sample: Sample, schedule: Schedule) -> Outcome | None:
    """Make one run, and lead the reference along what happened in it.

    Return None if branches of a race wrote one field at once, or the run took too many rounds.
    """
    try:
        outcome = drive(sample, schedule)
        if sample.races and (schedule.stops or schedule.failures or schedule.crashes):
            return outcome
        if sample.lets_finish:
            return outcome  # the reference does not withdraw what waits in late work
        reference = lead_reference(sample, outcome.happenings, most=LONGEST)
    except (WriteConflict, Conflict):
        return None
    except Stuck as error:
        raise Broken("I15 the reference follows", str(error)) from error
    compare(reference, outcome)
    return outcome


def _run_all(sample: Sample, reference: Result, schedules: Sequence[str], tally: Tally) -> None:
    ids: dict[str, str] = {}
    for number, name in enumerate(schedules):
        schedule = Schedule(sample.seed * 31 + number, **SCHEDULES[name])
        try:
            outcome = check(sample, reference, schedule, replays=name in CALM)
            if outcome is not None and any(
                ids.setdefault(key, text) != text for key, text in outcome.ids.items()
            ):
                raise Broken("I5 ids", "an activation has another id in another schedule")
        except Exception as error:
            error.add_note(
                f"graph {sample.seed}, schedule '{name}': "
                f"drive(random_graph({sample.seed}), {schedule})"
            )
            raise
        tally.runs += 1
        tally.commits += len(outcome.done) if outcome is not None else 0


def check(
    sample: Sample, reference: Result, schedule: Schedule, *, replays: bool = True
) -> Outcome | None:
    """Make one run, and compare it with the reference.

    Return None if branches of a race wrote one field at once; the core may cancel that in time.

    Where a race decides, the reference is led along the same order of events, if it can be
    (`replays`).
    """
    try:
        outcome = drive(sample, schedule)
        if sample.races and not replays:
            return outcome
        if sample.races:
            reference = follow(sample, outcome.order)
    except (WriteConflict, Conflict):
        if not sample.races:
            raise
        return None
    compare(reference, outcome)
    return outcome


def follow(sample: Sample, order: Sequence[str]) -> Result:
    """Lead the reference along an order of events."""
    following = iter(order)

    def pick(running: list[str]) -> str:
        chosen = next(following, None)
        if chosen not in running:
            raise Broken(
                "I15 the reference follows", f"{chosen} ended, where the reference has {running}"
            )
        return chosen

    # where a race decides, another order may take more rounds
    return run_reference(sample, pick, most=LONGEST)


def compare(reference: Result, outcome: Outcome) -> None:
    """Check the invariants about results."""
    if outcome.status != "succeeded":
        raise Broken("the run succeeds", outcome.status)
    if {*outcome.done} != {*reference.done}:
        here, there = (
            outcome.done.keys() - reference.done.keys(),
            reference.done.keys() - outcome.done.keys(),
        )
        raise Broken(
            "I15 the same activations", f"only in the core {here}, only in the reference {there}"
        )
    for key, read in outcome.done.items():
        if read is not None and read != reference.done[key]:
            raise Broken(
                "I14 input is the fold of the causal past",
                f"{key} read {read}, not {reference.done[key]}",
            )
    if as_bytes(outcome.final) != as_bytes(reference.final):
        raise Broken("I15 the same final state", f"{outcome.final}, not {reference.final}")
    if outcome.path != reference.path:
        raise Broken("the path in canonical order", f"{outcome.path}, not {reference.path}")


def as_bytes(state: dict[str, Any] | None) -> bytes:
    """Return a state as it would be stored."""
    return json.dumps(state).encode()


def features(sample: Sample) -> set[str]:
    """Return the kinds of structure that a graph has."""
    structure, blueprint = sample.structure, sample.blueprint
    headers = [loop.header for loop in blueprint.loops]
    presence = {
        "loops": bool(headers),
        "nested loops": any(len(structure.around(name)) > 1 for name in structure.names),
        "loops on one header": len({*headers}) < len(headers),
        "several sources": any(len(loop.sources) > 1 for loop in blueprint.loops),
        "exhausted nodes": any(loop.exhausted_is_node for loop in blueprint.loops),
        "routes": bool(blueprint.routes),
        "multi-choice": any(route.is_multi for route in blueprint.routes),
        "maps": bool(blueprint.maps),
        "sub-flows": bool(blueprint.subs),
        "two levels": any(flow.flows for flow in sample.flows.values()),
        "error edges": bool(blueprint.errors),
        "races": sample.races,
        "exclusive regions": bool(blueprint.exclusives),
        "losers that finish": sample.lets_finish,
        "signals": "signal" in sample.events.values(),
        "timers": "timer" in sample.events.values(),
        "firsts": bool(blueprint.firsts),
    }
    return {name for name, is_present in presence.items() if is_present}
