"""Models for tests: one that plays a script and refuses other calls, and one that fails at random.

    with ScriptedModel(when("Write", "A first draft."), when("Judge", Verdict(score=9))) as model:
        result = flow.run_sync(Topic(topic="tides"), client=model)

A script holds texts, instances of the requested output, whole `Response`s, exceptions to raise, or
functions of the request that return one of these. Plain answers are given in order; where branches
call at the same time the order is chance, so use `when`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeAlias
from zlib import crc32

from pydantic import BaseModel

from graphorch.errors import ModelError
from graphorch.models.client import ModelClient, OnText
from graphorch.models.messages import Request, Response, estimate_usage
from graphorch.models.structured_output import find_text_field

Answer: TypeAlias = "str | BaseModel | Response | Exception | Callable[[Request], Answer]"

_SHOWN = 200  # characters of a prompt that a message shows


class ScriptMismatch(AssertionError):
    """A model got a call that its script does not hold, or not all calls that it holds."""


@dataclass(slots=True)
class When:
    """Answers for the calls that match; made by `when`."""

    text: str | re.Pattern[str]
    node: str
    answers: list[Answer] = field(default_factory=list[Answer])
    repeats: bool = False

    def matches(self, request: Request) -> bool:
        """Return whether this is the call, and an answer is left."""
        if not self.answers:
            return False
        if self.node and self.node not in (
            request.metadata.get("path"),
            request.metadata.get("node"),
        ):
            return False
        text = _join_messages(request)
        if isinstance(self.text, str):
            return self.text in text
        return self.text.search(text) is not None

    def __str__(self) -> str:
        text = self.text if isinstance(self.text, str) else self.text.pattern
        parts = [f"node '{self.node}'"] if self.node else []
        if text or not self.node:
            parts.append(repr(text))
        return " ".join(parts)


def when(
    text: str | re.Pattern[str] = "", *answers: Answer, node: str = "", repeats: bool = False
) -> When:
    """Return answers for the calls whose messages hold a text, or in which a pattern is found.

    `node` (a name or path) picks the calls of one node. The answers are given in turn; the last one
    again and again if it `repeats`.
    """
    return When(text, node, list(answers), repeats)


class ScriptedModel:
    """A model client that plays a script; `requests` holds the calls that it got.

    A call that is not in the script raises `ScriptMismatch`. So does the end of the `with` block
    (or `check`) if an answer was not used, or if the flow survived a call that was refused.
    """

    def __init__(self, *script: Answer | When) -> None:
        self.requests: list[Request] = []
        self._rules = [answer for answer in script if isinstance(answer, When)]
        self._answers = [answer for answer in script if not isinstance(answer, When)]
        self._refused: list[str] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the next answer that fits.

        Raises `ScriptMismatch` if there is none, and the exceptions of the script.
        """
        self.requests.append(request)
        response = _build_response(self._next(request), request)
        if on_text is not None and response.text:
            on_text(response.text)
        return response

    def check(self) -> None:
        """Raise `ScriptMismatch` unless the calls were those of the script."""
        left = [
            f"{len(rule.answers)} for {rule}"
            for rule in self._rules
            if rule.answers and not rule.repeats
        ]
        left += [f"{len(self._answers)} in order"] if self._answers else []
        if self._refused:
            raise ScriptMismatch(self._refused[0])
        if left:
            raise ScriptMismatch(
                f"The model was asked {len(self.requests)} times, and the script still holds "
                f"answers: {', '.join(left)}."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.check()

    def _next(self, request: Request) -> Answer:
        for rule in self._rules:
            if rule.matches(request):
                is_last = rule.repeats and len(rule.answers) == 1
                return rule.answers[0] if is_last else rule.answers.pop(0)
        if self._answers:
            return self._answers.pop(0)
        where = request.metadata.get("path", "nowhere")
        text = _join_messages(request)[:_SHOWN]
        known = ", ".join(str(rule) for rule in self._rules)
        hint = f"It knows {known}" if known else "It has no answer left"
        self._refused.append(
            f"Call {len(self.requests)}, of '{where}', is not in the script: {text!r}. "
            f"{hint}; add one for this call."
        )
        raise ScriptMismatch(self._refused[-1])


class FlakyModel:
    """A client around another one that fails at random: equal calls for equal seeds, in any order.

    `chance` is the share of calls that fail, from 0 to 1; `nth` names calls by their number, from
    1. A failure is retryable.

        model = FlakyModel(ScriptedModel(...), chance=0.3, seed=7)
        flow.run_sync(Topic(topic="tides"), client=model)
    """

    def __init__(
        self, client: ModelClient, *, chance: float = 0.0, nth: Collection[int] = (), seed: int = 0
    ) -> None:
        self.calls = 0
        self.failed = 0
        self._client = client
        self._chance = chance
        self._nth = frozenset(nth)
        self._seed = seed
        self._repeats: Counter[str] = Counter()

    @property
    def inner(self) -> ModelClient:
        """The client that this one is around."""
        return self._client

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the answer of the client, or raise `ModelError`."""
        self.calls += 1
        call = f"{request.model} {request.metadata.get('path')} {_join_messages(request)}"
        self._repeats[call] += 1
        key = f"{self._seed} {self._repeats[call]} {call}"
        drawn = crc32(key.encode("utf-8", "surrogatepass")) / 2**32
        if self.calls in self._nth or drawn < self._chance:
            self.failed += 1
            raise ModelError(
                f"call {self.calls} was made to fail",
                model=request.model,
                retryable=True,
                status=503,
            )
        return await self._client.complete(request, on_text)


def _join_messages(request: Request) -> str:
    return "\n".join(message.content for message in request.messages)


def _build_response(answer: Answer, request: Request) -> Response:
    while callable(answer):
        answer = answer(request)
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, Response):
        return answer
    text = answer if isinstance(answer, str) else _write(answer, request)
    return Response(
        text, request.model, estimate_usage(request, text), 0.0, "free", "stop", 1, 0.0, None
    )


def _write(answer: BaseModel, request: Request) -> str:
    """Return an answer as a model would write it: JSON, or bare text where that was requested."""
    name = find_text_field(type(answer)) if request.schema is None else None
    return str(getattr(answer, name)) if name is not None else answer.model_dump_json()
