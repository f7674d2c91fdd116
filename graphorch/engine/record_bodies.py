"""Encode the events and the model calls of a run as bodies of journal records.

The kinds and the fields of records are declared in `graphorch.journal.record_kinds`. A record names
its activation by path (only one activation of a path is open at a time) and by id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import TypeAdapter, ValidationError

from graphorch.core.events import (
    Approved,
    Event,
    GraceExpired,
    ItemReviewed,
    NodeCancelled,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    PersonAsked,
    Resumed,
    RetryDue,
    Routed,
    RunStarted,
    ScopeEntered,
    SignalReceived,
    StopRequested,
    ToolsCalled,
    Update,
    WaitBegan,
)
from graphorch.core.tree import Activation, ToolCalled
from graphorch.engine.calls.sent_requests import decode_charge, encode_charge, encode_requests
from graphorch.engine.prompt_log import CallDescription
from graphorch.engine.report import RequestReport
from graphorch.engine.state_codec import CodecCache, EncodedUpdate, PlanCodec, require_storable
from graphorch.engine.waits.answer_codec import encode_answer
from graphorch.errors import JournalError, ModelError
from graphorch.graph.fingerprint import describe
from graphorch.graph.plan import Plan
from graphorch.journal.codec import LIMITS, BodyLimits
from graphorch.journal.record_kinds import (
    ActivationBody,
    ApprovedBody,
    AskedBody,
    CallBody,
    CalledToolBody,
    CancelledBody,
    ChargedCall,
    CommitBody,
    DefaultsBody,
    EndedBody,
    EnteredBody,
    FailedBody,
    InputsBody,
    ModelFailureBody,
    MomentBody,
    PinnedBody,
    RecordKind,
    RetryBody,
    ReviewedBody,
    RouteBody,
    RoutedBody,
    SendingBody,
    SignalBody,
    SkippedBody,
    StartedBody,
    StartedOptions,
    StoppingBody,
    TimedBody,
    ToolsBody,
    UnansweredBody,
    WaitingBody,
)
from graphorch.state.version import InputUpdate
from graphorch.text import LONGEST_ERROR, clean, explain_error, list_kinds, name_error

if TYPE_CHECKING:
    from graphorch.core.run import Run
    from graphorch.models.budgets.charge import Charge
    from graphorch.models.decision import RoutingRecord
    from graphorch.models.messages import Response, Usage


class RecordEncoder:
    """Encodes the events of one run, for a store with these limits of one record.

    `options` are added to the first record.
    """

    def __init__(
        self, plan: Plan, options: StartedOptions | None = None, limits: BodyLimits = LIMITS
    ) -> None:
        self._plan = plan
        self._options: StartedOptions = options or {}
        self._codecs = CodecCache(limits)
        self._limits = limits
        self._input: tuple[Update, EncodedUpdate, DefaultsBody | None] | None = None

    def encode(self, event: Event) -> tuple[RecordKind, Mapping[str, Any]]:
        """Return the kind and the body of an event's record. Raises `Unstorable`."""
        kind, encode = _ENCODERS[type(event)]
        return kind, encode(self, event)

    def encode_input(self, update: Update) -> None:
        """Encode the input before the run is created. Raises `Unstorable`."""
        codec = self._codecs.of(self._plan)
        encoded, defaults = codec.encode(update), _encode_defaults(codec, [update])
        codec.require_room([encoded, *defaults])
        self._input = update, encoded, _build_defaults(defaults[0]) if defaults else None

    def encode_started(self, event: RunStarted) -> StartedBody:
        """Return the input and the graph of a run."""
        if self._input is None or self._input[0] is not event.update:
            self.encode_input(event.update)
        assert self._input is not None
        _, encoded, defaults = self._input
        body: StartedBody = {
            "at": event.at,
            "input": encoded.values,
            "flow": describe(self._plan),
            **self._options,
        }
        if encoded.notes is not None:
            body["restore"] = encoded.notes
        if defaults is not None:
            body["defaults"] = defaults
        if self._plan.has_undos:
            body["undoes"] = True
        return body

    def encode_commit(self, event: NodeSucceeded) -> CommitBody:
        """Return the update of an activation that succeeded."""
        activation = event.activation
        encoded = self._codecs.of(activation.scope.plan).encode(event.update)
        body: CommitBody = {
            **_time(activation, event.at),
            "update": encoded.values,
        }
        if encoded.notes is not None:
            body["restore"] = encoded.notes
        if activation.attempt != 1:
            body["attempt"] = activation.attempt
        if event.notes:
            body["notes"] = list(map(clean, event.notes))
        if event.served and activation.step.undo is not None:
            body["served"] = True
        return body

    def encode_pinned(self, plan: Plan, path: str, update: Update) -> PinnedBody:
        """Return what a path of a plan gives instead of running its node."""
        encoded = self._codecs.of(plan).encode(update)
        body: PinnedBody = {"path": path, "update": encoded.values}
        if encoded.notes is not None:
            body["restore"] = encoded.notes
        return body

    def encode_routed(self, event: Routed) -> RoutedBody:
        """Return where an activation went, for a record of its own."""
        return {**_locate(event.activation), "at": event.at, **encode_route(event)}

    def encode_entered(self, event: ScopeEntered) -> EnteredBody:
        """Return the inputs of a sub-flow or map."""
        inputs = self._encode_inputs(event.activation, event.updates, event.keys)
        body: EnteredBody = {**_locate(event.activation), "at": event.at, **inputs}
        if event.at_once is not None:
            body["at_once"] = event.at_once
        wait = event.wait
        if wait is not None:
            if wait.signal:
                body["signal"] = wait.signal
            if wait.key:
                body["key"] = wait.key
            if wait.due is not None:
                body["due"] = wait.due
        return body

    def _encode_inputs(
        self, activation: Activation, updates: Sequence[Update], keys: Sequence[str]
    ) -> InputsBody:
        """Return the inputs of scopes inside a sub-flow or map."""
        plan = activation.step.inner_plan
        assert plan is not None
        codec = self._codecs.of(plan)
        encoded = [codec.encode(update) for update in updates]
        defaults = _encode_defaults(codec, updates)
        codec.require_room([*encoded, *defaults])
        body: InputsBody = {"items": [item.values for item in encoded]}
        notes = [item.notes for item in encoded]
        if any(note is not None for note in notes):
            body["restore"] = notes
        if defaults:
            body["defaults"] = list(map(_build_defaults, defaults))
        if keys:
            body["keys"] = list(keys)
        return body

    def encode_reviewed(self, event: ItemReviewed) -> ReviewedBody:
        """Return what a map decided after an item."""
        body: ReviewedBody = {
            **_locate(event.activation),
            "at": event.at,
            "item": event.item,
            "enough": event.enough,
            **self._encode_inputs(event.activation, event.updates, event.keys),
        }
        error = event.failure
        if error is not None:
            body["failure"] = {
                "error": name_error(error),
                "kinds": list(list_kinds(error)),
                "message": explain_error(error),
            }
        return body

    def encode_tools(self, event: ToolsCalled) -> ToolsBody:
        """Return the calls of a round of tools. Raises `Unstorable`."""
        calls = list(map(_encode_called_tool, event.calls))
        fix = "Let its tools take less, or ask another model."
        subject = f"What '{event.activation.path}' calls its tools with"
        require_storable(calls, subject, fix, self._limits)
        body: ToolsBody = {
            **_locate(event.activation),
            "at": event.at,
            "key": event.key,
            "label": event.label,
            "calls": calls,
        }
        if event.abandons:
            body["abandons"] = list(event.abandons)
        return body

    def encode_failed(self, event: NodeFailed) -> FailedBody:
        """Return a failed attempt and what follows from it."""
        error = event.failure
        body: FailedBody = {
            **_time(event.activation, event.at),
            "attempt": event.attempt,
            "error": name_error(error),
            "kinds": list(list_kinds(error)),
            "message": explain_error(error),
            "retry_after": event.retry_after,
            "handler": event.handler,
            "limit": event.limit,
        }
        if event.undoes:
            body["undoes"] = True
        return body

    def encode_skipped(self, event: NodeSkipped) -> SkippedBody:
        """Return why a node did not run."""
        return {**_locate(event.activation), "at": event.at, "reason": clean(event.reason)}

    def encode_cancelled(self, event: NodeCancelled) -> CancelledBody:
        """Return a cancelled attempt."""
        return _time(event.activation, event.at)

    def encode_asked(self, event: PersonAsked) -> AskedBody:
        """Return a question to a person."""
        body: AskedBody = {
            **_locate(event.activation),
            "at": event.at,
            "began": event.activation.started_at,
            "text": clean(event.question.text),
            "expires": event.question.expires,
        }
        if event.question.consent:
            body["consent"] = clean(event.question.consent)
        return body

    def encode_waiting(self, event: WaitBegan) -> WaitingBody:
        """Return what an activation waits for."""
        wait = event.wait
        body: WaitingBody = {
            **_locate(event.activation),
            "at": event.at,
            "began": event.activation.started_at,
            "due": wait.due,
        }
        if wait.signal:
            body["signal"] = wait.signal
        if wait.key:
            body["key"] = wait.key
        return body

    def encode_signal(self, event: SignalReceived) -> SignalBody:
        """Return a signal. Raises `Unstorable` for a value that could not be restored."""
        where = f"The value of signal '{event.name}'"
        fields = encode_answer(where, event.value, self._plan.signals[event.name].value)
        require_storable(fields["answer"], where, "Send less.", self._limits)
        body: SignalBody = {"at": event.at, "name": event.name, "value": fields["answer"]}
        if event.key:
            body["key"] = event.key
        if "notes" in fields:
            body["notes"] = fields["notes"]
        return body

    def encode_approved(self, event: Approved) -> ApprovedBody:
        """Return an approval. Raises `Unstorable` for arguments that could not be restored."""
        body: ApprovedBody = {**_locate(event.activation), "at": event.at}
        if event.update is not None:
            (arguments,) = event.update.values()
            require_storable(arguments, "What a tool is called with", "Shorten it.", self._limits)
            body["arguments"] = arguments
        return body

    def encode_retry(self, event: RetryDue) -> RetryBody:
        """Return the end of the pause before an attempt."""
        return {**_locate(event.activation), "at": event.at, "attempt": event.attempt}

    def encode_stopping(self, event: StopRequested) -> StoppingBody:
        """Return a request to stop."""
        body: StoppingBody = {
            "at": event.at,
            "reason": clean(event.reason),
            "status": event.status,
            "now": event.now,
        }
        if event.undoes:
            body["undoes"] = True
        if event.keeps_pauses:
            body["keeps_pauses"] = True
        return body

    def encode_call(
        self, activation: Activation, key: str, response: Response, call: CallDescription
    ) -> CallBody:
        """Return the body of a call that a model answered. Raises `Unstorable`."""
        body = encode_call(activation, key, response, call)
        subject = f"The answer of model '{response.model}'"
        require_storable(
            body["response"], subject, "Ask again, or ask another model.", self._limits
        )
        return body

    def encode_moment(self, event: GraceExpired | Resumed) -> MomentBody:
        """Return a time."""
        return {"at": event.at}


_Encoder = Callable[[RecordEncoder, Any], Mapping[str, Any]]
_ENCODERS: Final[Mapping[type, tuple[RecordKind, _Encoder]]] = {
    RunStarted: ("started", RecordEncoder.encode_started),
    NodeSucceeded: ("commit", RecordEncoder.encode_commit),
    Routed: ("routed", RecordEncoder.encode_routed),
    ScopeEntered: ("entered", RecordEncoder.encode_entered),
    ItemReviewed: ("reviewed", RecordEncoder.encode_reviewed),
    ToolsCalled: ("tools", RecordEncoder.encode_tools),
    NodeFailed: ("failed", RecordEncoder.encode_failed),
    NodeSkipped: ("skipped", RecordEncoder.encode_skipped),
    NodeCancelled: ("cancelled", RecordEncoder.encode_cancelled),
    PersonAsked: ("asked", RecordEncoder.encode_asked),
    WaitBegan: ("waiting", RecordEncoder.encode_waiting),
    SignalReceived: ("signal", RecordEncoder.encode_signal),
    Approved: ("approved", RecordEncoder.encode_approved),
    RetryDue: ("retry", RecordEncoder.encode_retry),
    StopRequested: ("stopping", RecordEncoder.encode_stopping),
    GraceExpired: ("grace", RecordEncoder.encode_moment),
    Resumed: ("resumed", RecordEncoder.encode_moment),
}


def _encode_called_tool(call: ToolCalled) -> CalledToolBody:
    body: CalledToolBody = {
        "tool": call.tool,
        "index": call.place,
        "arguments": call.arguments,
        "effect": call.plan.steps[0].node.options.effect,
    }
    if call.is_barrier:
        body["is_barrier"] = True
    if call.asks:
        body["asks"] = True
    return body


def encode_route(event: Routed) -> RouteBody:
    """Return where an activation went."""
    decision = event.decision
    return {
        "loop": decision.loop,
        "exhausted": decision.exhausted,
        "edges": [edge.index for edge in decision.edges],
    }


def encode_call(
    activation: Activation, key: str, response: Response, call: CallDescription
) -> CallBody:
    """Return the body of a call that a model answered."""
    return {
        **_locate(activation),
        "attempt": activation.attempt,
        "key": key,
        "response": encode_response(response),
        "at": call.at,
        "began": call.began,
        "asked": call.request,
        **_encode_end(call),
    }


def encode_sending(
    activation: Activation,
    number: int,
    began: float,
    model: str,
    sent: Sequence[RequestReport],
) -> SendingBody:
    """Return the body of a call of which a request is about to be sent, the last of `sent`."""
    from graphorch.models.budgets.charge import sum_charges

    return {
        **_locate(activation),
        "attempt": activation.attempt,
        "call": number,
        "began": began,
        "model": clean(model),
        "charge": encode_charge(sum_charges([request.charge for request in sent])),
        "requests": encode_requests(sent),
    }


def encode_end(run: Run, at: float) -> EndedBody:
    """Return how a run came to rest, and when the next of what it waits for has its time."""
    body: EndedBody = {"at": at, "status": run.status, "reason": run.reason}
    if run.status == "waiting":
        from graphorch.engine.waits.event_waits import find_next_due

        due = find_next_due(run)
        if due is not None:
            body["due"] = due
    return body


def encode_failed_call(
    activation: Activation, error: BaseException, model: str, call: CallDescription
) -> UnansweredBody:
    """Return the body of a call that failed, or was cancelled."""
    is_failure = isinstance(error, ModelError)
    return {
        **_locate(activation),
        "attempt": activation.attempt,
        "at": call.at,
        "began": call.began,
        "asked": call.request,
        **(
            encode_failure(error, call.decision)
            if is_failure
            else _encode_interruption(error, model, call.decision)
        ),
        **_encode_end(call),
    }


def _encode_end(call: CallDescription) -> ChargedCall:
    """Return the charge of a call, and its number if it was announced."""
    body: ChargedCall = {"requests": encode_requests(call.sent)}
    if call.charge is not None:
        body["charge"] = encode_charge(call.charge)
    if call.number is not None:
        body["call"] = call.number
    return body


def read_charge(body: UnansweredBody) -> Charge:
    """Return what a failed call was charged; a record of format 2 and before says less.

    Raises `JournalError` if its usage does not fit.
    """
    from graphorch.models.budgets.charge import Charge
    from graphorch.models.pricing.metering import is_uncharged

    if "charge" in body:
        return decode_charge(body["charge"])
    usd, usage = body["usd"], _decode_usage(body["usage"])
    is_known = usd is not None or is_uncharged(body["status"])
    return Charge(
        requests=1,
        usd=usd or 0.0,
        unpriced=0 if is_known else 1,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        booked_usd=usd or 0.0,
        booked_tokens=usage.input_tokens + usage.output_tokens,
    )


def _decode_usage(stored: dict[str, Any] | None) -> Usage:
    """Return the tokens that were encoded. Raises `JournalError` if they do not fit."""
    from graphorch.models.messages import Usage

    if stored is None:
        return Usage(0, 0)
    try:
        return _usages().validate_python(stored)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise JournalError(
            f"The stored usage of a model call does not fit: {reason}. The journal is damaged."
        ) from error


def encode_failure(error: ModelError, decision: RoutingRecord | None = None) -> ModelFailureBody:
    """Return why a model call failed.

    That is the kind of failure, the tokens that it took as far as the endpoint reported them, and
    the record of the policy that made the call: its own, unless the error holds it.
    """
    from graphorch.models.errors import AnswerError
    from graphorch.models.policies.failure_kinds import NotAnswered, classify_failure

    decision = error.decision if isinstance(error, NotAnswered) else decision
    usage = error.usage if isinstance(error, AnswerError) else None
    body: ModelFailureBody = {
        "error": classify_failure(error),
        "message": explain_error(error),
        "model": clean(error.model),
        "status": error.status,
        "usd": error.usd,
        "usage": None if usage is None else _usages().dump_python(usage, mode="json"),
        "decision": None if decision is None else _encode_decision(decision),
    }
    if error.server:
        body["server"] = clean(error.server)
    return body


def _encode_interruption(
    error: BaseException, model: str, decision: RoutingRecord | None
) -> ModelFailureBody:
    """Return why a model call ended although no model failed: it was cancelled, or too dear."""
    is_cancelled = isinstance(error, asyncio.CancelledError)
    return {
        "error": "cancelled" if is_cancelled else type(error).__name__,
        "message": explain_error(error),
        "model": clean(model),
        "status": None,
        "usd": None,
        "usage": None,
        "decision": None if decision is None else _encode_decision(decision),
    }


def _encode_decision(decision: RoutingRecord) -> dict[str, Any]:
    return _clean_texts(_decisions().dump_python(decision, mode="json"))


def _clean_texts(value: Any) -> Any:
    """Return plain JSON whose texts, which are for people, any file can hold."""
    if isinstance(value, str):
        return clean(value, LONGEST_ERROR)
    if isinstance(value, list):
        return [_clean_texts(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _clean_texts(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


def encode_response(response: Response) -> dict[str, Any]:
    """Return a response as plain JSON, with its routing record and its findings."""
    body = _responses().dump_python(response, mode="json")
    for_people = ("note", "decision", "findings", "model", "finish_reason", "usd_source")
    return {**body, **{name: _clean_texts(body[name]) for name in for_people}}


def decode_response(stored: object) -> Response:
    """Return the response that was encoded. Raises `JournalError` if it does not fit."""
    try:
        return _responses().validate_python(stored)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise JournalError(
            f"A stored model response does not fit: {reason}. The journal is damaged."
        ) from error


def _encode_defaults(codec: PlanCodec, updates: Sequence[Update]) -> list[EncodedUpdate]:
    """Return the defaults of each scope that begins with these inputs; none if none were made.

    One that has no JSON, such as a connection, is made anew by each process that has the run.
    """
    made = [update.defaults for update in updates if isinstance(update, InputUpdate)]
    return [codec.encode_storable(dict(defaults)) for defaults in made]


def _build_defaults(encoded: EncodedUpdate) -> DefaultsBody:
    body: DefaultsBody = {"values": encoded.values}
    if encoded.notes is not None:
        body["restore"] = encoded.notes
    return body


def _locate(activation: Activation) -> ActivationBody:
    return {"path": activation.path, "id": activation.id}


def _time(activation: Activation, at: float) -> TimedBody:
    """Return where and when an attempt ended."""
    body: TimedBody = {
        "path": activation.path,
        "id": activation.id,
        "at": at,
        "began": activation.started_at,
    }
    if activation.waited:
        body["waited"] = activation.waited
    if activation.held_at:
        body["held"] = activation.held_at
    if activation.hedged_at:
        body["hedge"] = {"began": activation.hedged_at, "is_taken": activation.is_hedge_taken}
    if activation.scope.late is not None:
        body["late"] = True
    return body


# Adapters are made at their first use: only runs that call models need them.
@cache
def _responses() -> TypeAdapter[Response]:
    from graphorch.models.messages import Response

    return TypeAdapter(Response)


@cache
def _decisions() -> TypeAdapter[RoutingRecord]:
    from graphorch.models.decision import RoutingRecord

    return TypeAdapter(RoutingRecord)


@cache
def _usages() -> TypeAdapter[Usage]:
    from graphorch.models.messages import Usage

    return TypeAdapter(Usage)
