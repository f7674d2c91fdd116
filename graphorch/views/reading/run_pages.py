"""The page of one run, and its parts that the records alone tell."""

from __future__ import annotations

from collections.abc import Sequence

from graphorch.journal.records import Letter
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.runs.letters import build_letter_rows
from graphorch.views.runs.nodes import measure_nodes
from graphorch.views.runs.questions import QuestionRow
from graphorch.views.runs.run_page import FlowFit, RunOutput, RunPage
from graphorch.views.runs.run_row import RunRow
from graphorch.views.runs.steps import StepRow
from graphorch.views.runs.waits import WaitRow


def build_page(
    run: OpenRun,
    row: RunRow,
    fit: FlowFit,
    letters: Sequence[Letter],
    output: RunOutput,
) -> RunPage:
    """Return the page of a run."""
    trace, head = run.trace, run.head
    redaction = run.build_redaction()
    started, forked = run.find_body("started"), run.find_body("forked")
    given = redaction.data(started.get("input"))
    left_out = redaction.cut.left_out
    steps = run.steps.list_rows()
    return RunPage(
        row=row,
        seq=run.seq,
        flow=fit,
        nodes=measure_nodes(trace, run.moments.last_seqs),
        questions=list_questions(run, steps),
        waits=list_waits(run, steps),
        kept_signals=run.steps.signals.list_kept(),
        letters=build_letter_rows(letters),
        faults=list(trace.faults),
        input=given,
        input_cut=left_out,
        output=output.value,
        output_cut=output.cut,
        output_left_out=output.is_left_out,
        error=_find_error(run),
        fingerprint=head.fingerprint,
        format=head.format,
        copied=int(forked.get("copied", 0)),
        forked_at=str(forked.get("at", "")),
        after=str(started.get("after", "")),
        model=_find_model(run),
    )


def list_questions(run: OpenRun, steps: Sequence[StepRow]) -> list[QuestionRow]:
    """Return the open questions of a run."""
    if run.head.status == "cancelled":
        return []
    asks = frozenset(step.path for step in steps if run.spans.flow.kind(step.path) == "ask")
    return run.questions.build_rows(steps, asks, run.build_redaction())


def list_waits(run: OpenRun, steps: Sequence[StepRow]) -> list[WaitRow]:
    """Return what a run waits for beside people."""
    status = run.head.status
    waiting = [step for step in steps if step.waits and status != "cancelled"]
    if status == "waiting":
        waiting += [step for step in steps if step.status == "retrying"]
    return [
        WaitRow(
            step.activation,
            step.path,
            step.signal,
            step.key,
            step.due,
            step.status == "retrying",
        )
        for step in waiting
    ]


def _find_error(run: OpenRun) -> str:
    """Return the error of the node that failed last, of a run that failed."""
    if run.head.status != "failed":
        return ""
    failed = [span for span in run.trace.spans if span.status == "failed" and span.is_activation]
    if not failed:
        return ""
    last = failed[-1]
    text = f"{last.path}: {last.error}: {last.message}"
    return run.build_redaction().text(text)


def _find_model(run: OpenRun) -> str:
    model = ""
    for record in run.records:
        if record.kind in ("started", "rules") and run.is_whole(record):
            model = str(record.body.get("model", model))
    return model
