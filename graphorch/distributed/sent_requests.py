"""Model calls of a function that runs on a worker, as messages: the owner of the run makes them.

So budgets, policies, recorded answers and the journal stay where they are, and a worker that dies
has spent nothing that is not in the books.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import BaseModel

from graphorch.models.messages import Message, Request


def encode_request(request: Request) -> dict[str, Any]:
    """Return what a request asks, as plain JSON."""
    schema = request.schema
    return {
        "model": request.model,
        "messages": [[message.role, message.content] for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "schema": None if schema is None else [schema.__name__, schema.model_json_schema()],
    }


def decode_request(body: Mapping[str, Any], known: Iterable[type[BaseModel]]) -> Request:
    """Return the request that was encoded.

    What it asks for is one of the `known` types if that has the same schema, else a type that has
    this schema and nothing else.
    """
    messages = [Message(role=role, content=content) for role, content in body["messages"]]
    return Request(
        model=body["model"],
        messages=tuple(messages),
        schema=None if body["schema"] is None else _find_type(body["schema"], known),
        max_tokens=body["max_tokens"],
        temperature=body["temperature"],
    )


def _find_type(shape: list[Any], known: Iterable[type[BaseModel]]) -> type[BaseModel]:
    name, schema = shape
    for model in known:
        if model.__name__ == name and model.model_json_schema() == schema:
            return model
    return _make_stand_in(name, schema)


def _make_stand_in(name: str, schema: dict[str, Any]) -> type[BaseModel]:
    """Return a type that tells a model what to answer; the worker validates the answer."""

    def model_json_schema(*_: object, **__: object) -> dict[str, Any]:
        return schema

    namespace = {"__module__": __name__, "model_json_schema": staticmethod(model_json_schema)}
    return cast("type[BaseModel]", type(name, (BaseModel,), namespace))


class RequestNames:
    """Names of the requests of one call: the n-th of equal ones is the n-th in each repetition.

    So a worker that runs the call again gets the answers that the first one got.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def name(self, body: Mapping[str, Any]) -> str:
        """Return the name of the next request that asks this."""
        text = json.dumps(body, sort_keys=True).encode()
        digest = hashlib.blake2b(text, digest_size=12).hexdigest()
        self._counts[digest] += 1
        return f"{digest}.{self._counts[digest]}"
