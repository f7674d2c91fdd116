"""The runs of a comparison: every case through both flows, in turn the one and the other first, so that neither finds warmer caches."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphorch.cli.cases import Case, read_cases
from graphorch.cli.comparison import Ran, compared
from graphorch.cli.comparison_picture import drawn
from graphorch.cli.comparison_telling import as_values, in_words
from graphorch.cli.encoding import as_object
from graphorch.cli.ending import DONE, FAILED
from graphorch.cli.files import check_writable, write_text
from graphorch.cli.finding import Found
from graphorch.cli.interrupts import run_until_interrupted
from graphorch.cli.running import OFFLINE, asks_models
from graphorch.cli.safe import one_line, result, safe, say
from graphorch.cli.scoring import Score, score_of
from graphorch.cli.wishes import Wishes
from graphorch.engine.report import RunReport
from graphorch.errors import InputError, NodeError, RunFailed
from graphorch.models.config.environment import is_configured
from graphorch.models.config.loader import find_config


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its letter, its flow, and how it is run."""

    letter: str
    found: Found
    wishes: Wishes

    @property
    def title(self) -> str:
        """What it is called in the report."""
        return self.found.where + (f" with {self.wishes.model}" if self.wishes.model else "")


def execute(
    sides: Sequence[Side], inputs: str, score: str, *, seed: int, svg: str, as_json: bool
) -> int:
    """Read, run, compare, tell and draw; the exit code. Raises `InputError` for what does not fit, before anything is run if it can."""
    cases = read_cases(inputs, [side.found.flow.plan.input for side in sides])
    judge = score_of(score) if score else None
    if svg:
        check_writable(svg)
    if not is_configured(os.environ, find_config(Path.cwd())) and any(
        asks_models(side.found.flow.plan) for side in sides
    ):
        say(OFFLINE)
    say(f"{len(cases)} cases, {2 * len(cases)} runs")
    with contextlib.redirect_stdout(sys.stderr):
        ran = run_until_interrupted(_all(cases, sides, judge), _leave)
    comparison = compared([side.title for side in sides], ran, seed)
    result(as_object(as_values(comparison, cases)) if as_json else safe(in_words(comparison)))
    if svg:
        write_text(svg, drawn(comparison))
        say(f"written to {one_line(svg, 400)}")
    return DONE if any(not run.error for pair in ran for run in pair) else FAILED


def _leave() -> None:
    # what `run_until_interrupted` takes as: nothing can be stopped gently
    raise InputError("interrupted")


async def _all(
    cases: Sequence[Case], sides: Sequence[Side], judge: Score | None
) -> list[tuple[Ran, Ran]]:
    found: list[tuple[Ran, Ran]] = []
    for number, case in enumerate(cases):
        runs = [Ran(), Ran()]
        for at in (0, 1) if number % 2 == 0 else (1, 0):
            runs[at] = await _run(case, at, sides[at], judge)
        found.append((runs[0], runs[1]))
    return found


async def _run(case: Case, at: int, side: Side, judge: Score | None) -> Ran:
    flow: Any = side.found.flow
    try:
        ended = await flow.run(case.inputs[at], **side.wishes.run_options)
    except RunFailed as error:
        ran = _failed(error)
    else:
        if ended.status != "waiting":
            return Ran(
                ended.seconds,
                ended.cost,
                judge.of(case, at, ended.output) if judge is not None else None,
            )
        ran = Ran(
            ended.seconds,
            ended.cost,
            error=f"it waits for people: {one_line(ended.questions[0].text)}",
        )
    say(f"line {case.line}, {side.letter}: {one_line(ran.error, 200)}")
    return ran


def _failed(error: RunFailed) -> Ran:
    record = error.run
    said = (
        f"{exception.args[0]} (at {exception.path})"
        if isinstance(exception, NodeError)
        else str(exception)
        for exception in error.exceptions
    )
    why = "; ".join(one_line(text, 160) for text in said) or error.message
    return (
        Ran(record.ended - record.began, record.usd, error=why)
        if isinstance(record, RunReport)
        else Ran(error=why)
    )
