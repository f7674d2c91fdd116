"""A session as plain JSON for a page: what the stepper shows, and the export. Values become text here, once, so nothing of them can be markup."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter

from graphorch.core.tree import Activation
from graphorch.debugger.breakpoints import AtNode, Breakpoint, OnRoute
from graphorch.debugger.session import Session
from graphorch.debugger.steps import DebugStep
from graphorch.engine.attempts.model_calls import RecordedCall
from graphorch.errors import GraphorchError
from graphorch.graph.plan import Plan, Step
from graphorch.render.plan_picture import box_id, line_id
from graphorch.runs.result import Question

_MODULE = re.compile(r"(?:\w+\.)+(?=\w)")
_LINE = 120  # characters; longer objects get a line per field
SHOWN = 4000  # characters of one value, message or answer
LISTED = 400  # moments in the timeline, the newest ones

Json = dict[str, Any]


def view_of(session: Session[Any, Any]) -> Json:
    """Where a session stands. Call it on the background loop."""
    history = session.history
    first = max(0, len(history) - LISTED)
    inside = session.current_scope
    questions = [_question(question) for question in session.open_questions]
    return {
        "flow": session.flow,
        "run": session.run_id,
        "status": session.status,
        "running": _path_of(session.stepping.passing),
        "next": session.next,
        "ready": session.ready[:50],
        "stopped": session.stop_reason,
        "questions": questions,
        "first": first,
        "moments": [_listed(moment) for moment in history[first:]],
        "step": detail(history[-1]) if history else None,
        "state": _fields(
            session.state, history[-1] if history and "/" not in history[-1].path else None
        ),
        "inside": None
        if inside is None
        else {"path": inside[0], "state": _fields(inside[1], history[-1] if history else None)},
        "breakpoints": [_breakpoint(session, item) for item in session.breakpoints],
        "pins": {path: _pinned(value) for path, value in session.pins.items()},
        "usd": sum(moment.usd for moment in history),
        "tokens": sum(moment.tokens for moment in history),
    }


def detail(moment: DebugStep) -> Json:
    """All of one moment."""
    changed = [
        {"name": name, "before": text_of(before), "after": text_of(after)}
        for name, (before, after) in moment.changed.items()
    ]
    return {**_listed(moment), "changed": changed, "calls": [_call(call) for call in moment.calls]}


def nodes_of(plan: Plan) -> Json:
    """What can be known of each box before anything runs: what its node reads and writes, and where its tokens can go."""
    return {path: _node(plan, step) for plan, path, step in _every_step(plan, "")}


def lines_of(plan: Plan, prefix: str = "") -> Json:
    """Which node each line of the picture leaves and which it leads to: what a breakpoint on it needs to know."""
    found: Json = {}
    for edge in plan.topology.edges:
        if edge.source >= 0:
            flow = prefix.rstrip("/")
            found[line_id(flow, edge)] = [
                prefix + plan.topology.name(edge.source),
                plan.topology.name(edge.target),
            ]
    for step in plan.steps[: plan.end]:
        if step.inner_plan is not None:
            found.update(lines_of(step.inner_plan, f"{prefix}{step.name}/"))
    return found


def text_of(value: object) -> str:
    """A value as text: text as it is, everything else as JSON where it can be, cut where it is long."""
    if isinstance(value, str):
        return _cut(value)
    try:
        adapter = TypeAdapter[Any](type(value))
        line = adapter.dump_json(value, warnings=False).decode()
        return _cut(
            line
            if len(line) <= _LINE or "{" not in line
            else adapter.dump_json(value, indent=1, warnings=False).decode()
        )
    except Exception:  # whatever a user's serializer raises: what is shown must not end what is run
        return _cut(repr(value))


def _every_step(plan: Plan, prefix: str) -> Iterator[tuple[Plan, str, Step]]:
    for step in plan.steps[: plan.end]:
        yield plan, prefix + step.name, step
        if step.inner_plan is not None:
            yield from _every_step(step.inner_plan, f"{prefix}{step.name}/")


def _node(plan: Plan, step: Step) -> Json:
    signature = step.node.signature
    written: Any = getattr(step.node, "prompt", None) or step.node.fn
    doc = (inspect.getdoc(written) or "").splitlines() if inspect.isroutine(written) else []
    can_pin = step.inner_plan is None and step.ask is None and bool(signature.writes)
    return {
        "kind": "ask"
        if step.ask is not None
        else "map"
        if step.map is not None
        else "sub"
        if step.inner_plan is not None
        else step.node.kind,
        "doc": doc[0] if doc else "",
        "reads": [
            read.model.__name__ if read.model is not None else plan.schema.model.__name__
            for read in signature.reads
        ],
        "writes": [
            _written(model, name) for model in signature.writes for name in model.model_fields
        ]
        if can_pin
        else [],
        "opens": step.inner_plan is not None,
    }


def _written(model: type[BaseModel], name: str) -> Json:
    info = model.model_fields[name]
    default = (
        None
        if info.is_required()
        else info.get_default(call_default_factory=True, validated_data={})
    )
    return {
        "name": name,
        "type": _type(info.annotation),
        "value": "" if default is None else text_of(default),
    }


def _listed(moment: DebugStep) -> Json:
    return {
        "path": moment.path,
        "box": box_id(moment.path),
        "kind": moment.kind,
        "how": moment.how,
        "to": list(moment.to),
        "seconds": moment.seconds,
        "attempts": moment.attempts,
        "tokens": moment.tokens,
        "usd": moment.usd,
        "asked": len(moment.calls),
        "error": _cut(moment.error),
    }


def _call(call: RecordedCall) -> Json:
    response = call.response
    messages = [
        {"role": message.role, "text": _cut(message.content or _tools(message.tool_calls))}
        for message in call.messages
    ]
    if response is None:
        return {
            "model": call.model,
            "messages": messages,
            "answer": "",
            "error": _cut(call.error),
            "decision": "",
        }
    usage = response.usage
    return {
        "model": response.model,
        "messages": messages,
        "answer": _cut(response.text or _tools(response.tool_calls)),
        "error": "",
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cached": usage.cached_tokens,
        "estimated": usage.is_estimated,
        "usd": response.usd,
        "priced": response.usd_source,
        "seconds": response.seconds,
        "note": response.note,
        "decision": response.decision.text() if response.decision is not None else "",
    }


def _tools(calls: Sequence[Any]) -> str:
    return "\n".join(f"{call.name}({call.arguments})" for call in calls)


def _fields(state: BaseModel, last: DebugStep | None) -> list[Json]:
    """The fields of a state with what the last step did to them."""
    changed: Mapping[str, tuple[Any, Any]] = last.changed if last is not None else {}
    found: list[Json] = []
    for name, info in type(state).model_fields.items():
        known = name in state.__dict__
        value = state.__dict__.get(name)
        found.append(
            {
                "name": name,
                "type": _type(info.annotation),
                "set": name in state.model_fields_set,
                "value": text_of(value) if known else "",
                "plain": isinstance(value, str) or info.annotation is str,
                "changed": name in changed,
                "before": text_of(changed[name][0]) if name in changed else "",
                "cut": len(str(value)) > SHOWN,
            }
        )
    return found


def _question(question: Question) -> Json:
    fields = [
        {
            "name": name,
            "type": _type(info.annotation),
            "kind": _input(info.annotation),
            "value": _default(info),
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


def _default(info: Any) -> Any:
    if info.is_required():
        return ""
    value = info.get_default(call_default_factory=True, validated_data={})
    return value if isinstance(value, bool) else text_of(value)


def _input(annotation: Any) -> str:
    return "flag" if annotation is bool else "text" if annotation is str else "json"


def _breakpoint(session: Session[Any, Any], item: Breakpoint) -> Json:
    lines: list[str] = []
    if isinstance(item, OnRoute):
        lines = [
            line
            for line, ends in lines_of(session.stepping.plan).items()
            if ends == [item.source, item.target]
        ]
    return {"text": str(item), "box": item.path if isinstance(item, AtNode) else "", "lines": lines}


def _pinned(value: BaseModel | tuple[BaseModel, ...]) -> Mapping[str, str]:
    parts = value if isinstance(value, tuple) else (value,)
    return {name: text_of(getattr(part, name)) for part in parts for name in part.model_fields_set}


def _path_of(activation: Activation | None) -> str:
    return "" if activation is None else activation.path


def _type(annotation: Any) -> str:
    name = getattr(annotation, "__name__", "") if not getattr(annotation, "__args__", None) else ""
    return name or _MODULE.sub("", str(annotation))


def _cut(text: str) -> str:
    return (
        text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text) - SHOWN:,} more characters)"
    )


def given_value(text: str, *, plain: bool) -> Any:
    """What somebody typed: text where the field holds text, else JSON. Raises `GraphorchError`."""
    if plain:
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise GraphorchError(
            f'That is no JSON: {error.msg} at character {error.pos + 1}. Write 3, true, "text" or [1, 2].'
        ) from error
