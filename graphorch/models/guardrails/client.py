"""Guardrails: what must not get to a model or come back from it is found, and blocked, masked, replaced or reported.

    GuardedClient(client, Guard(secrets(), "block"), Guard(personal_data(), "pseudonymise"))

Rules of this file: what was found is never shown, in no error, note or finding; where guards find the same, the strictest action counts;
a stream is judged like the whole answer, and nothing is let go before it has been.

Put it around a cache and inside of a retry: then nothing is stored that was to be masked, and an answer that starts over is judged from
its beginning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast, get_args

from graphorch.errors import InputError, ModelError, did_you_mean
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.errors import AnswerError
from graphorch.models.guardrails.detector import (
    Detector,
    DetectorSet,
    Match,
    RegexDetector,
    merge_matches,
    replace_matches,
)
from graphorch.models.guardrails.pii import PERSONAL
from graphorch.models.guardrails.placeholders import Placeholders
from graphorch.models.guardrails.secrets import SECRETS, find_open_key
from graphorch.models.guardrails.stream import StreamScanner
from graphorch.models.messages import Finding, Request, Response, ToolCall, Usage

__all__ = [
    "Action",
    "Detector",
    "Finding",
    "Guard",
    "GuardedClient",
    "GuardrailBlocked",
    "Match",
    "Where",
    "personal_data",
    "secrets",
]

Action: TypeAlias = Literal["block", "mask", "pseudonymise", "flag"]
Where: TypeAlias = Literal["input", "output", "both"]
_STRICTEST_FIRST: tuple[Action, ...] = get_args(Action)
_KINDS = (*SECRETS, *PERSONAL)  # the surer kinds have the lower rank, where finds overlap
_RANKS = {
    kind: rank
    for rank, kind in enumerate(
        (*(text for text in _KINDS if text != "high_entropy"), "high_entropy")
    )
}


def personal_data(*kinds: str) -> Detector:
    """Finds personal data: of these kinds, or of all.

    Kinds: card, iban, fr_nir, us_ssn, it_cf, es_dni, uk_nino, de_tax_id, email, phone. Raises `InputError` for another one.
    """
    return _chosen("personal_data", PERSONAL, kinds)


def secrets(*kinds: str) -> Detector:
    """Finds secrets: of these kinds, or of all.

    Kinds: private_key, jwt, api_key, auth_token, password, high_entropy. Raises `InputError` for another one.
    """
    return _chosen("secrets", SECRETS, kinds)


def _chosen(
    function: str, finders: dict[str, tuple[RegexDetector, ...]], kinds: tuple[str, ...]
) -> DetectorSet:
    for kind in kinds:
        if kind not in finders:
            raise InputError(
                f"{function}({kind!r}): there is no such kind. {did_you_mean(kind, finders)}"
            )
    return DetectorSet(tuple(finder for kind in kinds or finders for finder in finders[kind]))


@dataclass(frozen=True, slots=True)
class Guard:
    """What is done about what a check finds.

    `block`: the call is not made, or its answer withheld. `mask`: `[EMAIL REDACTED]` takes its place. `pseudonymise`: the model sees
    `<EMAIL_1>` and the answer gets the value back; what the model itself comes up with passes and is reported. `flag`: it passes and
    is reported. A check of your own may hold up a stream until the answer is complete, because only then can it judge.

    Raises `InputError` for an action or a direction that does not exist.
    """

    detector: Detector
    action: Action = "mask"
    where: Where = "both"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("action", self.action, get_args(Action)),
            ("where", self.where, get_args(Where)),
        ):
            if value not in known:
                raise InputError(
                    f"Guard({name}={value!r}): there is no such {name}. {did_you_mean(str(value), known)}"
                )


class GuardrailBlocked(ModelError):
    """A guardrail stopped a call: `where` it found something, and what `kinds`. `usage` is what a withheld answer cost, if any."""

    def __init__(
        self, findings: tuple[Finding, ...], *, model: str, usage: Usage | None = None
    ) -> None:
        blocked = tuple(finding for finding in findings if finding.action == "block")
        self.findings = findings
        self.kinds = tuple(finding.kind for finding in blocked)
        self.where = blocked[0].where
        self.usage = usage
        held = ", ".join(f"{finding.count} × {finding.kind}" for finding in blocked)
        what = {
            "input": f"the prompt was not sent, because it holds {held}. Take it out of the prompt",
            "output": f"the answer was withheld, because it holds {held}. Ask for an answer without it",
        }[self.where]
        super().__init__(
            f"Model '{model}': {what}, or give the guard another action (mask, pseudonymise, flag).",
            model=model,
        )


class _Judge:
    """All guards of one direction: finds, acts and counts. Mutable: it counts the findings of one call."""

    def __init__(
        self, guards: Iterable[Guard], where: Literal["input", "output"], placeholders: Placeholders
    ) -> None:
        self._guards = [guard for guard in guards if guard.where in (where, "both")]
        self._where: Literal["input", "output"] = where
        self._placeholders = placeholders
        self._counts: Counter[tuple[str, Action]] = Counter()

    @property
    def can_stream(self) -> bool:
        """Whether everything that is looked for is found within a bounded distance."""
        return all(isinstance(guard.detector, DetectorSet) for guard in self._guards)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far."""
        return tuple(
            Finding(kind=kind, where=self._where, action=action, count=count)
            for (kind, action), count in self._counts.items()
        )

    @property
    def is_blocked(self) -> bool:
        return any(action == "block" for _, action in self._counts)

    def find(self, text: str) -> Iterator[Match]:
        """What the guards find. Kind and action travel together, as `action kind`."""
        for guard in self._guards:
            for span in guard.detector.find(text):
                start, end = max(0, span.start), min(len(text), span.end)
                if start < end:
                    yield Match(f"{guard.action} {span.kind}", start, end)

    def act(self, text: str, spans: list[Match]) -> str:
        """The text after every action but `block`, which the caller looks for."""
        for span in spans:
            action, kind = _parts(span)
            self._counts[kind, action] += 1

        def stand_in(span: Match) -> str:
            action, kind = _parts(span)
            value = text[span.start : span.end]
            if action in ("block", "mask"):
                return f"[{kind.upper()} REDACTED]"
            return (
                self._placeholders.assign(kind, value)
                if action == "pseudonymise" and self._where == "input"
                else value
            )

        return replace_matches(text, spans, stand_in)

    def cleaned(self, text: str) -> str:
        """The text after every action."""
        return self.act(text, _united(self.find(text)))


def _united(spans: Iterable[Match]) -> list[Match]:
    return merge_matches(spans, _rank)


def _rank(span: Match) -> tuple[int, int]:
    action, kind = _parts(span)
    return _STRICTEST_FIRST.index(action), _RANKS.get(kind, len(_RANKS))


def _parts(span: Match) -> tuple[Action, str]:
    action, _, kind = span.kind.partition(" ")
    return cast("Action", action), kind


class GuardedClient:
    """A `ModelClient` behind guards. The response's `findings` say what they found, and never the value."""

    def __init__(self, client: ModelClient, *guards: Guard) -> None:
        self._client = client
        self._guards = guards

    def __repr__(self) -> str:
        return f"GuardedClient({self._client!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """The answer of the client within to the guarded request, guarded itself.

        A stream comes a little later than it would, and JSON of a schema in one piece at the end. Raises `GuardrailBlocked`, which is
        not retryable, and what the client within raises.
        """
        placeholders = Placeholders(
            text
            for message in request.messages
            for text in (message.content, *(call.arguments for call in message.tool_calls))
        )
        incoming = _Judge(self._guards, "input", placeholders)
        messages = tuple(
            replace(
                message,
                content=incoming.cleaned(message.content),
                tool_calls=_calls(message.tool_calls, incoming.cleaned),
            )
            for message in request.messages
        )
        if incoming.is_blocked:
            raise GuardrailBlocked(incoming.findings, model=request.model)
        shown = on_text and _Shown(
            _Judge(self._guards, "output", placeholders), placeholders, on_text
        )
        can_stream = shown is not None and request.schema is None and shown.can_stream
        try:
            answer = await self._client.complete(
                replace(request, messages=messages), shown.feed if shown and can_stream else None
            )
        except ModelError as error:
            self._clean(error, placeholders)
            raise
        guarded = self._guarded(request, answer, incoming.findings, placeholders)
        if shown and can_stream:
            shown.finish()
        elif on_text is not None:
            on_text(guarded.text)
        return guarded

    async def aclose(self) -> None:
        """Close the client within."""
        await close(self._client)

    def _guarded(
        self,
        request: Request,
        answer: Response,
        found: tuple[Finding, ...],
        placeholders: Placeholders,
    ) -> Response:
        is_json = request.schema is not None
        outgoing = _Judge(self._guards, "output", placeholders)
        text = outgoing.cleaned(_without_escapes(answer.text) if is_json else answer.text)
        calls = _calls(
            answer.tool_calls,
            lambda said: placeholders.restore(
                outgoing.cleaned(_without_escapes(said)), as_json=True
            ),
        )
        findings = (*answer.findings, *found, *outgoing.findings)
        if outgoing.is_blocked:
            raise GuardrailBlocked(outgoing.findings, model=request.model, usage=answer.usage)
        return replace(
            answer,
            text=placeholders.restore(text, as_json=is_json),
            findings=findings,
            tool_calls=calls,
        )

    def _clean(self, error: ModelError, placeholders: Placeholders) -> None:
        """An error may quote what the model said."""
        outgoing = _Judge(self._guards, "output", placeholders)
        error.args = tuple(
            outgoing.cleaned(arg) if isinstance(arg, str) else arg for arg in error.args
        )
        if isinstance(error, AnswerError):
            error.partial = placeholders.restore(outgoing.cleaned(error.partial))


def _calls(calls: tuple[ToolCall, ...], cleaned: Callable[[str], str]) -> tuple[ToolCall, ...]:
    """Tool calls with cleaned arguments."""
    return tuple(replace(call, arguments=cleaned(call.arguments)) for call in calls)


class _Shown:
    """The stream as it is shown: guarded, and with the values back in place of their stand-ins. Mutable."""

    def __init__(self, judge: _Judge, placeholders: Placeholders, on_text: OnText) -> None:
        self._judge = judge
        self._placeholders = placeholders
        self._on_text = on_text
        self._tail = ""
        self._scanner = StreamScanner(judge.find, _united, find_open_key, self._let_go)

    @property
    def can_stream(self) -> bool:
        return self._judge.can_stream

    @property
    def feed(self) -> Callable[[str], None]:
        return self._scanner.feed

    def finish(self) -> None:
        """The rest."""
        self._scanner.finish()
        self._show(self._tail)

    def _let_go(self, text: str, spans: list[Match]) -> None:
        acted = self._judge.act(text, spans)
        # the whole answer will be withheld, so nothing more of it is shown
        if self._judge.is_blocked:
            return
        ready = self._tail + acted
        held = self._placeholders.hold_back(ready)
        self._tail = ready[len(ready) - held :]
        self._show(ready[: len(ready) - held])

    def _show(self, text: str) -> None:
        if text:
            self._on_text(self._placeholders.restore(text))


_ESCAPE = re.compile(r"\\(?:u00([2-7][0-9A-Fa-f])|(/)|.)", re.DOTALL)


def _without_escapes(text: str) -> str:
    """JSON in which plain characters are written plainly: `foo\\u0040bar.com` would not be found, and means the same."""

    def plain(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16)) if match[1] else match[2]
        return match[0] if character is None or character in '"\\' else character

    return _ESCAPE.sub(plain, text)
