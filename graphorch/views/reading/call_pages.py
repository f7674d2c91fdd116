"""The calls of models and tools of a run, page by page, with the decision of the policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from graphorch.journal.record_reader import read_body
from graphorch.journal.records import Record
from graphorch.statuses import TOOL_OUTCOMES
from graphorch.trace.spans.model import Span
from graphorch.trace.spans.redaction import Redaction
from graphorch.views.reading.clipping import ClippedRedaction
from graphorch.views.reading.known_paths import require_path
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.runs.calls import (
    AskedTool,
    CallPage,
    Candidate,
    Decision,
    Message,
    ModelCall,
    SentRequest,
    TargetAttempt,
    ToolCall,
)
from graphorch.views.runs.paths import is_inside
from graphorch.views.runs.steps import StepRow
from graphorch.views.runs.usage import sum_usage

Body: TypeAlias = Mapping[str, Any]

MOST_CALLS: Final = 200
"""Calls of one page."""


class _Found(NamedTuple):
    """A call at the record that tells most of it, and how its row is made."""

    seq: int
    build: Callable[[], ModelCall | ToolCall]


def list_calls(run: OpenRun, path: str, after: int, limit: int) -> CallPage:
    """Return the calls that records after a number tell of, in the order of these records.

    Of the activation or node at `path` and what is inside it; of the whole run without one. Raises
    `InputError` for a path that is not in the flow.
    """
    if path:
        require_path(run, path)
    found = sorted(
        (each for each in _find_calls(run, path) if each.seq > after), key=lambda each: each.seq
    )
    shown = found[:limit]
    while len(shown) < len(found) and found[len(shown)].seq == shown[-1].seq:
        shown.append(found[len(shown)])
    rows = [each.build() for each in shown]
    return CallPage(
        [row for row in rows if isinstance(row, ModelCall)],
        [row for row in rows if isinstance(row, ToolCall)],
        shown[-1].seq if len(shown) < len(found) else None,
        run.seq,
    )


def read_call(run: OpenRun, seq: int) -> ModelCall:
    """Return the model call that ended with a record."""
    return _build_ended_call(run, run.records[seq - 1], run.calls[seq])


def _find_calls(run: OpenRun, path: str) -> Iterator[_Found]:
    for seq, span in run.calls.items():
        if not path or is_inside(span.path, path):
            yield _Found(seq, partial(_build_ended_call, run, run.records[seq - 1], span))
    for span in run.trace.spans:
        if path and not is_inside(span.path, path):
            continue
        if span.kind == "call" and span.id in run.sent and span.status in ("running", "lost"):
            seq = run.sent[span.id]
            yield _Found(seq, partial(_build_open_call, run, run.records[seq - 1], span))
        elif span.kind == "tool" and span.role != "tool":
            yield _Found(_find_seq(run, span.parent), partial(_build_unmade_call, run, span))
    for step in run.steps.list_rows():
        if step.tool and (not path or is_inside(step.path, path)):
            seq = run.moments.last_seqs_of_paths.get(step.path, 1)
            yield _Found(seq, partial(_build_tool_call, run, step, seq))


def _find_seq(run: OpenRun, call: str) -> int:
    """Return the record of a model call by the id of its span."""
    return next((seq for seq, span in run.calls.items() if span.id == call), 1)


# ---- model calls ---------------------------------------------------------------------------------
def _build_ended_call(run: OpenRun, record: Record, span: Span) -> ModelCall:
    redaction = run.build_redaction()
    body = read_body(run.head.run_id, record)
    response: Body = body.get("response") or {}
    decision = response.get("decision") if response else body["decision"]
    asked: Body = body["asked"]
    return _build_call(
        record.seq,
        body,
        span,
        redaction,
        messages=[_build_message(message, redaction) for message in asked.get("messages", ())],
        shared=int(asked.get("shared", 0)),
        answer=redaction.text(str(response.get("text", ""))),
        tools=_build_asked(response.get("tool_calls", ()), redaction),
        decision=_build_decision(decision, redaction),
        masked=[
            f"{each['kind']} × {each['count']} in the {each['where']}: {each['action']}"
            for each in response.get("findings", ())
        ],
        note=redaction.text(str(response.get("note", ""))),
    )


def _build_open_call(run: OpenRun, record: Record, span: Span) -> ModelCall:
    """Return a call whose end is not recorded: only its requests are known."""
    body = read_body(run.head.run_id, record)
    return _build_call(
        record.seq,
        body,
        span,
        run.build_redaction(),
        messages=[],
        shared=0,
        answer="",
        tools=[],
        decision=None,
        masked=[],
        note="",
    )


def _build_call(
    seq: int,
    body: Body,
    span: Span,
    redaction: ClippedRedaction,
    *,
    messages: list[Message],
    shared: int,
    answer: str,
    tools: list[AskedTool],
    decision: Decision | None,
    masked: list[str],
    note: str,
) -> ModelCall:
    message = redaction.text(span.message)
    requests = [_build_request(request, redaction) for request in body.get("requests", ())]
    return ModelCall(
        seq=seq,
        path=span.path,
        activation=body["id"],
        attempt=span.attempt,
        model=span.model,
        endpoint=span.endpoint,
        began=span.began,
        seconds=span.seconds,
        first_token=span.first_token,
        status=span.status,
        error=span.error,
        message=message,
        finish_reason=span.finish_reason,
        usage=sum_usage([span]),
        cached_tokens=span.cached_tokens,
        usd_source=span.usd_source,
        from_cache=span.from_cache,
        is_copy=span.is_copy,
        messages=messages,
        shared=shared,
        answer=answer,
        tools=tools,
        requests=requests,
        decision=decision,
        masked=masked,
        note=note,
        cut=redaction.cut.left_out,
    )


def _build_message(message: Body, redaction: ClippedRedaction) -> Message:
    return Message(
        str(message["role"]),
        redaction.text(str(message["content"])),
        _build_asked(message.get("calls", ()), redaction),
        str(message.get("answers", "")),
    )


def _build_asked(calls: Iterable[Body], redaction: ClippedRedaction) -> list[AskedTool]:
    return [
        AskedTool(str(call["id"]), str(call["name"]), redaction.json(str(call["arguments"])))
        for call in calls
    ]


def _build_request(request: Body, redaction: Redaction) -> SentRequest:
    return SentRequest(
        model=str(request["model"]),
        target=str(request.get("target", "")),
        began=float(request["began"]),
        seconds=float(request["seconds"]),
        outcome=str(request["outcome"]),
        message=redaction.text(str(request.get("message", ""))),
        first_token=request.get("first_token"),
        is_hedge=bool(request.get("is_hedge", False)),
    )


def _build_decision(decision: Body | None, redaction: Redaction) -> Decision | None:
    if not decision:
        return None
    return Decision(
        policy=str(decision["policy"]),
        kind=str(decision["kind"]),
        answered_by=str(decision["answered_by"]),
        candidates=[
            Candidate(str(each["name"]), each.get("score"), str(each["skipped"]))
            for each in decision["candidates"]
        ],
        attempts=[_build_attempt(each, redaction) for each in decision["attempts"]],
        note=redaction.text(str(decision["note"])),
    )


def _build_attempt(attempt: Body, redaction: Redaction) -> TargetAttempt:
    return TargetAttempt(
        target=str(attempt["target"]),
        outcome=str(attempt["outcome"]),
        seconds=float(attempt["seconds"]),
        status=attempt.get("status"),
        first_token=attempt.get("first_token_seconds"),
        usd=attempt.get("usd"),
        error=redaction.text(str(attempt["error"])),
        is_hedge=bool(attempt["is_hedge"]),
        inner=_build_decision(attempt.get("inner"), redaction),
    )


# ---- calls of tools ------------------------------------------------------------------------------
def _build_tool_call(run: OpenRun, step: StepRow, seq: int) -> ToolCall:
    redaction = run.build_redaction()
    span = run.spans.find_activation(step.activation) if step.activation else None
    began, seconds = (span.began, span.seconds) if span is not None else (0.0, None)
    arguments = redaction.data(step.arguments)
    result, error = redaction.json(step.result), redaction.text(step.error)
    return ToolCall(
        seq=seq,
        path=step.path,
        activation=step.activation,
        agent=step.agent,
        tool=step.tool,
        status=step.status,
        attempts=step.attempts,
        began=began,
        seconds=seconds,
        arguments=arguments,
        result=result,
        error=error,
        cut=redaction.cut.left_out,
    )


def _build_unmade_call(run: OpenRun, span: Span) -> ToolCall:
    """Return a call that has no records of its own: it was not made, or the journal is older."""
    redaction = run.build_redaction()
    status = TOOL_OUTCOMES.get(span.outcome, "done")
    result = redaction.text(span.message)
    return ToolCall(
        seq=_find_seq(run, span.parent),
        path=span.path,
        activation="",
        agent=span.path,
        tool=span.node,
        status=status,
        attempts=1,
        began=span.began,
        seconds=span.seconds,
        arguments={"arguments": redaction.json(span.arguments)},
        result=result,
        error="",
        cut=redaction.cut.left_out,
    )
