"""A call of a node's function that is out: what comes for it, and what it asks for meanwhile."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from graphorch.core.tree import Activation
from graphorch.distributed.node_messages import (
    ANSWER,
    ASK,
    EMIT,
    RESULT,
    CallKey,
    SentContext,
    decode_message,
    encode_message,
)
from graphorch.distributed.results import Note
from graphorch.distributed.sent_requests import decode_request
from graphorch.engine.attempts.context import NodeContext
from graphorch.engine.invocation.process_protocol import encode_error
from graphorch.engine.record_bodies import encode_response

_KEPT_OPEN: Final = ("type",)  # fields that every event of an unknown type has

Post = Callable[[Note], Awaitable[object]]


class EmittedElsewhere(BaseModel):
    """Event of a function on another worker, of a type that its module does not name."""

    model_config = ConfigDict(extra="allow")

    type: str


class SentResult(NamedTuple):
    """What a worker says of a call, and the lines of the slices that its function returned."""

    header: dict[str, Any]
    lines: list[bytes]

    @property
    def is_success(self) -> bool:
        """Whether the function returned."""
        return "same" in self.header

    @property
    def is_failure(self) -> bool:
        """Whether the function raised, or took too long."""
        return "error" in self.header or "late" in self.header


class SentCall:
    """A call that is out, or is about to go out.

    `context` is that of its attempt, if its function has one, and `given` are its slices.
    """

    def __init__(self, key: CallKey, activation: Activation, arguments: list[Any]) -> None:
        self.key = key
        self._activation = activation
        has_context = activation.step.node.signature.has_context
        self.context: NodeContext | None = arguments[0] if has_context else None
        self.given: list[Any] = arguments[1:] if has_context else arguments
        self._notes: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._seen: set[str] = set()

    @property
    def note_keys(self) -> list[str]:
        """Keys of all notes that came for it."""
        return [self.key.name_note(word) for word in self._seen]

    def take(self, word: str, body: bytes) -> None:
        """Take a note of its worker, once."""
        if word not in self._seen:
            self._seen.add(word)
            self._notes.put_nowait((word, body))

    def describe_context(self) -> SentContext:
        """Return what the context on the worker knows without asking."""
        context = self.context
        if context is None:
            return SentContext()
        return SentContext(
            deadline=context.ends_at,
            consent=context.consent,
            budget=_describe_budget(context),
            missing=dict(context.missing_branches) if self._activation.step.joins else {},
            room=context.list_room(),
            is_watched=context.is_watched,
        )

    async def wait(self, post: Post) -> SentResult:
        """Return the result; meanwhile, answer what the function asks for, by posting notes."""
        answers: set[asyncio.Task[None]] = set()
        try:
            while True:
                word, body = await self._notes.get()
                if word == RESULT:
                    return SentResult(*decode_message(body))
                if self.context is not None and word.startswith(ASK):
                    answers.add(asyncio.create_task(self._answer(self.context, word, body, post)))
                elif self.context is not None and word.startswith(EMIT):
                    header, _ = decode_message(body)
                    self.context.emit(_rebuild_event(header, self._find_types()))
        finally:
            for task in answers:
                task.cancel()
            if answers:
                await asyncio.gather(*answers, return_exceptions=True)

    async def has_ended(self, seconds: float) -> bool:
        """Return whether the result comes within so many seconds; nothing else is answered."""
        try:
            async with asyncio.timeout(seconds):
                while (await self._notes.get())[0] != RESULT:
                    continue
        except TimeoutError:
            return False
        return True

    async def _answer(self, context: NodeContext, word: str, body: bytes, post: Post) -> None:
        """Make a model call for the function, and post the answer."""
        header, _ = decode_message(body)
        answer: dict[str, Any]
        try:
            request = decode_request(header, self._find_types().values())
            is_repeated = bool(header["is_repeated"])
            response, is_new = await context.complete_elsewhere(request, is_repeated=is_repeated)
            answer = {"response": encode_response(response), "is_new": is_new}
        # Whatever the call raises is raised in the function.
        except Exception as error:
            answer = {"error": encode_error(error, {})}
        message = encode_message({**answer, "budget": _describe_budget(context)})
        name = f"{ANSWER}{word.removeprefix(ASK)}"
        await post(Note(self.key.run, self.key.job, name, message))

    def _find_types(self) -> Mapping[str, type[BaseModel]]:
        """Return the models that the function names: its slices, and those of its module."""
        fn: Any = self._activation.step.node.fn
        fn = inspect.unwrap(getattr(fn, "fn", fn))
        names: Mapping[str, Any] = getattr(fn, "__globals__", {})
        signature = self._activation.step.node.signature
        models = [*signature.writes, *(read.model for read in signature.reads), *names.values()]
        return {
            model.__name__: model
            for model in reversed(models)
            if isinstance(model, type) and issubclass(model, BaseModel)
        }


def _describe_budget(context: NodeContext) -> dict[str, float]:
    return {unit: value for unit, value in context.budget_left.amounts() if value is not None}


def _rebuild_event(header: dict[str, Any], known: Mapping[str, type[BaseModel]]) -> BaseModel:
    """Return an event that a function emitted elsewhere, of its own type if that is known."""
    name, values = header["type"], header["values"]
    model = known.get(name)
    if model is not None:
        try:
            return model.model_validate(values)
        except ValidationError:
            pass  # another version of it
    rest = {key: value for key, value in values.items() if key not in _KEPT_OPEN}
    return EmittedElsewhere(type=name, **rest)
