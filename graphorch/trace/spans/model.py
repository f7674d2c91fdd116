"""A run as a tree of spans: run → sub-flow → node → attempt → model call → request.

A call of a tool is a span inside that of its agent, with attempts of its own.

Ids are those of `graphorch.trace_context`: two readers of the same records make equal ones, so no
span is exported under two names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from graphorch.trace_context import PARENT, choose_trace_id, parse_parent

_INDEX: Final = re.compile(r"\[[^/]*\](?=/|$)")  # of a map item, at the end of a part of a path

SpanKind: TypeAlias = Literal[
    "run", "flow", "node", "ask", "wait", "attempt", "call", "request", "tool"
]
"""`flow` is an activation of a sub-flow or map, `request` one try of a policy during a call.

`ask` waits for a person, and `wait` for a signal or a time: nobody works meanwhile.

`tool` is a call of a tool. From format 5 of the journal on it is an activation, unless it was not
made; older journals tell of it only in the next prompt of its agent.
"""

SpanStatus: TypeAlias = Literal[
    "ok", "failed", "handled", "skipped", "cancelled", "waiting", "running", "lost"
]
"""`handled`: failed, and an error edge carried on, or the model was told. `lost`: began, and its
process is gone. `skipped`: it could not start, or a person refused it.
"""


@dataclass(slots=True)
class Span:
    """Something that took time in a run.

    Times are seconds since 1970; `seconds` is None until the span ends, and `began` is 0 if it is
    not known. `step` is the path without the indices of map items: one box of a picture; all calls
    of a tool by one agent have one step (`write/search`), which their agent's box holds. `sent`
    counts HTTP requests, `retries` those to the previous target again, `fallbacks` those to another
    one, `hedges` those sent beside a slow one; `failed_sent` were not answered, and `unusable` got
    an answer that could not be used. `usd` and the tokens are what is known of their bills;
    `estimated` is 1 if tokens of a call were guessed, since the endpoint did not report them.
    `unpriced` counts those whose dollars are not known, and `booked_usd` and `booked_tokens` are
    what a budget counts for all of them. `has_requests`: spans of this call's requests are inside
    of it; a call without them stands for its request. `loop` is set on the node that went back
    (`judge → write`). `held` are the seconds before it in which it waited for exclusive regions.
    `is_copy`: taken over from another run, which paid for it. `is_late`: it ended after a decision
    that was made without it and let it finish. `role` is the kind of node in the description of the
    flow (`agent`). `activation` is the beginning of the id of the activation that it belongs to.
    `engagement` is the number of the one in which it began. `link` is the engagement and the id of
    the span before a pause that this one continues, which `is_continued` then. `origin` is the
    trace and the span of the run that a fork was made of, on the first span of its run.

    Of a model call: `asked` is the model of the request, `server` the address that was asked
    (`host:port`), `output` the name of the schema of its answer.

    Of a tool call: `node` is the name of the tool, `tool_call` the id that the model gave the call,
    `arguments` what it runs with as JSON, and `outcome` what the model reads: see `ToolOutcome`.
    Its `message` is the text that the model read, if that is no result.
    """

    id: str
    parent: str
    kind: SpanKind
    path: str
    step: str
    node: str
    level: int
    attempt: int
    began: float
    seconds: float | None = None
    status: SpanStatus = "running"
    error: str = ""
    message: str = ""
    model: str = ""
    endpoint: str = ""
    policy: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    estimated: int = 0
    usd: float = 0.0
    usd_source: str = ""
    unpriced: int = 0
    booked_usd: float = 0.0
    booked_tokens: int = 0
    first_token: float | None = None
    sent: int = 0
    failed_sent: int = 0
    unusable: int = 0
    has_requests: bool = False
    retries: int = 0
    fallbacks: int = 0
    hedges: int = 0
    from_cache: bool = False
    loop: str = ""
    findings: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    is_copy: bool = False
    is_late: bool = False
    role: str = ""
    activation: str = ""
    engagement: int = 1
    link: tuple[int, str] | None = None
    is_continued: bool = False
    origin: tuple[str, str] | None = None
    asked: str = ""
    server: str = ""
    output: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    held: float = 0.0
    finish_reason: str = ""
    tool_call: str = ""
    arguments: str = ""
    outcome: str = ""

    @property
    def ended(self) -> float | None:
        """Time at which the span ended, or None."""
        return None if self.seconds is None else self.began + self.seconds

    @property
    def is_activation(self) -> bool:
        """Return whether this is an activation, and not a part of one or a question at its gate."""
        return self.kind in ("node", "flow", "wait") or self.role in ("ask", "tool")

    @property
    def has_attempts(self) -> bool:
        """Return whether this is an activation that runs in attempts."""
        return self.kind == "node" or self.role == "tool"

    @property
    def is_paid_call(self) -> bool:
        """Return whether this is a model call that this run paid for."""
        return self.kind == "call" and not self.is_copy

    @property
    def is_unpriced(self) -> bool:
        """Return whether dollars of it are not known, and so not part of `usd`."""
        return self.usd_source == "none"


@dataclass(slots=True)
class Trace:
    """One run: its head, and its spans in the order in which they were opened.

    `seconds` are those of all its engagements, without the pauses between them. `budget` is in
    dollars. `faults` names the records that are not what their kind declares, and were left out.
    """

    run_id: str
    flow: str
    status: str
    reason: str
    tags: Mapping[str, str]
    parent: str | None
    began: float
    seconds: float | None
    budget: float | None
    seq: int
    spans: list[Span] = field(default_factory=list[Span])
    faults: list[str] = field(default_factory=list[str])

    def find_trace_id(self, engagement: int) -> str:
        """Return the id of the trace of an engagement.

        It is the caller's, if it is the first one and the run has a valid `traceparent` tag.
        """
        return choose_trace_id(self.run_id, parse_parent(self.tags.get(PARENT, "")), engagement)

    @property
    def engagements(self) -> list[Span]:
        """Spans of the run itself: one for each time in which a process drove it."""
        return [span for span in self.spans if span.kind == "run"]

    def elapsed(self, at: float) -> float:
        """Return how many seconds a process had driven the run at a time; pauses do not count."""
        return sum_elapsed(self.engagements, at)

    @property
    def paid_calls(self) -> list[Span]:
        """Spans of the model calls that this run paid for."""
        return [span for span in self.spans if span.is_paid_call]


def sum_elapsed(engagements: Iterable[Span], at: float) -> float:
    """Return how many seconds engagements of a run had lasted at a time."""
    seconds = 0.0
    for span in engagements:
        if span.began <= at:
            since = at - span.began
            seconds += min(since, span.seconds or 0.0) if span.is_continued else since
    return seconds


def sum_calls(trace: Trace) -> dict[str, Any]:
    """Return calls, tokens and dollars of a run, without those taken over from another run.

    `unpriced` requests have dollars that are not known, and not part of `usd`; `booked_usd` is what
    a budget counts, with the worst case of those.
    """
    calls = trace.paid_calls
    return {
        "calls": len(calls),
        "input_tokens": sum(call.input_tokens for call in calls),
        "output_tokens": sum(call.output_tokens for call in calls),
        "usd": sum(call.usd for call in calls),
        "unpriced": sum(call.unpriced for call in calls),
        "booked_usd": sum(call.booked_usd for call in calls),
    }


def strip_index(path: str) -> str:
    """Return a path without the indices of map items."""
    return _INDEX.sub("", path) if "[" in path else path
