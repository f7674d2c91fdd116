"""A session as plain JSON for a page: what the stepper and the export show.

Values become text here, once, so no value of a state can ever be markup.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel

from graphorch.core.tree import Activation, Status, ToolScope
from graphorch.debugger.breakpoints import AtNode, Breakpoint, OnRoute
from graphorch.debugger.notebook.timeline import build_rows, find_box, summarize_step
from graphorch.debugger.notebook.values import MAX_SHOWN, cut_text, describe_type, format_value
from graphorch.debugger.session import Session
from graphorch.debugger.steps import DebugStep
from graphorch.engine.attempts.model_calls import RecordedCall
from graphorch.engine.invocation.secret_values import hide_secrets
from graphorch.graph.plan import Plan, Step
from graphorch.render.plan_picture import box_id, line_id
from graphorch.runs.result import Question, build_question
from graphorch.state.marks import HIDDEN
from graphorch.text import format_moment

_MAX_READY = 50  # activations listed as ready
_MOST_NODES = 2_000  # nodes that are described

Json: TypeAlias = dict[str, Any]


# ---- a session -----------------------------------------------------------------------------------
def build_panel(
    session: Session[Any, Any],
    *,
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
    }


def name_session(session: Session[Any, Any]) -> str:
    """Return what a session is: `Session`, or `Fork` or `Rerun` of another one."""
    kind = session.controller.origin.partition(" ")[0]
    return kind.capitalize() or "Session"


def build_view(session: Session[Any, Any]) -> Json:
    """Return where a session stands. Call it on the background loop."""
    history, spent = session.history, session.controller.spent
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
        "questions": _describe_questions(session),
        "steps": len(history),
        "rows": build_rows(history),
        "step": None if last is None else describe_step(last, len(history) - 1),
        "state": _describe_fields(
            session.state, last if is_last_at_top else None, _list_secrets(session)
        ),
        "inside": _describe_scope(session, last),
        "breakpoints": [_describe_breakpoint(session, item) for item in session.breakpoints],
        "pins": {path: _describe_pin(value) for path, value in session.pins.items()},
        "usd": spent.usd,
        "unpriced": spent.unpriced,
        "tokens": spent.tokens,
        "origin": session.controller.origin,
        "difference": _describe_difference(session) if session.controller.origin else None,
    }


def _describe_difference(session: Session[Any, Any]) -> Json:
    """Return how a fork differs from the session that it comes from, by now."""
    difference = session.difference
    return {
        "ran": list(difference.ran),
        "only_old": list(difference.only_old),
        "only_new": list(difference.only_new),
        "fields": [
            {"name": name, "before": format_value(old), "after": format_value(new)}
            for name, (old, new) in difference.fields.items()
        ],
        "prompts": [
            {
                "call": prompt.call,
                "old_model": prompt.old_model,
                "new_model": prompt.new_model,
                "before": cut_text(prompt.old),
                "after": cut_text(prompt.new),
            }
            for prompt in session.changed_prompts
        ],
        "usd": difference.usd,
        "unpriced": difference.unpriced,
        "seconds": difference.seconds,
    }


def _describe_scope(session: Session[Any, Any], last: DebugStep | None) -> Json | None:
    scope = session.current_scope
    if scope is None:
        return None
    path, state = scope
    return {"path": path, "state": _describe_fields(state, last, _list_secrets(session))}


def _list_secrets(session: Session[Any, Any]) -> frozenset[str]:
    """Return the fields whose values are not shown."""
    marked = session.controller.plan.marked
    return marked.list_all_secrets() if marked is not None else frozenset()


def _describe_fields(
    state: BaseModel, last: DebugStep | None, secrets: frozenset[str]
) -> list[Json]:
    """Return the fields of a state, with what the last step did to them; secrets are hidden."""
    changed: Mapping[str, tuple[Any, Any]] = {} if last is None else last.changed
    fields: list[Json] = []
    for name, info in type(state).model_fields.items():
        value = HIDDEN if name in secrets else state.__dict__.get(name)
        fields.append(
            {
                "name": name,
                "type": describe_type(info.annotation),
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
def describe_step(step: DebugStep, at: int) -> Json:
    """Return everything about one step; `at` is its number in the history, from 0 on."""
    changed = [
        {"name": name, "before": format_value(before), "after": format_value(after)}
        for name, (before, after) in step.changed.items()
    ]
    calls = [_describe_call(call) for call in step.calls]
    arguments = format_value(dict(step.arguments)) if step.tool else ""
    summary = summarize_step(step, at)
    return {**summary, "arguments": arguments, "changed": changed, "calls": calls}


def _describe_call(call: RecordedCall) -> Json:
    messages = [
        {"role": message.role, "text": cut_text(message.content or _list_tools(message.tool_calls))}
        for message in call.messages
    ]
    response, charge = call.response, call.charge
    if response is None:
        return {
            "model": call.model,
            "messages": messages,
            "answer": "",
            "error": cut_text(call.error),
            "usd": charge.usd,
            "unpriced": charge.unpriced,
            "decision": "",
        }
    usage = response.usage
    return {
        "model": response.model,
        "messages": messages,
        "answer": cut_text(response.text or _list_tools(response.tool_calls)),
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
def _describe_questions(session: Session[Any, Any]) -> list[Json]:
    """Return the open questions; one about a call of a tool has what it would be called with."""
    described: list[Json] = []
    for asker in session.controller.stepped.scheduler.open_questions():
        question = _describe_question(build_question(asker))
        scope = asker.scope
        if isinstance(scope, ToolScope):
            shown = hide_secrets(asker, format_value(scope.call.arguments))
            box = find_box(asker.path, is_call=True)
            question |= {"tool": asker.tool, "arguments": shown, "box": box}
        described.append(question)
    return described + [
        _describe_wait(session, activation)
        for activation in session.controller.run.waits()
        if activation.status is Status.AWAITING_EVENT
    ]


def _describe_wait(session: Session[Any, Any], activation: Activation) -> Json:
    """Return a wait as a form shows it: the fields of its signal, or none for a timer."""
    wait = activation.wait
    assert wait is not None
    signal = session.controller.plan.signals.get(wait.signal)
    return {
        "id": activation.id,
        "path": activation.path,
        "box": box_id(activation.path),
        "text": cut_text(wait.describe()),
        "tool": "",
        "waits": True,
        "signal": wait.signal,
        "key": wait.key,
        "is_timed": wait.due is not None,
        "until": "",  # its text says so
        "fields": [] if signal is None else _describe_form(signal.value),
    }


def _describe_question(question: Question) -> Json:
    """Return a question with the fields of its answer, as a form shows them."""
    return {
        "id": question.id,
        "path": question.path,
        "box": box_id(question.path),
        "text": cut_text(question.text),
        "tool": "",
        "waits": False,
        "is_timed": question.expires is not None,
        "until": "" if question.expires is None else format_moment(question.expires),
        "fields": _describe_form(question.answer_type),
    }


def _describe_form(model: type[BaseModel]) -> list[Json]:
    """Return the fields of a model that a person fills in."""
    return [
        {
            "name": name,
            "type": describe_type(info.annotation),
            "kind": _choose_input(info.annotation),
            "value": _format_form_value(info),
            "hint": info.description or "",
        }
        for name, info in model.model_fields.items()
    ]


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


# ---- its flow ------------------------------------------------------------------------------------
def describe_nodes(plan: Plan) -> Json:
    """Return what is known of each box before anything runs: what its node reads and writes."""
    return {path: _describe_node(plan, step) for plan, path, step in _walk_steps(plan)}


def describe_lines(plan: Plan) -> Json:
    """Return, for each line of the picture, the path of its source and the name of its target."""
    lines: Json = {}
    for inner, prefix in _list_flows(plan):
        topology = inner.topology
        for edge in topology.edges:
            if edge.source >= 0:
                ends = [prefix + topology.name(edge.source), topology.name(edge.target)]
                lines[line_id(prefix.rstrip("/"), edge)] = ends
    return lines


def _walk_steps(plan: Plan) -> Iterator[tuple[Plan, str, Step]]:
    for inner, prefix in _list_flows(plan):
        for step in inner.steps[: inner.end]:
            yield inner, prefix + step.name, step


def _list_flows(plan: Plan) -> Iterator[tuple[Plan, str]]:
    """Yield a plan and the flows inside of it with the beginning of their paths, outer ones first.

    No more than a picture could show: a flow that runs itself has a great many.
    """
    flows = deque([(plan, "")])
    nodes = 0
    while flows and nodes < _MOST_NODES:
        inner, prefix = flows.popleft()
        nodes += inner.end
        yield inner, prefix
        for step in inner.steps[: inner.end]:
            if step.inner_plan is not None:
                flows.append((step.inner_plan, f"{prefix}{step.name}/"))


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
        "type": describe_type(info.annotation),
        "value": "" if default is None else format_value(default),
    }
