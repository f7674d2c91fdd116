"""A session as plain JSON for a page: what the stepper and the export show.

Values become text here, once, so no value of a state can ever be markup.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel, TypeAdapter

from graphorch.debugger.breakpoints import AtNode, Breakpoint, OnRoute
from graphorch.debugger.session import Session
from graphorch.debugger.steps import DebugStep
from graphorch.engine.attempts.model_calls import RecordedCall
from graphorch.errors import GraphorchError
from graphorch.graph.plan import Plan, Step
from graphorch.render.plan_picture import box_id, line_id
from graphorch.runs.result import Question
from graphorch.text import truncate_counted

_MODULE = re.compile(r"(?:\w+\.)+(?=\w)")
_LINE = 120  # characters; longer objects get a line per field
MAX_SHOWN = 4000  # characters of one value, message or answer
_MAX_LISTED = 400  # steps in the timeline, the newest ones
_MAX_READY = 50  # activations listed as ready

Json: TypeAlias = dict[str, Any]


# ---- a session -----------------------------------------------------------------------------------
def build_panel(
    session: Session[Any, Any],
    number: int = 0,
    *,
    notice: str = "",
    folded: Collection[str] = (),
    groups: Sequence[Json] = (),
) -> Json:
    """Return one panel of the page: a view with its picture. Call it on the background loop.

    `folded` are the paths of sub-flows that are closed in the picture; `groups` lists all that the
    page offers to fold.
    """
    return {
        **build_view(session),
        "svg": session.svg(closed=sorted(folded), title=""),
        "groups": list(groups),
        "notice": notice,
        "number": number,
    }


def build_view(session: Session[Any, Any]) -> Json:
    """Return where a session stands. Call it on the background loop."""
    history, spent = session.history, session.controller.spent
    first = max(0, len(history) - _MAX_LISTED)
    last = history[-1] if history else None
    passing = session.controller.stepped.passing
    is_last_at_top = last is not None and "/" not in last.path
    return {
        "flow": session.flow,
        "run": session.run_id,
        "status": session.status,
        "running": "" if passing is None else passing.path,
        "next": session.next,
        "ready": session.ready[:_MAX_READY],
        "stopped": session.stop_reason,
        "questions": [_describe_question(question) for question in session.open_questions],
        "first": first,
        "history": [_summarize_step(step) for step in history[first:]],
        "step": None if last is None else describe_step(last),
        "state": _describe_fields(session.state, last if is_last_at_top else None),
        "inside": _describe_scope(session, last),
        "breakpoints": [_describe_breakpoint(session, item) for item in session.breakpoints],
        "pins": {path: _describe_pin(value) for path, value in session.pins.items()},
        "usd": spent.usd,
        "unpriced": spent.unpriced,
        "tokens": spent.tokens,
    }


def _describe_scope(session: Session[Any, Any], last: DebugStep | None) -> Json | None:
    scope = session.current_scope
    if scope is None:
        return None
    path, state = scope
    return {"path": path, "state": _describe_fields(state, last)}


def _describe_fields(state: BaseModel, last: DebugStep | None) -> list[Json]:
    """Return the fields of a state, with what the last step did to them."""
    changed: Mapping[str, tuple[Any, Any]] = {} if last is None else last.changed
    fields: list[Json] = []
    for name, info in type(state).model_fields.items():
        value = state.__dict__.get(name)
        fields.append(
            {
                "name": name,
                "type": _describe_type(info.annotation),
                "set": name in state.model_fields_set,
                "value": format_value(value) if name in state.__dict__ else "",
                "plain": isinstance(value, str) or info.annotation is str,
                "changed": name in changed,
                "before": format_value(changed[name][0]) if name in changed else "",
                "cut": len(str(value)) > MAX_SHOWN,
            }
        )
    return fields


def _describe_breakpoint(session: Session[Any, Any], breakpoint: Breakpoint) -> Json:
    box = breakpoint.path if isinstance(breakpoint, AtNode) else ""
    lines: list[str] = []
    if isinstance(breakpoint, OnRoute):
        ends = [breakpoint.source, breakpoint.target]
        all_lines = describe_lines(session.controller.plan)
        lines = [line for line, line_ends in all_lines.items() if line_ends == ends]
    return {"text": str(breakpoint), "box": box, "lines": lines}


def _describe_pin(value: BaseModel | tuple[BaseModel, ...]) -> Mapping[str, str]:
    slices = value if isinstance(value, tuple) else (value,)
    return {
        name: format_value(getattr(part, name))
        for part in slices
        for name in sorted(part.model_fields_set)
    }


# ---- its steps -----------------------------------------------------------------------------------
def describe_step(step: DebugStep) -> Json:
    """Return everything about one step."""
    changed = [
        {"name": name, "before": format_value(before), "after": format_value(after)}
        for name, (before, after) in step.changed.items()
    ]
    calls = [_describe_call(call) for call in step.calls]
    return {**_summarize_step(step), "changed": changed, "calls": calls}


def _summarize_step(step: DebugStep) -> Json:
    return {
        "path": step.path,
        "box": box_id(step.path),
        "kind": step.kind,
        "how": step.how,
        "to": list(step.to),
        "seconds": step.seconds,
        "attempts": step.attempts,
        "tokens": step.tokens,
        "usd": step.usd,
        "unpriced": step.unpriced,
        "asked": len(step.calls),
        "error": _cut(step.error),
    }


def _describe_call(call: RecordedCall) -> Json:
    messages = [
        {"role": message.role, "text": _cut(message.content or _list_tools(message.tool_calls))}
        for message in call.messages
    ]
    response, charge = call.response, call.charge
    if response is None:
        return {
            "model": call.model,
            "messages": messages,
            "answer": "",
            "error": _cut(call.error),
            "usd": charge.usd,
            "unpriced": charge.unpriced,
            "decision": "",
        }
    usage = response.usage
    return {
        "model": response.model,
        "messages": messages,
        "answer": _cut(response.text or _list_tools(response.tool_calls)),
        "error": "",
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cached": usage.cached_tokens,
        "estimated": usage.is_estimated,
        "usd": charge.usd,
        "unpriced": charge.unpriced,
        "priced": response.usd_source,
        "seconds": response.seconds,
        "note": response.note,
        "decision": response.decision.text() if response.decision is not None else "",
    }


def _list_tools(calls: Sequence[Any]) -> str:
    return "\n".join(f"{call.name}({call.arguments})" for call in calls)


# ---- its questions -------------------------------------------------------------------------------
def _describe_question(question: Question) -> Json:
    """Return a question with the fields of its answer, as a form shows them."""
    fields = [
        {
            "name": name,
            "type": _describe_type(info.annotation),
            "kind": _choose_input(info.annotation),
            "value": _format_form_value(info),
            "hint": info.description or "",
        }
        for name, info in question.answer_type.model_fields.items()
    ]
    return {
        "id": question.id,
        "path": question.path,
        "box": box_id(question.path),
        "text": _cut(question.text),
        "fields": fields,
    }


def _choose_input(annotation: Any) -> str:
    if annotation is bool:
        return "flag"
    if annotation is str:
        return "text"
    return "json"


def _format_form_value(info: Any) -> str | bool:
    value = _read_default(info)
    if isinstance(value, bool):
        return value
    if info.is_required():
        return ""
    return format_value(value)


def _read_default(info: Any) -> Any:
    """Return the default of a field; None if it is required."""
    if info.is_required():
        return None
    return info.get_default(call_default_factory=True, validated_data={})


def parse_value(text: str, *, plain: bool) -> Any:
    """Parse a typed value: text if the field holds text (`plain`), else JSON.

    Raises `GraphorchError`.
    """
    if plain:
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise GraphorchError(
            f"That is not JSON: {error.msg} at character {error.pos + 1}. "
            'Write 3, true, "text" or [1, 2].'
        ) from error


# ---- its flow ------------------------------------------------------------------------------------
def describe_nodes(plan: Plan) -> Json:
    """Return what is known of each box before anything runs: what its node reads and writes."""
    return {path: _describe_node(plan, step) for plan, path, step in _walk_steps(plan, "")}


def describe_lines(plan: Plan, prefix: str = "") -> Json:
    """Return, for each line of the picture, the path of its source and the name of its target."""
    lines: Json = {}
    flow_path = prefix.rstrip("/")
    topology = plan.topology
    for edge in topology.edges:
        if edge.source >= 0:
            ends = [prefix + topology.name(edge.source), topology.name(edge.target)]
            lines[line_id(flow_path, edge)] = ends
    for step in plan.steps[: plan.end]:
        if step.inner_plan is not None:
            lines.update(describe_lines(step.inner_plan, f"{prefix}{step.name}/"))
    return lines


def _walk_steps(plan: Plan, prefix: str) -> Iterator[tuple[Plan, str, Step]]:
    for step in plan.steps[: plan.end]:
        yield plan, prefix + step.name, step
        if step.inner_plan is not None:
            yield from _walk_steps(step.inner_plan, f"{prefix}{step.name}/")


def _describe_node(plan: Plan, step: Step) -> Json:
    signature = step.node.signature
    state_name = plan.schema.model.__name__
    reads = [state_name if read.model is None else read.model.__name__ for read in signature.reads]
    can_pin = step.inner_plan is None and step.ask is None
    writes: list[Json] = []
    if can_pin:
        for model in signature.writes:
            writes += [_describe_written_field(model, name) for name in model.model_fields]
    return {
        "kind": _name_kind(step),
        "doc": _first_doc_line(step),
        "reads": reads,
        "writes": writes,
        "opens": step.inner_plan is not None,
    }


def _name_kind(step: Step) -> str:
    if step.ask is not None:
        return "ask"
    if step.map is not None:
        return "map"
    if step.inner_plan is not None:
        return "sub"
    return step.node.kind


def _first_doc_line(step: Step) -> str:
    function: Any = getattr(step.node, "prompt", None) or step.node.fn
    if not inspect.isroutine(function):
        return ""
    lines = (inspect.getdoc(function) or "").splitlines()
    return lines[0] if lines else ""


def _describe_written_field(model: type[BaseModel], name: str) -> Json:
    info = model.model_fields[name]
    default = _read_default(info)
    return {
        "name": name,
        "type": _describe_type(info.annotation),
        "value": "" if default is None else format_value(default),
    }


# ---- values as text ------------------------------------------------------------------------------
def format_value(value: object) -> str:
    """Return a value as text: text as it is, anything else as JSON if possible, long ones cut."""
    if isinstance(value, str):
        return _cut(value)
    try:
        adapter = TypeAdapter[Any](type(value))
        text = adapter.dump_json(value, warnings=False).decode()
        if len(text) > _LINE and "{" in text:
            text = adapter.dump_json(value, indent=1, warnings=False).decode()
    except Exception:
        # A user's serializer may raise anything, and a display must not end the run.
        text = repr(value)
    return _cut(text)


def _describe_type(annotation: Any) -> str:
    is_generic = bool(getattr(annotation, "__args__", None))
    if not is_generic and getattr(annotation, "__name__", ""):
        return annotation.__name__
    return _MODULE.sub("", str(annotation))


def _cut(text: str) -> str:
    return truncate_counted(text, MAX_SHOWN)
