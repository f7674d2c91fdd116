"""Spans, measurements and events in OpenTelemetry's protocol: the JSON form of OTLP 1.x, and the same as protobuf.

Ids and times are those of the records, so what is sent twice is the same span twice. Prompts and answers are sent only when asked for.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

from graphorch.errors import InputError
from graphorch.trace.conversation.turns import Turn
from graphorch.trace.export import conventions as c
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace.spans.redaction import Redaction

Signal: TypeAlias = Literal["traces", "metrics", "logs"]
Json: TypeAlias = dict[str, Any]

_INTERNAL, _CLIENT = 1, 3
_OPENINFERENCE = {"run": "CHAIN", "flow": "CHAIN", "call": "LLM", "tool": "TOOL"}
_MESSAGES = {
    "traces": (
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
        "ExportTraceServiceRequest",
    ),
    "metrics": (
        "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2",
        "ExportMetricsServiceRequest",
    ),
    "logs": ("opentelemetry.proto.collector.logs.v1.logs_service_pb2", "ExportLogsServiceRequest"),
}


def encode_span(span: Span, trace: Trace, redaction: Redaction, turn: Turn | None = None) -> Json:
    """One finished span. `turn` is what was said in a model call, if that is to be sent."""
    attributes = _attributes(span, trace)
    # what is not ours to name: tags. Names of nodes and models are no texts, and everything costs time
    if span.kind == "run":
        attributes |= {c.TAG + name: redaction.text(value) for name, value in trace.tags.items()}
    if turn is not None and span.kind == "call":
        attributes[c.INPUT_MESSAGES] = json.dumps(
            [_message(said.role, said.text) for said in turn.prompt], ensure_ascii=False
        )
        attributes[c.OUTPUT_MESSAGES] = json.dumps(
            [_message("assistant", turn.text)], ensure_ascii=False
        )
    is_failed = span.status in ("failed", "handled", "lost")
    told: Json = {
        "traceId": trace.trace_id,
        "spanId": span.id,
        "name": _name(span),
        "kind": _CLIENT if span.kind in ("call", "request") else _INTERNAL,
        "startTimeUnixNano": _nano(span.began),
        "endTimeUnixNano": _nano(span.began + (span.seconds or 0.0)),
        "attributes": encode_attributes(attributes),
        "status": {"code": 2, "message": redaction.text(span.message[:2000])[:500]}
        if is_failed
        else {"code": 1},
    }
    if span.parent:
        told["parentSpanId"] = span.parent
    return told


def encode_events(span: Span, trace: Trace, redaction: Redaction) -> list[Json]:
    """The log records of a span: its failure, what guardrails found in it, and the end of a run."""
    events: list[Json] = []
    if span.status == "failed" and span.kind in ("attempt", "call", "tool"):
        known = {
            c.EXCEPTION_TYPE: span.error,
            c.EXCEPTION_MESSAGE: redaction.text(span.message)[:500],
            c.NODE_PATH: span.path,
        }
        events.append(
            _event(
                span,
                trace,
                17,
                "ERROR",
                f"{span.kind} of {span.path} failed: {span.error}",
                known,
                "exception",
            )
        )
    for finding in span.findings:
        known = {f"{c.FINDINGS}.{name}": value for name, value in finding.items()}
        text = f"guardrail: {finding.get('kind')} in the {finding.get('where')} of {span.path}: {finding.get('action')}"
        events.append(_event(span, trace, 13, "WARN", text, known, "graphorch.guardrail.finding"))
    if span.kind == "run":
        is_fine = span.status in ("ok", "waiting")
        text = f"run {trace.run_id} of '{trace.flow}' {trace.status} ({trace.reason})"
        severity, word = (9, "INFO") if is_fine else (17, "ERROR")
        events.append(
            _event(
                span,
                trace,
                severity,
                word,
                redaction.text(text),
                {c.STATUS: trace.status},
                "graphorch.run.ended",
            )
        )
    return events


def spans_request(resource: Mapping[str, Any], spans: Sequence[Json]) -> Json:
    """The body of an export of spans."""
    return {
        "resourceSpans": [
            {
                **_resource(resource),
                "scopeSpans": [{"scope": {"name": c.SCOPE}, "spans": list(spans)}],
            }
        ]
    }


def logs_request(resource: Mapping[str, Any], records: Sequence[Json]) -> Json:
    """The body of an export of log records."""
    return {
        "resourceLogs": [
            {
                **_resource(resource),
                "scopeLogs": [{"scope": {"name": c.SCOPE}, "logRecords": list(records)}],
            }
        ]
    }


def metrics_request(resource: Mapping[str, Any], metrics: Sequence[Json]) -> Json:
    """The body of an export of metrics."""
    return {
        "resourceMetrics": [
            {
                **_resource(resource),
                "scopeMetrics": [{"scope": {"name": c.SCOPE}, "metrics": list(metrics)}],
            }
        ]
    }


def as_json(body: Json) -> bytes:
    """The JSON form."""
    return json.dumps(body, ensure_ascii=True).encode()


def as_protobuf(signal: Signal, body: Json) -> bytes:
    """The binary form. Raises `InputError` without the extra `otel`."""
    module, name = _MESSAGES[signal]
    message = getattr(_module(module), name)
    return message(**_fields(body)).SerializeToString()


def check_protobuf() -> None:
    """Raise `InputError` unless the extra `otel` is installed."""
    for module, _ in _MESSAGES.values():
        _module(module)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            "OTLP in protobuf needs a package of OpenTelemetry. Install it: pip install 'graphorch[otel]', or use protocol=\"http/json\" where "
            "the collector takes that."
        ) from error


def _fields(body: Any) -> Any:
    """The fields of a message: their names in snake case, ids as bytes, whole numbers as such. Much faster than protobuf's own reader of JSON."""
    if isinstance(body, dict):
        return {
            (known := _FIELDS.get(name, (name, None)))[0]: _fields(item)
            if known[1] is None
            else known[1](item)
            for name, item in _items(body)
        }
    return [_fields(item) for item in cast("list[Any]", body)] if isinstance(body, list) else body


def _items(body: Any) -> Any:
    return body.items()


def _numbers(values: list[str]) -> list[int]:
    return [int(value) for value in values]


_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any] | None]] = {
    "traceId": ("trace_id", bytes.fromhex), "spanId": ("span_id", bytes.fromhex), "parentSpanId": ("parent_span_id", bytes.fromhex),
    "startTimeUnixNano": ("start_time_unix_nano", int), "endTimeUnixNano": ("end_time_unix_nano", int), "timeUnixNano": ("time_unix_nano", int),
    "observedTimeUnixNano": ("observed_time_unix_nano", int), "intValue": ("int_value", int), "stringValue": ("string_value", None),
    "boolValue": ("bool_value", None), "doubleValue": ("double_value", None), "resourceSpans": ("resource_spans", None),
    "scopeSpans": ("scope_spans", None), "resourceLogs": ("resource_logs", None), "scopeLogs": ("scope_logs", None),
    "logRecords": ("log_records", None), "resourceMetrics": ("resource_metrics", None), "scopeMetrics": ("scope_metrics", None),
    "severityNumber": ("severity_number", None), "severityText": ("severity_text", None), "eventName": ("event_name", None),
    "aggregationTemporality": ("aggregation_temporality", None), "dataPoints": ("data_points", None), "bucketCounts": ("bucket_counts", _numbers),
    "explicitBounds": ("explicit_bounds", None), "count": ("count", int),
}  # fmt: skip


def encode_attributes(values: Mapping[str, Any]) -> list[Json]:
    """Attributes as the protocol has them; what is None is left out."""
    return [
        {"key": name, "value": _value(value)} for name, value in values.items() if value is not None
    ]


def _value(value: Any) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    text = str(value)
    return {"stringValue": text if text.isascii() else text.encode("utf-8", "replace").decode()}


def _resource(resource: Mapping[str, Any]) -> Json:
    return {"resource": {"attributes": encode_attributes(resource)}}


def _name(span: Span) -> str:
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


def _attributes(span: Span, trace: Trace) -> Json:
    session = trace.tags.get("session", trace.run_id)
    kind = "AGENT" if span.role == "agent" else _OPENINFERENCE.get(span.kind, "CHAIN")
    known: Json = {
        c.RUN_ID: trace.run_id, c.CONVERSATION: session, c.SESSION: session, c.OPENINFERENCE_KIND: kind, c.WORKFLOW: trace.flow,
        c.USER: trace.tags.get("user"), c.NODE_KIND: span.role or span.kind, c.NODE_PATH: span.path or None, c.NODE_LEVEL: span.level,
        c.ATTEMPT: span.attempt, c.STATUS: span.status, c.LOOP: span.loop or None, c.ERROR_TYPE: span.error or None,
    }  # fmt: skip
    match span.kind:
        case "run":
            known |= {c.OPERATION: c.INVOKE_WORKFLOW}
        case "call":
            known |= {c.OPERATION: c.CHAT, **_of_call(span)}
        case "request":
            known |= _of_call(span)
        case "tool":
            known |= {c.OPERATION: c.EXECUTE_TOOL, c.TOOL_NAME: span.node}
        case "node" if span.role == "agent":
            known |= {c.OPERATION: c.INVOKE_AGENT, c.AGENT_NAME: span.node, c.AGENT_ID: span.step}
        case _:
            pass
    return known


def _of_call(span: Span) -> Json:
    return {
        c.PROVIDER: provider(span), c.REQUEST_MODEL: span.model, c.RESPONSE_MODEL: span.model, c.AGENT_NAME: span.node,
        c.INPUT_TOKENS: span.input_tokens, c.OUTPUT_TOKENS: span.output_tokens, c.CACHED_TOKENS: span.cached_tokens, c.FIRST_TOKEN: span.first_token,
        c.COST: span.usd, c.COST_SOURCE: span.usd_source or None, c.POLICY: span.policy or None, c.ENDPOINT: span.endpoint or None,
        c.RETRIES: span.retries, c.FALLBACKS: span.fallbacks, c.HEDGES: span.hedges, c.CACHE_HIT: span.from_cache,
        c.FINDINGS: sum(int(finding.get("count", 1)) for finding in span.findings) or None,
    }  # fmt: skip


def provider(span: Span) -> str:
    """The provider of a model call."""
    return c.guess_provider(span.endpoint if "/" in span.endpoint else span.model)


def _message(role: str, text: str) -> Json:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _event(
    span: Span, trace: Trace, severity: int, word: str, text: str, known: Json, name: str
) -> Json:
    at = _nano(span.began + (span.seconds or 0.0))
    return {
        "timeUnixNano": at, "observedTimeUnixNano": at, "severityNumber": severity, "severityText": word, "body": _value(text),
        "traceId": trace.trace_id, "spanId": span.id, "eventName": name, "attributes": encode_attributes({c.RUN_ID: trace.run_id, **known}),
    }  # fmt: skip


def _nano(seconds: float) -> str:
    return str(max(0, round(seconds * 1e9)))
