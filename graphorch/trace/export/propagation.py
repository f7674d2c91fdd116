"""The way of a caller's trace into a run: `flow.run(…, tags=continuing(request.headers))`.

In a process that uses OpenTelemetry, `continuing()` without headers takes the span that is current
there. The way out, to model servers and to what tools and nodes call, is in
`graphorch.trace_context`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from graphorch.trace_context import PARENT, STATE, parse_parent, shorten_state


def continuing(headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return tags for a run that is part of the caller's trace, with its flags as they came.

    Empty if the headers (or OpenTelemetry, without headers) hold no valid trace context.
    """
    parent, state = _read_current_span() if headers is None else _read_headers(headers)
    if parse_parent(parent) is None:
        return {}
    tags = {PARENT: parent.strip().lower()}
    if state := shorten_state(state):
        tags[STATE] = state
    return tags


def _read_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    found = {name.lower(): value for name, value in headers.items()}
    return found.get(PARENT, ""), found.get(STATE, "")


def _read_current_span() -> tuple[str, str]:
    """Return the current span of OpenTelemetry, and its state; nothing if it is not loaded."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return "", ""
    context = api.get_current_span().get_span_context()
    flags = int(context.trace_flags)
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
    return parent, context.trace_state.to_header()
