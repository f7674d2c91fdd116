"""Reads the open questions of all runs.

Which runs ask something is known from the figures of their rows, so only these are read further.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from graphorch.errors import GraphorchError, JournalError
from graphorch.graph.plan import Plan
from graphorch.journal.letter_kinds import read_letter_body
from graphorch.journal.records import Letter, RunQuery
from graphorch.mcp_server.schemas import build_schema
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.reading.run_lists import MOST_RUNS, list_runs, parse_cursor
from graphorch.views.reading.run_pages import list_questions
from graphorch.views.reasons.flow_fit import describe_fit
from graphorch.views.runs.inbox import Inbox, InboxRow
from graphorch.views.runs.questions import QuestionRow
from graphorch.views.runs.run_row import RunList, RunRow, UnreadableRun
from graphorch.views.runs.steps import StepRow
from graphorch.views.runs.usage import sum_usage

FindPlan: TypeAlias = Callable[[str], Plan | None]
"""Returns the plan that is loaded for the name of a flow; None if there is none."""

_ASKING: Final = ("waiting", "running", "crashed", "queued", "stopped", "failed")
"""States in which a run may have open questions."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """Types of the answers to the open questions of a run, or why none can be given here."""

    types: Mapping[str, type[BaseModel]]
    problem: str = ""


async def read_inbox(reader: JournalReader, find_plan: FindPlan) -> Inbox:
    """Return all open questions, the one that expires first at the top."""
    questions: list[InboxRow] = []
    unreadable: dict[str, UnreadableRun] = {}
    async with aclosing(_list_pages(reader)) as pages:
        async for page in pages:
            unreadable |= {run.run_id: run for run in page.unreadable}
            for row in page.runs:
                try:
                    questions += await _read_row(reader, row, find_plan)
                except JournalError as error:
                    unreadable[row.run_id] = UnreadableRun(row.run_id, "damaged", str(error))
    questions.sort(key=_rank)
    return Inbox(questions, list(unreadable.values()))


def _rank(row: InboxRow) -> tuple[bool, float, float, str, str]:
    """Return the place of a question: by expiry, then by age."""
    asked = row.question
    return (asked.expires is None, asked.expires or 0.0, asked.asked_at, row.run_id, asked.path)


async def _list_pages(reader: JournalReader) -> AsyncGenerator[RunList]:
    for state in _ASKING:
        query = RunQuery(status=state, limit=MOST_RUNS)
        while True:
            page = await list_runs(reader, query)
            yield page
            if page.next is None:
                break
            query = RunQuery(status=state, limit=MOST_RUNS, after=parse_cursor(page.next))


async def _read_row(reader: JournalReader, row: RunRow, find_plan: FindPlan) -> list[InboxRow]:
    if row.fault:
        raise JournalError(row.fault)
    if row.figures is None or not row.figures.questions:
        return []
    async with reader.open_run(row.run_id) as run:
        letters = await reader.store.list_letters(row.run_id)
        return await asyncio.to_thread(build_inbox_rows, run, row, letters, find_plan(row.flow))


def build_inbox_rows(
    run: OpenRun, row: RunRow, letters: Sequence[Letter], plan: Plan | None
) -> list[InboxRow]:
    """Return the open questions of one run."""
    steps = run.steps.list_rows()
    questions = list_questions(run, steps)
    if not questions:
        return []
    answers = _find_answers(run, plan)
    usage = sum_usage(run.trace.paid_calls)
    given = find_answer_letters(letters)
    redaction = run.build_redaction()
    return [
        InboxRow(
            run_id=row.run_id,
            flow=row.flow,
            status=row.status,
            tags=row.tags,
            question=question,
            usage=usage,
            can_answer=question.id in answers.types,
            problem=answers.problem,
            schema=_build_schema(answers.types.get(question.id)),
            previous=redaction.data(_find_previous(steps, question)),
            answered_at=given[question.id].sent_at if question.id in given else None,
        )
        for question in questions
    ]


def _find_answers(run: OpenRun, plan: Plan | None) -> _Answers:
    fit = describe_fit(run, plan)
    if plan is None or not fit.fits:
        return _Answers({}, fit.problem)
    try:
        return _Answers(find_answer_types(run, plan))
    except GraphorchError as error:
        return _Answers({}, str(error))


def find_answer_types(run: OpenRun, plan: Plan) -> dict[str, type[BaseModel]]:
    """Return the type of the answer to each open question of a run, by the id of the question.

    Raises `JournalError` and `ReplayDiverged`.
    """
    askers = run.rebuild(plan).run.questions()
    return {asker.id: asker.question.answer for asker in askers}


def find_answer_letters(letters: Sequence[Letter]) -> dict[str, Letter]:
    """Return the first answer to each question that its run has not taken in yet, by question."""
    found: dict[str, Letter] = {}
    for letter in letters:
        if letter.kind != "answer" or letter.outcome is not None:
            continue
        if (body := read_letter_body(letter)) is not None:
            found.setdefault(body["question"], letter)
    return found


def _find_previous(steps: Sequence[StepRow], question: QuestionRow) -> dict[str, Any] | None:
    """Return what the same tool was called with before."""
    arguments: dict[str, Any] | None = None
    for step in steps:
        if step.activation == question.id:
            return arguments
        if question.tool and step.tool == question.tool:
            arguments = step.arguments
    return None


@cache
def _build_schema(answer: type[BaseModel] | None) -> dict[str, Any] | None:
    """Return the schema of an answer; None for a type that has none, whose answer is plain JSON."""
    if answer is None:
        return None
    try:
        return build_schema(answer, "validation")
    except GraphorchError:
        return None
