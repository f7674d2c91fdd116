"""Values of requests that a model of the flow checks, with every mistake at its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from graphorch.mcp_server.schemas import find_unknown
from graphorch.server.problems import Mistake, list_mistakes, refuse_mistakes
from graphorch.text import explain_error

ModelT = TypeVar("ModelT", bound=BaseModel)


def parse_value(model: type[ModelT], values: Mapping[str, Any], place: str) -> ModelT:
    """Return the model of plain JSON values, which are at a JSON pointer of the request.

    Raises `Problem` with every mistake.
    """
    parsed, mistakes = check_value(model, values, place)
    if parsed is None:
        raise refuse_mistakes(mistakes, "body")
    return parsed


def check_value(
    model: type[ModelT], values: Mapping[str, Any], place: str
) -> tuple[ModelT | None, list[Mistake]]:
    """Return the model of plain JSON values, or all mistakes in them."""
    mistakes: list[Mistake] = [
        {"where": f"{place}/{name}", "what": what}
        for name, what in find_unknown(model, values).items()
    ]
    try:
        parsed = model.model_validate_json(json.dumps(values), by_alias=True, by_name=True)
    except ValidationError as error:
        return None, [*mistakes, *list_mistakes(error, place)]
    except Exception as error:  # validators of users may raise anything
        return None, [*mistakes, {"where": place, "what": explain_error(error)}]
    return (None if mistakes else parsed), mistakes
