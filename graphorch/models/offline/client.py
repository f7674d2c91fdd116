"""Offline model: it answers from the text of the prompt, without network, key, cost or chance.

For first steps, demonstrations and tests on real documents. It ranks the sentences of the prompt
and answers with the best ones, and it fills structured output with what the text holds and what can
be measured of it. It calls tools only where the prompt writes the calls out. It is not a language
model: it knows nothing and invents nothing, and every response says so. Equal requests get equal
answers, on every machine.
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
from graphorch.models.messages import Request, Response, ToolCall, estimate_usage
from graphorch.models.offline.prompt_parser import ParsedPrompt, parse_prompt
from graphorch.models.offline.schema_filler import SchemaFiller, Unfillable
from graphorch.models.offline.summarizer import Source, compose_text
from graphorch.models.offline.written_calls import find_next_calls, remove_calls
from graphorch.text import plural

MODEL = "offline/extractive"
_CHARACTERS_PER_TOKEN = 4
_DEFAULT_TOKENS = 4_000
# Characters of prompt that take a few milliseconds; longer ones are worked on in a thread.
_INLINE_CHARACTERS = 20_000


class OfflineClient:
    """A `ModelClient` that extracts instead of generating. It holds nothing to close."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def __repr__(self) -> str:
        return f"OfflineClient({MODEL})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return an answer made of the prompt; its text also goes to `on_text` line by line.

        If the prompt writes out tool calls (see `written_calls.py`), the answer is the next of
        them. Raises `TimedOut` if the request's time is up, and `ModelError` if the schema requires
        what the text does not hold.
        """
        began = self._clock()
        if calls := find_next_calls(request):
            return _build_call_response(request, calls, self._clock() - began)
        text, note = await self._answer_in_time(request)
        first_token_seconds: float | None = None
        if on_text is not None:
            first_token_seconds = self._clock() - began
            await _stream(text, on_text)
        return Response(
            text=text,
            model=MODEL,
            usage=estimate_usage(request, text),
            usd=0.0,
            usd_source="free",
            finish_reason="stop",
            attempts=1,
            seconds=self._clock() - began,
            first_token_seconds=first_token_seconds,
            note=note,
        )

    async def _answer_in_time(self, request: Request) -> tuple[str, str]:
        scope = asyncio.timeout(None if request.timeout is None else max(request.timeout, 0))
        try:
            async with scope:
                return await self._answer(request)
        except TimeoutError:
            if not scope.expired():
                raise
            message = f"Model '{MODEL}' was given {request.timeout:g} s, too little."
        raise TimedOut(message, model=MODEL, limit="total")

    async def _answer(self, request: Request) -> tuple[str, str]:
        await asyncio.sleep(0)  # a request without time fails before any work is done
        length = sum(len(message.content) for message in request.messages)
        if length <= _INLINE_CHARACTERS:
            return _compose_answer(request)
        return await asyncio.to_thread(_compose_answer, request)


def _build_call_response(request: Request, calls: tuple[ToolCall, ...], seconds: float) -> Response:
    return Response(
        text="",
        model=MODEL,
        usage=estimate_usage(request, " ".join(call.arguments for call in calls)),
        usd=0.0,
        usd_source="free",
        finish_reason="tool_calls",
        attempts=1,
        seconds=seconds,
        first_token_seconds=None,
        note="called tools as the prompt writes; no language model was used",
        tool_calls=calls,
    )


def _compose_answer(request: Request) -> tuple[str, str]:
    """Return the text of the answer, and the note about it."""
    prompt = parse_prompt(remove_calls(request.messages))
    source = Source(prompt)
    most_characters = (request.max_tokens or _DEFAULT_TOKENS) * _CHARACTERS_PER_TOKEN
    if request.schema is None:
        text = compose_text(source, purpose="", most_characters=most_characters)
    else:
        text = _fill_schema(source, request.schema, most_characters)
    return text, _compose_note(prompt, source)


def _fill_schema(source: Source, schema: type[BaseModel], most_characters: int) -> str:
    """Return a JSON object that fits the schema.

    The pydantic model checks it: it may have rules that its schema cannot express.
    """
    json_schema = schema.model_json_schema()
    definitions = cast("dict[str, Any]", json_schema.get("$defs", {}))
    filler = SchemaFiller(source, definitions, most_characters)
    try:
        value = filler.fill(json_schema, schema.__name__)
    except Unfillable as error:
        raise _build_error(schema, error.name, str(error)) from None
    except RecursionError:
        raise _build_error(schema, schema.__name__, "it holds itself without end") from None
    text = json.dumps(value, ensure_ascii=False)
    problem = _find_problem(schema, text)
    # A field with a default may have a rule that its value breaks: try without those fields.
    if problem is not None and isinstance(value, dict):
        required = set(json_schema.get("required", ()))
        fields = cast("dict[str, Any]", value).items()
        text = json.dumps(
            {name: item for name, item in fields if name in required}, ensure_ascii=False
        )
        problem = _find_problem(schema, text)
    if problem is None:
        given = json.loads(text)
        _write_defaults(schema.model_validate_json(text), given)
        text = json.dumps(given, ensure_ascii=False)
        problem = _find_problem(schema, text)
    if problem is not None:
        raise _build_error(schema, *problem)
    return text


def _write_defaults(value: object, given: Any) -> None:
    """Write the defaults of the fields that were left out into the JSON that was given.

    An answer has to give every key that was asked for.
    """
    if isinstance(value, list) and isinstance(given, list):
        for item, origin in zip(cast("list[Any]", value), cast("list[Any]", given), strict=False):
            _write_defaults(item, origin)
    if not isinstance(value, BaseModel) or not isinstance(given, dict):
        return
    fields = cast("dict[str, Any]", given)
    defaults = value.model_dump(mode="json", exclude=value.model_fields_set)
    for name, field in type(value).model_fields.items():
        key = field.alias or name
        if name in defaults:
            fields[key] = defaults[name]
        elif key in fields:
            _write_defaults(getattr(value, name), fields[key])


def _find_problem(schema: type[BaseModel], text: str) -> tuple[str, str] | None:
    """Return the first field that does not fit, and the reason."""
    try:
        schema.model_validate_json(text, by_name=True, by_alias=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(step) for step in first["loc"]) or schema.__name__
        return name, f"'{name}' was filled, but: {first['msg']}"
    return None


def _build_error(schema: type[BaseModel], name: str, reason: str) -> ModelError:
    message = (
        f"Model '{MODEL}' cannot fill {schema.__name__}: {reason}. "
        f"Give '{name}' a default or None as an alternative, or use a language model."
    )
    return ModelError(message, model=MODEL)


def _compose_note(prompt: ParsedPrompt, source: Source) -> str:
    sentences = plural(len(source.sentences), "sentence")
    note = f"extracted from {sentences} of the prompt; no language model was used"
    if prompt.unread:
        note += f"; {prompt.unread:,} characters of a very long text were left out"
    return note


async def _stream(text: str, on_text: OnText) -> None:
    """Hand the text over line by line, and let other tasks run in between."""
    for piece in re.findall(r"[^\n]*\n+|[^\n]+", text):
        on_text(piece)
        await asyncio.sleep(0)
