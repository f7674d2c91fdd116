"""The prompt of an agent whose function writes none: what it reads, one heading and value per field, as a person would lay it out.

Write the draft, from what follows. Answer with its text and nothing else.

Topic:
tides

Notes:
- spring tides come at new and full moon
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter

from graphorch.models.structured_output import text_field

_JSON: TypeAdapter[Any] = TypeAdapter(Any)


def build_default_prompt(
    prompt: Callable[..., object], slices: Iterable[BaseModel | None], output: type[BaseModel]
) -> str:
    """The prompt for slices and what is to be made of them.

    The task is the docstring of the prompt function, if it has one. Left out: what is empty or unassigned, a field that an earlier slice
    has shown already, and a slice that holds nothing but its defaults (an evaluator's verdict before the first round, say).
    """
    shown: dict[str, str] = {}
    for model in slices:
        if model is not None and not _is_untouched(model):
            for name, info in type(model).model_fields.items():
                value: object = model.__dict__.get(name)
                if not _is_empty(value):
                    shown.setdefault(info.title or humanize(name), _as_text(value))
    return "\n\n".join(
        [_task(prompt, output), *(f"{title}:\n{text}" for title, text in shown.items())]
    )


def humanize(name: str) -> str:
    """A field's name as a heading: `open_questions` is "Open questions"."""
    return name.replace("_", " ").strip().capitalize()


def _task(prompt: Callable[..., object], output: type[BaseModel]) -> str:
    """What to do, in the words of the author if there are any."""
    said = inspect.getdoc(prompt) if inspect.isroutine(prompt) else None
    if said:
        return said
    wanted = text_field(output)
    fields = output.model_fields.items()
    described = [
        humanize(name).lower() + (f" ({info.description})" if info.description else "")
        for name, info in fields
    ]
    ending = "Answer with its text and nothing else." if wanted else ""
    return f"Write the {_listed(described)}, from what follows. {ending}".rstrip()


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, Sized) and not len(value))


def _is_untouched(model: BaseModel) -> bool:
    """Whether every field is unassigned or has its default."""
    return all(
        name not in model.__dict__
        or (
            not info.is_required()
            and model.__dict__[name]
            == info.get_default(call_default_factory=True, validated_data={})
        )
        for name, info in type(model).model_fields.items()
    )


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(
        isinstance(item, str | int | float) for item in cast("Sequence[object]", value)
    ):
        return "\n".join(f"- {item}" for item in cast("Sequence[object]", value))
    if isinstance(value, bool | int | float):
        return str(value)
    return _JSON.dump_json(value, indent=2, fallback=str).decode()


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
