"""What is told of a run after it: to people, to programs, and to the file that gets its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from graphorch.cli.answering import value_of
from graphorch.cli.encoding import as_object, as_text
from graphorch.cli.ending import DONE, WAITING, WRONG_USE, errors_of, message_of
from graphorch.cli.files import write_text
from graphorch.cli.finding import AnyFlow
from graphorch.cli.progress import Progress, counted, spent
from graphorch.cli.safe import one_line, result, safe, say
from graphorch.cli.wishes import Wishes
from graphorch.engine.report import RunReport
from graphorch.errors import InputError, NodeError, RunFailed
from graphorch.models.structured_output import text_field
from graphorch.runs.result import Question, Result


def tell(
    flow: AnyFlow, ended: Result[Any, Any], wishes: Wishes, more: Mapping[str, Any] | None = None
) -> int:
    """Tell of a run that reached its end or waits, write its output, and return the exit code. `more` is for programs."""
    is_waiting = ended.status == "waiting"
    output: BaseModel | None = None if is_waiting else ended.output
    problem = _written(output, wishes.target) if output is not None and wishes.target else ""
    if wishes.form != "text":
        told = {
            "output": output,
            "questions": [_question(question) for question in ended.questions],
            **(more or {}),
        }
        result(as_object(_about(flow, ended.record) | told))
    elif output is not None and (problem or not wishes.target):
        result(safe(text_of(output)))
    if not wishes.quiet and wishes.form == "text":
        _tell_summary(flow, ended, wishes, "" if is_waiting or problem else wishes.target)
    if problem:
        say(f"error: {problem}")
        return WRONG_USE
    return WAITING if is_waiting else DONE


def _written(output: BaseModel, target: str) -> str:
    """Write the output to its file; what went wrong if it cannot be written after all. It was paid for, so it is not thrown away then."""
    try:
        write_text(target, _file_text(output, target))
    except InputError as error:
        return str(error)
    return ""


def text_of(output: BaseModel) -> str:
    """An output for people: the text, if that is all there is, else JSON."""
    name = text_field(type(output))
    return str(getattr(output, name)) if name else as_text(output)


def _file_text(output: BaseModel, target: str) -> str:
    text = as_text(output) if PurePath(target).suffix == ".json" else text_of(output)
    return text if text.endswith("\n") else f"{text}\n"


def _tell_summary(flow: AnyFlow, ended: Result[Any, Any], wishes: Wishes, target: str) -> None:
    for source, header in ended.exhausted:
        say(
            f"note: the loop {one_line(source)} → {one_line(header)} reached its bound; it went on with what it had."
        )
    for question in ended.questions:
        say(
            f"waiting: {one_line(question.path)} asks ({question.answer_type.__name__}): {one_line(question.text, 400)}"
        )
    if ended.questions and wishes.journal is None:
        say(
            "note: this run was in memory and ends here. With --durable or --db PATH it is kept, and answered with `graphorch answer`."
        )
    elif ended.questions:
        say(
            "\n".join(
                [
                    "answer with:",
                    *(f"  {_answer(question, ended, wishes)}" for question in ended.questions),
                ]
            )
        )
    if ended.status == "partial":
        failed = ", ".join(one_line(step.path) for step in ended.steps if step.status == "failed")
        say(f"note: partial: these nodes failed, and the rest went on without them: {failed}")
    if target:
        say(f"written to {one_line(target, 400)}")
    usage = ended.usage
    tokens = usage["input_tokens"] + usage["output_tokens"]
    say(
        f"{ended.status}: '{one_line(flow.name)}' in {ended.seconds:.2f} s, {counted(len(ended.steps), 'step')}, {counted(usage['calls'], 'model call')}, "
        f"{tokens:,} tokens, ${ended.cost:.4f}; run {ended.run_id}"
    )


def _answer(question: Question, ended: Result[Any, Any], wishes: Wishes) -> str:
    """The command that answers a question; by its id if its path asks more than once."""
    asks_once = sum(item.path == question.path for item in ended.questions) == 1
    return wishes.command(
        "answer",
        ended.run_id,
        question.path if asks_once else question.id,
        value=value_of(question.answer_type),
    )


def tell_failure(error: RunFailed, flow: AnyFlow, wishes: Wishes) -> None:
    """Tell a program of a run that failed; people read the message of the error, which learns here how to go on."""
    record = error.run
    if wishes.journal is not None and error.end_reason not in ("interrupted", "cancelled"):
        more = " --ambiguous repeat|fail" if error.end_reason == "ambiguous" else ""
        error.add_note(
            f"What was done is kept. Go on with: {wishes.command('resume', error.run_id)}{more}"
        )
    if wishes.form != "text" and isinstance(record, RunReport):
        result(as_object(_about(flow, record) | {"output": None, "errors": errors_of(error)}))


def tell_interrupt(
    flow: AnyFlow, run_id: str, progress: Progress, wishes: Wishes, failed: RunFailed | None = None
) -> None:
    """Tell what an interrupted run did; `failed` is how it ended, unless it was left at once."""
    done = one_line(", ".join(row.path for row in list(progress.rows.values()) if row.visits), 400)
    total = progress.total
    figures = f"; {spent(total)}" if total.calls else ""
    say(
        f"interrupted after {progress.seconds:.2f} s: {counted(total.visits, 'step')} done ({done or 'none'}){figures}"
    )
    if failed is not None and any(isinstance(error, NodeError) for error in failed.exceptions):
        say(message_of(failed))
    elif failed is None and wishes.form != "text":
        result(
            as_object(
                {
                    "status": "interrupted",
                    "flow": flow.name,
                    "run_id": run_id,
                    "output": None,
                    "cost": total.usd,
                }
            )
        )
    if wishes.journal is not None:
        say(f"what was done is kept; go on with: {wishes.command('resume', run_id)}")


def _about(flow: AnyFlow, record: RunReport) -> dict[str, Any]:
    """What a program gets to know of a run, however it ended."""
    return {
        "status": record.run.status,
        "end_reason": record.run.reason,
        "flow": flow.name,
        "run_id": record.run_id,
        "cost": record.usd,
        "usage": record.usage,
        "seconds": record.ended - record.began,
        "exhausted": [{"source": source, "back_to": header} for source, header in record.exhausted],
        "steps": [asdict(step) for step in record.steps()],
    }


def _question(question: Question) -> dict[str, Any]:
    return {
        "id": question.id,
        "path": question.path,
        "text": question.text,
        "answer": question.answer_type.model_json_schema(),
    }
