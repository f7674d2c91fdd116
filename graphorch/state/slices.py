"""The state's schema, and the slices of it that nodes read and write.

A slice is a pydantic model that the state inherits from (or the state itself). A reader builds a slice out of a version, handing
out copies of whatever could be changed in place. A writer turns what a node returned into a validated update, in which only the
fields count that the node set.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from graphorch.errors import Unassigned, WrongOutput, did_you_mean
from graphorch.state.copiers import Copier, copier, maker
from graphorch.state.reducers import at_once, trusted
from graphorch.state.validators import Validator, field_validators, whole_validator
from graphorch.state.version import UNSET, FoldedField, Version

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

M = TypeVar("M", bound=BaseModel)
Reducer = Callable[[Any, Any], Any]
Update = dict[int, Any]  # field index -> validated value

_MANY = 8  # fields of a slice from which on all of them are validated in one go
_set = object.__setattr__


class Field:
    """One field of the state, compiled: how it is validated, copied, folded, and what it is before anybody wrote it."""

    __slots__ = (
        "constant",
        "copy",
        "index",
        "info",
        "name",
        "reduce",
        "reduce_all",
        "required",
        "shares_nothing",
        "validate",
        "validator",
    )

    def __init__(self, index: int, name: str, info: FieldInfo, validator: Validator) -> None:
        self.index = index
        self.name = name
        self.info = info
        self.required = info.is_required()
        self.validator = validator
        self.validate = validator.validate
        self.copy: Copier | None = copier(info.annotation)
        # what was validated is the engine's own
        self.shares_nothing = validator.rebuilds or self.copy is None
        reducer = find_reducer(info)
        self.reduce = _guarded(reducer, self.copy)
        self.reduce_all = at_once().get(reducer)
        # a default that no function makes; readers are handed copies of it, as of every other value
        self.constant = (
            UNSET if self.required or info.default_factory is not None else info.get_default()
        )

    def default(self) -> Any:
        """A fresh default, or `UNSET` for a required field."""
        if self.required:
            return UNSET
        if self.constant is not UNSET:
            return self.copied(self.constant)
        return self.info.get_default(call_default_factory=True, validated_data={})

    def copied(self, value: Any) -> Any:
        """A value of this field that shares nothing mutable with the given one."""
        return value if self.copy is None else self.copy(value)

    def stored(self, version: Version) -> Any:
        """The value as the version holds it (not to be handed out), or `UNSET`."""
        entry = version.get(self.index)
        if isinstance(entry, tuple):
            return entry[1]
        if isinstance(entry, FoldedField):
            assert self.reduce is not None
            return entry.read(self.default, self.reduce, self.reduce_all)
        return UNSET

    def value(self, version: Version) -> Any:
        """The value to hand out: a copy unless it is deeply immutable, the default if nothing wrote it, or `UNSET`."""
        stored = self.stored(version)
        if stored is UNSET:
            return self.default()
        return stored if self.copy is None else self.copy(stored)


def find_reducer(info: FieldInfo) -> Reducer | None:
    """The reducer in a field's `Annotated` metadata: the one plain function there."""
    functions = [item for item in info.metadata if inspect.isroutine(item)]
    return functions[0] if functions else None


def _guarded(reduce: Reducer | None, copy: Copier | None) -> Reducer | None:
    """A user's reducer gets copies: it may change its arguments, and what it changed must not show in another branch."""
    if reduce is None or copy is None or reduce in trusted():
        return reduce
    return lambda old, new: reduce(copy(old), copy(new))


class Reader(Generic[M]):
    """Builds one slice out of a version."""

    __slots__ = ("_compiled", "_made", "fields", "model", "partial")

    def __init__(self, model: type[M], fields: Sequence[Field], *, partial: bool = False) -> None:
        self.model = model
        self.fields = tuple(fields)
        self._compiled = tuple(
            (field.index, field.name, field.constant, field.copy, field) for field in fields
        )
        # a reader of the whole state sees what is assigned; another slice must be complete
        self.partial = partial
        self._made = maker(model)

    def read(self, version: Version) -> M:
        """The slice. Raises `Unassigned` for a required field that nothing wrote, unless the reader is partial."""
        values: dict[str, Any] = {}
        own, base = version.own, version.base
        for index, name, constant, copy, field in self._compiled:
            entry = own.get(index) or base.get(index)
            # by far the most common: a field that was written, and is not folded
            if type(entry) is tuple:
                values[name] = entry[1] if copy is None else copy(entry[1])
            elif entry is None and constant is not UNSET:
                values[name] = constant if copy is None else copy(constant)
            else:
                self._add(values, field, version)
        # valid when they were committed; and nothing counts as set by the node
        return self._made(values, set())

    def _add(self, values: dict[str, Any], field: Field, version: Version) -> None:
        value = field.value(version)
        if value is not UNSET:
            values[field.name] = value
        elif not self.partial:
            fix = "Write it before, or give it a default."
            raise Unassigned(
                f"'{self.model.__name__}.{field.name}' was read, but nothing has assigned it in this run. {fix}"
            )

    def is_assigned(self, version: Version) -> bool:
        """Whether every required field, and at least one field, has been written: what an `X | None` parameter asks."""
        required = all(
            version.get(field.index) is not None for field in self.fields if field.required
        )
        return required and any(version.get(field.index) is not None for field in self.fields)

    def result(self, version: Version) -> M:
        """The slice as the run's caller gets it: like `read`, and `model_fields_set` names what was assigned."""
        made = self.read(version)
        written = version.entries() if version.base else version.own
        _set(
            made,
            "__pydantic_fields_set__",
            {field.name for field in self.fields if field.index in written},
        )
        return made


class Writer(Generic[M]):
    """Turns a returned slice into a validated update."""

    __slots__ = ("_compiled", "_indices", "_whole", "fields", "model")

    def __init__(self, model: type[M], fields: Sequence[Field]) -> None:
        self.model = model
        self.fields: Mapping[str, Field] = {field.name: field for field in fields}
        self._whole = (
            whole_validator({field.name: field.validator for field in fields})
            if len(fields) >= _MANY
            else None
        )
        self._indices = tuple(field.index for field in fields)
        self._compiled = {
            field.name: (
                field.index,
                field.validate,
                None if field.shares_nothing else field.copied,
            )
            for field in fields
        }

    def update(self, output: object) -> Update:
        """The fields that were set on `output`, validated. Raises `WrongOutput`."""
        if not isinstance(output, self.model):
            raise WrongOutput(
                f"It returned {_shown(output)}, but declares {self.model.__name__}. Return a {self.model.__name__}."
            )
        if self._whole is not None and len(output.__pydantic_fields_set__) == len(self._indices):
            try:
                return dict(zip(self._indices, self._whole(output.__dict__).values(), strict=True))
            except ValidationError:
                pass  # which field it is comes out below
        update: Update = {}
        values, compiled = output.__dict__, self._compiled
        for name in output.__pydantic_fields_set__:
            field = compiled.get(name)
            if field is None:
                raise WrongOutput(
                    f"It returned a field '{name}' that {self.model.__name__} does not have. {did_you_mean(name, self.fields)}"
                )
            index, validate, copied = field
            try:
                valid = validate(values[name])
            except ValidationError as error:
                raise self._invalid(name, error) from error
            update[index] = valid if copied is None else copied(valid)
        return update

    def returned_input(self, output: BaseModel, version: Version) -> Update:
        """The update when a node returns the very slice that it was handed: what it set, and what it changed in place.

        Raises `WrongOutput` if a reducer field was changed: the whole old value would be folded in a second time.
        """
        update = self.update(output)
        for field in self.fields.values():
            before = field.stored(version) if field.copy is not None else UNSET
            if before is UNSET and field.copy is not None:
                before = field.default()
            changed = field.index in update or (
                before is not UNSET and output.__dict__.get(field.name) != before
            )
            if changed and field.reduce is not None:
                raise WrongOutput(
                    f"It changed '{field.name}' of the slice that it was handed, and returned that slice. '{field.name}' has a reducer: "
                    f"return {self.model.__name__}({field.name}=…) with only what is new."
                )
            if changed:
                update[field.index] = self._validated(field, output.__dict__[field.name])
        return update

    def _validated(self, field: Field, value: Any) -> Any:
        try:
            valid = field.validate(value)
        except ValidationError as error:
            raise self._invalid(field.name, error) from error
        return valid if field.shares_nothing else field.copied(valid)

    def _invalid(self, name: str, error: ValidationError) -> WrongOutput:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        return WrongOutput(
            f"It returned {self.model.__name__} with '{where}' = {_shown(first['input'])}: {first['msg']}."
        )


class Reading(Protocol):
    """What a node or a flow's output reads out of a version."""

    def read(self, version: Version) -> Any: ...
    def result(self, version: Version) -> Any: ...
    def is_assigned(self, version: Version) -> bool: ...


class Writing(Protocol):
    """What a node's output or a flow's input becomes."""

    def update(self, output: object) -> Update: ...
    def returned_input(self, output: BaseModel, version: Version) -> Update: ...


class ValueReader:
    """Reads one field whose value is a whole slice: the item or the result of a map's worker."""

    __slots__ = ("field", "model")

    def __init__(self, model: type[BaseModel], field: Field) -> None:
        self.model = model
        self.field = field

    def read(self, version: Version) -> Any:
        """The slice. Raises `Unassigned` if nothing has written it."""
        entry = version.own.get(self.field.index) or version.base.get(self.field.index)
        if not isinstance(entry, tuple):
            raise Unassigned(f"A {self.model.__name__} was read, but the worker has written none.")
        return self.field.copied(entry[1])

    def result(self, version: Version) -> Any:
        """The same: the value was made by whoever wrote it."""
        return self.read(version)

    def is_assigned(self, version: Version) -> bool:
        """Whether it has been written."""
        return version.get(self.field.index) is not None


class ValueWriter:
    """Writes a whole slice into one field."""

    __slots__ = ("field", "model")

    def __init__(self, model: type[BaseModel], field: Field) -> None:
        self.model = model
        self.field = field

    def update(self, output: object) -> Update:
        """The slice, validated. Raises `WrongOutput`."""
        if not isinstance(output, self.model):
            raise WrongOutput(
                f"It returned {_shown(output)}, but declares {self.model.__name__}. Return a {self.model.__name__}."
            )
        try:
            valid = self.field.validate(output)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise WrongOutput(
                f"It returned {self.model.__name__} with '{where}' = {_shown(first['input'])}: {first['msg']}."
            ) from error
        return {self.field.index: valid if self.field.shares_nothing else self.field.copied(valid)}

    def returned_input(self, output: BaseModel, version: Version) -> Update:
        """The update when a worker returns the very item that it was handed: the item as it is now."""
        return self.update(output)


class AnyWriter:
    """Writes whichever slice of the state it is given: for a lambda, whose return nobody can know before it ran."""

    __slots__ = ("_schema", "_writers")

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._writers: dict[type[BaseModel], Writer[Any]] = {}

    def update(self, output: object) -> Update:
        """The fields that were set on `output`, validated. Raises `WrongOutput`."""
        if not isinstance(output, BaseModel) or self._schema.mistakes(type(output)):
            state = self._schema.model.__name__
            raise WrongOutput(
                f"It returned {_shown(output)}, which is no slice of the state {state}. Return a model that {state} inherits from."
            )
        writer = self._writers.get(type(output)) or self._writers.setdefault(
            type(output), self._schema.writer(type(output))
        )
        return writer.update(output)

    def returned_input(self, output: BaseModel, version: Version) -> Update:
        """The same: what it returns was made by it."""
        return self.update(output)


class Schema:
    """All fields of a state, by index and by name, and the readers and writers of its slices.

    `memory` are slices beside the state, which only those nodes know that a pattern made; no reader of the whole state sees them.
    """

    def __init__(self, model: type[BaseModel], memory: Sequence[type[BaseModel]] = ()) -> None:
        self.model = model
        found = [
            (name, info) for item in (model, *memory) for name, info in item.model_fields.items()
        ]
        validators = {
            name: validator
            for item in (model, *memory)
            for name, validator in field_validators(item).items()
        }
        self.fields = tuple(
            Field(index, name, info, validators[name]) for index, (name, info) in enumerate(found)
        )
        self.by_name = {field.name: field for field in self.fields}

    def reader(self, model: type[M]) -> Reader[M]:
        """The reader of a slice; the whole state is read as far as it is assigned."""
        return Reader(model, self._of(model), partial=model is self.model)

    def writer(self, model: type[M]) -> Writer[M]:
        """The writer of a slice."""
        return Writer(model, self._of(model))

    def mistakes(self, slice: type[BaseModel]) -> list[str]:
        """In which fields a slice and the state declare something different: one sentence each."""
        found: list[str] = []
        for name, info in slice.model_fields.items():
            field = self.by_name.get(name)
            if field is None:
                found.append(
                    f"'{slice.__name__}.{name}' is no field of the state {self.model.__name__}."
                )
            elif not _same(info, field.info):
                found.append(
                    f"'{slice.__name__}.{name}' is declared as {_declared(info)}, but the state {self.model.__name__} has {_declared(field.info)}."
                )
        return found

    def _of(self, model: type[BaseModel]) -> list[Field]:
        return [self.by_name[name] for name in model.model_fields]


def _same(left: FieldInfo, right: FieldInfo) -> bool:
    return (left.annotation, left.metadata, left.is_required(), left.default) == (
        right.annotation,
        right.metadata,
        right.is_required(),
        right.default,
    )


def _declared(info: FieldInfo) -> str:
    kind = (
        getattr(info.annotation, "__name__", None)
        if not getattr(info.annotation, "__args__", None)
        else None
    )
    reducer = find_reducer(info)
    extra = f" folded by {getattr(reducer, '__name__', reducer)}" if reducer is not None else ""
    default = (
        ""
        if info.is_required()
        else f" = {info.default!r}"
        if info.default_factory is None
        else " with a default factory"
    )
    return f"{kind or info.annotation}{extra}{default}"


def _shown(value: object) -> str:
    """A value in a message: its type and a short form of it."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:77] + '…'}"
