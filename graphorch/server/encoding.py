"""What handlers return, as the bytes of a response or of an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from graphorch.server.endpoint import JSON, Endpoint
from graphorch.text import escape_surrogates


@cache
def build_adapter(type_: Any) -> TypeAdapter[Any]:
    """Return what reads and writes values of a type as JSON; made once, since that takes long."""
    return TypeAdapter(type_)


def encode(endpoint: Endpoint, value: Any) -> bytes:
    """Return what the handler of an endpoint returned, in the media type of the endpoint."""
    if endpoint.media_type != JSON:
        return value.encode("utf-8", "backslashreplace")
    adapter = build_adapter(endpoint.returns)
    try:
        return adapter.dump_json(value)
    except PydanticSerializationError:
        # A half surrogate pair in what a run or a file holds has no bytes, and is shown escaped.
        return build_adapter(Any).dump_json(_escape(adapter.dump_python(value)))


def _escape(value: Any) -> Any:
    """Return a plain value with every half surrogate pair escaped, also in keys."""
    if isinstance(value, str):
        return escape_surrogates(value)
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {_escape(key): _escape(inner) for key, inner in items}
    if isinstance(value, list | tuple):
        return [_escape(inner) for inner in cast("Sequence[Any]", value)]
    return value
