"""Secrets of a run: kept out of every text that the run shows, writes or sends.

Which fields may hold one, `build()` has found: those that are marked as `Secret`, and those that
were made of them. A text that quotes a value of such a field gets it replaced where the text is
made, so that nothing behind it (records, events, traces, terminals) has to think of it. Runs of
graphs without marks do none of this.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, SecretBytes, SecretStr

from graphorch.core.tree import Activation, Scope, UndoScope
from graphorch.graph.edges import MarkedFlow
from graphorch.state.marks import HIDDEN, find_field_marks
from graphorch.state.version import UNSET
from graphorch.text import KIND, LINEAGE, explain_error, list_kinds, name_error

if TYPE_CHECKING:
    from graphorch.state.version import Version

_SHORTEST = 3  # characters; a shorter value occurs by chance in ordinary text


def find_marked(scope: Scope) -> MarkedFlow | None:
    """Return where marked values are in the graph of a scope, as it is used where it is.

    An undo has the values of what it undoes.
    """
    if isinstance(scope, UndoScope):
        return find_marked(scope.undone.scope)
    parent = scope.parent
    if parent is None:
        return scope.plan.marked
    around = find_marked(parent.scope)
    return None if around is None else around.inside.get(parent.step.index)


def has_mark(activation: Activation, mark: str) -> bool:
    """Return whether a node gets values with a mark."""
    marked = find_marked(activation.scope)
    return marked is not None and mark in marked.nodes.get(activation.step.index, ())


def hide_fields(scope: Scope, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return values of fields by name, those that may be secret replaced."""
    marked = find_marked(scope)
    if marked is None or not marked.secrets:
        return values
    return {name: HIDDEN if name in marked.secrets else value for name, value in values.items()}


def hide_all_fields(scope: Scope, value: Any) -> Any:
    """Return fields by name, or a list of such, without those that are secret at any level."""
    while scope.parent is not None:
        scope = scope.parent.scope
    marked = scope.plan.marked
    if marked is None:
        return value
    secrets = marked.list_all_secrets()
    if isinstance(value, list):
        return [hide_all_fields(scope, item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value).items()
    return {name: HIDDEN if name in secrets else item for name, item in fields}


def hide_secrets(activation: Activation, text: str) -> str:
    """Return a text with every value replaced that a secret field has around an activation."""
    for value in find_secrets(activation):
        text = text.replace(value, HIDDEN)
    return text


def hide_in_failure(activation: Activation, error: Exception) -> Exception:
    """Return an error whose text holds no secret: the same one if it held none.

    Otherwise another error stands for it, of which the causes are left out, since they may quote
    the same.
    """
    secrets = find_secrets(activation)
    if not secrets:
        return error
    quoted = [str(cause) for cause in _list_causes(error)]
    if not any(value in text for value in secrets for text in quoted):
        return error
    shown = _HiddenError(hide_secrets(activation, explain_error(error)))
    setattr(shown, KIND, name_error(error))
    setattr(shown, LINEAGE, list_kinds(error))
    return shown


class _HiddenError(Exception):
    """Stands for an error whose text holds a secret."""


def _list_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that led to it."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        cause = pending.pop()
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            pending += [cause.__cause__, cause.__context__]


def find_secrets(activation: Activation) -> list[str]:
    """Return the secrets around an activation as they may stand in a text, the longest first."""
    texts: set[str] = set()
    inner: Activation | None = activation
    while inner is not None:
        marked = find_marked(inner.scope)
        if marked is not None and marked.secrets:
            texts.update(_read_fields(inner, marked))
        inner = inner.scope.parent
    variants = {variant for text in texts for variant in _list_variants(text)}
    return sorted((text for text in variants if len(text) >= _SHORTEST), key=len, reverse=True)


def _list_variants(text: str) -> Iterator[str]:
    """Yield a text as it stands in another one: as it is, in JSON, and as Python shows it."""
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    shown = repr(text)[1:-1]
    yield shown
    yield repr(shown)[1:-1]


def _read_fields(activation: Activation, marked: MarkedFlow) -> Iterator[str]:
    version: Version | None = activation.version
    for field in activation.scope.plan.schema.fields:
        if field.name not in marked.secrets:
            continue
        if version is not None and (value := field.stored(version)) is not UNSET:
            yield from _list_texts(value)
        elif field.constant is not UNSET:
            yield from _list_texts(field.constant)
        if activation.update is not None and field.index in activation.update:
            yield from _list_texts(activation.update[field.index])


def _list_texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value; of a model with marked fields, those of these fields alone."""
    if isinstance(value, SecretStr | SecretBytes):
        value = value.get_secret_value()
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        yield value
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        yield str(value)
    elif isinstance(value, BaseModel):
        infos = type(value).model_fields
        secret = [name for name, info in infos.items() if "secret" in find_field_marks(info)]
        for name in secret or infos:
            yield from _list_texts(value.__dict__.get(name))
    elif isinstance(value, Mapping):
        for item in cast("Mapping[Any, Any]", value).values():
            yield from _list_texts(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in cast("list[Any]", value):
            yield from _list_texts(item)
