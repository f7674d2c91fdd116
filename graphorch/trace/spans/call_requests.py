"""The requests of a model call as its record names them, in every format.

From format 4 on a record holds each request that was sent, with its charge. Before, all that is
known of them is what a policy decided, and when it was known what a request cost; what its call was
charged beyond that is put down to the request that answered, or to the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from graphorch.trace.spans.model import Span, SpanStatus

UNUSABLE: Final = frozenset({"invalid_output", "rejected", "output_limit", "filtered"})
"""Outcomes of requests that were answered, with an answer that could not be used."""

_STATUSES: Final[Mapping[str, SpanStatus]] = {
    "ok": "ok",
    "cancelled": "cancelled",
    "sent": "lost",
}


@dataclass(slots=True)
class CallRequest:
    """One request: whom it asked and when, what became of it, and what it was charged."""

    target: str
    model: str
    began: float
    seconds: float
    outcome: str
    message: str
    first_token: float | None
    is_hedge: bool
    usd: float = 0.0
    usd_source: str = ""
    sent: int = 1
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    booked_usd: float = 0.0
    booked_tokens: int = 0

    @property
    def status(self) -> SpanStatus:
        """Status of its span."""
        return _STATUSES.get(self.outcome, "failed")

    @property
    def is_unusable(self) -> bool:
        """Return whether it was answered, with an answer that could not be used."""
        return self.outcome in UNUSABLE

    @property
    def has_failed(self) -> bool:
        """Return whether it was not answered."""
        return self.status == "failed" and not self.is_unusable


_SUMS: Final = (
    "usd",
    "sent",
    "unpriced",
    "input_tokens",
    "output_tokens",
    "booked_usd",
    "booked_tokens",
)


def list_requests(
    body: Mapping[str, Any], decision: Mapping[str, Any] | None, call: Span
) -> list[CallRequest]:
    """Return the requests of a call that has its charge already, in the order of their end.

    Those that no charge is recorded for, of an older or an altered record, follow from `decision`.
    """
    if "requests" in body and ("charge" in body or all("charge" in r for r in body["requests"])):
        return [_read_request(item, body) for item in body["requests"]]
    requests = [_read_attempt(item, call) for item in _list_attempts(decision)]
    _balance(find_answering(requests, decision), requests, call)
    return requests


def find_answering(
    requests: Sequence[CallRequest], decision: Mapping[str, Any] | None
) -> CallRequest | None:
    """Return the request whose answer was taken, else the last; None if there is none.

    A second copy may have been answered as well, in the same moment.
    """
    target = _find_target(decision)
    answered = [request for request in requests if request.outcome == "ok"]
    taken = [request for request in answered if request.target == target]
    return (taken or answered or requests or [None])[-1]


def _find_target(decision: Mapping[str, Any] | None) -> str:
    """Return the target that answered, inside of all policies; "" if none did."""
    target = ""
    while decision:
        target = str(decision["answered_by"])
        taken: list[Mapping[str, Any]] = [
            attempt
            for attempt in decision["attempts"]
            if attempt["outcome"] == "ok" and attempt["target"] == target
        ]
        decision = cast("Mapping[str, Any] | None", taken[-1].get("inner")) if taken else None
    return target


def _read_request(item: Mapping[str, Any], body: Mapping[str, Any]) -> CallRequest:
    charge: Mapping[str, Any] = item.get("charge") or body["charge"]
    outcome = str(item["outcome"])
    response: Mapping[str, Any] = body.get("response") or {}
    source = str(response.get("usd_source", "")) if outcome == "ok" else ""
    return CallRequest(
        target=str(item.get("target", "")),
        model=str(item["model"]),
        began=float(item["began"]),
        seconds=float(item["seconds"]),
        outcome=outcome,
        message=str(item.get("message", "")),
        first_token=item.get("first_token"),
        is_hedge=bool(item.get("is_hedge", False)),
        usd=float(charge["usd"]),
        usd_source="none" if charge["unpriced"] else source,
        sent=int(charge["requests"]),
        unpriced=int(charge["unpriced"]),
        input_tokens=int(charge["input_tokens"]),
        output_tokens=int(charge["output_tokens"]),
        booked_usd=float(charge["booked_usd"]),
        booked_tokens=int(charge["booked_tokens"]),
    )


def _list_attempts(decision: Mapping[str, Any] | None) -> Iterable[Mapping[str, Any]]:
    """Yield the attempts of a decision; a policy within a policy is replaced by its attempts."""
    for attempt in decision["attempts"] if decision else ():
        if attempt.get("inner"):
            yield from _list_attempts(attempt["inner"])
        else:
            yield attempt


def _read_attempt(attempt: Mapping[str, Any], call: Span) -> CallRequest:
    usd, target = float(attempt["usd"] or 0.0), str(attempt["target"])
    input_tokens = int(attempt["input_tokens"] or 0)
    output_tokens = int(attempt["output_tokens"] or 0)
    return CallRequest(
        target=target,
        model=target,
        began=call.began,
        seconds=float(attempt["seconds"]),
        outcome=str(attempt["outcome"]),
        message=str(attempt["error"]),
        first_token=attempt["first_token_seconds"],
        is_hedge=bool(attempt["is_hedge"]),
        usd=usd,
        usd_source=str(attempt["usd_source"]),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        booked_usd=usd,
        booked_tokens=input_tokens + output_tokens,
    )


def _balance(answering: CallRequest | None, requests: Sequence[CallRequest], call: Span) -> None:
    """Put down to one request what the call was charged beyond what is known of them."""
    if answering is None:
        return
    for name in _SUMS:
        known = sum(getattr(request, name) for request in requests)
        rest = getattr(call, name) - known
        if rest > 0:
            setattr(answering, name, getattr(answering, name) + rest)
