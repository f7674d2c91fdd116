"""An answer as a value: asks a model for an instance of a pydantic model, and once more if what came does not fit.

A model with exactly one field, a string, takes the text of the answer as it is: asking for JSON would only make the text worse. Any other
is asked for as structured output. Endpoints promise more than they keep, so every answer is validated here.

The JSON schema of a structured output: in the strict form that endpoints enforce, or in words for those that cannot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError

from graphorch.models.client import ModelClient, OnText
from graphorch.models.errors import AnswerError
from graphorch.models.messages import Message, Request, Response, Usage

M = TypeVar("M", bound=BaseModel)

# characters of an invalid answer that are shown to the model again; the errors say the rest
_SHOWN = 4_000


class InvalidAnswer(AnswerError):
    """The answer did not fit the output that was asked for, nor did the second one. `problems` says what is wrong with that, `partial`."""

    def __init__(
        self, message: str, *, model: str, partial: str, usage: Usage, problems: Sequence[str]
    ) -> None:
        self.problems = tuple(problems)
        super().__init__(message, model=model, retryable=True, partial=partial, usage=usage)


@dataclass(frozen=True, slots=True)
class ParsedAnswer(Generic[M]):
    """A validated value and what it took: one response, or two if the first did not fit."""

    value: M
    responses: tuple[Response, ...]

    @property
    def usage(self) -> Usage:
        """The tokens of all responses."""
        return total_usage(self.responses)

    @property
    def usd(self) -> float:
        """The dollars of all responses."""
        return sum(response.usd for response in self.responses)


def text_field(model: type[BaseModel]) -> str | None:
    """The name of the only field of a model, if that is a plain string; None for every other model."""
    fields = model.model_fields
    name = next(iter(fields), "")
    return name if len(fields) == 1 and fields[name].annotation is str else None


def always_fits(model: type[BaseModel]) -> bool:
    """Whether any text is an instance of a model: one plain string, with no constraint and no validator."""
    name = text_field(model)
    if name is None or model.model_fields[name].metadata or model.model_config:
        return False
    decorators = model.__pydantic_decorators__
    return not (
        decorators.validators
        or decorators.field_validators
        or decorators.root_validators
        or decorators.model_validators
    )


async def ask(
    client: ModelClient, request: Request, output: type[M], on_text: OnText | None = None
) -> ParsedAnswer[M]:
    """The answer to a request as an instance of `output`.

    An answer that does not fit is shown to the model again, once, with what is wrong with it, in what is left of the request's time;
    its text then streams from the beginning. Raises `InvalidAnswer` if the second one does not fit either, and what the client raises.
    """
    asked = request if text_field(output) else replace(request, schema=output)
    first = await client.complete(asked, on_text)
    value, problems = _read(first.text, output)
    if value is not None:
        return ParsedAnswer(value, (first,))
    second = await client.complete(_once_more(asked, first, problems, output), on_text)
    value, problems = _read(second.text, output)
    if value is not None:
        return ParsedAnswer(value, (first, second))
    raise _invalid((first, second), problems, output)


def total_usage(responses: Sequence[Response]) -> Usage:
    """The sum of what responses used; estimated if one of them is."""
    return reduce(_added, (response.usage for response in responses), Usage(0, 0))


def _added(usage: Usage, other: Usage) -> Usage:
    return Usage(
        usage.input_tokens + other.input_tokens,
        usage.output_tokens + other.output_tokens,
        usage.cached_tokens + other.cached_tokens,
        is_estimated=usage.is_estimated or other.is_estimated,
    )


def _read(text: str, output: type[M]) -> tuple[M | None, list[str]]:
    """The value, or what keeps the text from being one. Fields may come under their names as well as under their aliases."""
    name = text_field(output)
    try:
        if name is not None:
            return output.model_validate({name: text}, by_name=True, by_alias=True), []
        return output.model_validate_json(_object_in(text), by_name=True, by_alias=True), []
    except ValidationError as error:
        return None, _problems(error)


def _object_in(text: str) -> str:
    """The JSON object of an answer that says something around it, as models do that were asked in words; else the text."""
    begin, end = text.find("{"), text.rfind("}")
    return text[begin : end + 1] if 0 <= begin < end else text


def _problems(error: ValidationError) -> list[str]:
    """One line for each thing that is wrong: where, what, and the value that came."""
    found: list[str] = []
    for details in error.errors(include_url=False):
        where = ".".join(str(step) for step in details["loc"]) or "the whole answer"
        came = (
            ""
            if details["type"] in ("missing", "json_invalid")
            else f" (got {_short(details['input'])})"
        )
        found.append(f"{where}: {details['msg']}{came}")
    return found


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:79]}…"


def _once_more(
    asked: Request, response: Response, problems: Sequence[str], output: type[BaseModel]
) -> Request:
    """The request with the answer that did not fit, and what is wrong with it, in what is left of its time."""
    form = (
        "the corrected text"
        if text_field(output)
        else f"the corrected JSON object of {output.__name__}"
    )
    wrong = "\n".join(f"- {problem}" for problem in problems[:20])
    again = f"Your answer does not fit what was asked for:\n{wrong}\nAnswer once more with {form} and nothing else."
    shown = response.text if len(response.text) <= _SHOWN else f"{response.text[:_SHOWN]}…"
    messages = (*asked.messages, Message(role="assistant", content=shown), Message(content=again))
    left = None if asked.timeout is None else max(0.0, asked.timeout - response.seconds)
    return replace(asked, messages=messages, timeout=left)


def _invalid(
    responses: Sequence[Response], problems: Sequence[str], output: type[BaseModel]
) -> InvalidAnswer:
    last = responses[-1]
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    field = problems[0].partition(":")[0]
    return InvalidAnswer(
        f"Model '{last.model}' was asked for {output.__name__} and its answer does not fit, nor did it after it was told so: "
        f"{'; '.join(problems[:3])}{more}. Say in the prompt or in the field's description what '{field}' must be, "
        "loosen its type, or use a model that follows a schema.",
        model=last.model,
        partial=last.text,
        usage=total_usage(responses),
        problems=problems,
    )


def response_format(schema: type[BaseModel]) -> dict[str, object]:
    """The `response_format` of a request. Strict wherever the schema allows it (OpenAI, "Structured outputs", 2026-11)."""
    described = schema.model_json_schema()
    strict = _can_be_strict(described)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", schema.__name__)[:64]
    shape = _strict(described) if strict else described
    return {"type": "json_schema", "json_schema": {"name": name, "schema": shape, "strict": strict}}


def describe_schema(schema: type[BaseModel]) -> str:
    """The same demand as an instruction, for an endpoint that has no structured output."""
    described = json.dumps(schema.model_json_schema(), ensure_ascii=False, separators=(",", ":"))
    return f"Answer with one JSON object and nothing else: no explanation, no code fence. It must fit this JSON schema:\n{described}"


def strip_fence(text: str) -> str:
    """The JSON without the code fence that a model put around it although it was told not to; other text is returned unchanged."""
    fenced = re.fullmatch(r"\s*```[A-Za-z]*\s*\n(.*)\n\s*```\s*", text, re.DOTALL)
    return fenced.group(1) if fenced else text


def _can_be_strict(node: object) -> bool:
    """Strict mode has no open objects (`dict[str, …]`) and no untyped values."""
    if isinstance(node, list):
        return all(_can_be_strict(item) for item in cast("list[object]", node))
    if not isinstance(node, dict):
        return True
    fields = cast("dict[str, Any]", node)
    if fields.get("type") == "object" and (
        "properties" not in fields or fields.get("additionalProperties") not in (None, False)
    ):
        return False
    named = cast("dict[str, Any]", fields.get("properties") or {})
    if any(
        not _is_typed(item)
        for item in [*named.values(), *([fields["items"]] if "items" in fields else [])]
    ):
        return False
    return "prefixItems" not in fields and all(_can_be_strict(field) for field in fields.values())


def _is_typed(node: object) -> bool:
    return isinstance(node, dict) and bool(
        set(cast("dict[str, Any]", node))
        & {"type", "$ref", "anyOf", "allOf", "oneOf", "enum", "const"}
    )


def _strict(node: Any) -> Any:
    """A copy in which every object is closed and requires all its fields; defaults are dropped, because they are no longer used."""
    if isinstance(node, list):
        return [_strict(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    fields = cast("dict[str, Any]", node)
    if "$ref" in fields:  # strict mode takes no neighbours of a reference
        return {"$ref": fields["$ref"]}
    copy: dict[str, Any] = {}
    for name, value in fields.items():
        # the keys are names of the author, not words of the schema language
        if name in ("properties", "$defs"):
            copy[name] = {item: _strict(shape) for item, shape in value.items()}
        elif name not in ("default", "discriminator"):
            copy["anyOf" if name == "oneOf" else name] = _strict(value)
    if copy.get("type") == "object":
        copy |= {"additionalProperties": False, "required": list(copy.get("properties", {}))}
    return copy
