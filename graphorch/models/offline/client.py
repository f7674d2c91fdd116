"""A model that is none: it answers out of the text that it is given, without network, key, cost or chance.

For first steps, demonstrations and tests on real documents. What it does is honest work: it ranks the sentences of the prompt's material
and answers with the best ones, and it fills structured output with what the text holds and what can be measured of it. It knows nothing
and invents nothing, and every response says so. Equal requests get equal answers, on every machine.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from graphorch.errors import ModelError
from graphorch.models.client import OnText
from graphorch.models.errors import TimedOut
from graphorch.models.messages import Request, Response, estimate_usage
from graphorch.models.offline.prompt_parser import ParsedPrompt, parse_prompt
from graphorch.models.offline.schema_filler import SchemaFiller, Unfillable
from graphorch.models.offline.summarizer import Source, compose_text

MODEL = "offline/extractive"
_CHARACTERS_A_TOKEN = 4
# characters of prompt that take a few milliseconds; longer ones are worked on in a thread
_INLINE = 20_000


class OfflineClient:
    """A `ModelClient` that extracts instead of generating. Needs nothing, so there is nothing to close."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def __repr__(self) -> str:
        return f"OfflineClient({MODEL})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """The answer, made of the prompt. Its text also goes to `on_text` line by line.

        Raises `TimedOut` if the request's time is up, and `ModelError` if the schema requires what the text does not hold.
        """
        began = self._clock()
        scope = asyncio.timeout(None if request.timeout is None else max(request.timeout, 0))
        try:
            async with scope:
                text, note = await self._answer(request)
        except TimeoutError:
            if not scope.expired():
                raise
            failure = TimedOut(
                f"Model '{MODEL}' was given {request.timeout:g} s, too little.",
                model=MODEL,
                limit="total",
            )
        else:
            first = await _streamed(text, on_text, self._clock) if on_text is not None else None
            return Response(
                text=text,
                model=MODEL,
                usage=estimate_usage(request, text),
                usd=0.0,
                usd_source="free",
                finish_reason="stop",
                attempts=1,
                seconds=self._clock() - began,
                first_token_seconds=None if first is None else first - began,
                note=note,
            )
        raise failure

    async def _answer(self, request: Request) -> tuple[str, str]:
        await asyncio.sleep(0)  # a request without time fails before any work is done
        if sum(len(message.content) for message in request.messages) <= _INLINE:
            return _answered(request)
        return await asyncio.to_thread(_answered, request)


def _answered(request: Request) -> tuple[str, str]:
    """The text of the answer, and the note about it."""
    material = parse_prompt(request.messages)
    source = Source(material)
    most = (request.max_tokens or 4_000) * _CHARACTERS_A_TOKEN
    text = (
        compose_text(source, purpose="", most_characters=most)
        if request.schema is None
        else _filled(source, request.schema, most)
    )
    return text, _note(material, source)


def _filled(source: Source, schema: type[BaseModel], most_characters: int) -> str:
    """A JSON object that fits the schema, checked by the model itself: it may know rules that its schema cannot say."""
    described = schema.model_json_schema()
    definitions = cast("dict[str, Any]", described.get("$defs", {}))
    try:
        value = SchemaFiller(source, definitions, most_characters).fill(described, schema.__name__)
    except Unfillable as error:
        raise _unfillable(schema, error.name, str(error)) from None
    except RecursionError:
        raise _unfillable(schema, schema.__name__, "it holds itself without end") from None
    text = json.dumps(value, ensure_ascii=False)
    problem = _problem(schema, text)
    if problem is not None and isinstance(value, dict):  # fields with a default may stay away
        required = set(described.get("required", ()))
        text = json.dumps(
            {key: item for key, item in cast("dict[str, Any]", value).items() if key in required},
            ensure_ascii=False,
        )
        problem = _problem(schema, text)
    if problem is not None:
        raise _unfillable(schema, *problem)
    return text


def _problem(schema: type[BaseModel], text: str) -> tuple[str, str] | None:
    """The first field that does not fit, and why."""
    try:
        schema.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or schema.__name__
        return where, f"'{where}' was filled, but: {first['msg']}"
    return None


def _unfillable(schema: type[BaseModel], name: str, why: str) -> ModelError:
    message = f"Model '{MODEL}' cannot fill {schema.__name__}: {why}. Give '{name}' a default or None as an alternative, or use a language model."
    return ModelError(message, model=MODEL)


def _note(material: ParsedPrompt, source: Source) -> str:
    said = f"extracted from {len(source.sentences)} sentences of the prompt; no language model was used"
    return said + (
        f"; {material.unread:,} characters of a very long text were left out"
        if material.unread
        else ""
    )


async def _streamed(text: str, on_text: OnText, clock: Callable[[], float]) -> float:
    """Hand the text over line by line, letting others run in between, and tell when the first piece went."""
    first = clock()
    for piece in re.findall(r"[^\n]*\n+|[^\n]+", text):
        on_text(piece)
        await asyncio.sleep(0)
    return first
