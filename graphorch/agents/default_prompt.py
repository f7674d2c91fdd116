"""The prompt of an agent whose function writes none: a heading and a value for each field.

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

from graphorch.models.structured_output import find_text_field

_JSON: TypeAdapter[Any] = TypeAdapter(Any)


def build_default_prompt(
    prompt: Callable[..., object], slices: Iterable[BaseModel | None], output: type[BaseModel]
) -> str:
    """Return the prompt that asks for `output`, made of slices.

    The task is the docstring of the prompt function, if it has one. Left out are empty and
    unassigned values, fields that an earlier slice has shown already, and slices that hold only
    their defaults (an evaluator's verdict before the first round, say).
    """
    texts: dict[str, str] = {}
    for model in slices:
        if model is None or _is_untouched(model):
            continue
        for name, info in type(model).model_fields.items():
            value: object = model.__dict__.get(name)
            if not _is_empty(value):
                texts.setdefault(info.title or humanize(name), _as_text(value))
    sections = [f"{title}:\n{text}" for title, text in texts.items()]
    return "\n\n".join([_write_task(prompt, output), *sections])


def humanize(name: str) -> str:
    """Return a field's name as a heading: `open_questions` is "Open questions"."""
    return name.replace("_", " ").strip().capitalize()


def _write_task(prompt: Callable[..., object], output: type[BaseModel]) -> str:
    """Return the docstring of the prompt function, or a task made of the fields of `output`."""
    docstring = inspect.getdoc(prompt) if inspect.isroutine(prompt) else None
    if docstring:
        return docstring
    names: list[str] = []
    for name, info in output.model_fields.items():
        description = f" ({info.description})" if info.description else ""
        names.append(humanize(name).lower() + description)
    ending = "Answer with its text and nothing else." if find_text_field(output) else ""
    return f"Write the {_join_names(names)}, from what follows. {ending}".rstrip()


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, Sized) and not len(value))


def _is_untouched(model: BaseModel) -> bool:
    """Return whether every field is unassigned or has its default."""
    for name, info in type(model).model_fields.items():
        if name not in model.__dict__:
            continue
        if info.is_required():
            return False
        default = info.get_default(call_default_factory=True, validated_data={})
        if model.__dict__[name] != default:
            return False
    return True


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        if all(isinstance(item, str | int | float) for item in items):
            return "\n".join(f"- {item}" for item in items)
    if isinstance(value, bool | int | float):
        return str(value)
    return _JSON.dump_json(value, indent=2, fallback=str).decode()


def _join_names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
