"""Results of tools: the output of a run, what it asks, and what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mcp_types import (
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequests,
    InputRequiredResult,
    TextContent,
)

from graphorch.errors import NodeError, RunFailed
from graphorch.mcp_server.call_state import CallState, digest_question
from graphorch.mcp_server.forms import build_form
from graphorch.mcp_server.schemas import dump_output
from graphorch.mcp_server.served_flows import ServedFlow
from graphorch.runs.result import Question, Result, describe_wait
from graphorch.text import explain_error, format_moment, shorten_run_id

RUN_ID: Final = "graphorch/run_id"
"""Key of the run's id in `_meta`, of every result, and of a call that names its run itself."""
_STATUS: Final = "graphorch/status"
_COST: Final = "graphorch/usd"


def build_success(result: Result[Any, Any], notes: Sequence[str]) -> CallToolResult:
    """Return the output of a run that reached its end, as values and as text.

    Raises `InputError` for an output that cannot be written as JSON.
    """
    output = dump_output(result.output)
    texts = [json.dumps(output, ensure_ascii=False), *notes]
    texts += [f"Note of {note.path}: {note.text}" for note in result.notes]
    if result.status == "partial":
        failed = ", ".join(step.path for step in result.steps if step.status == "failed")
        texts.append(f"Note: partial. These nodes failed, and the rest went on without: {failed}.")
    meta: dict[str, Any] = {RUN_ID: result.run_id, _STATUS: result.status}
    if not result.unpriced:  # an unknown price is not a price of nothing
        meta[_COST] = result.cost
    return CallToolResult(
        content=[TextContent(text=text) for text in texts], structured_content=output, _meta=meta
    )


def build_error(text: str, run_id: str = "", notes: Sequence[str] = ()) -> CallToolResult:
    """Return an error that a model and a person read."""
    meta = {RUN_ID: run_id} if run_id else None
    return CallToolResult(
        content=[TextContent(text=part) for part in (text, *notes)], is_error=True, _meta=meta
    )


def describe_failure(served: ServedFlow, failure: RunFailed) -> str:
    """Return what ended a run, and the command that resumes it."""
    lines = [failure.message]
    lines += [f"- {_describe_cause(error)}" for error in failure.exceptions]
    if failure.end_reason == "cancelled":
        lines.append("It was cancelled for good. Call the tool again to begin a new run.")
        return "\n".join(lines)
    options = ["--ambiguous repeat|fail"] if failure.end_reason == "ambiguous" else []
    command = served.format_resume(failure.run_id, *options)
    lines.append(f"What was done is kept. Resume it with: {command}")
    lines.append("Calling the tool again would begin a new run, which does everything anew.")
    return "\n".join(lines)


def _describe_cause(error: Exception) -> str:
    place = f" (at {error.path}, attempt {error.attempt})" if isinstance(error, NodeError) else ""
    return f"{explain_error(error)}{place}"


# ---- questions -----------------------------------------------------------------------------------
def build_leg(
    run_id: str,
    questions: Sequence[Question] = (),
    problems: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> InputRequiredResult:
    """Return a leg of a call: with the questions of a run, or of one that is still under way.

    `problems` says, by the id of a question, why an answer that was given to it was not taken.
    """
    by_key = _choose_keys(questions)
    asked = {key: (item.id, digest_question(item)) for key, item in by_key.items()}
    requests: InputRequests = {
        key: ElicitRequest(
            params=build_question_form(item, run_id, (problems or {}).get(item.id, ""), notes)
        )
        for key, item in by_key.items()
    }
    return InputRequiredResult(
        input_requests=requests or None,
        request_state=CallState(run_id, asked, () if questions else tuple(notes)).dump(),
        _meta={RUN_ID: run_id},
    )


def _choose_keys(questions: Sequence[Question]) -> Mapping[str, Question]:
    """Return questions by the keys of their forms: the path of the node, or the id if two share it.

    A path says more to a client that logs what it was asked.
    """
    paths = [question.path for question in questions]
    return {
        question.path if paths.count(question.path) == 1 else question.id: question
        for question in questions
    }


def build_question_form(
    question: Question, run_id: str, problem: str = "", notes: Sequence[str] = ()
) -> ElicitRequestFormParams:
    """Return the form that asks a question, with why an earlier answer was not taken."""
    where = f"(question '{question.path}' of run {shorten_run_id(run_id)}{_describe_end(question)})"
    head = [f"This answer was not taken: {problem}"] if problem else []
    message = "\n\n".join([*notes, *head, question.text, where])
    schema = build_form(question.answer_type).schema
    return ElicitRequestFormParams(message=message, requested_schema=schema)


def _describe_end(question: Question) -> str:
    if question.expires is None:
        return ""
    end = datetime.fromtimestamp(question.expires, UTC)
    return f", open until {end:%Y-%m-%d %H:%M:%S} UTC"


def describe_waiting(
    served: ServedFlow, run_id: str, questions: Sequence[Question], reason: str
) -> str:
    """Return that a run waits for answers that this call cannot give, and how to give them."""
    lines = [f"Run {run_id} of flow '{served.flow.name}' waits for an answer. {reason}"]
    for question in questions:
        command = served.format_answer(run_id, question.path)
        lines.append(f"- {question.text}\n  Answer with: {command}")
    return "\n".join([*lines, _explain_next_call(run_id)])


def describe_events(served: ServedFlow, result: Result[Any, Any]) -> str:
    """Return that a run waits for signals or times, and how it goes on."""
    lines = [f"Run {result.run_id} of flow '{served.flow.name}' waits for what no answer can give."]
    for wait in result.waits:
        lines.append(f"- '{wait.path}' waits for {describe_wait(wait)}.")
        if wait.signal:
            command = served.format_send(result.run_id, wait.signal, wait.key)
            lines.append(f"  Send it with: {command}")
    if result.due is not None:
        lines.append(f"A call after {format_moment(result.due)} lets the run go on.")
    return "\n".join([*lines, _explain_next_call(result.run_id)])


def _explain_next_call(run_id: str) -> str:
    return (
        f"Then call the tool with the same arguments and `_meta` {{{RUN_ID!r}: {run_id!r}}} for "
        "its result. Without that, calling the tool again would begin a new run."
    )
