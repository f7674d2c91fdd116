"""Guarded model calls: personal data and secrets are blocked, masked, replaced or reported.

    GuardedClient(client, Guard(secrets(), "block"), Guard(personal_data(), "pseudonymise"))

Rules of this file:
1. A value that was found is never shown: not in an error, a note or a finding.
2. Where matches of several guards overlap, the strictest action counts.
3. A stream is judged like the whole answer, and no piece is let go before it has been.

Put the guard around a cache and inside of a retry: then the cache stores nothing that was to be
masked, and an answer that starts over is judged from its beginning.
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
from graphorch.models.guardrails.private_keys import find_open_key
from graphorch.models.guardrails.secrets import SECRETS
from graphorch.models.guardrails.stream import StreamScanner
from graphorch.models.messages import Finding, Message, Request, Response, ToolCall, Usage

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
Direction: TypeAlias = Literal["input", "output"]
Where: TypeAlias = Literal["input", "output", "both"]

_STRICTEST_FIRST: tuple[Action, ...] = get_args(Action)
# Where matches overlap, the surer kind names the whole; random looks are the least sure.
_SUREST_FIRST = (
    *(kind for kind in (*SECRETS, *PERSONAL) if kind != "high_entropy"),
    "high_entropy",
)
_RANKS = {kind: rank for rank, kind in enumerate(_SUREST_FIRST)}


def personal_data(*kinds: str) -> Detector:
    """Return a detector of personal data: of these kinds, or of all.

    Kinds: card, iban, fr_nir, us_ssn, it_cf, es_dni, uk_nino, de_tax_id, email, phone. Raises
    `InputError` for another one.
    """
    return _select_detectors("personal_data", PERSONAL, kinds)


def secrets(*kinds: str) -> Detector:
    """Return a detector of secrets: of these kinds, or of all.

    Kinds: private_key, jwt, api_key, auth_token, password, high_entropy. Raises `InputError` for
    another one.
    """
    return _select_detectors("secrets", SECRETS, kinds)


def _select_detectors(
    function: str, by_kind: dict[str, tuple[RegexDetector, ...]], kinds: tuple[str, ...]
) -> DetectorSet:
    for kind in kinds:
        if kind not in by_kind:
            hint = did_you_mean(kind, by_kind)
            raise InputError(f"{function}({kind!r}): there is no such kind. {hint}")
    selected = [detector for kind in kinds or by_kind for detector in by_kind[kind]]
    return DetectorSet(tuple(selected))


@dataclass(frozen=True, slots=True)
class Guard:
    """A detector, and the action on what it finds.

    `block`: the call is not made, or its answer withheld. `mask`: `[EMAIL REDACTED]` takes the
    place of the value. `pseudonymise`: the model sees `<EMAIL_1>` and the answer gets the value
    back; a value that the model itself comes up with passes and is reported. `flag`: it passes and
    is reported.

    A detector of your own may hold up a stream until the answer is complete, because only then can
    it judge. Raises `InputError` for an action or a direction that does not exist.
    """

    detector: Detector
    action: Action = "mask"
    where: Where = "both"

    def __post_init__(self) -> None:
        _check_option("action", self.action, get_args(Action))
        _check_option("where", self.where, get_args(Where))


def _check_option(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        hint = did_you_mean(str(value), known)
        raise InputError(f"Guard({name}={value!r}): there is no such {name}. {hint}")


class GuardrailBlocked(ModelError):
    """A guardrail stopped a call.

    `where` is the direction, `kinds` are the kinds that it blocked, `usage` is the cost of a
    withheld answer, if any.
    """

    def __init__(
        self, findings: tuple[Finding, ...], *, model: str, usage: Usage | None = None
    ) -> None:
        blocked = tuple(finding for finding in findings if finding.action == "block")
        self.findings = findings
        self.kinds = tuple(finding.kind for finding in blocked)
        self.where = blocked[0].where
        self.usage = usage
        held = ", ".join(f"{finding.count} × {finding.kind}" for finding in blocked)
        outcome = f"the answer was withheld, because it holds {held}. Ask for an answer without it"
        if self.where == "input":
            outcome = f"the prompt was not sent, because it holds {held}. Take it out of the prompt"
        super().__init__(
            f"Model '{model}': {outcome}, or give the guard another action "
            "(mask, pseudonymise, flag).",
            model=model,
        )


class _Filter:
    """All guards of one direction, over the texts of one call. Mutable: it counts findings."""

    def __init__(
        self, guards: Iterable[Guard], where: Direction, placeholders: Placeholders
    ) -> None:
        self._guards = [guard for guard in guards if guard.where in (where, "both")]
        self._where: Direction = where
        self._placeholders = placeholders
        self._counts: Counter[tuple[str, Action]] = Counter()

    @property
    def can_stream(self) -> bool:
        """Return whether all detectors keep the rules of `detector.py`, which streams rely on."""
        return all(isinstance(guard.detector, DetectorSet) for guard in self._guards)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings so far, without their values."""
        return tuple(
            Finding(kind=kind, where=self._where, action=action, count=count)
            for (kind, action), count in self._counts.items()
        )

    @property
    def is_blocked(self) -> bool:
        return any(action == "block" for _, action in self._counts)

    def find(self, text: str) -> Iterator[Match]:
        """Yield the matches of the guards. Their kind is `action kind`: the two go together."""
        for guard in self._guards:
            for match in guard.detector.find(text):
                # A detector of the user's own may point outside of the text.
                start, end = max(0, match.start), min(len(text), match.end)
                if start < end:
                    yield Match(f"{guard.action} {match.kind}", start, end)

    def apply(self, text: str, matches: list[Match]) -> str:
        """Return the text after every action but `block`, which the caller has to look for."""
        for match in matches:
            action, kind = _split_kind(match)
            self._counts[kind, action] += 1
        return replace_matches(text, matches, lambda match: self._replace(text, match))

    def clean(self, text: str) -> str:
        """Return the text after every action."""
        return self.apply(text, _merge(self.find(text)))

    def _replace(self, text: str, match: Match) -> str:
        action, kind = _split_kind(match)
        value = text[match.start : match.end]
        if action in ("block", "mask"):
            return f"[{kind.upper()} REDACTED]"
        if action == "pseudonymise" and self._where == "input":
            return self._placeholders.assign(kind, value)
        return value


def _merge(matches: Iterable[Match]) -> list[Match]:
    return merge_matches(matches, _rank)


def _rank(match: Match) -> tuple[int, int]:
    action, kind = _split_kind(match)
    return _STRICTEST_FIRST.index(action), _RANKS.get(kind, len(_RANKS))


def _split_kind(match: Match) -> tuple[Action, str]:
    action, _, kind = match.kind.partition(" ")
    return cast("Action", action), kind


class GuardedClient:
    """A `ModelClient` behind guards. The response's `findings` list kinds, never values."""

    def __init__(self, client: ModelClient, *guards: Guard) -> None:
        self._client = client
        self._guards = guards

    @property
    def inner(self) -> ModelClient:
        """The client that this one is around."""
        return self._client

    def __repr__(self) -> str:
        return f"GuardedClient({self._client!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the guarded answer of the inner client to the guarded request.

        A stream comes a little later than it would, and JSON of a schema in one piece at the end.
        Raises `GuardrailBlocked`, which is not retryable, and the errors of the inner client.
        """
        # 1. Guard the request.
        placeholders = Placeholders(_list_texts(request))
        incoming = _Filter(self._guards, "input", placeholders)
        guarded_request = _clean_request(request, incoming)
        if incoming.is_blocked:
            raise GuardrailBlocked(incoming.findings, model=request.model)
        # 2. Stream through the guards, where they can judge a piece before they know the rest.
        stream: _GuardedStream | None = None
        if on_text is not None and request.schema is None:
            outgoing = _Filter(self._guards, "output", placeholders)
            if outgoing.can_stream:
                stream = _GuardedStream(outgoing, placeholders, on_text)
        on_piece = stream.feed if stream is not None else None
        try:
            answer = await self._client.complete(guarded_request, on_piece)
        except ModelError as error:
            self._clean_error(error, placeholders)
            raise
        # 3. Guard the whole answer, which is what counts.
        guarded = self._guard_answer(request, answer, incoming.findings, placeholders)
        if stream is not None:
            stream.finish()
        elif on_text is not None:
            on_text(guarded.text)
        return guarded

    async def aclose(self) -> None:
        """Close the inner client."""
        await close(self._client)

    def _guard_answer(
        self,
        request: Request,
        answer: Response,
        input_findings: tuple[Finding, ...],
        placeholders: Placeholders,
    ) -> Response:
        is_json = request.schema is not None
        outgoing = _Filter(self._guards, "output", placeholders)

        def clean_arguments(arguments: str) -> str:
            cleaned = outgoing.clean(_unescape_plain(arguments))
            return placeholders.restore(cleaned, as_json=True)

        text = outgoing.clean(_unescape_plain(answer.text) if is_json else answer.text)
        calls = _clean_calls(answer.tool_calls, clean_arguments)
        if outgoing.is_blocked:
            raise GuardrailBlocked(outgoing.findings, model=request.model, usage=answer.usage)
        return replace(
            answer,
            text=placeholders.restore(text, as_json=is_json),
            findings=(*answer.findings, *input_findings, *outgoing.findings),
            tool_calls=calls,
        )

    def _clean_error(self, error: ModelError, placeholders: Placeholders) -> None:
        """Guard the texts of an error, which may quote the model."""
        outgoing = _Filter(self._guards, "output", placeholders)
        error.args = tuple(
            outgoing.clean(arg) if isinstance(arg, str) else arg for arg in error.args
        )
        if isinstance(error, AnswerError):
            error.partial = placeholders.restore(outgoing.clean(error.partial))


def _list_texts(request: Request) -> Iterator[str]:
    for message in request.messages:
        yield message.content
        for call in message.tool_calls:
            yield call.arguments


def _clean_request(request: Request, incoming: _Filter) -> Request:
    messages: list[Message] = []
    for message in request.messages:
        content = incoming.clean(message.content)
        calls = _clean_calls(message.tool_calls, incoming.clean)
        messages.append(replace(message, content=content, tool_calls=calls))
    return replace(request, messages=tuple(messages))


def _clean_calls(calls: tuple[ToolCall, ...], clean: Callable[[str], str]) -> tuple[ToolCall, ...]:
    """Return tool calls with cleaned arguments."""
    return tuple(replace(call, arguments=clean(call.arguments)) for call in calls)


class _GuardedStream:
    """Stream of an answer: guarded, with the values back in place of placeholders. Mutable."""

    def __init__(self, outgoing: _Filter, placeholders: Placeholders, on_text: OnText) -> None:
        self._filter = outgoing
        self._placeholders = placeholders
        self._on_text = on_text
        self._tail = ""  # settled text that may begin a placeholder
        self._scanner = StreamScanner(outgoing.find, _merge, find_open_key, self._release)

    def feed(self, piece: str) -> None:
        """Take a piece of the answer, and pass on the text that it settles."""
        self._scanner.feed(piece)

    def finish(self) -> None:
        """Pass on the rest."""
        self._scanner.finish()
        self._send(self._tail)

    def _release(self, text: str, matches: list[Match]) -> None:
        cleaned = self._filter.apply(text, matches)
        # The whole answer will be withheld, so no more of it may be shown.
        if self._filter.is_blocked:
            return
        ready = self._tail + cleaned
        end = len(ready) - self._placeholders.count_unfinished(ready)
        self._tail = ready[end:]
        self._send(ready[:end])

    def _send(self, text: str) -> None:
        if text:
            self._on_text(self._placeholders.restore(text))


# An escape of an ASCII character as `\u00xx`, an escaped slash, or any other escape.
_ESCAPE = re.compile(r"\\(?:u00([2-7][0-9A-Fa-f])|(/)|.)", re.DOTALL)


def _unescape_plain(text: str) -> str:
    """Return JSON of equal meaning in which plain characters are not escaped.

    `foo\\u0040bar.com` means an address, and no detector would find it.
    """

    def unescape(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16)) if match[1] else match[2]
        # A quote and a backslash have to stay escaped.
        if character is None or character in '"\\':
            return match[0]
        return character

    return _ESCAPE.sub(unescape, text)
