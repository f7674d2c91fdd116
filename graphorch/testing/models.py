"""Models for tests: one that plays a script and takes no other call, and one that fails now and then.

    with ScriptedModel(when("Write", "A first draft."), when("Judge", Verdict(score=9))) as model:
        result = flow.run_sync(Topic(topic="tides"), client=model)

What a script holds is text, an instance of the output that is asked for, a whole `Response`, an exception to raise, or a function of the
request that returns one of these. Plain answers are given in order; where branches ask at the same time the order is chance, so use `when`.
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
from graphorch.models.structured_output import text_field

Answer: TypeAlias = "str | BaseModel | Response | Exception | Callable[[Request], Answer]"

_SHOWN = 200  # characters of a prompt that a message shows


class ScriptMismatch(AssertionError):
    """A model was asked something that its script does not hold, or was not asked all that it holds."""


@dataclass(slots=True)
class When:
    """Answers for the calls that match; made by `when`."""

    text: str | re.Pattern[str]
    node: str
    answers: list[Answer] = field(default_factory=list[Answer])
    repeats: bool = False

    def matches(self, request: Request) -> bool:
        """Whether this is the call, and there is an answer left."""
        if not self.answers:
            return False
        if self.node and self.node not in (
            request.metadata.get("path"),
            request.metadata.get("node"),
        ):
            return False
        said = _said(request)
        return (
            self.text in said if isinstance(self.text, str) else self.text.search(said) is not None
        )

    def __str__(self) -> str:
        text = self.text if isinstance(self.text, str) else self.text.pattern
        return " ".join(
            [
                *([f"node '{self.node}'"] if self.node else []),
                *([f"{text!r}"] if text or not self.node else []),
            ]
        )


def when(
    text: str | re.Pattern[str] = "", *answers: Answer, node: str = "", repeats: bool = False
) -> When:
    """Answers for the calls whose messages hold a text, or in which a pattern is found, or that a node makes (by its name or path).

    Each answer is given once, in order; with `repeats` the last one is given again and again, and need not be given at all.
    """
    return When(text, node, list(answers), repeats)


class ScriptedModel:
    """A model client that plays a script. `requests` holds what it was asked.

    A call that is not in the script raises `ScriptMismatch`, and so does leaving the `with` block (or `check`) while something in it was not
    asked for, or if a call was refused that the flow survived.
    """

    def __init__(self, *script: Answer | When) -> None:
        self.requests: list[Request] = []
        self._rules = [answer for answer in script if isinstance(answer, When)]
        self._answers = [answer for answer in script if not isinstance(answer, When)]
        self._refused: list[str] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """The next answer that fits. Raises `ScriptMismatch` if there is none, and the exception that the script holds."""
        self.requests.append(request)
        response = _response(self._next(request), request)
        if on_text is not None and response.text:
            on_text(response.text)
        return response

    def check(self) -> None:
        """Raise `ScriptMismatch` unless all of the script was played, and nothing else was asked."""
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
                f"The model was asked {len(self.requests)} times, and the script still holds answers: {', '.join(left)}."
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
                return (
                    rule.answers[0]
                    if rule.repeats and len(rule.answers) == 1
                    else rule.answers.pop(0)
                )
        if self._answers:
            return self._answers.pop(0)
        where = request.metadata.get("path", "nowhere")
        told = f"Call {len(self.requests)}, of '{where}', is not in the script: {_said(request)[:_SHOWN]!r}."
        known = ", ".join(str(rule) for rule in self._rules)
        self._refused.append(
            f"{told} {f'It knows {known}' if known else 'It has no answer left'}; add one for this call."
        )
        raise ScriptMismatch(self._refused[-1])


class FlakyModel:
    """A client in front of another one that fails now and then, the same calls for the same seed, in whatever order they come.

    `chance` is the share of calls that fail, from 0 to 1; `nth` names calls by their number, from 1. A failure is retryable.

        flow.run_sync(Topic(topic="tides"), client=FlakyModel(ScriptedModel(...), chance=0.3, seed=7))
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
        self._asked: Counter[str] = Counter()

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """What the client answers. Raises `ModelError` now and then."""
        self.calls += 1
        said = f"{request.model} {request.metadata.get('path')} {_said(request)}"
        self._asked[said] += 1
        drawn = (
            crc32(f"{self._seed} {self._asked[said]} {said}".encode("utf-8", "surrogatepass"))
            / 2**32
        )
        if self.calls in self._nth or drawn < self._chance:
            self.failed += 1
            raise ModelError(
                f"call {self.calls} was made to fail",
                model=request.model,
                retryable=True,
                status=503,
            )
        return await self._client.complete(request, on_text)


def _said(request: Request) -> str:
    return "\n".join(message.content for message in request.messages)


def _response(answer: Answer, request: Request) -> Response:
    while callable(answer):
        answer = answer(request)
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, Response):
        return answer
    text = answer if isinstance(answer, str) else _text_of(answer, request)
    return Response(
        text, request.model, estimate_usage(request, text), 0.0, "free", "stop", 1, 0.0, None
    )


def _text_of(answer: BaseModel, request: Request) -> str:
    """As a model would write it: JSON, or the bare text where no more than that was asked for."""
    name = text_field(type(answer)) if request.schema is None else None
    return str(getattr(answer, name)) if name is not None else answer.model_dump_json()
