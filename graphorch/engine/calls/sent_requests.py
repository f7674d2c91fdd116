"""The requests of a model call as reports, and as plain JSON of a record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from graphorch.engine.report import RequestReport
from graphorch.errors import ModelError
from graphorch.text import clean, explain_error

if TYPE_CHECKING:
    from graphorch.journal.record_kinds import ChargeBody, RequestBody
    from graphorch.models.budgets.charge import Charge, SentRequest

_LONGEST = 500  # characters of what an error says; the call has all of it


def report_requests(sent: Iterable[SentRequest]) -> tuple[RequestReport, ...]:
    """Return the reports of requests."""
    return tuple(map(_report_request, sent))


def _report_request(sent: SentRequest) -> RequestReport:
    error = sent.error or sent.flaw
    return RequestReport(
        model=sent.model,
        target=sent.target,
        began=sent.began,
        seconds=sent.seconds,
        outcome=_name_outcome(error) if sent.has_ended else "sent",
        message="" if error is None else explain_error(error)[:_LONGEST],
        first_token_seconds=sent.first_token_seconds,
        is_hedge=sent.is_hedge,
        charge=sent.charge_at_most,
    )


def _name_outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    if not isinstance(error, ModelError):
        return type(error).__name__
    from graphorch.models.policies.failure_kinds import classify_failure

    return classify_failure(error)


def encode_requests(requests: Sequence[RequestReport]) -> list[RequestBody]:
    """Return requests as plain JSON; the charge of a sole one is that of its call."""
    is_sole = len(requests) == 1
    return [_encode_request(request, is_sole=is_sole) for request in requests]


def _encode_request(request: RequestReport, *, is_sole: bool) -> RequestBody:
    body: RequestBody = {
        "model": clean(request.model),
        "began": request.began,
        "seconds": request.seconds,
        "outcome": clean(request.outcome),
    }
    if request.target:
        body["target"] = clean(request.target)
    if request.message:
        body["message"] = clean(request.message)
    if request.first_token_seconds is not None:
        body["first_token"] = request.first_token_seconds
    if request.is_hedge:
        body["is_hedge"] = True
    if not is_sole:
        body["charge"] = encode_charge(request.charge)
    return body


def decode_requests(stored: Iterable[RequestBody], whole: Charge) -> tuple[RequestReport, ...]:
    """Return the requests that were encoded; `whole` is the charge of their call."""
    return tuple(
        RequestReport(
            model=body["model"],
            target=body.get("target", ""),
            began=body["began"],
            seconds=body["seconds"],
            outcome=body["outcome"],
            message=body.get("message", ""),
            first_token_seconds=body.get("first_token"),
            is_hedge=body.get("is_hedge", False),
            charge=decode_charge(body["charge"]) if "charge" in body else whole,
        )
        for body in stored
    )


def encode_charge(charge: Charge) -> ChargeBody:
    """Return a charge as plain JSON."""
    return {
        "requests": charge.requests,
        "usd": charge.usd,
        "unpriced": charge.unpriced,
        "input_tokens": charge.input_tokens,
        "output_tokens": charge.output_tokens,
        "booked_usd": charge.booked_usd,
        "booked_tokens": charge.booked_tokens,
    }


def decode_charge(stored: ChargeBody) -> Charge:
    """Return the charge that was encoded."""
    from graphorch.models.budgets.charge import Charge

    return Charge(
        requests=stored["requests"],
        usd=stored["usd"],
        unpriced=stored["unpriced"],
        input_tokens=stored["input_tokens"],
        output_tokens=stored["output_tokens"],
        booked_usd=stored["booked_usd"],
        booked_tokens=stored["booked_tokens"],
    )
