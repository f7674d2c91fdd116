"""The W3C trace context of a run: ids of its spans, and the headers of what it calls.

A run whose tags name a caller is part of the caller's trace, else it has one of its own. A later
engagement of it, maybe days after, has a trace of its own in any case, with a link: receivers take
a trace for one piece of work that lasts from its first span to its last. Ids have
the sizes of OpenTelemetry's (16 and 8 bytes, as hexadecimal digits) and derive from the ids of run
and activation: whoever reads the records of a run, now or later, makes the same ones. So a request
can name its parent before that has ended.

Source: W3C Trace Context, level 1; the flags of level 2 are passed on as they came.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

PARENT = "traceparent"
STATE = "tracestate"
"""Names of headers, and of the tags that hold those of a run's caller."""

# compiled when they are first needed: most runs have no caller with a trace
_PARENT = r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
_STATE = r"[ -~]{1,512}"
_FLAGS = 0x03  # sampled, and random trace id
_LONGEST_TAG = 200  # characters


class RemoteParent(NamedTuple):
    """Span of the caller of a run, and its flags as two hexadecimal digits."""

    trace_id: str
    span_id: str
    flags: str


def parse_parent(value: str) -> RemoteParent | None:
    """Return what a `traceparent` says; None if it is not valid."""
    match = re.fullmatch(_PARENT, value.strip().lower())
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    # Version ff and ids of zeros only are invalid, and version 00 has nothing behind its flags.
    if version == "ff" or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    if version == "00" and rest:
        return None
    return RemoteParent(trace_id, span_id, f"{int(flags, 16) & _FLAGS:02x}")


def shorten_state(value: str) -> str:
    """Return the entries of a `tracestate` that a tag has room for, the newest; "" if invalid.

    Whole entries are left out at the end, as the specification says.
    """
    value = value.strip()
    if re.fullmatch(_STATE, value) is None:
        return ""
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    while entries and len(",".join(entries)) > _LONGEST_TAG:
        entries.pop()
    return ",".join(entries)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The place of an engagement of a run in a trace.

    `parent` is the span of the run's caller, if there is one. `is_recorded`: the spans of the run
    are sent to receivers, so what it calls can lie inside of them; else it lies inside of the
    caller's.
    """

    run_id: str
    parent: RemoteParent | None
    state: str
    engagement: int
    is_recorded: bool

    def for_run(self) -> dict[str, str]:
        """Return the headers that name the span of the run."""
        return self._build_headers(derive_run_span_id(self.run_id, self.engagement))

    def for_attempt(self, activation: str, attempt: int) -> dict[str, str]:
        """Return the headers of what an attempt calls; `activation` is the id of its activation."""
        id_ = shorten_activation_id(activation)
        return self._build_headers(derive_attempt_span_id(self.run_id, id_, attempt))

    def for_call(self, number: int) -> dict[str, str]:
        """Return the headers of the requests of model call `number` of the run."""
        return self._build_headers(derive_call_span_id(self.run_id, number))

    def _build_headers(self, span_id: str) -> dict[str, str]:
        parent = self.parent
        flags = "01" if parent is None else parent.flags
        is_callers = parent is not None and (self.engagement == 1 or not self.is_recorded)
        trace_id = choose_trace_id(self.run_id, parent, 1 if is_callers else self.engagement)
        if parent is not None and not self.is_recorded:
            span_id = parent.span_id
        headers = {PARENT: f"00-{trace_id}-{span_id}-{flags}"}
        if self.state and is_callers:
            headers[STATE] = self.state
        return headers


def open_context(
    run_id: str, tags: Mapping[str, str], *, engagement: int, is_recorded: bool
) -> TraceContext | None:
    """Return the context of a run with these tags; None if it is part of no trace."""
    parent = parse_parent(tags.get(PARENT, ""))
    if parent is None and not is_recorded:
        return None
    state = tags.get(STATE, "") if parent is not None else ""
    return TraceContext(run_id, parent, state, engagement, is_recorded)


_NO_HEADERS: Mapping[str, str] = {}
_current: ContextVar[Mapping[str, str]] = ContextVar("trace headers", default=_NO_HEADERS)


def enter(headers: Mapping[str, str]) -> None:
    """Make headers those of what runs in this context from here on."""
    _current.set(headers)


def current_headers() -> dict[str, str]:
    """Return the headers that make a request part of the run's trace: in a node, or in a tool.

    Give them to the client of your choice, `httpx.post(url, headers=current_headers())`. Empty if
    the run has no trace: neither a caller that names one (`continuing`) nor a `Recorder`. A node
    with `isolation="process"` has none.
    """
    return dict(_current.get())


# ---- ids -----------------------------------------------------------------------------------------
def choose_trace_id(run_id: str, parent: RemoteParent | None, engagement: int) -> str:
    """Return the id of the trace of an engagement: of the first one, that of the run's caller."""
    if parent is not None and engagement == 1:
        return parent.trace_id
    return derive_trace_id(run_id, engagement)


def derive_trace_id(run_id: str, engagement: int = 1) -> str:
    """Return the id of a run's own trace in an engagement: 32 hexadecimal digits."""
    key = run_id if engagement == 1 else f"{run_id}\0{engagement}"
    return hashlib.blake2b(
        key.encode("utf-8", "replace"), digest_size=16, person=b"graphorch trace"
    ).hexdigest()


def derive_run_span_id(run_id: str, engagement: int = 1) -> str:
    """Return the id of a run's span in an engagement: 16 hexadecimal digits."""
    return derive_span_id(run_id, "run", engagement)


def derive_activation_span_id(run_id: str, activation: str, number: int) -> str:
    """Return the id of span `number` of an activation, by the beginning of the activation's id."""
    return derive_span_id(run_id, activation, "activation", number)


def derive_attempt_span_id(run_id: str, activation: str, attempt: int) -> str:
    """Return the id of an attempt's span, by the beginning of the activation's id."""
    return derive_span_id(run_id, activation, "attempt", attempt)


def derive_call_span_id(run_id: str, number: int) -> str:
    """Return the id of the span of a run's model call `number`."""
    return derive_span_id(run_id, "call", number)


def derive_span_id(*parts: object) -> str:
    """Return the id of the span that these parts identify: 16 hexadecimal digits."""
    key = "\0".join(map(str, parts)).encode("utf-8", "replace")
    return hashlib.blake2b(key, digest_size=8).hexdigest()


def shorten_activation_id(activation: str) -> str:
    """Return the beginning of an activation's id, which names it within its run."""
    return activation[:16]
