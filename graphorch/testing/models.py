"""Models for tests: one that plays a script and refuses other calls, and one that fails at random.

    with ScriptedModel(when("Write", "A first draft."), when("Judge", Verdict(score=9))) as model:
        result = flow.run_sync(Topic(topic="tides"), client=model)

A script holds texts, instances of the requested output, whole `Response`s, exceptions to raise, or
functions of the request that return one of these. Plain answers are given in order; where branches
call at the same time the order is chance, so use `when`.

A round of tools is a `call`, or a list of calls that the model asks for at once; a function of the
request sees in `tool_results(request)` what they returned:

    ScriptedModel(
        [call("look_up", {"word": "tide"}), call("look_up", {"word": "ebb"})],
        lambda request: "Both are known." if all(tool_results(request)) else call("give_up"),
    )

A `RecordedRun` in a script answers as the models of that run did.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast
from zlib import crc32

from pydantic import BaseModel

from graphorch.errors import InputError, ModelError, did_you_mean
from graphorch.models.client import ModelClient, OnText
from graphorch.models.messages import Request, Response, ToolCall, estimate_usage
from graphorch.models.structured_output import find_text_field
from graphorch.testing.recorded_calls import Playback
from graphorch.testing.recorded_run import RecordedExchange, RecordedRun

if TYPE_CHECKING:
    from graphorch.runs.stores import Durable

Value: TypeAlias = str | BaseModel | Response | Exception | ToolCall | Sequence[ToolCall]
Answer: TypeAlias = "Value | Callable[[Request], Answer]"

_SHOWN = 200  # characters of a prompt that a message shows
_WAIT = 10.0  # seconds for which a call waits that a recorded run did not wait for
_ANEW = "If the change is meant, record the run anew."
_KINDS = (
    "a text, an instance of the output, call(…) or a list of calls, a Response, an exception, or "
    "a function of the request"
)


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


def call(
    name: str, arguments: Mapping[str, Any] | str | None = None, /, *, id: str = ""
) -> ToolCall:
    """Return an answer of a model that asks for a tool.

    `arguments` are written as JSON; a text goes out as it is, as of a model that cannot write JSON.
    Without an `id` the call gets one of its place in the conversation: `call_2_0` is the first of
    the second round. Raises `InputError` for arguments that JSON cannot express.
    """
    try:
        written = (
            arguments
            if isinstance(arguments, str)
            else json.dumps(dict(arguments or {}), allow_nan=False)
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"call({name!r}): its arguments are no JSON object: {error}. Give a dict of plain "
            "values, or a text to be sent as it is."
        ) from None
    return ToolCall(id=id, name=name, arguments=written)


def tool_results(request: Request) -> tuple[str, ...]:
    """Return what the tools of the last round gave back, in the order of the calls."""
    results: list[str] = []
    for message in reversed(request.messages):
        if message.role != "tool":
            break
        results.append(message.content)
    return tuple(reversed(results))


class ScriptedModel:
    """A model client that plays a script; `requests` holds the calls that it got.

    A call that is not in the script raises `ScriptMismatch`, and so does one for a tool that is not
    offered, unless it stands in a whole `Response`. The end of the `with` block (or `check`) raises
    it too if an answer was not used, or if the flow survived a call that was refused.

    Raises `InputError` for a script that holds something else.
    """

    def __init__(self, *script: Answer | When | RecordedRun) -> None:
        self.requests: list[Request] = []
        self._rules: list[When] = []
        self._recorded: list[Playback] = []
        self._answers: list[tuple[str, Answer]] = []
        self._refused: list[str] = []
        for number, entry in enumerate(script, start=1):
            self._add(f"step {number} of the script", entry)

    @classmethod
    async def from_run(cls, run_id: str, *, durable: Durable = True) -> Self:
        """Return a model that answers each request as the models of a stored run did.

        `RecordedRun` puts the same into a file. Raises what `RecordedRun.read` does.
        """
        return cls(await RecordedRun.read(run_id, durable=durable))

    def _add(self, step: str, entry: Answer | When | RecordedRun) -> None:
        if isinstance(entry, RecordedRun):
            self._recorded.append(Playback(entry))
            return
        if not isinstance(entry, When):
            _check_answer(step, entry)
            self._answers.append((step, entry))
            return
        for number, answer in enumerate(entry.answers, start=1):
            _check_answer(f"answer {number} for {entry}", answer)
        self._rules.append(entry)

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the next answer that fits.

        Raises `ScriptMismatch` if there is none, and the exceptions of the script.
        """
        self.requests.append(request)
        where = f"Call {len(self.requests)}, of '{request.metadata.get('path', 'nowhere')}',"
        step, answer = self._next(request)
        if answer is None:
            reason = self._explain_unknown(request)
            if any(playback.leaves_open(request) for playback in self._recorded):
                await asyncio.sleep(_WAIT)
            raise self._refuse(f"{where} {reason}")
        if isinstance(answer, RecordedExchange):
            response = await self._play(where, answer)
        else:
            response = self._build_response(where, step, answer, request)
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
        for playback in self._recorded:
            if paths := playback.list_left():
                left.append(f"{len(paths)} of the {playback}, the first for '{paths[0]}'")
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

    def _next(self, request: Request) -> tuple[str, Answer | RecordedExchange | None]:
        """Return the next answer, None if there is none, and the name of its step."""
        for rule in self._rules:
            if rule.matches(request):
                step = f"an answer for {rule}"
                is_last = rule.repeats and len(rule.answers) == 1
                return step, rule.answers[0] if is_last else rule.answers.pop(0)
        for playback in self._recorded:
            if (exchange := playback.take(request)) is not None:
                return str(playback), exchange
        return self._answers.pop(0) if self._answers else ("", None)

    def _explain_unknown(self, request: Request) -> str:
        """Return why there is no answer to a request."""
        if self._recorded:
            return f"{self._recorded[0].explain(request)}. {_ANEW}"
        text = _join_messages(request)[:_SHOWN]
        known = ", ".join(str(rule) for rule in self._rules)
        hint = f"It knows {known}" if known else "It has no answer left"
        return f"is not in the script: {text!r}. {hint}; add one for this call."

    def _refuse(self, reason: str) -> ScriptMismatch:
        self._refused.append(reason)
        return ScriptMismatch(reason)

    async def _play(self, where: str, exchange: RecordedExchange) -> Response:
        """Return a recorded answer, or end as the recorded call did."""
        if exchange.is_cancelled:
            await asyncio.sleep(_WAIT)
            raise self._refuse(
                f"{where} was cancelled in the recorded run, and nothing cancelled it here within "
                f"{_WAIT:g} s. {_ANEW}"
            )
        if exchange.failure is not None:
            raise exchange.failure.build()
        assert exchange.response is not None
        return exchange.response

    def _build_response(self, where: str, step: str, answer: Answer, request: Request) -> Response:
        while not isinstance(answer, _VALUES):
            answer = cast("Callable[[Request], Answer]", answer)(request)
            if problem := _find_problem(answer):
                raise self._refuse(f"The function in {step} returned {problem}. It is {_KINDS}.")
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, str | BaseModel):
            text = answer if isinstance(answer, str) else _write(answer, request)
            return _make_response(request, text)
        calls = (answer,) if isinstance(answer, ToolCall) else cast("Sequence[ToolCall]", answer)
        self._check_tools(where, step, calls, request)
        return _make_response(request, "", _number_calls(calls, request))

    def _check_tools(
        self, where: str, step: str, calls: Sequence[ToolCall], request: Request
    ) -> None:
        offered = [tool.name for tool in request.tools]
        for called in calls:
            if called.name not in offered:
                raise self._refuse(
                    f"{where} is answered by {step} with a call of the tool '{called.name}', which "
                    f"is not offered. {did_you_mean(called.name, offered)} To play a model that "
                    "asks for a tool that is not there, give a whole Response."
                )


_VALUES = (str, BaseModel, Response, Exception, ToolCall, list, tuple)


def _check_answer(step: str, answer: object) -> None:
    """Raise `InputError` for something that cannot be an answer."""
    if problem := _find_problem(answer):
        raise InputError(f"{step[0].upper()}{step[1:]} is {problem}. Give {_KINDS}.")


def _find_problem(answer: object) -> str:
    """Return what is wrong with an answer; "" if nothing is."""
    if isinstance(answer, type):
        return f"the class {answer.__name__}, and not an instance of it"
    if isinstance(answer, list | tuple):
        items = cast("Sequence[object]", answer)
        if not items:
            return "an empty list: a round of tools has at least one call"
        strange = [item for item in items if not isinstance(item, ToolCall)]
        return f"a list that holds {strange[0]!r:.80}, which is no call(…)" if strange else ""
    if isinstance(answer, _VALUES) or callable(answer):
        return ""
    return f"{answer!r:.80}"


def _number_calls(calls: Sequence[ToolCall], request: Request) -> tuple[ToolCall, ...]:
    """Return calls with ids, those without one numbered by their place in the conversation."""
    round_ = 1 + sum(bool(message.tool_calls) for message in request.messages)
    return tuple(
        called if called.id else replace(called, id=f"call_{round_}_{index}")
        for index, called in enumerate(calls)
    )


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


def _make_response(request: Request, text: str, calls: tuple[ToolCall, ...] = ()) -> Response:
    written = " ".join(called.arguments for called in calls) if calls else text
    return Response(
        text=text,
        model=request.model,
        usage=estimate_usage(request, written),
        usd=0.0,
        usd_source="free",
        finish_reason="tool_calls" if calls else "stop",
        attempts=1,
        seconds=0.0,
        first_token_seconds=None,
        tool_calls=calls,
    )


def _write(answer: BaseModel, request: Request) -> str:
    """Return an answer as a model would write it: JSON, or bare text where that was requested."""
    name = find_text_field(type(answer)) if request.schema is None else None
    return str(getattr(answer, name)) if name is not None else answer.model_dump_json()
