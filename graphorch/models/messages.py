"""Messages, requests and responses: the values that every model client takes and returns.

Durations are floats of seconds, prices are floats of US dollars, sizes are tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast, get_args

from pydantic import BaseModel

from graphorch.errors import InputError, did_you_mean
from graphorch.models.budgets.budget import Account
from graphorch.models.budgets.charge import NO_CHARGE, Charge, Departure, Receipt
from graphorch.models.decision import RoutingRecord
from graphorch.models.rate_status import RateStatus
from graphorch.models.token_estimate import estimate_tokens

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)
ToolChoice: TypeAlias = Literal["auto", "none"]

# Finish reasons of endpoints that mean a complete answer. No other is trusted to be complete.
COMPLETE_REASONS = frozenset(
    {"stop", "eos", "eos_token", "end_turn", "stop_sequence"}
    | {"complete", "completed", "finish", "finished", "done", "end"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """Description of a tool for a model: its name, its purpose, a JSON schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """Request of a model to call a tool.

    `arguments` is the JSON that it wrote, as it came: the caller of the tool validates it, and in a
    conversation it goes back as an object in any case (`tool_arguments.py`).
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation; `Message(content="…")` is one of the user.

    `tool_calls` are the calls that the assistant asked for; a message with the role `tool` answers
    the call with the id `tool_call_id`. Raises `InputError` for a role that no model knows, for
    content that is not text, or for a `tool_call_id` that is missing or in the wrong place.
    """

    role: Role = "user"
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    def __post_init__(self) -> None:
        # The annotations promise nothing about the values that a caller really passes.
        role, content = cast("tuple[object, object]", (self.role, self.content))
        if role not in ROLES:
            raise InputError(
                f"Message(role={role!r}): there is no such role. {did_you_mean(str(role), ROLES)}"
            )
        if not isinstance(content, str):
            raise InputError(
                f"Message(content=…) must be text, got {type(content).__name__}. "
                "Convert it with str() or json.dumps()."
            )
        if (role == "tool") != bool(self.tool_call_id):
            raise InputError(
                "A message with the role 'tool' answers one tool call, and no other message does: "
                "give it, and only it, a tool_call_id."
            )


Prompt: TypeAlias = str | Sequence[Message]


def to_messages(prompt: Prompt) -> tuple[Message, ...]:
    """Return the messages of a prompt; a plain string is one message of the user.

    Raises `InputError` for an empty sequence or for an item that is not a `Message`.
    """
    if isinstance(prompt, str):
        return (Message(content=prompt),)
    wrong_type = _find_wrong_type(prompt)
    if wrong_type:
        raise InputError(
            f"A prompt is text or a sequence of messages, got {wrong_type}. "
            'Write [Message(content="…")].'
        )
    return tuple(prompt)


def _find_wrong_type(prompt: object) -> str:
    """Return the first type in a prompt that is not a `Message`, "nothing" if empty, else ""."""
    if not isinstance(prompt, Sequence):
        return type(prompt).__name__
    items = cast("Sequence[object]", prompt)
    if not items:
        return "nothing"
    for item in items:
        if not isinstance(item, Message):
            return type(item).__name__
    return ""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one model.

    `schema` asks for JSON of that shape. `timeout` is the *total* time in seconds, retries and
    waiting included; None leaves it to the client. `metadata` says what the call belongs to (run,
    node, tags) for the wrappers; it is not sent to the provider, unless the endpoint's dialect has
    a place for it. `payer` is the innermost level of the budget that the call counts at, `receipt`
    collects what its requests are charged, and `departure` says whether one has left. `tools` are
    those that the model may ask for instead of answering; with `tool_choice="none"` it has to
    answer, and they are there because the conversation has calls of them. `trace` holds the headers
    that tie the request to a trace (`traceparent`). `on_limits` is called with what the
    endpoint says about its limits, if it says anything.
    """

    model: str
    messages: tuple[Message, ...]
    schema: type[BaseModel] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    timeout: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    payer: Account | None = field(default=None, compare=False, repr=False)
    tools: tuple[ToolSpec, ...] = ()
    receipt: Receipt | None = field(default=None, compare=False, repr=False)
    departure: Departure | None = field(default=None, compare=False, repr=False)
    on_limits: Callable[[RateStatus], None] | None = field(default=None, compare=False, repr=False)
    trace: Mapping[str, str] = field(default_factory=dict[str, str], compare=False, repr=False)
    tool_choice: ToolChoice = "auto"

    @property
    def may_call_tools(self) -> bool:
        """Whether the model may ask for tools instead of answering."""
        return bool(self.tools) and self.tool_choice != "none"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call.

    `cached_tokens` is the part of the input that the provider had in its cache. If `is_estimated`,
    the numbers were not reported but guessed from the length of the texts: a bill must not rely on
    them.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    is_estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Finding of a guardrail, without the value: its kind, place, count, and what was done."""

    kind: str
    where: Literal["input", "output"]
    action: str
    count: int


@dataclass(frozen=True, slots=True)
class Response:
    """One complete answer.

    `text` is JSON if the request had a schema; the caller validates it. `model` is the model that
    answered. `usd_source` says how far `usd` can be trusted: `reported` by the endpoint, `table` of
    prices, `free` because nothing was called, or `none`: unknown, and `usd` is 0. Where a budget
    pays, a policy adds the worst case of the requests that have no bill, as the budget does, and
    says so in the note. `attempts` counts the requests that were sent. `seconds` runs from the
    first of them to the last byte, and `first_token_seconds` to the first text, if it was streamed.
    `note` is for people: what was estimated, left out or worked around. `decision` is the policy's
    record of why this model answered, if a policy chose it. `findings` are those of guardrails.
    `tool_calls` are the calls that the model wants before it answers; only a request with tools
    gets them, and `text` may be empty then. `server` is the address of the endpoint that answered,
    as `host:port`; "" if nothing was asked over a network.
    """

    text: str
    model: str
    usage: Usage
    usd: float
    usd_source: str
    finish_reason: str
    attempts: int
    seconds: float
    first_token_seconds: float | None
    note: str = ""
    decision: RoutingRecord | None = None
    findings: tuple[Finding, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    server: str = ""

    @property
    def charge(self) -> Charge:
        """What the call was charged, as far as the response alone tells."""
        if not self.attempts:
            return NO_CHARGE
        is_unpriced, usage = self.usd_source == "none", self.usage
        return Charge(
            requests=self.attempts,
            usd=self.usd,
            unpriced=1 if is_unpriced else 0,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            booked_usd=self.usd,
            booked_tokens=usage.input_tokens + usage.output_tokens,
        )


def add_instruction(messages: Sequence[Message], instruction: str) -> tuple[Message, ...]:
    """Return messages with an instruction at the end of the system message, if it is not in there.

    Some endpoints would refuse a second system message.
    """
    if not messages or messages[0].role != "system":
        return (Message(role="system", content=instruction), *messages)
    system = messages[0].content
    if instruction in system:
        return tuple(messages)
    return (Message(role="system", content=f"{system}\n\n{instruction}"), *messages[1:])


def join_instructions(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages with one system message for all those at the beginning.

    Some endpoints would refuse a second one.
    """
    count = 0
    while count < len(messages) and messages[count].role == "system":
        count += 1
    if count < 2:
        return tuple(messages)
    text = "\n\n".join(message.content for message in messages[:count])
    return (Message(role="system", content=text), *messages[count:])


def estimate_input(request: Request) -> int:
    """Guess the input tokens of a request from its texts; see `token_estimate.py`."""
    tokens = 0.0
    for message in request.messages:
        tokens += estimate_tokens(message.content)
        for call in message.tool_calls:
            tokens += estimate_tokens(call.arguments)
    for tool in request.tools:
        tokens += estimate_tokens(tool.description) + estimate_tokens(str(tool.parameters))
    return math.ceil(tokens)


def estimate_usage(request: Request, text: str) -> Usage:
    """Guess the usage of an answer from the length of the texts and their scripts."""
    output_tokens = math.ceil(estimate_tokens(text))
    return Usage(estimate_input(request), output_tokens, is_estimated=True)
