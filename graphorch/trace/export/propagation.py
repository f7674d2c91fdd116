"""The W3C trace context: a run joins its caller's trace, and what its nodes call joins the run's.

In: `flow.run(…, tags=continuing(request.headers))`. Out: `build_headers(ctx, run_id, tags)` for a
request that a node makes itself. In a process that uses OpenTelemetry, `continuing()` without
headers takes the span that is current there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol

from graphorch.trace.spans.model import (
    PARENT_TAG,
    derive_attempt_span_id,
    derive_trace_id,
    parse_remote_parent,
    shorten_activation_id,
)


class HasPlace(Protocol):
    """The part of a context that says where it is."""

    @property
    def key(self) -> str:
        """Id of the activation."""
        ...

    @property
    def attempt(self) -> int:
        """Number of the attempt, from 1."""
        ...


def continuing(headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return tags for a run that is part of the caller's trace.

    Empty if the headers (or OpenTelemetry, without headers) hold no valid trace context.
    """
    value = _read_current_span() if headers is None else _read_header(headers)
    tags = {PARENT_TAG: value.strip().lower()}
    return tags if parse_remote_parent(tags)[0] else {}


def build_headers(
    ctx: HasPlace, run_id: str, tags: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the header that makes a request of a node part of the run's trace.

    `tags` are those of the run, which may hold the trace of its caller.
    """
    trace = parse_remote_parent(tags or {})[0] or derive_trace_id(run_id)
    span = derive_attempt_span_id(run_id, shorten_activation_id(ctx.key), ctx.attempt)
    return {PARENT_TAG: f"00-{trace}-{span}-01"}


def _read_header(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if name.lower() == PARENT_TAG:
            return value
    return ""


def _read_current_span() -> str:
    """Return the current span of OpenTelemetry, or "" if the process has not loaded it."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return ""
    context = api.get_current_span().get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
