"""Write an answer as JSON for a letter, and read it back as it was."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from graphorch.errors import InputError
from graphorch.state.value_codec import Lossy, ValueCodec


def encode_answer(path: str, answer: BaseModel, expected: type[BaseModel]) -> dict[str, Any]:
    """Return the fields `answer` and `notes` of a letter.

    Raises `InputError` for an answer that would not come back as it is.
    """
    try:
        written = _build_codec(expected).write(answer)
    except Lossy as error:
        fix = error.fix or "Use types that survive JSON."
        raise InputError(
            f"The answer to '{path}' cannot be sent to the process that drives the run: {error}. "
            f"{fix}"
        ) from error
    fields: dict[str, Any] = {"answer": written.value}
    if written.notes:
        fields["notes"] = dict(written.notes)
    return fields


def decode_answer(path: str, fields: dict[str, Any], expected: type[BaseModel]) -> BaseModel:
    """Return the answer of a letter. Raises `InputError` if it does not fit the question."""
    try:
        return _build_codec(expected).read(fields["answer"], fields.get("notes") or {})
    except (ValueError, TypeError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            reason = error.errors(include_url=False)[0]["msg"]
        raise InputError(
            f"'{path}' asks for a {expected.__name__}, and the answer does not fit: {reason}. "
            f"Answer with {expected.__name__}(…)."
        ) from error


def _build_codec(expected: type[BaseModel]) -> ValueCodec:
    """Return the codec of a model that holds nothing but the answer."""
    return ValueCodec(create_model("Sent", answer=(expected, ...)), "answer")
