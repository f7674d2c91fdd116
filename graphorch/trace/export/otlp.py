"""Spans, metrics and events in OpenTelemetry's protocol: OTLP 1.x as JSON or protobuf.

Ids and times are those of the records, so a span that is sent twice is one span. Prompts and
answers are sent only on request.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from graphorch._version import __version__
from graphorch.errors import InputError
from graphorch.trace.conversation.turns import Turn, Utterance
from graphorch.trace.export import conventions as c
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace.spans.redaction import Redaction
from graphorch.trace_context import PARENT, STATE

Signal: TypeAlias = Literal["traces", "logs", "metrics"]
SIGNALS: Final[tuple[Signal, ...]] = get_args(Signal)

Protocol: TypeAlias = Literal["http/protobuf", "http/json"]
Json: TypeAlias = dict[str, Any]

_INTERNAL, _CLIENT = 1, 3  # kinds of spans
_OK, _ERROR = 1, 2  # codes of status
_INFO, _WARN, _SEVERE = (9, "INFO"), (13, "WARN"), (17, "ERROR")  # severities
_LONGEST = 500  # characters of a message
_OPENINFERENCE = {"run": "CHAIN", "flow": "CHAIN", "call": "LLM", "tool": "TOOL"}
_SERVICES: Mapping[Signal, tuple[str, str]] = {
    "traces": ("opentelemetry.proto.collector.trace.v1.trace_service_pb2", "ExportTraceService"),
    "logs": ("opentelemetry.proto.collector.logs.v1.logs_service_pb2", "ExportLogsService"),
    "metrics": (
        "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2",
        "ExportMetricsService",
    ),
}
# Names of the three levels of a request: of a resource, of a scope, of its items.
_LEVELS: Mapping[Signal, tuple[str, str, str]] = {
    "traces": ("resourceSpans", "scopeSpans", "spans"),
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
}
_REJECTED: Mapping[Signal, str] = {
    "traces": "rejectedSpans",
    "logs": "rejectedLogRecords",
    "metrics": "rejectedDataPoints",
}


def encode_span(span: Span, trace: Trace, redaction: Redaction, turn: Turn | None = None) -> Json:
    """Return a finished span; `turn` has the texts of a model or tool call, if they are sent."""
    tags = _clean_tags(trace, redaction)
    attributes = _list_attributes(span, trace, tags)
    if span.kind == "run":
        attributes |= {c.TAG + name: value for name, value in tags.items()}
    if turn is not None and span.kind == "call":
        attributes |= _list_content(turn, span, redaction)
    if turn is not None and span.kind == "tool":
        attributes |= {
            c.TOOL_ARGUMENTS: redaction.json(turn.arguments),
            c.TOOL_RESULT: redaction.json(turn.text),
        }
    status: Json = {"code": _OK}
    if span.status in ("failed", "handled", "lost"):
        status = {"code": _ERROR, "message": _cut_message(span.message, redaction)}
    encoded: Json = {
        "traceId": trace.find_trace_id(span.engagement),
        "spanId": span.id,
        "name": _name_span(span),
        "kind": _CLIENT if span.kind in ("call", "request") else _INTERNAL,
        "startTimeUnixNano": _encode_time(span.began),
        "endTimeUnixNano": _encode_time(span.began + (span.seconds or 0.0)),
        "attributes": encode_attributes(attributes),
        "status": status,
    }
    if span.parent:
        encoded["parentSpanId"] = span.parent
    if links := _list_links(span, trace):
        encoded["links"] = links
    return encoded


def _clean_tags(trace: Trace, redaction: Redaction) -> Mapping[str, str]:
    """Return the tags of a run, which are texts of its caller, without the trace of the caller."""
    tags = {name: value for name, value in trace.tags.items() if name not in (PARENT, STATE)}
    return redaction.data(tags) if tags else tags


def _list_links(span: Span, trace: Trace) -> list[Json]:
    """Return the links to the span before a pause, and to the run that a fork was made of."""
    links: list[Json] = []
    if span.link:
        engagement, span_id = span.link
        links.append(_encode_link(trace.find_trace_id(engagement), span_id, "continues"))
    if span.origin is not None:
        links.append(_encode_link(*span.origin, "forked from"))
    return links


def _encode_link(trace_id: str, span_id: str, kind: str) -> Json:
    attributes = encode_attributes({c.LINK: kind})
    return {"traceId": trace_id, "spanId": span_id, "attributes": attributes}


def _list_content(turn: Turn, span: Span, redaction: Redaction) -> Json:
    """Return the prompt and the answer of a model call as attributes of the conventions."""
    messages = [*turn.earlier, *turn.prompt]
    instructions = [message.text for message in messages if message.role == "system"]
    prompt = [_encode_message(item, redaction) for item in messages if item.role != "system"]
    content: Json = {c.INPUT_MESSAGES: _to_json(prompt)}
    if instructions:
        parts = [_encode_text(redaction.text(text)) for text in instructions]
        content[c.SYSTEM_INSTRUCTIONS] = _to_json(parts)
    if span.status == "ok":
        answer = Utterance("assistant", turn.answer, turn.calls)
        reason = span.finish_reason
        output = [{**_encode_message(answer, redaction), "finish_reason": reason}]
        content[c.OUTPUT_MESSAGES] = _to_json(output)
    return content


def _encode_message(message: Utterance, redaction: Redaction) -> Json:
    """Return a message with its parts: texts, tool calls, or the result of a tool call."""
    text = redaction.json(message.text)
    if message.role == "tool":
        part: Json = {"type": "tool_call_response", "id": message.answers, "response": text}
        return {"role": message.role, "parts": [part]}
    parts = [_encode_text(text)] if text else []
    for call in message.calls:
        arguments = redaction.json(call.arguments)
        part = {"type": "tool_call", "id": call.id, "name": call.name}
        parts.append({**part, "arguments": _read_arguments(arguments)})
    return {"role": message.role, "parts": parts}


def _encode_text(text: str) -> Json:
    return {"type": "text", "content": text}


def _read_arguments(text: str) -> Any:
    """Return the arguments of a tool call as JSON; a model may have written something else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def encode_events(span: Span, trace: Trace, redaction: Redaction) -> list[Json]:
    """Return the log records of a span: its failure, findings of guardrails, the end of a run."""
    events: list[Json] = []
    if span.status == "failed" and span.kind in ("attempt", "call", "tool"):
        text = f"{span.kind} of {span.path} failed: {span.error}"
        attributes = {
            c.EXCEPTION_TYPE: span.error,
            c.EXCEPTION_MESSAGE: _cut_message(span.message, redaction),
            c.NODE_PATH: span.path,
        }
        events.append(_encode_event(span, trace, _SEVERE, "exception", text, attributes))
    for finding in span.findings:
        kind, place, action = finding.get("kind"), finding.get("where"), finding.get("action")
        text = f"guardrail: {kind} in the {place} of {span.path}: {action}"
        attributes = {f"{c.FINDINGS}.{name}": value for name, value in finding.items()}
        name = "graphorch.guardrail.finding"
        events.append(_encode_event(span, trace, _WARN, name, text, attributes))
    if span.kind == "run":
        severity = _INFO if span.status in ("ok", "waiting") else _SEVERE
        text = f"run {trace.run_id} of '{trace.flow}' {trace.status} ({trace.reason})"
        attributes = {c.STATUS: trace.status}
        name = "graphorch.run.ended"
        events.append(_encode_event(span, trace, severity, name, redaction.text(text), attributes))
    return events


def build_request(signal: Signal, resource: Mapping[str, Any], items: Sequence[Json]) -> Json:
    """Return the body of an export of spans, of log records, or of metrics with one point each."""
    outer, inner, name = _LEVELS[signal]
    if signal == "metrics":
        items = _join_points(items)
    scope = {"scope": {"name": c.SCOPE, "version": __version__}, name: list(items)}
    attributes = encode_attributes(resource)
    return {outer: [{"resource": {"attributes": attributes}, inner: [scope]}]}


def _join_points(items: Sequence[Json]) -> list[Json]:
    """Return each metric once, with all of its points."""
    metrics: dict[str, Json] = {}
    for item in items:
        metric = metrics.get(item["name"])
        if metric is None:
            histogram = item["histogram"]
            points = {"dataPoints": list(histogram["dataPoints"])}
            metrics[item["name"]] = {**item, "histogram": {**histogram, **points}}
        else:
            metric["histogram"]["dataPoints"] += item["histogram"]["dataPoints"]
    return list(metrics.values())


def read_answer(signal: Signal, body: bytes, kind: str) -> tuple[int, str]:
    """Return how many items of a request a collector rejected, and its message.

    `kind` is the content type of its answer; what cannot be read says nothing.
    """
    try:
        answer = _decode_answer(signal, body, kind)
        partial: Json = answer.get("partialSuccess") or {}
        return max(0, int(partial.get(_REJECTED[signal], 0))), str(partial.get("errorMessage", ""))
    # An answer that cannot be read does not turn what was taken into a loss.
    except (ValueError, TypeError, AttributeError):
        return 0, ""


def _decode_answer(signal: Signal, body: bytes, kind: str) -> Any:
    if not body:
        return {}
    if "json" in kind:
        return json.loads(body)
    if "protobuf" not in kind or importlib.util.find_spec("google.protobuf") is None:
        return {}
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError

    module, name = _SERVICES[signal]
    message = getattr(_import_module(module), f"{name}Response")()
    try:
        message.ParseFromString(body)
    except DecodeError:
        return {}
    return MessageToDict(message)


def encode_json(body: Mapping[str, Any]) -> bytes:
    """Return the JSON form of a request."""
    return json.dumps(body, ensure_ascii=True).encode()


def encode_protobuf(signal: Signal, body: Mapping[str, Any]) -> bytes:
    """Return the binary form of a request. Raises `InputError` without the extra `otel`."""
    module, name = _SERVICES[signal]
    message = getattr(_import_module(module), f"{name}Request")
    return message(**_convert_fields(dict(body))).SerializeToString()


def check_protobuf() -> None:
    """Raise `InputError` unless the extra `otel` is installed."""
    for module, _ in _SERVICES.values():
        _import_module(module)


def _import_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            "OTLP in protobuf needs a package of OpenTelemetry. Install it: pip install "
            "'graphorch[otel]', or use protocol=\"http/json\" where the collector takes that."
        ) from error


def _convert_fields(body: Any) -> Any:
    """Return the fields of a message: names in snake case, ids as bytes, numbers as integers.

    Much faster than protobuf's own reader of JSON.
    """
    if isinstance(body, list):
        return [_convert_fields(item) for item in cast("list[Any]", body)]
    if not isinstance(body, dict):
        return body
    converted: Json = {}
    for name, value in cast("Json", body).items():
        field, convert = _FIELDS.get(name, (name, _convert_fields))
        converted[field] = convert(value)
    return converted


def _convert_numbers(values: list[str]) -> list[int]:
    return [int(value) for value in values]


_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "traceId": ("trace_id", bytes.fromhex),
    "spanId": ("span_id", bytes.fromhex),
    "parentSpanId": ("parent_span_id", bytes.fromhex),
    "startTimeUnixNano": ("start_time_unix_nano", int),
    "endTimeUnixNano": ("end_time_unix_nano", int),
    "timeUnixNano": ("time_unix_nano", int),
    "observedTimeUnixNano": ("observed_time_unix_nano", int),
    "intValue": ("int_value", int),
    "stringValue": ("string_value", _convert_fields),
    "boolValue": ("bool_value", _convert_fields),
    "doubleValue": ("double_value", _convert_fields),
    "arrayValue": ("array_value", _convert_fields),
    "resourceSpans": ("resource_spans", _convert_fields),
    "scopeSpans": ("scope_spans", _convert_fields),
    "resourceLogs": ("resource_logs", _convert_fields),
    "scopeLogs": ("scope_logs", _convert_fields),
    "logRecords": ("log_records", _convert_fields),
    "resourceMetrics": ("resource_metrics", _convert_fields),
    "scopeMetrics": ("scope_metrics", _convert_fields),
    "severityNumber": ("severity_number", _convert_fields),
    "severityText": ("severity_text", _convert_fields),
    "eventName": ("event_name", _convert_fields),
    "aggregationTemporality": ("aggregation_temporality", _convert_fields),
    "dataPoints": ("data_points", _convert_fields),
    "bucketCounts": ("bucket_counts", _convert_numbers),
    "explicitBounds": ("explicit_bounds", _convert_fields),
    "count": ("count", int),
}


def encode_attributes(values: Mapping[str, Any]) -> list[Json]:
    """Return attributes in the form of the protocol; None is left out."""
    attributes: list[Json] = []
    for name, value in values.items():
        if value is not None:
            attributes.append({"key": name, "value": _encode_value(value)})
    return attributes


def _encode_value(value: Any) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {
            "arrayValue": {"values": [_encode_value(item) for item in cast("list[Any]", value)]}
        }
    text = str(value)
    # Half a surrogate pair cannot be encoded: replace it instead of failing.
    return {"stringValue": text if text.isascii() else text.encode("utf-8", "replace").decode()}


def _name_span(span: Span) -> str:
    match span.kind:
        case "run":
            return f"{c.INVOKE_WORKFLOW} {span.node}"
        case "call":
            return f"{c.CHAT} {span.model}"
        case "tool":
            return f"{c.EXECUTE_TOOL} {span.node}"
        case "request":
            return f"request {span.endpoint}"
        case "attempt":
            return f"attempt {span.attempt}"
        case _:
            return f"{c.INVOKE_AGENT} {span.node}" if span.role == "agent" else span.node


def _list_attributes(span: Span, trace: Trace, tags: Mapping[str, str]) -> Json:
    session = tags.get("session", trace.run_id)
    kind = "AGENT" if span.role == "agent" else _OPENINFERENCE.get(span.kind, "CHAIN")
    common: Json = {
        c.RUN_ID: trace.run_id,
        c.CONVERSATION: session,
        c.SESSION: session,
        c.OPENINFERENCE_KIND: kind,
        c.WORKFLOW: trace.flow,
        c.USER: tags.get("user"),
        c.NODE_KIND: span.role or span.kind,
        c.NODE_PATH: span.path or None,
        c.NODE_LEVEL: span.level,
        c.ATTEMPT: span.attempt,
        c.STATUS: span.status,
        c.LOOP: span.loop or None,
        c.ERROR_TYPE: span.error or None,
    }
    return common | _list_kind_attributes(span)


def _list_kind_attributes(span: Span) -> Json:
    match span.kind:
        case "run":
            return {c.OPERATION: c.INVOKE_WORKFLOW}
        case "call":
            return {
                c.OPERATION: c.CHAT,
                c.OUTPUT_TYPE: "json" if span.output else "text",
                **_list_call_attributes(span),
            }
        case "request":
            return _list_call_attributes(span)
        case "tool":
            return {
                c.OPERATION: c.EXECUTE_TOOL,
                c.TOOL_NAME: span.node,
                c.TOOL_TYPE: "function",
                c.TOOL_CALL_ID: span.tool_call or None,
            }
        case "node" if span.role == "agent":
            return {c.OPERATION: c.INVOKE_AGENT, c.AGENT_NAME: span.node, c.AGENT_ID: span.step}
        case _:
            return {}


def _list_call_attributes(span: Span) -> Json:
    return {
        c.PROVIDER: find_provider(span),
        c.REQUEST_MODEL: span.asked or span.model,
        c.RESPONSE_MODEL: span.model if span.status == "ok" else None,
        c.MAX_TOKENS: span.max_tokens,
        c.TEMPERATURE: span.temperature,
        c.FINISH_REASONS: [span.finish_reason] if span.finish_reason else None,
        c.FIRST_CHUNK: span.first_token,
        **_list_server(span),
        c.AGENT_NAME: span.node,
        c.INPUT_TOKENS: span.input_tokens,
        c.OUTPUT_TOKENS: span.output_tokens,
        c.CACHED_TOKENS: span.cached_tokens,
        c.COST: None if span.is_unpriced and not span.usd else span.usd,
        c.COST_SOURCE: span.usd_source or None,
        c.POLICY: span.policy or None,
        c.ENDPOINT: span.endpoint or None,
        c.RETRIES: span.retries,
        c.FALLBACKS: span.fallbacks,
        c.HEDGES: span.hedges,
        c.CACHE_HIT: span.from_cache,
        c.FINDINGS: sum(int(finding.get("count", 1)) for finding in span.findings) or None,
    }


def _list_server(span: Span) -> Json:
    host, colon, port = span.server.rpartition(":")
    if not colon:
        return {}
    return {c.SERVER: host, c.PORT: int(port) if port.isdigit() else None}


def find_provider(span: Span) -> str:
    """Return the provider of a model call."""
    return c.guess_provider(span.endpoint if "/" in span.endpoint else span.model)


def _encode_event(
    span: Span, trace: Trace, severity: tuple[int, str], name: str, text: str, attributes: Json
) -> Json:
    number, word = severity
    at = _encode_time(span.began + (span.seconds or 0.0))
    return {
        "timeUnixNano": at,
        "observedTimeUnixNano": at,
        "severityNumber": number,
        "severityText": word,
        "body": _encode_value(text),
        "traceId": trace.find_trace_id(span.engagement),
        "spanId": span.id,
        "eventName": name,
        "attributes": encode_attributes({c.RUN_ID: trace.run_id, **attributes}),
    }


def _cut_message(message: str, redaction: Redaction) -> str:
    # Redaction of a long text takes time, and only its beginning is sent.
    return redaction.text(message[: 4 * _LONGEST])[:_LONGEST]


def _encode_time(seconds: float) -> str:
    return str(max(0, round(seconds * 1e9)))
