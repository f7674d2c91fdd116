"""Model calls of a run: recorded on their way, and labelled with where in the run they belong.

Rules of this file:
- every call is reported and recorded with what it was charged, however it ended: answered, failed,
  cancelled, or refused by a budget after its first request;
- in a journal, a call is announced before each of its requests, so that a process that dies leaves
  behind that it asked, and the worst case;
- a process that may have lost its run sends no request. It may have been stopped at any time, so
  this is looked at after the announcement, and by clients that can tell once more right before
  the prompt leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.calls.kept_answers import AttemptCalls
from graphorch.engine.calls.sent_requests import report_requests
from graphorch.engine.prompt_log import CallDescription, PromptLog
from graphorch.engine.report import CallReport
from graphorch.errors import ModelError, Unstorable
from graphorch.text import explain_error, format_error

if TYPE_CHECKING:
    from graphorch.engine.events import ModelCalled
    from graphorch.engine.run_services import RunServices
    from graphorch.models.budgets.charge import Charge, SentRequest
    from graphorch.models.client import ModelClient, OnText
    from graphorch.models.messages import Message, Request, Response

Describe: TypeAlias = Callable[[], CallDescription]


class RecordedClient:
    """The run's model client; each of its calls is reported, journaled and published."""

    def __init__(self, services: RunServices, activation: Activation, calls: AttemptCalls) -> None:
        self._services = services
        self._activation = activation
        self._calls = calls
        self._log = PromptLog()
        self._client: ModelClient = services.settings.client

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the response to a request: an earlier one that is kept, or the client's."""
        services, calls = self._services, self._calls
        key = ""
        if services.is_journaled or calls.may_serve:
            key = calls.compute_key(request)
        if calls.may_serve and (kept := calls.serve(request, key)) is not None:
            return kept
        calls.asked += 1
        began = services.now()
        call = _OpenCall(services, self._activation, request, began)
        try:
            response = await self._client.complete(call.request, on_text)
        except BaseException as error:
            charge = await call.end_without_answer(error, lambda: self._describe(request, began))
            if charge is not None and services.is_watched:
                seconds = services.now() - began
                services.publish(
                    build_failed_call(
                        self._activation, request.model, charge, seconds, describe_failure(error)
                    )
                )
            raise
        charge = await call.end(key, response, lambda: self._describe(request, began))
        calls.keep(key or request, response)
        if services.is_watched:
            services.publish(build_answered_call(self._activation, response, charge))
        return response

    def _describe(self, request: Request, began: float) -> CallDescription:
        return CallDescription(began, self._services.now(), self._log.describe(request))


class _OpenCall:
    """A model call under way: what its requests are charged, and its number in the journal."""

    __slots__ = ("_activation", "_began", "_number", "_receipt", "_services", "request")

    def __init__(
        self, services: RunServices, activation: Activation, request: Request, began: float
    ) -> None:
        from graphorch.models.budgets.charge import Receipt

        self._services = services
        self._activation = activation
        self._began = began
        self._number: int | None = None
        if services.is_journaled:
            self._number = services.number_call()
        announce = None if self._number is None else self._announce
        placement = services.settings.placement
        confirm = None if placement is None else placement.wait_until_certain
        self._receipt = Receipt(announce, services.now, confirm)
        trace = services.trace
        headers = request.trace if trace is None else trace.for_call(self._number or 0)
        self.request = replace(request, receipt=self._receipt, trace=headers)

    async def _announce(self, sent: Sequence[SentRequest]) -> None:
        """Write to the journal what the call may have cost by the end of its next request."""
        journal, services = self._services.log.journal, self._services
        if journal is not None and self._number is not None:
            model = self.request.model
            number, began, requests = self._number, self._began, report_requests(sent)
            journal.buffer_sending(self._activation, number, began, model, requests)
            await services.log.make_durable()
            if self._receipt.confirm is not None:
                await self._receipt.confirm()

    async def end(self, key: str, response: Response, describe: Describe) -> Charge:
        """Report an answer and write it to the journal, before the node sees it."""
        activation, services = self._activation, self._services
        charge = _read_receipt(self.request, response)
        sent = report_requests(self._receipt.requests)
        report = CallReport(
            path=activation.path,
            model=response.model,
            response=response,
            charge=charge,
            requests=sent,
        )
        services.report.add_call(activation, report)
        if (journal := services.log.journal) is not None:
            call = replace(describe(), number=self._number, charge=charge, sent=sent)
            try:
                journal.buffer_call(activation, key, response, call)
            except Unstorable as error:
                # It was paid, so it stays in the books, as a call that failed.
                failure = _build_answer_error(error, response)
                journal.buffer_failed_call(activation, failure, response.model, call)
                raise failure from error
            await services.log.make_durable()
        return charge

    async def end_without_answer(self, error: BaseException, describe: Describe) -> Charge | None:
        """Report a call that ended without an answer, and write it to the journal.

        Return None if nothing was sent, and the model is not to blame for that: such a call never
        happened.
        """
        activation, services = self._activation, self._services
        receipt, is_model_error = self._receipt, isinstance(error, ModelError)
        if not is_model_error and not receipt.charge.requests and not receipt.was_announced:
            return None
        charge, model = receipt.charge, self.request.model
        sent = report_requests(receipt.requests)
        report = CallReport(
            path=activation.path,
            model=model,
            response=None,
            error=describe_failure(error),
            charge=charge,
            requests=sent,
        )
        services.report.add_call(activation, report)
        if (journal := services.log.journal) is not None:
            call = replace(
                describe(),
                number=self._number,
                charge=charge,
                sent=sent,
                decision=receipt.decision,
            )
            journal.buffer_failed_call(activation, error, model, call)
            # A cancelled call must not wait; its record goes out with the next one.
            if is_model_error:
                await services.log.make_durable()
        return charge


def describe_failure(error: BaseException) -> str:
    """Return why a call ended without an answer."""
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return explain_error(error) or type(error).__name__


def _build_answer_error(error: Unstorable, response: Response) -> ModelError:
    from graphorch.models.errors import AnswerError

    return AnswerError(str(error), model=response.model, retryable=False, usage=response.usage)


def build_answered_call(activation: Activation, response: Response, charge: Charge) -> ModelCalled:
    """Return the event of a call that a model answered."""
    from graphorch.engine.events import ModelCalled

    return ModelCalled(
        activation.path,
        activation.step.name,
        response.model,
        charge.input_tokens,
        charge.output_tokens,
        charge.usd,
        "none" if charge.unpriced else response.usd_source,
        response.seconds,
        response.note,
    )


def build_failed_call(
    activation: Activation, model: str, charge: Charge, seconds: float, error: str
) -> ModelCalled:
    """Return the event of a call without an answer, for this reason."""
    from graphorch.engine.events import ModelCalled

    return ModelCalled(
        activation.path,
        activation.step.name,
        model,
        charge.input_tokens,
        charge.output_tokens,
        charge.usd,
        "none" if charge.unpriced else "",
        seconds,
        "",
        error=error,
    )


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One request to a model with its messages, the response or the error, and its charge."""

    path: str
    activation: str
    model: str
    messages: tuple[Message, ...]
    response: Response | None
    charge: Charge
    error: str = ""


class RecordingClient:
    """Passes requests on, and keeps each with its response in `calls`, for debuggers.

    `charges` are those of all calls, also of calls that were taken out of `calls` since.
    """

    def __init__(self, client: ModelClient) -> None:
        self._client = client
        self.calls: list[RecordedCall] = []
        self.charges: list[Charge] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the client's response."""
        try:
            response = await self._client.complete(request, on_text)
        except BaseException as error:
            if isinstance(error, ModelError) or _read_receipt(request, None).requests:
                self._keep(request, request.model, None, format_error(error))
            raise
        self._keep(request, response.model, response, "")
        return response

    def _keep(self, request: Request, model: str, response: Response | None, error: str) -> None:
        path = request.metadata.get("path", "")
        activation = request.metadata.get("activation", "")
        charge = _read_receipt(request, response)
        call = RecordedCall(path, activation, model, request.messages, response, charge, error)
        self.calls.append(call)
        self.charges.append(charge)


def _read_receipt(request: Request, response: Response | None) -> Charge:
    """Return what a call was charged: by its receipt, else as far as its response tells."""
    from graphorch.models.budgets.charge import NO_CHARGE

    if request.receipt is not None and request.receipt.is_used:
        return request.receipt.charge
    return NO_CHARGE if response is None else response.charge


def build_call_metadata(
    activation: Activation, run: Run, tags: Mapping[str, str]
) -> Mapping[str, str]:
    """Return where a model call belongs, for traces, gateways and bills.

    These are the run, the flow, the node and the levels around it, with the tags of the run and of
    the graphs.
    """
    parent = activation.scope.parent
    run_tags = [f"{key}={value}" for key, value in tags.items()]
    return {
        **tags,
        **_collect_graph_tags(activation),
        "tags": ",".join([run.plan.name, activation.step.name, *run_tags]),
        "trace_id": run.run_id,
        "run": run.run_id,
        "flow": run.plan.name,
        "run_id": run.run_id,
        "path": activation.path,
        "node": activation.step.name,
        "activation": activation.id,
        "parent": parent.id if parent is not None else run.run_id,
        "level": str(activation.path.count("/") + 1),
        "department": activation.path.rpartition("/")[0],
        "attempt": str(activation.attempt),
    }


def _collect_graph_tags(activation: Activation) -> dict[str, str]:
    """Return the tags of the graphs around an activation; the innermost value of a name wins."""
    tags: dict[str, str] = {}
    outer: Activation | None = activation
    while outer is not None:
        for name, view in outer.scope.plan.tags:
            if name not in tags and outer.version is not None and view.can_read(outer.version):
                tags[name] = str(view(outer.version))
        outer = outer.scope.parent
    return tags
