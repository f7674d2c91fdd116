"""Bodies of stored records, checked against the schema of their kind before anything reads them.

A journal is data that another program, another version or a person may have written. So no reader
takes a record from it as it is: each gets the body from `read_body`, which returns one of the
declared shape, or raises an error that names the record. Unknown fields are left alone, since a
newer version may have added them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from graphorch.journal.errors import JournalDamaged
from graphorch.journal.record_kinds import BODIES, RecordKind
from graphorch.journal.records import Record

_FIELD_FAULTS: Final = 3  # faults of one body in a message


def read_body(run_id: str, record: Record) -> dict[str, Any]:
    """Return the body of a record of a run, with values of the types that its kind declares.

    What a model answered comes with all of its fields, also from a version that had fewer.
    Raises `JournalDamaged`.
    """
    kind = cast("RecordKind", record.kind)
    if kind not in BODIES:
        raise _damage(
            run_id,
            record,
            f"it is of the unknown kind {record.kind!r:.80}. Another version of graphorch wrote "
            "it, or it is damaged.",
        )
    part = ""
    try:
        _adapter(kind).validate_python(record.body, strict=True)
        body = cast("dict[str, Any]", record.body)
        for part, read in _PARTS.get(kind, {}).items():
            if body[part] is not None:
                body = {**body, part: read(body[part])}
    except ValidationError as error:
        fault = _explain(error, part)
        raise _damage(
            run_id, record, f"it is not what a '{kind}' record holds: {fault}."
        ) from error
    return body


@cache
def _adapter(kind: RecordKind) -> TypeAdapter[Any]:
    """Return the schema of a kind, made at its first use."""
    return TypeAdapter(BODIES[kind])


# ---- parts that are values of `graphorch.models` -------------------------------------------------
def _read_response(stored: object) -> object:
    from graphorch.models.messages import Response

    return _read_part(Response, stored)


def _read_usage(stored: object) -> object:
    from graphorch.models.messages import Usage

    return _read_part(Usage, stored)


def _read_decision(stored: object) -> object:
    from graphorch.models.decision import RoutingRecord

    return _read_part(RoutingRecord, stored)


_PARTS: Final[Mapping[RecordKind, Mapping[str, Callable[[object], object]]]] = {
    "call": {"response": _read_response},
    "unanswered": {"usage": _read_usage, "decision": _read_decision},
}


def _read_part(type_: type, stored: object) -> object:
    """Return a stored value as JSON with all of its fields. Raises `ValidationError`."""
    adapter = _part_adapter(type_)
    # As JSON text, so that a list counts as a tuple, and nothing else as something else.
    value = adapter.validate_json(_dump(stored), strict=True)
    return adapter.dump_python(value, mode="json")


def _dump(stored: object) -> str | bytes:
    try:
        return to_json(stored)
    except PydanticSerializationError:  # half a surrogate pair, which only the slower way writes
        return json.dumps(stored)


@cache
def _part_adapter(type_: type) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


# ---- faults --------------------------------------------------------------------------------------
def _explain(error: ValidationError, part: str) -> str:
    """Return what does not fit, by field, in a part of the body or all of it.

    Values may be secrets and are not shown.
    """
    faults: list[str] = []
    for fault in error.errors(include_url=False, include_input=False)[:_FIELD_FAULTS]:
        place = ".".join(str(key) for key in (part, *fault["loc"]) if key != "")
        message = fault["msg"][:1].lower() + fault["msg"][1:]
        faults.append(f"'{place}': {message}" if place else message)
    return "; ".join(faults)


def _damage(run_id: str, record: Record, message: str) -> JournalDamaged:
    return JournalDamaged(f"Run '{run_id}', record {record.seq}", message, seq=record.seq)
