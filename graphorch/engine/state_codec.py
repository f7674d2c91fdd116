"""Encode values of the state as plain JSON and back, by the types that the running flow declares.

What is stored chooses neither code nor a class of the user: a field without a type holds plain data
of Python from a closed list. A value is checked when it is written: it is read back at once
and has to be identical, so nothing is stored that could not be restored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import isfinite
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Union, cast, get_args, get_origin

from pydantic import ValidationError

from graphorch.core.events import Update
from graphorch.errors import JournalError, Unstorable
from graphorch.graph.plan import Plan
from graphorch.journal.codec import INTEGER_BITS, LIMITS, VALUE_DEPTH, BodyLimits, dump
from graphorch.journal.errors import InvalidRecord
from graphorch.state.identity import is_identical
from graphorch.state.slices import Field, Schema
from graphorch.state.validators import calls_functions, is_serialized, read_field_schemas
from graphorch.text import truncate_repr

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from graphorch.state.value_codec import ValueCodec, Written

_ENVELOPE: Final = 4  # levels of lists and objects around a value in a record
_FIX: Final = "Use a type that survives JSON, or give the field a serializer and a validator."
_FIX_SIZE: Final = (
    "Keep large content elsewhere and store a reference to it, or raise the limits of the store."
)
Notes = dict[str, Any]
"""By field, what is needed to read its value (see `graphorch.state.value_codec`)."""


class EncodedUpdate(NamedTuple):
    """Values by field as plain JSON, and the bytes that they take at most.

    The notes are None if JSON says all about each value.
    """

    values: dict[str, Any]
    notes: Notes | None
    size: int


class PlanCodec:
    """Encodes and decodes the updates of one plan, with a codec for each field in use."""

    def __init__(self, schema: Schema, limits: BodyLimits = LIMITS) -> None:
        self._fields = schema.fields
        self._by_name = schema.by_name
        self._limits = limits
        self._room = _compute_room(limits)
        self._levels = _count_levels(limits)
        self._adapters: dict[int, TypeAdapter[Any]] = {}

    # ---- writing ---------------------------------------------------------------------------------
    def encode(self, update: Update) -> EncodedUpdate:
        """Return the JSON value of each field by name. Raises `Unstorable`."""
        values: dict[str, Any] = {}
        notes: Notes | None = None
        size = 0
        for index, value in update.items():
            field = self._fields[index]
            measured = measure_json(value, self._levels) if _is_plain(field) else -1
            if measured < 0:
                # JSON may restore another value than this one.
                written = self._write(field, value)
                value, notes = written.value, {} if notes is None else notes
                if written.notes:
                    notes[field.name] = dict(written.notes)
                measured = written.size
                if not written.is_bounded and measure_json(value, self._levels) < 0:
                    raise self._build_unmeasured(field, value)
            values[field.name] = value
            size += measured
        encoded = EncodedUpdate(values, notes, size)
        self.require_room([encoded])
        return encoded

    def encode_storable(self, update: Update) -> EncodedUpdate:
        """Return the JSON value of each field that has one; the others are left out.

        Raises `Unstorable` for values that are too large.
        """
        kept = {index: value for index, value in update.items() if self._has_json(index, value)}
        return self.encode(kept)

    def _has_json(self, index: int, value: Any) -> bool:
        from graphorch.state.value_codec import Lossy

        try:
            self.encode({index: value})
        except Unstorable as error:
            if not isinstance(error.__cause__, Lossy):
                raise
            return False
        return True

    def require_room(self, updates: Sequence[EncodedUpdate]) -> None:
        """Raise `Unstorable`, with the largest field, if one record cannot hold all updates."""
        if sum([update.size for update in updates]) <= self._room:
            return
        sizes: dict[str, int] = {}
        for update in updates:
            for name, value in update.values.items():
                size = len(json.dumps(value, ensure_ascii=False).encode())
                sizes[name] = sizes.get(name, 0) + size
        total = sum(sizes.values())
        if total > self._room:
            largest = max(sizes, key=lambda name: sizes[name])
            raise Unstorable(
                f"'{largest}' takes {sizes[largest]:,} bytes as JSON, and all that is written with "
                f"it {total:,}. A record of this journal holds {self._room:,}. {_FIX_SIZE}"
            )

    def _write(self, field: Field, value: Any) -> Written:
        from graphorch.state.value_codec import Lossy

        try:
            return self._find_codec(field).write(value)
        except Lossy as error:
            raise _build_unstorable(field, value, str(error), error.fix or _FIX) from error

    def _build_unmeasured(self, field: Field, value: Any) -> Unstorable:
        reason = _find_fault(value, self._limits) or "it is no plain JSON"
        return _build_unstorable(field, value, reason, _choose_fix(reason, _FIX))

    # ---- reading ---------------------------------------------------------------------------------
    def decode(self, stored: object, notes: object = None) -> Update:
        """Return the update that was encoded.

        Raises `JournalError` if a field does not exist any more, or has another type.
        """
        if not isinstance(stored, dict) or not isinstance(notes, dict | None):
            kind = type(notes if isinstance(stored, dict) else stored).__name__
            raise JournalError(
                f"A stored update is a {kind}, not an object. The journal is damaged."
            )
        update: Update = {}
        for name, value in cast("dict[str, Any]", stored).items():
            field = self._by_name.get(str(name))
            if field is None:
                raise JournalError(
                    f"A stored update has the field '{name}', which the state does not have any "
                    "more. Register a migration."
                )
            update[field.index] = self._decode_value(field, value, cast("Notes | None", notes))
        return update

    def _decode_value(self, field: Field, value: Any, notes: Notes | None) -> Any:
        try:
            if notes is None:
                return self._adapter(field).validate_json(json.dumps(value))
            return self._find_codec(field).read(value, notes.get(field.name) or {})
        except (ValueError, TypeError) as error:
            reason = str(error)
            if isinstance(error, ValidationError):
                reason = error.errors(include_url=False)[0]["msg"]
            raise JournalError(
                f"The stored value of '{field.name}' does not fit its type any more: {reason}. "
                "Register a migration."
            ) from error

    def is_recorded(self, recorded: Update, notes: object, now: Update) -> bool:
        """Return whether an update is the one that was recorded with these notes.

        Before format 3 there were no notes, and values were kept as far as `==` could tell.
        """
        if notes is None:
            return recorded == now
        return is_identical(recorded, now)

    # ---- fields ----------------------------------------------------------------------------------
    def _find_codec(self, field: Field) -> ValueCodec:
        if field.codec is None:
            from graphorch.state.value_codec import ValueCodec

            field.codec = ValueCodec(field.model, field.name)
        return field.codec

    def _adapter(self, field: Field) -> TypeAdapter[Any]:
        """Return the reader of values without notes: plain ones, and all before format 3."""
        adapter = self._adapters.get(field.index)
        if adapter is None:
            from pydantic import TypeAdapter

            adapter = self._adapters[field.index] = TypeAdapter(field.info.rebuild_annotation())
        return adapter


class CodecCache:
    """Codecs of all plans in a run, with those of sub-flows and maps."""

    def __init__(self, limits: BodyLimits = LIMITS) -> None:
        self._limits = limits
        self._codecs: dict[int, tuple[Plan, PlanCodec]] = {}

    def of(self, plan: Plan) -> PlanCodec:
        """Return the codec of a plan."""
        entry = self._codecs.get(id(plan))
        if entry is None:
            # The entry keeps the plan alive, so that its id is not used again.
            entry = self._codecs[id(plan)] = (plan, PlanCodec(plan.schema, self._limits))
        return entry[1]


def require_storable(value: Any, subject: str, fix: str, limits: BodyLimits) -> None:
    """Raise `Unstorable`, which names the subject, if a record cannot hold a value.

    `fix` is what to do about it, unless it is too large.
    """
    size = measure_json(value, _count_levels(limits))
    if not 0 <= size <= _compute_room(limits) and (fault := _find_fault(value, limits)):
        fix = _choose_fix(fault, fix)
        raise Unstorable(f"{subject} cannot be kept in the journal: {fault}. {fix}")


def _choose_fix(reason: str, otherwise: str) -> str:
    return _FIX_SIZE if "bytes as JSON" in reason or "nests deeper" in reason else otherwise


def _compute_room(limits: BodyLimits) -> int:
    """Return how many bytes of a record values may take; the rest is for what it says beside."""
    return limits.max_bytes * 15 // 16


def _count_levels(limits: BodyLimits) -> int:
    """Return how deep a value may nest in a record."""
    return min(limits.max_depth, VALUE_DEPTH) - _ENVELOPE


def _find_fault(value: Any, limits: BodyLimits) -> str:
    """Return why a record cannot hold a value as JSON; empty if it can."""
    try:
        dump(value, BodyLimits(_compute_room(limits), _count_levels(limits)))
    except InvalidRecord as error:
        return str(error).split(". ", 1)[0].replace("The body", "it").replace("body.", "its ")
    return ""


def _is_plain(field: Field) -> bool:
    """Return whether the values of a field are JSON as they are, without any function."""
    if field.is_plain is None:
        # A function has the last word on the type of a value, and on what is written of it.
        schema = read_field_schemas(field.model).fields[field.name]
        field.is_plain = is_plain_type(field.info.annotation) and not calls_functions(schema)
    return field.is_plain


def is_plain_type(annotation: Any) -> bool:
    """Return whether all values of a type are written to JSON as they are.

    That is so for text, numbers, booleans, None, and lists and objects of these.
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (list, Union, UnionType):
        return bool(parts) and all(is_plain_type(part) for part in parts)
    if origin is dict:
        return len(parts) == 2 and parts[0] is str and is_plain_type(parts[1])
    if origin is Literal:
        return all(type(part) in (str, int, bool, NoneType) for part in parts)
    return annotation in (str, int, float, bool, None, NoneType)


_type_of: Callable[[object], type] = type
_ONLY_TEXT: Final = {str}
_LONG: Final = 100_000  # characters of a text that is worth measuring exactly
_MOST_PER_CHARACTER: Final = 6  # bytes: an escape such as \u0000


def measure_json(value: Any, levels: int) -> int:
    """Return how many bytes a value takes as JSON at most; -1 if JSON may not restore it.

    It does not restore instances of subclasses, text with lone surrogates, NaN, infinity and very
    large integers, and holds no more than so many levels of lists and objects.
    """
    kind = _type_of(value)
    if kind is str:
        return _measure_text(value)
    if kind is int:
        return value.bit_length() // 3 + 2 if value.bit_length() <= INTEGER_BITS else -1
    if kind is bool or value is None:
        return 5
    if kind is float:
        return 25 if isfinite(value) else -1
    if kind is list and levels:
        return _measure_all(cast("list[Any]", value), levels - 1)
    if kind is dict and levels:
        entries = cast("dict[Any, Any]", value)
        keys = _measure_all(list(entries), 0) if set(map(type, entries)) <= _ONLY_TEXT else -1
        items = _measure_all(list(entries.values()), levels - 1) if keys >= 0 else -1
        return keys + items if items >= 0 else -1
    return -1


def _measure_all(values: list[Any], levels: int) -> int:
    kinds = set(map(type, values))
    if kinds == _ONLY_TEXT:
        size = _measure_text("".join(values))
        return size + 4 * len(values) + 2 if size >= 0 else -1
    total = 2
    for value in values:
        size = measure_json(value, levels)
        if size < 0:
            return -1
        total += size + 2  # a comma, a colon or a space
    return total


def _measure_text(text: str) -> int:
    if len(text) <= _LONG and text.isascii():
        return _MOST_PER_CHARACTER * len(text) + 2
    try:
        return len(json.dumps(text, ensure_ascii=False).encode())
    except UnicodeEncodeError:  # half of a surrogate pair
        return -1


def _build_unstorable(field: Field, value: Any, reason: str, fix: str) -> Unstorable:
    shown = f"'{field.name}' = {truncate_repr(value)}"
    if is_serialized(read_field_schemas(field.model).fields[field.name]):
        # Its serializer may be there to hide the value.
        shown = f"'{field.name}', a {type(value).__name__},"
    return Unstorable(f"{shown} cannot be kept in the journal: {reason}. {fix}")
