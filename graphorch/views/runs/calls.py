"""Calls of models and of tools, with the record of the policy that chose the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphorch.views.runs.usage import Usage


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target of a policy; `skipped` says why it was passed over, "" if it was not.

    The lowest `score` comes first; what it means depends on the policy, and None is unknown.
    """

    name: str
    score: float | None
    skipped: str


@dataclass(frozen=True, slots=True)
class TargetAttempt:
    """A request of a policy: whom it asked, what became of it, and how long that took in seconds.

    `status` is that of HTTP, `first_token` in seconds after the request; None means unknown, as for
    `usd`. `is_hedge`: it was sent beside a slow one. `inner` is the decision of a policy within
    this one.
    """

    target: str
    outcome: str
    seconds: float
    status: int | None
    first_token: float | None
    usd: float | None
    error: str
    is_hedge: bool
    inner: Decision | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a call asked this model: the record of a policy.

    `answered_by` is the target that answered, "" if none did.
    """

    policy: str
    kind: str
    answered_by: str
    candidates: list[Candidate]
    attempts: list[TargetAttempt]
    note: str


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request of a model call, as it was sent.

    `began` is in seconds since 1970, `first_token` in seconds after that. `outcome` is `ok`,
    `cancelled`, the kind of failure, or `sent` while its end is not known.
    """

    model: str
    target: str
    began: float
    seconds: float
    outcome: str
    message: str
    first_token: float | None
    is_hedge: bool


@dataclass(frozen=True, slots=True)
class AskedTool:
    """A call of a tool that a model asked for; `arguments` are JSON as text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a prompt; `answers` is the id of the call of a tool whose result it is."""

    role: str
    text: str
    calls: list[AskedTool] = field(default_factory=list[AskedTool])
    answers: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A call of a model.

    `seq` is the record of its end (or of its announcement while it runs), `attempt` the one of the
    activation at `path` that made it. `began` is in seconds since 1970, `first_token` in seconds
    after that. `status` is `ok`, `failed`, `cancelled`, `running` or `lost`. `messages` are those
    that the previous request of the attempt had not, after `shared` ones that it had. `answer` is
    the text, `tools` the calls that the model asked for. `usd_source` says where the price is from
    (`reported`, `table`, `free`), and is `none` if it is not known. `decision` is there if a policy
    chose the model. `masked` names the findings of guardrails. `is_copy`: taken over from another
    run, which paid for it. `cut` is the number of characters that were left out of its texts: the
    record has them all.
    """

    seq: int
    path: str
    activation: str
    attempt: int
    model: str
    endpoint: str
    began: float
    seconds: float | None
    first_token: float | None
    status: str
    error: str
    message: str
    finish_reason: str
    usage: Usage
    cached_tokens: int
    usd_source: str
    from_cache: bool
    is_copy: bool
    messages: list[Message]
    shared: int
    answer: str
    tools: list[AskedTool]
    requests: list[SentRequest]
    decision: Decision | None
    masked: list[str]
    note: str
    cut: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a tool, or one that the model asked for and that was not made.

    `seq` is the record of its last outcome. `status` is that of its activation; `error told` if the
    model was told an error, `refused` or `answered` if a person took its place. `arguments` are
    what it runs with, `result` is what the model reads.
    """

    seq: int
    path: str
    activation: str
    agent: str
    tool: str
    status: str
    attempts: int
    began: float
    seconds: float | None
    arguments: dict[str, Any] | None
    result: str
    error: str
    cut: int


@dataclass(frozen=True, slots=True)
class CallPage:
    """Calls of models and tools in the order of their records.

    `next` is the `after` of the page that follows, None on the last one; `seq` is the last record
    of the run that was read.
    """

    models: list[ModelCall]
    tools: list[ToolCall]
    next: int | None
    seq: int
