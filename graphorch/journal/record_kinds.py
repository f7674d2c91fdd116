"""The kinds of records that a run consists of, and the fields of each: the schema of the journal.

A record is stored as plain JSON. A newer graphorch may add a kind or an optional field; what an
older one would misread raises the format, as a field that is renamed or removed does. Writers build
a body of the declared type; readers get it from `record_reader.py`, which checks it, and map each
kind to a handler. A test holds all of them to this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NotRequired, TypeAlias, get_args

from pydantic import Field
from typing_extensions import TypedDict  # pydantic checks bodies by them, also on Python 3.11

from graphorch.statuses import RunStatus

Seconds: TypeAlias = Annotated[float, Field(ge=-1e12, le=1e12)]
"""A time in seconds since 1970, or a duration; damaged ones would not be a date or a number."""

Count: TypeAlias = Annotated[int, Field(ge=0, le=2**53)]

Dollars: TypeAlias = Annotated[float, Field(ge=0, le=1e12)]

Index: TypeAlias = Annotated[int, Field(ge=-1, le=2**53)]
"""A number of something in the graph; -1 is none."""

RecordKind: TypeAlias = Literal[
    "started",
    "forked",
    "pinned",
    "commit",
    "routed",
    "entered",
    "reviewed",
    "tools",
    "failed",
    "skipped",
    "cancelled",
    "asked",
    "waiting",
    "signal",
    "approved",
    "retry",
    "stopping",
    "grace",
    "continued",
    "resumed",
    "starting",
    "sending",
    "call",
    "unanswered",
    "rules",
    "listed",
    "migrated",
    "ended",
]

FORMAT: Final = 7
"""Number of the format that new runs are written in. Runs of an older format are still read."""

RECORD_KINDS: Final[frozenset[str]] = frozenset(get_args(RecordKind))


class RulesBody(TypedDict):
    """From here on the run decides under another limit, or handles failures differently.

    `concurrency` is how many nodes run at once, and is there if it is limited (from format 4 on).
    `budget` is there if the run was resumed with a new one: what it may spend in all, by unit;
    `model` if it was resumed with another one for all agents.
    """

    activations: Count | None
    on_failure: Literal["drain", "cancel", "isolate"]
    concurrency: NotRequired[Count]
    budget: NotRequired[dict[str, float]]
    model: NotRequired[str]


class StartedOptions(TypedDict):
    """Options of a run that its first record keeps.

    `after` is the id of the run that the run follows in a conversation; `rules` are there unless
    they are the default; `budget` holds what the run itself may spend, by unit; `model` replaces
    the model of every agent. `client` is the class of the client that the caller passed, if the
    flow may ask a model: a journal cannot hold the client itself.
    """

    after: NotRequired[str]
    rules: NotRequired[RulesBody]
    budget: NotRequired[dict[str, float]]
    model: NotRequired[str]
    client: NotRequired[str]  # from format 6 on


class DefaultsBody(TypedDict):
    """Defaults that were made for a scope when it began. `restore` is that of `StartedBody`."""

    values: dict[str, Any]
    restore: NotRequired[dict[str, Any]]


class StartedBody(StartedOptions):
    """The run begins with this input; `flow` describes its graph (see `graph/fingerprint.py`).

    `restore` says by field how its value is read, and is there if JSON may not say all about it.
    `defaults` are there if some of the state are made anew for each run. `undoes` is there if the
    graph has undos: what joins and maps cancel is undone (from format 6 on).
    """

    at: Seconds
    input: dict[str, Any]
    restore: NotRequired[dict[str, Any]]
    defaults: NotRequired[DefaultsBody]
    flow: dict[str, Any]
    undoes: NotRequired[bool]


ForkedBody = TypedDict(
    "ForkedBody",
    {
        "from": str,
        "at": str,
        "copied": Count,
        "models": NotRequired[dict[str, str]],
        "trace": NotRequired[str],
    },
)
"""The next `copied` records were copied from run `from`; `at` is the path that runs anew.

`models` are those that single paths ask instead of theirs. `trace` is the last span of the old run,
as a `traceparent`; formats before 4 do not say it.
"""


class PinnedBody(TypedDict):
    """The next visit of a path gives this update instead of running its node.

    The visit after it gives that of the next such record, and the last one holds for all that
    follow. `restore` is that of `StartedBody`.
    """

    path: str
    update: dict[str, Any]
    restore: NotRequired[dict[str, Any]]


class ActivationBody(TypedDict):
    """Fields of every record about one activation: its path and its id."""

    path: str
    id: str


class RouteBody(TypedDict):
    """Route of an activation: numbers of its loop exits (-1: none) and of edges."""

    loop: Index
    exhausted: Index
    edges: list[Count]


class HedgeBody(TypedDict):
    """A second copy of an attempt: when it was started, and whether its result was taken."""

    began: Seconds
    is_taken: bool


class TimedBody(ActivationBody):
    """Fields of every record that ends an attempt: its time, and when the activation began.

    `began` is its first beginning, or from format 4 on that after the last pause of the run, since
    the pause is nobody's time. `waited` is how many seconds of it all attempts waited for a slot of
    the node's or the run's limit, and is there if they did (from format 4 on). `hedge` is there if
    a second copy of the last attempt was started (from format 4 on). `held` is when it came to wait
    for its exclusive regions, before `began`, and is there if it did; `late` is there if it was
    late work: a decision had been made without it (both from format 6 on).
    """

    at: Seconds
    began: Seconds
    waited: NotRequired[Seconds]
    held: NotRequired[Seconds]
    hedge: NotRequired[HedgeBody]
    late: NotRequired[bool]


class CommitBody(TimedBody):
    """An activation succeeded.

    `attempt` is there unless it was the first one; formats before 4 never say it. `route` is there
    unless something came between result and routing, `notes` if the node left remarks for people.
    `restore` is that of `StartedBody`. `served` is there for a node or tool with an undo that has
    nothing to undo: it was given its result, or raised what its model is told (from format 6 on).
    """

    attempt: NotRequired[Count]
    update: dict[str, Any]
    restore: NotRequired[dict[str, Any]]
    notes: NotRequired[list[str]]
    served: NotRequired[bool]
    route: NotRequired[RouteBody]


class RoutedBody(ActivationBody, RouteBody):
    """An activation whose commit came earlier was routed."""

    at: Seconds


class InputsBody(TypedDict):
    """Inputs of scopes inside a sub-flow or map.

    `restore` holds that of each item, and is there if one of them has any; so do `defaults`. `keys`
    name the items of a map that has equal ones once (from format 6 on).
    """

    items: list[dict[str, Any]]
    restore: NotRequired[list[dict[str, Any] | None]]
    defaults: NotRequired[list[DefaultsBody]]
    keys: NotRequired[list[str]]


class EnteredBody(ActivationBody, InputsBody):
    """A sub-flow (one item) or a map (one per item) was entered with these inputs.

    `signal` and `key` are there if a signal ends it, and `due` if its deadline does: when that is
    over (all from format 6 on). `at_once` is how many items may be under way at once, and is there
    if the place of the run decided that (from format 7 on).
    """

    at: Seconds
    at_once: NotRequired[Annotated[int, Field(ge=1, le=2**53)]]
    signal: NotRequired[str]
    key: NotRequired[str]
    due: NotRequired[Seconds]


class ReviewFailureBody(TypedDict):
    """What a function of a map raised about an item, as in `FailedBody`."""

    error: str
    kinds: list[str]
    message: str


class ReviewedBody(ActivationBody, InputsBody):
    """A map decided after an item that was done: from format 6 on.

    `item` names it as paths do, such as `2`, or `2.0` for the first item that item 2 grew. If it is
    `enough`, the map ends with the results so far; else `items` are those that the item grows.
    `failure` is there if one of the functions raised.
    """

    at: Seconds
    item: str
    enough: bool
    failure: NotRequired[ReviewFailureBody]


class CalledToolBody(TypedDict):
    """A call of a tool, as number `index` of its round, with these arguments.

    `is_barrier` is there if it has its turn alone, and `asks` if a person has to approve it first.
    """

    tool: str
    index: Count
    arguments: dict[str, Any]
    effect: Literal["pure", "idempotent", "once"]
    is_barrier: NotRequired[bool]
    asks: NotRequired[bool]


class ToolsBody(ActivationBody):
    """A model asked for calls of tools, in its order, while an attempt of the activation ran.

    `key` tells the round from every other one of the activation, and `label` is its name in paths.
    `abandons` are the keys of the rounds that it withdraws; it is left out if there are none.
    From format 5 on; before that, calls of tools left no record.
    """

    at: Seconds
    key: str
    label: str
    calls: list[CalledToolBody]
    abandons: NotRequired[list[str]]


class FailedBody(TimedBody):
    """An attempt failed; `handler` numbers the error edge that carries on, -1 is none.

    `error` is the name of the exception's class, and `kinds` are the full names of that class and
    its bases; a record before format 4 does not have them. `undoes` is there if what was committed
    inside is undone before the failure goes on (from format 6 on).
    """

    attempt: Count
    error: str
    kinds: NotRequired[list[str]]
    message: str
    retry_after: Seconds | None
    handler: Index
    limit: str
    undoes: NotRequired[bool]


class SkippedBody(ActivationBody):
    """A node could not start because a field that it requires was never assigned."""

    at: Seconds
    reason: str


class CancelledBody(TimedBody):
    """An attempt was cancelled; nothing of it counts."""


class AskedBody(ActivationBody):
    """A question was put to a person.

    `consent` is there for a call whose tool had changed, and did nothing: what an approval agrees
    to (from format 5 on).
    """

    at: Seconds
    began: Seconds
    text: str
    expires: Seconds | None
    consent: NotRequired[str]


class WaitingBody(ActivationBody):
    """An activation waits for a signal, or for a time; from format 6 on.

    `signal` and `key` say which; a timer has no signal. `due` is when the timer fires, or when the
    signal is not waited for any more; None is never.
    """

    at: Seconds
    began: Seconds
    signal: NotRequired[str]
    key: NotRequired[str]
    due: Seconds | None


class SignalBody(TypedDict):
    """A signal came from outside; from format 6 on.

    The first activation that waits for its name and key gets it; if none does, it is kept. `notes`
    say how its value is read, and are there if JSON does not say all about it.
    """

    at: Seconds
    name: str
    key: NotRequired[str]
    value: Any
    notes: NotRequired[dict[str, Any]]


class ApprovedBody(ActivationBody):
    """A person let an activation pass its gate.

    `arguments` are there if it is a call of a tool, and the person changed what it is called with.
    """

    at: Seconds
    arguments: NotRequired[dict[str, Any]]


class RetryBody(ActivationBody):
    """The pause before an attempt is over."""

    at: Seconds
    attempt: Count


class StoppingBody(TypedDict):
    """The run was asked to stop: at once (`now`), or after what runs.

    `undoes` is there if what was committed is undone before it is cancelled (from format 6 on).
    `keeps_pauses` is there, and True, if the rest of each pause before a further attempt is waited
    for after the run is resumed (from format 6 on).
    """

    at: Seconds
    reason: str
    status: RunStatus
    now: bool
    undoes: NotRequired[bool]
    keeps_pauses: NotRequired[bool]


class MomentBody(TypedDict):
    """Only a time: an engagement begins, the run was resumed, or the grace time is over.

    Engagements are explained in `engagements.py`.
    """

    at: Seconds


class StartingBody(ActivationBody):
    """An attempt begins whose effect must not happen twice."""

    attempt: Count


class ToolCallBody(TypedDict):
    """A tool call in a message of a prompt."""

    id: str
    name: str
    arguments: str


class MessageBody(TypedDict):
    """One message of a prompt; `answers` is the id of the tool call whose result it is."""

    role: str
    content: str
    calls: NotRequired[list[ToolCallBody]]
    answers: NotRequired[str]


class AskedModelBody(TypedDict):
    """What a model was asked: the messages that the previous request of the attempt had not.

    `shared` counts the messages before them, `left_out` those in the middle of very many.
    `max_tokens` and `temperature` are there if they were set, from format 4 on; `tool_choice` if
    the model was not to call the tools, from format 5 on.
    """

    model: str
    max_tokens: NotRequired[Count]
    temperature: NotRequired[float]
    messages: list[MessageBody]
    shared: Count
    left_out: Count
    tools: list[str]
    tool_choice: NotRequired[str]
    output: str | None


class ChargeBody(TypedDict):
    """What the requests of a model call were charged; see `models.budgets.charge.Charge`."""

    requests: Count
    usd: Dollars
    unpriced: Count
    input_tokens: Count
    output_tokens: Count
    booked_usd: Dollars
    booked_tokens: Count


class RequestBody(TypedDict):
    """One request of a model call: see `engine.report.RequestReport`.

    `began` is when it was sent. `outcome` is `sent` while its end is not known. Without `charge` it
    is the sole request of its call, and its charge is that of the call.
    """

    model: str
    target: NotRequired[str]
    began: Seconds
    seconds: Seconds
    outcome: str
    message: NotRequired[str]
    first_token: NotRequired[float]
    is_hedge: NotRequired[bool]
    charge: NotRequired[ChargeBody]


class SendingBody(ActivationBody):
    """A request of model call number `call` may be sent from here on; it is the last of `requests`.

    `charge` is what the call costs at most with it. It stands until the record of the same call
    that says how it ended, and for good if there is none. `began` is when the call began. A record
    before format 4 has neither that nor `requests`.
    """

    attempt: Count
    call: Count
    began: NotRequired[Seconds]
    model: str
    charge: ChargeBody
    requests: NotRequired[list[RequestBody]]


class ChargedCall(TypedDict):
    """Fields of the end of a model call: its charge, and its number if it was announced.

    `requests` are those that were sent. A record before format 4 does not have them: its policy's
    decision is all that is known of them.
    """

    charge: NotRequired[ChargeBody]
    call: NotRequired[Count]
    requests: NotRequired[list[RequestBody]]


class CallBody(ActivationBody, ChargedCall):
    """A model answered; `asked` describes the request, `key` identifies equal requests.

    `response` is a `Response` of `graphorch.models` as JSON.
    """

    attempt: Count
    key: str
    response: dict[str, Any]
    at: Seconds
    began: Seconds
    asked: AskedModelBody


class ModelFailureBody(TypedDict):
    """Why a model call failed, and what it cost; `decision` is the record of its policy.

    `usage` is a `Usage`, and `decision` a `RoutingRecord`, of `graphorch.models` as JSON. `server`
    is the address of the endpoint that was asked, and is there from format 4 on if it is known.
    """

    error: str
    message: str
    model: str
    status: int | None
    usd: float | None
    usage: dict[str, Any] | None
    decision: dict[str, Any] | None
    server: NotRequired[str]


class UnansweredBody(ActivationBody, ModelFailureBody, ChargedCall):
    """A model call failed or was cancelled; it may have cost something."""

    attempt: Count
    at: Seconds
    began: Seconds
    asked: AskedModelBody


class ListedToolBody(TypedDict):
    """A tool of a server: its name for models, and all that the server said of it.

    `tool` is the server's own name; `parameters` and `output` are JSON schemas, and `annotations`
    what the server says of its effects. `digest` is the SHA-256 of the rest.
    """

    name: str
    tool: str
    description: str
    parameters: dict[str, Any]
    output: dict[str, Any] | None
    annotations: dict[str, bool]
    digest: str


class ListedBody(TypedDict):
    """A server listed its tools, which agents of the run are offered from here on.

    `digest` is the SHA-256 of all of them.
    """

    server: str
    tools: list[ListedToolBody]
    digest: str


class MigratedBody(TypedDict):
    """From here on the graph with this fingerprint writes."""

    to: str


class EndedBody(TypedDict):
    """Nothing is left to do for now. `at` is missing in formats before 4.

    `due` is when the next of what the run waits for has its time, and is there if there is such a
    time (from format 6 on).
    """

    at: NotRequired[Seconds]
    status: RunStatus
    reason: str
    due: NotRequired[Seconds]


BODIES: Final[Mapping[RecordKind, type]] = {
    "started": StartedBody,
    "forked": ForkedBody,
    "pinned": PinnedBody,
    "commit": CommitBody,
    "routed": RoutedBody,
    "entered": EnteredBody,
    "reviewed": ReviewedBody,
    "tools": ToolsBody,
    "failed": FailedBody,
    "skipped": SkippedBody,
    "cancelled": CancelledBody,
    "asked": AskedBody,
    "waiting": WaitingBody,
    "signal": SignalBody,
    "approved": ApprovedBody,
    "retry": RetryBody,
    "stopping": StoppingBody,
    "grace": MomentBody,
    "continued": MomentBody,
    "resumed": MomentBody,
    "starting": StartingBody,
    "sending": SendingBody,
    "call": CallBody,
    "unanswered": UnansweredBody,
    "rules": RulesBody,
    "listed": ListedBody,
    "migrated": MigratedBody,
    "ended": EndedBody,
}
