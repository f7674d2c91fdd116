"""Runs of a comparison: every case through both flows.

Cases alternate which flow runs first, so that neither always finds warmer caches.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphorch.cli.compare.cases import Case, read_cases
from graphorch.cli.compare.picture import draw_comparison
from graphorch.cli.compare.report import describe_comparison, format_comparison
from graphorch.cli.compare.scorer import Scorer, load_scorer
from graphorch.cli.compare.statistics import CaseRun, compare_runs
from graphorch.cli.exit_codes import DONE, FAILED
from graphorch.cli.files import check_writable, print_written, write_text
from graphorch.cli.flow_loader import LoadedFlow
from graphorch.cli.interrupts import run_until_interrupted
from graphorch.cli.json_output import to_json_line
from graphorch.cli.run_request import RunRequest
from graphorch.cli.terminal import print_output, print_status, sanitize, sanitize_line
from graphorch.engine.report import RunReport
from graphorch.errors import InputError, NodeError, RunFailed
from graphorch.runs.result import Result


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two flows: its letter, and how it is run."""

    letter: str
    loaded: LoadedFlow
    request: RunRequest

    @property
    def title(self) -> str:
        """Name of the side in the report."""
        model = f" with {self.request.model}" if self.request.model else ""
        return f"{self.loaded.reference}{model}"


def compare_flows(
    sides: Sequence[Side], inputs: str, score: str, *, seed: int, svg: str, as_json: bool
) -> int:
    """Run both flows on all cases, report the comparison, and return the exit code.

    Raises `InputError` for cases, a score or a file that do not fit, before anything is run if
    that can be known.
    """
    plans = [side.loaded.flow.plan for side in sides]
    cases = read_cases(inputs, [plan.input for plan in plans])
    scorer = load_scorer(score) if score else None
    if svg:
        check_writable(svg)
    print_status(f"{len(cases)} cases, {2 * len(cases)} runs")
    with contextlib.redirect_stdout(sys.stderr):
        pairs = run_until_interrupted(_run_cases(cases, sides, scorer), _refuse_to_stop)
    comparison = compare_runs([side.title for side in sides], pairs, seed)
    if as_json:
        print_output(to_json_line(describe_comparison(comparison, cases)))
    else:
        print_output(sanitize(format_comparison(comparison)))
    if svg:
        write_text(svg, draw_comparison(comparison))
        print_written(svg)
    has_success = any(not run.error for pair in pairs for run in pair)
    return DONE if has_success else FAILED


def _refuse_to_stop() -> None:
    """Raise `InputError`: `run_until_interrupted` then cancels at the first Ctrl-C."""
    raise InputError("interrupted")


async def _run_cases(
    cases: Sequence[Case], sides: Sequence[Side], scorer: Scorer | None
) -> list[tuple[CaseRun, CaseRun]]:
    pairs: list[tuple[CaseRun, CaseRun]] = []
    for number, case in enumerate(cases):
        runs = [CaseRun(), CaseRun()]
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for index in order:
            runs[index] = await _run_case(case, index, sides[index], scorer)
        pairs.append((runs[0], runs[1]))
    return pairs


async def _run_case(case: Case, index: int, side: Side, scorer: Scorer | None) -> CaseRun:
    flow: Any = side.loaded.flow
    try:
        result = await flow.run(case.inputs[index], **side.request.build_run_options())
    except RunFailed as error:
        run = _describe_failure(error)
    else:
        if result.status != "waiting":
            score = scorer.rate(case, index, result.output) if scorer is not None else None
            return CaseRun(result.seconds, _read_cost(result.record), score)
        cost = _read_cost(result.record)
        run = CaseRun(result.seconds, cost, error=f"it waits for {_describe_wait(result)}")
    print_status(f"line {case.line}, {side.letter}: {sanitize_line(run.error, 200)}")
    return run


def _describe_wait(result: Result[Any, Any]) -> str:
    """Return the first thing that a run waits for: a person, a signal, or a time."""
    if result.questions:
        return f"people: {sanitize_line(result.questions[0].text)}"
    wait = result.waits[0]
    return sanitize_line(f"the signal '{wait.signal}'" if wait.signal else "a time", 200)


def _describe_failure(error: RunFailed) -> CaseRun:
    reasons = [sanitize_line(_format_failure(failure), 160) for failure in error.exceptions]
    reason = "; ".join(reasons) or error.message
    report = error.run
    if isinstance(report, RunReport):
        return CaseRun(report.seconds, _read_cost(report), error=reason)
    return CaseRun(error=reason)


def _read_cost(report: RunReport) -> float:
    """Return the dollars of a run; NaN if a part of them is not known."""
    return math.nan if report.unpriced else report.usd


def _format_failure(failure: Exception) -> str:
    if isinstance(failure, NodeError):
        return f"{failure.args[0]} (at {failure.path})"
    return str(failure)
