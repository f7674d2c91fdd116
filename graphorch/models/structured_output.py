"""Ask a model for an instance of a pydantic model, and once more if its answer does not fit.

A model with exactly one field, a plain string, takes the text of the answer as it is: asking for
JSON would only make the text worse. Any other model is asked for as structured output. Endpoints
promise more than they keep, so every answer is validated here.

Rules of this file:
1. Every key was asked for, so a key that is missing is a fault, also where the field has a default.
   A field that is none of the model's business is hidden from it with pydantic's `SkipJsonSchema`.
2. One object answers. Two that differ are a fault, unless only one of them fits.
3. An answer that does not fit goes back once. If it lacks what a schema would have enforced, the
   endpoint did not follow the schema, and the model is told it in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pydantic import BaseModel, RootModel, ValidationError

from graphorch.models.answer_check import list_gaps
from graphorch.models.client import ModelClient, OnText
from graphorch.models.errors import AnswerError, Empty
from graphorch.models.json_answer import find_objects, unwrap
from graphorch.models.json_schema import describe_schema, strip_code_fence
from graphorch.models.messages import Message, Request, Response, Usage
from graphorch.models.reasoning import strip_reasoning
from graphorch.text import truncate_repr

M = TypeVar("M", bound=BaseModel)

# Characters of an invalid answer that the model sees again; the list of problems says the rest.
_LONGEST_QUOTE = 4_000
# Problems that the model sees, and problems that the error shows.
_MOST_PROBLEMS_FOR_MODEL = 20
_MOST_PROBLEMS_SHOWN = 3


class InvalidAnswer(AnswerError):
    """Neither the first nor the second answer fits the output that was asked for.

    `problems` says what is wrong with the second one, `partial` is its text.
    """

    def __init__(
        self, message: str, *, model: str, partial: str, usage: Usage, problems: Sequence[str]
    ) -> None:
        self.problems = tuple(problems)
        super().__init__(message, model=model, retryable=True, partial=partial, usage=usage)


@dataclass(frozen=True, slots=True)
class ParsedAnswer(Generic[M]):
    """A validated value and its responses: one, or two if the first did not fit."""

    value: M
    responses: tuple[Response, ...]

    @property
    def usage(self) -> Usage:
        """Tokens of all responses."""
        return sum_usages(self.responses)

    @property
    def usd(self) -> float:
        """Dollars of all responses."""
        return sum(response.usd for response in self.responses)


def find_text_field(model: type[BaseModel]) -> str | None:
    """Return the name of the only field of a model if that is a plain string, else None."""
    if len(model.model_fields) != 1:
        return None
    ((name, field),) = model.model_fields.items()
    return name if field.annotation is str else None


def accepts_any_text(model: type[BaseModel]) -> bool:
    """Return whether any text is an instance of a model.

    True for one plain string without constraint, configuration and validator.
    """
    name = find_text_field(model)
    if name is None or model.model_fields[name].metadata or model.model_config:
        return False
    decorators = model.__pydantic_decorators__
    return not (
        decorators.validators
        or decorators.field_validators
        or decorators.root_validators
        or decorators.model_validators
    )


async def ask_for_value(
    client: ModelClient, request: Request, output: type[M], on_text: OnText | None = None
) -> ParsedAnswer[M]:
    """Return the answer to a request as an instance of `output`.

    An answer that does not fit goes back to the model, once, with a list of what is wrong with it,
    in what is left of the request's time; the text then streams from the beginning. Raises
    `InvalidAnswer` if the second answer does not fit either, and what the client raises.
    """
    if find_text_field(output) is None:
        request = replace(request, schema=output)
    first = await client.complete(request, on_text)
    value, problems = read_value(first, output)
    if value is not None:
        return ParsedAnswer(value, (first,))
    second = await client.complete(build_repair(request, first, problems, output), on_text)
    value, problems = read_value(second, output)
    if value is not None:
        return ParsedAnswer(value, (first, second))
    raise build_invalid_answer((first, second), problems, output)


def read_value(response: Response, output: type[M]) -> tuple[M | None, list[AnswerProblem]]:
    """Return the value that an answer holds, or None and what keeps it from being one.

    Raises `Empty` if the answer should be text and holds only thoughts.
    """
    return _parse(_read_text(response, output), output)


def sum_usages(responses: Sequence[Response]) -> Usage:
    """Return the sum of what responses used; it is estimated if one of them is."""
    usages = [response.usage for response in responses]
    return Usage(
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
        is_estimated=any(usage.is_estimated for usage in usages),
    )


def sum_responses(responses: Sequence[Response]) -> Response:
    """Return the last response with what all of them used, cost and took; its note names tools."""
    last = responses[-1]
    if len(responses) == 1:
        return last
    names = [call.name for response in responses for call in response.tool_calls]
    tools = f"tools: {', '.join(names)}" if names else ""
    is_unpriced = any(response.usd_source == "none" for response in responses)
    return replace(
        last,
        usage=sum_usages(responses),
        usd=sum(response.usd for response in responses),
        usd_source="none" if is_unpriced else last.usd_source,
        attempts=sum(response.attempts for response in responses),
        seconds=sum(response.seconds for response in responses),
        first_token_seconds=responses[0].first_token_seconds,
        note="; ".join(note for note in (last.note, tools) if note),
    )


def find_problems(text: str, output: type[BaseModel]) -> list[str]:
    """Return why a text is no instance of a model, a line for each problem; empty if it is one."""
    return [problem.text for problem in _parse(text, output)[1]]


@dataclass(frozen=True, slots=True)
class AnswerProblem:
    """What is wrong with an answer; `breaks_schema` if an endpoint that enforces it forbids it."""

    text: str
    breaks_schema: bool = True

    @property
    def place(self) -> str:
        """Field that the problem is about."""
        return self.text.partition(":")[0]


def _read_text(response: Response, output: type[BaseModel]) -> str:
    """Return the text of an answer. Raises `Empty` if it should be text and holds only thoughts."""
    if find_text_field(output) is None:
        return response.text
    text = strip_reasoning(response.text)
    if response.text.strip() and not text.strip():
        raise Empty(
            f"Model '{response.model}' gave its thoughts and no answer. Ask again, or raise "
            "max_tokens.",
            model=response.model,
            retryable=True,
            partial=response.text,
            usage=response.usage,
        )
    return text


def _parse(text: str, output: type[M]) -> tuple[M | None, list[AnswerProblem]]:
    """Return the value, or None and the problems that keep the text from being one.

    Fields may come under their names as well as under their aliases.
    """
    name = find_text_field(output)
    if name is not None:
        try:
            return output.model_validate({name: text}, by_name=True, by_alias=True), []
        except ValidationError as error:
            return None, _list_problems(error)
    return _choose([_validate(item, output) for item in _find_candidates(text, output)])


def _find_candidates(text: str, output: type[BaseModel]) -> list[str]:
    """Return the objects that may be the answer, or what comes nearest to one."""
    if issubclass(output, RootModel):
        return [strip_code_fence(strip_reasoning(text))]  # it need not be an object
    objects = find_objects(text)
    if not objects:
        text = strip_reasoning(text)
        begin = text.find("{")
        return [text[begin:] if begin >= 0 else text]
    names = {output.__name__, output.model_config.get("title") or output.__name__}
    fields = {name for item in output.model_fields.items() for name in (item[0], item[1].alias)}
    wrappers = sorted(names - fields)
    return [
        next((inner for name in wrappers if (inner := unwrap(item, name)) is not None), item)
        for item in objects
    ]


def _choose(
    parsed: Sequence[tuple[M | None, list[AnswerProblem]]],
) -> tuple[M | None, list[AnswerProblem]]:
    """Return the value if there is one, or the problems of the last object."""
    values: list[M] = []
    for value, _ in parsed:
        if value is not None and value not in values:
            values.append(value)
    if len(values) > 1:
        problem = f"the whole answer: it holds {len(values)} different JSON objects"
        return None, [AnswerProblem(f"{problem}. Give one.", breaks_schema=False)]
    return (values[0], []) if values else (None, parsed[-1][1])


_UNREADABLE = object()


def _validate(text: str, output: type[M]) -> tuple[M | None, list[AnswerProblem]]:
    try:
        given = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        given = _UNREADABLE  # what is wrong with it, pydantic says better
    except ValueError:
        # Python neither reads nor shows such a number.
        return None, [AnswerProblem("the whole answer: it holds a number with thousands of digits")]
    try:
        value = output.model_validate_json(text, by_name=True, by_alias=True)
    except ValidationError as error:
        return None, _list_problems(error)
    if given is _UNREADABLE:
        return None, [AnswerProblem("the whole answer: it is no JSON by the standard")]
    gaps = [AnswerProblem(f"{where}: {what}") for where, what in list_gaps(value, given)]
    return (None, gaps) if gaps else (value, [])


# What a schema does not say, or what endpoints do not enforce of it: bounds and the author's rules.
_BEYOND_SCHEMA = re.compile(
    r"(greater|less)_than|multiple_of|too_(short|long)|pattern_mismatch|value_error|assertion_error"
    r"|_(past|future)$|custom"
)


def _list_problems(error: ValidationError) -> list[AnswerProblem]:
    """Return the problems of a validation: where, what, and the value that came."""
    problems: list[AnswerProblem] = []
    for details in error.errors(include_url=False):
        where = ".".join(str(step) for step in details["loc"]) or "the whole answer"
        problem = f"{where}: {details['msg']}"
        # a missing value cannot be shown, and broken JSON is the whole answer
        if details["type"] not in ("missing", "json_invalid"):
            problem += f" (got {truncate_repr(details['input'])})"
        problems.append(AnswerProblem(problem, _BEYOND_SCHEMA.search(details["type"]) is None))
    return problems


def build_repair(
    request: Request, response: Response, problems: Sequence[AnswerProblem], output: type[BaseModel]
) -> Request:
    """Return the request followed by the answer that did not fit and what is wrong with it."""
    form = f"the corrected JSON object of {output.__name__}"
    if find_text_field(output) is not None:
        form = "the corrected text"
    listed = "\n".join(f"- {problem.text}" for problem in problems[:_MOST_PROBLEMS_FOR_MODEL])
    instruction = (
        f"Your answer does not fit what was asked for:\n{listed}\n"
        f"Answer once more with {form} and nothing else."
    )
    if request.schema is not None and any(problem.breaks_schema for problem in problems):
        instruction += f"\n\n{describe_schema(output)}"
    quote = response.text
    if len(quote) > _LONGEST_QUOTE:
        quote = f"{quote[:_LONGEST_QUOTE]}…"
    messages = (
        *request.messages,
        Message(role="assistant", content=quote),
        Message(content=instruction),
    )
    timeout = request.timeout
    if timeout is not None:
        timeout = max(0.0, timeout - response.seconds)
    return replace(request, messages=messages, timeout=timeout)


def build_invalid_answer(
    responses: Sequence[Response], problems: Sequence[AnswerProblem], output: type[BaseModel]
) -> InvalidAnswer:
    """Return the error for an answer whose second attempt, the last response, does not fit."""
    last = responses[-1]
    shown = "; ".join(problem.text for problem in problems[:_MOST_PROBLEMS_SHOWN])
    hidden = len(problems) - _MOST_PROBLEMS_SHOWN
    if hidden > 0:
        shown += f" and {hidden} more"
    field = problems[0].place
    return InvalidAnswer(
        f"Model '{last.model}' was asked for {output.__name__}, and neither its answer nor its "
        f"second attempt fits: {shown}. Say in the prompt or in the field's description what "
        f"'{field}' must be, loosen its type, or use a model that follows a schema.",
        model=last.model,
        partial=last.text,
        usage=sum_usages(responses),
        problems=[problem.text for problem in problems],
    )
