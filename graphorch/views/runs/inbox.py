"""The inbox: the open questions of all runs, the one that expires first at the top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphorch.views.runs.questions import QuestionRow
from graphorch.views.runs.run_row import RunState, UnreadableRun
from graphorch.views.runs.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRow:
    """An open question, and the run that asks it.

    `usage` is what the run has used so far. `can_answer`: its flow is loaded here and fits, so that
    an answer is checked and the run goes on; otherwise `problem` says why not. Then `schema` is the
    JSON schema of an answer; None without one. `previous` are the arguments of the call of the same
    tool before this one in the run, None for the first. `answered_at` (seconds since 1970) is when
    an answer was given that the run has not taken in yet, None without one.
    """

    run_id: str
    flow: str
    status: RunState
    tags: Mapping[str, str]
    question: QuestionRow
    usage: Usage
    can_answer: bool
    problem: str
    schema: dict[str, Any] | None
    previous: dict[str, Any] | None
    answered_at: float | None


@dataclass(frozen=True, slots=True)
class Inbox:
    """All open questions, and the runs that cannot be read, which may ask something as well."""

    questions: list[InboxRow]
    unreadable: list[UnreadableRun]
