"""Report of a finished, waiting, failed or interrupted run: for people, programs, and its file.

The output goes to standard output or to the file of `--output`; everything else that people read
goes to standard error. Programs get one object on standard output.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from graphorch.cli.answer_parser import format_answer_example, is_tool_approval
from graphorch.cli.exit_codes import DONE, WAITING, WRONG_USE, describe_errors, format_error
from graphorch.cli.files import print_written, write_text
from graphorch.cli.flow_loader import AnyFlow
from graphorch.cli.json_output import to_json_line, to_json_text
from graphorch.cli.live.progress import Progress, count_items, format_usage
from graphorch.cli.run_request import RunRequest
from graphorch.cli.terminal import print_output, print_status, sanitize, sanitize_line
from graphorch.engine.mailbox.expected_signals import find_signal
from graphorch.engine.report import RunReport
from graphorch.errors import InputError, NodeError, RunFailed
from graphorch.models.structured_output import find_text_field
from graphorch.runs.result import Question, Result, Wait
from graphorch.text import (
    format_cost,
    format_moment,
    format_seconds,
    plural,
    shorten_run_id,
    truncate,
)

_MOST_LINES = 12  # of the arguments of a tool call in a question


def print_result(
    flow: AnyFlow,
    result: Result[Any, Any],
    request: RunRequest,
    extra: Mapping[str, Any] | None = None,
) -> int:
    """Report a run that reached its end or waits, write its output, and return the exit code.

    `extra` is added to the object for programs.
    """
    output: BaseModel | None = None if result.status == "waiting" else result.output
    problem = ""
    if output is not None and request.output_file:
        problem = _write_output(output, request.output_file)
    if request.output_format != "text":
        questions = [_describe_question(question) for question in result.questions]
        report = _describe_run(flow, result.record)
        waits = [_describe_wait(wait, result) for wait in result.waits]
        report |= {"output": output, "questions": questions, "waits": waits, "due": result.due}
        report |= extra or {}
        print_output(to_json_line(report))
    elif output is not None and (problem or not request.output_file):
        print_output(sanitize(format_output(output)))
    if request.output_format == "text" and not request.quiet:
        was_written = output is not None and request.output_file and not problem
        _print_notes(result, request)
        if was_written:
            print_written(request.output_file)
        _print_summary(flow, result)
    if problem:
        print_status(f"error: {problem}")
        return WRONG_USE
    return WAITING if output is None else DONE


# ---- output --------------------------------------------------------------------------------------
def format_output(output: BaseModel) -> str:
    """Return an output for people: its text if it is a single text field, else JSON."""
    name = find_text_field(type(output))
    return str(getattr(output, name)) if name else to_json_text(output)


def _write_output(output: BaseModel, path: str) -> str:
    """Write an output to its file, and return the problem if that fails, else nothing.

    The output was paid for: if the file cannot be written after all, it is printed instead.
    """
    is_json = PurePath(path).suffix == ".json"
    text = to_json_text(output) if is_json else format_output(output)
    try:
        write_text(path, text if text.endswith("\n") else f"{text}\n")
    except InputError as error:
        return str(error)
    return ""


# ---- for people ----------------------------------------------------------------------------------
def _print_notes(result: Result[Any, Any], request: RunRequest) -> None:
    """Print what deserves attention: notes, questions, failed branches."""
    for note in result.notes:
        print_status(f"note: {sanitize_line(note.path)}: {sanitize_line(note.text, 500)}")
    for question in result.questions:
        print_status(_format_question(question))
    for wait in result.waits:
        print_status(_format_wait(wait, result))
    if result.questions or result.waits:
        _print_how_to_go_on(result, request)
    if result.status == "partial":
        failed = [sanitize_line(step.path) for step in result.steps if step.status == "failed"]
        print_status(
            "note: partial: these nodes failed, and the rest went on without them: "
            f"{', '.join(failed)}"
        )


def _format_question(question: Question) -> str:
    """Return an open question; what a tool would be called with is on lines of its own."""
    path = sanitize_line(question.path)
    end = [] if question.expires is None else [f"until {format_moment(question.expires)}"]
    if not is_tool_approval(question.answer_type):
        about = ", ".join([question.answer_type.__name__, *end])
        return f"waiting: {path} asks ({about}): {sanitize_line(question.text, 400)}"
    first, *lines = question.text.splitlines()
    shown = [truncate(sanitize(line), 200) for line in lines[:_MOST_LINES]]
    hidden = len(lines) - len(shown)
    more = [f"… ({hidden:,} more lines)"] if hidden > 0 else []
    return "\n  ".join([f"waiting: {sanitize_line(first, 400)}", *shown, *more, *end])


def _format_wait(wait: Wait, result: Result[Any, Any]) -> str:
    """Return what a step waits for beside people."""
    until = "" if wait.due is None else f", until {format_moment(wait.due)}"
    path, key = sanitize_line(wait.path), f" with key '{wait.key}'" if wait.key else ""
    if not wait.signal:
        what = "its next attempt" if wait.is_retry else "a time"
        return f"waiting: {path} waits for {what}{until}"
    value = _find_value_type(wait, result).__name__
    return sanitize_line(f"waiting: {path} waits for a signal ({value}){key}{until}", 400)


def _find_value_type(wait: Wait, result: Result[Any, Any]) -> type[BaseModel]:
    return find_signal(result.record.run.plan, wait.signal).value


def _print_how_to_go_on(result: Result[Any, Any], request: RunRequest) -> None:
    """Print the commands that answer the questions of a run, send its signals, and resume it."""
    if request.journal is None:
        print_status(
            "note: this run was in memory and ends here. With --durable or --db PATH it is kept, "
            f"and can be {' or '.join(_list_ways_on(result))}."
        )
        return
    answers = [_format_answer_command(question, result, request) for question in result.questions]
    if answers:
        print_status("\n  ".join(["answer with:", *answers]))
    signals = [_format_send_command(wait, result, request) for wait in result.waits if wait.signal]
    if signals:
        print_status("\n  ".join(["send with:", *dict.fromkeys(signals)]))
    if result.due is not None:
        command = request.format_command("resume", value="--due")
        print_status(f"after {format_moment(result.due)} it goes on with: {command}")
    if any(is_tool_approval(question.answer_type) for question in result.questions):
        print_status(
            "a call of a tool takes yes, yes --arguments JSON, no --reason TEXT or no --answer TEXT"
        )


def _list_ways_on(result: Result[Any, Any]) -> list[str]:
    """Return what can be done with a waiting run that is kept."""
    ways: list[str] = []
    if result.questions:
        ways.append("answered with `graphorch answer`")
    if any(wait.signal for wait in result.waits):
        ways.append("sent a signal with `graphorch send`")
    if result.due is not None:
        ways.append("resumed in time with `graphorch resume --due`")
    return ways


def _format_send_command(wait: Wait, result: Result[Any, Any], request: RunRequest) -> str:
    """Return the command that sends the signal that a step waits for."""
    model, run = _find_value_type(wait, result), shorten_run_id(result.run_id)
    value = format_answer_example(model) if model.model_fields else ""
    key = f"--key {shlex.quote(wait.key)}" if wait.key else ""
    words = " ".join(filter(None, (value, key)))
    return request.format_command("send", run, wait.signal, value=words)


def _format_answer_command(
    question: Question, result: Result[Any, Any], request: RunRequest
) -> str:
    """Return the command that answers a question, by its id if its path has several questions."""
    paths = [other.path for other in result.questions]
    name = question.path if paths.count(question.path) == 1 else question.id
    example = format_answer_example(question.answer_type)
    return request.format_command("answer", shorten_run_id(result.run_id), name, value=example)


def _print_summary(flow: AnyFlow, result: Result[Any, Any]) -> None:
    figures = [
        f"{result.status}: '{sanitize_line(flow.name)}' in {format_seconds(result.seconds)}",
        _count_steps(result),
        f"{_format_usage(result.record)}; run {shorten_run_id(result.run_id)}",
    ]
    print_status(", ".join(figures))


def _count_steps(result: Result[Any, Any]) -> str:
    """Return how many steps a run has, and how many calls of tools are inside of them."""
    calls = sum(bool(step.tool) for step in result.steps)
    steps = plural(len(result.steps) - calls, "step")
    return f"{steps}, {plural(calls, 'tool call')}" if calls else steps


def _format_usage(report: RunReport) -> str:
    """Return the model calls of a run, failed ones too, with their tokens and dollars."""
    usage = report.usage
    tokens = usage["input_tokens"] + usage["output_tokens"]
    cost = format_cost(report.usd, report.unpriced, booked=report.booked_usd)
    return f"{plural(usage['calls'], 'model call')}, {tokens:,} tokens, {cost}"


# ---- failures and interrupts ---------------------------------------------------------------------
def report_failure(error: RunFailed, flow: AnyFlow, request: RunRequest) -> None:
    """Print a failed run for programs, and add its cost to the error, and how to resume it."""
    if isinstance(error.run, RunReport) and error.run.usage["calls"]:
        error.add_note(f"It made {_format_usage(error.run)}.")
    is_over = isinstance(error.run, RunReport) and error.run.run.status == "cancelled"
    if request.journal is not None and not is_over and error.end_reason != "interrupted":
        command = request.format_command("resume", shorten_run_id(error.run_id))
        if error.end_reason == "ambiguous":
            command += " --ambiguous repeat|fail"
        error.add_note(f"What was done is kept. Resume with: {command}")
    if request.journal is None and error.end_reason.startswith("limit:"):
        error.add_note(
            "This run was in memory and ends here. With --durable or --db PATH it is kept, and can "
            "be resumed under a larger limit."
        )
    report = error.run
    if request.output_format != "text" and isinstance(report, RunReport):
        described = _describe_run(flow, report)
        described |= {"output": None, "errors": describe_errors(error)}
        print_output(to_json_line(described))


def report_interrupt(
    flow: AnyFlow,
    run_id: str,
    progress: Progress,
    request: RunRequest,
    failure: RunFailed | None = None,
) -> None:
    """Print what an interrupted run did.

    `failure` is how the run ended; None if it was left at once, without an end.
    """
    total = progress.total
    paths = _list_done(progress)
    usage = f"; {format_usage(total)}" if total.calls else ""
    print_status(
        f"interrupted after {format_seconds(progress.seconds)}: "
        f"{plural(total.visits, 'step')} done ({sanitize_line(', '.join(paths), 400) or 'none'})"
        f"{usage}"
    )
    if failure is None:
        if request.output_format != "text":
            report = {
                "status": "interrupted",
                "flow": flow.name,
                "run_id": run_id,
                "output": None,
                "cost": total.usd,
                "unpriced": total.unpriced,
            }
            print_output(to_json_line(report))
    elif any(isinstance(error, NodeError) for error in failure.exceptions):
        print_status(format_error(failure))
    if request.journal is not None:
        command = request.format_command("resume", shorten_run_id(run_id))
        print_status(f"what was done is kept; resume with: {command}")


def _list_done(progress: Progress) -> list[str]:
    """Return the paths of what is done, and of maps under way how many of their items are."""
    done: list[str] = []
    for row in list(progress.rows.values()):
        if row.visits and not row.tool:
            done.append(row.path)
        elif row.items is not None and row.items.ended:
            done.append(f"{row.path} ({count_items(row.items)})")
    return done


# ---- for programs --------------------------------------------------------------------------------
def _describe_run(flow: AnyFlow, report: RunReport) -> dict[str, Any]:
    """Return the fields that a program gets of every run, however it ended."""
    return {
        "status": report.run.status,
        "end_reason": report.run.reason,
        "flow": flow.name,
        "run_id": report.run_id,
        "cost": report.usd,
        "unpriced": report.unpriced,
        "booked_cost": report.booked_usd,
        "usage": report.usage,
        "seconds": report.seconds,
        "notes": [asdict(note) for note in report.notes],
        "exhausted": [{"source": source, "back_to": header} for source, header in report.exhausted],
        "steps": [asdict(step) for step in report.steps()],
    }


def _describe_question(question: Question) -> dict[str, Any]:
    return {
        "id": question.id,
        "path": question.path,
        "text": question.text,
        "answer": question.answer_type.model_json_schema(),
    }


def _describe_wait(wait: Wait, result: Result[Any, Any]) -> dict[str, Any]:
    value = _find_value_type(wait, result).model_json_schema() if wait.signal else None
    return wait._asdict() | {"value": value}
