"""Schema of the state, and the slices of it that nodes read and write.

A slice is a pydantic model that the state inherits from (or the state itself). A reader builds a
slice out of a version, and hands out copies of all values that could be changed in place. A writer
turns the return value of a node into a validated update of the fields that the node set.

Rule 1: no value that can be changed in place is shared between a node and the state.
Rule 2: values in a version are valid, so a reader builds instances without validating again.
Rule 3: an update costs as much as the fields that it sets, not as much as the state has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from pydantic import BaseModel, ValidationError

from graphorch.errors import (
    GraphorchError,
    ReducerFailed,
    Unassigned,
    WrongOutput,
    as_failure,
    did_you_mean,
)
from graphorch.state.copiers import Copier, compile_copier, compile_maker, copy_by_value
from graphorch.state.defaults import DefaultMaker, find_constant
from graphorch.state.marks import HIDDEN, is_secret
from graphorch.state.reducers import (
    AppendedList,
    find_bulk_reducer,
    find_reducer,
    is_trusted,
    name_reducer,
)
from graphorch.state.validators import Validator, field_validators, whole_validator
from graphorch.state.version import UNSET, FoldedField, Version
from graphorch.text import format_value, truncate_repr

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from graphorch.state.value_codec import ValueCodec

M = TypeVar("M", bound=BaseModel)
Reducer = Callable[[Any, Any], Any]
Update = dict[int, Any]  # field index -> validated value

_CHECK_OF_MODEL = "chain[is-instance["  # of a settled schema; no part of a value has this name
_MANY = 8  # slices of at least so many fields are validated in one go
_set = object.__setattr__


class Uncopyable(WrongOutput):
    """A value of the state that cannot be copied, although each node works on its own copy."""

    def __init__(self, field: str, error: Exception) -> None:
        super().__init__(
            f"'{field}' holds a value that cannot be copied ({type(error).__name__}: {error}), and "
            "each node works on a copy of its own. Hand clients, locks and connections to the run "
            "as `resources=` (a node reads them as `ctx.resources`), or give the class of the "
            "value a `__deepcopy__`."
        )


class Field:
    """Compiled field of the state: its default, and how it is validated, copied and folded."""

    __slots__ = (
        "codec",
        "constant",
        "copy",
        "index",
        "info",
        "is_plain",
        "model",
        "name",
        "reduce",
        "reduce_all",
        "required",
        "validate",
        "validator",
    )

    def __init__(self, index: int, model: type[BaseModel], name: str, validator: Validator) -> None:
        info = model.model_fields[name]
        self.index = index
        self.model = model
        self.name = name
        self.info = info
        self.required = info.is_required()
        self.validator = validator
        self.copy: Copier | None = (
            copy_by_value if validator.is_opaque else compile_copier(info.annotation)
        )
        # returns a valid value that shares nothing mutable with the given one
        self.validate = self._compile_validate(validator)
        reducer = find_reducer(info)
        self.reduce = self._guard_reducer(reducer, validator) if reducer is not None else None
        self.reduce_all = find_bulk_reducer(reducer, info.annotation)
        # What a journal needs of a field, made by the first durable run: whether its values are
        # JSON as they are, and what writes and reads those that are not.
        self.is_plain: bool | None = None
        self.codec: ValueCodec | None = None
        # The default, if it is always the same; readers get copies of it, as of other values.
        self.constant = find_constant(model, info)

    def _compile_validate(self, validator: Validator) -> Callable[[Any], Any]:
        check, rebuild = validator.check, validator.rebuild
        if rebuild is check or self.copy is None:
            return check
        if rebuild is None:
            return lambda value: self.copy_value(check(value))

        def validate(value: Any) -> Any:
            try:
                return rebuild(value)
            except ValidationError:
                return self.copy_value(check(value))

        return validate

    def default(self) -> Any:
        """Return a copy of the constant default, or `UNSET` for a field without one."""
        return UNSET if self.constant is UNSET else self.copy_value(self.constant)

    def copy_value(self, value: Any) -> Any:
        """Return a copy of a value, or the value itself if it is deeply immutable.

        Raises `Uncopyable`.
        """
        if self.copy is None:
            return value
        try:
            return self.copy(value)
        except Exception as error:
            raise Uncopyable(self.name, error) from error

    def _guard_reducer(self, reducer: Reducer, validator: Validator) -> Reducer:
        """Return a reducer of a user that is given copies, and whose results are validated.

        It may change its arguments, and such a change must not show in another branch.
        """
        if is_trusted(reducer):
            return reducer
        copy, check = self.copy_value, validator.check
        return lambda old, new: check(reducer(copy(old), copy(new)))

    def stored(self, version: Version) -> Any:
        """Return the value as the version holds it (not to be handed out), or `UNSET`.

        Raises `ReducerFailed`.
        """
        entry = version.get(self.index)
        if isinstance(entry, tuple):
            return entry[1]
        if isinstance(entry, FoldedField):
            value = self._fold(entry)
            return value.to_list() if isinstance(value, AppendedList) else value
        return UNSET

    def value(self, version: Version) -> Any:
        """Return the value to hand out: a copy of the stored one, the default, or `UNSET`.

        Raises `ReducerFailed` or `Uncopyable`.
        """
        entry = version.get(self.index)
        if isinstance(entry, tuple):
            return self.copy_value(entry[1])
        if entry is None:
            return self.default()
        value = self._fold(entry)
        if not isinstance(value, AppendedList):
            return self.copy_value(value)
        items = value.to_list()  # a copy already, but of the list alone
        return items if self.copy is list else self.copy_value(items)

    def _fold(self, entry: FoldedField) -> Any:
        assert self.reduce is not None
        try:
            return entry.read(self.default, self.reduce, self.reduce_all)
        except BaseException as raised:
            error = as_failure(raised)
            if error is None:
                raise
            writers = dict.fromkeys(write.by for write in entry.history.list_writes())
            raise self._describe_failure(list(writers), error) from error

    def fold_one(self, old: Any, new: Any) -> Any:
        """Return one write folded into a value. Raises `ReducerFailed`."""
        assert self.reduce is not None
        try:
            return self.reduce(old, new)
        except Exception as error:
            raise self._describe_failure([], error) from error

    def _describe_failure(self, writers: list[str], error: Exception) -> ReducerFailed:
        reducer = find_reducer(self.info)
        assert reducer is not None
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            value = HIDDEN if is_secret(self.info) else format_value(first["input"])
            what = f"returned {value}: {first['msg']}"
        else:
            what = f"raised {type(error).__name__}: {error}"
        start = ""
        if self.constant is not UNSET and not is_secret(self.info):
            start = f", beginning with the default {truncate_repr(self.constant, 40)}"
        written = f" written by {_join_names(writers)}" if writers else ""
        return ReducerFailed(
            f"The reducer '{name_reducer(reducer)}' of field '{self.name}' {what}. It folded "
            f"values{written}{start}. A reducer is called with the value so far and one write, and "
            "returns both as one value of the field's type; give the field a default that it can "
            "fold."
        )


class Reader(Generic[M]):
    """Reader that builds one slice out of a version."""

    __slots__ = ("_compiled", "_make", "fields", "model", "partial")

    def __init__(self, model: type[M], fields: Sequence[Field], *, partial: bool = False) -> None:
        self.model = model
        self.fields = tuple(fields)
        self._compiled = tuple(
            (field.index, field.name, field.constant, field.copy, field) for field in fields
        )
        # a reader of the whole state sees what is assigned; another slice must be complete
        self.partial = partial
        self._make = compile_maker(model)

    def read(self, version: Version) -> M:
        """Return the slice. Raise `Unassigned` for a required field, unless partial."""
        values: dict[str, Any] = {}
        own, base = version.own, version.base
        name = ""
        try:
            for index, name, constant, copy, field in self._compiled:
                entry = own.get(index) or base.get(index)
                # Fast path of `Field.value`, for a plain field that was written or has a constant
                # default.
                if type(entry) is tuple:
                    values[name] = entry[1] if copy is None else copy(entry[1])
                elif entry is None and constant is not UNSET:
                    values[name] = constant if copy is None else copy(constant)
                else:
                    self._add(values, field, version)
        except GraphorchError:
            raise
        except Exception as error:
            raise Uncopyable(name, error) from error
        # The values were valid when they were committed, and none of them counts as set by the
        # node.
        return self._make(values, set())

    def _add(self, values: dict[str, Any], field: Field, version: Version) -> None:
        value = field.value(version)
        if value is not UNSET:
            values[field.name] = value
        elif not self.partial:
            fix = "Write it before, or give it a default."
            if not field.required:
                fix = "Its default_factory needs fields that the input of the run does not set."
            raise Unassigned(
                f"'{self.model.__name__}.{field.name}' was read, but nothing has assigned it "
                f"in this run. {fix}"
            )

    def is_assigned(self, version: Version) -> bool:
        """Return whether every required field, and at least one field, has been written.

        If not, a parameter `X | None` is None.
        """
        is_any_written = False
        for field in self.fields:
            if version.is_written(field.index):
                is_any_written = True
            elif field.required:
                return False
        return is_any_written

    def result(self, version: Version) -> M:
        """Return the slice for the caller of a run; its set fields are the assigned ones."""
        instance = self.read(version)
        if version.base:
            fields_set = {field.name for field in self.fields if version.is_written(field.index)}
        else:
            fields_set = {field.name for field in self.fields if field.index in version.own}
        _set(instance, "__pydantic_fields_set__", fields_set)
        return instance


class Writer(Generic[M]):
    """Writer that turns a returned slice into a validated update."""

    __slots__ = ("_compiled", "_indices", "_whole", "fields", "model")

    def __init__(self, model: type[M], fields: Sequence[Field]) -> None:
        self.model = model
        self.fields: Mapping[str, Field] = {field.name: field for field in fields}
        self._whole: Callable[[Any], dict[str, Any]] | None = None
        if len(fields) >= _MANY:
            self._whole = whole_validator({field.name: field.validator for field in fields})
        self._indices = tuple(field.index for field in fields)
        self._compiled = {field.name: (field.index, field.validate) for field in fields}

    def update(self, output: object) -> Update:
        """Return the fields that were set on `output`, validated. Raise `WrongOutput`."""
        if not isinstance(output, self.model):
            raise _wrong_type(output, self.model)
        # Fast path for a large slice of which every field is set.
        if self._whole is not None and len(output.__pydantic_fields_set__) == len(self._indices):
            try:
                return dict(zip(self._indices, self._whole(output.__dict__).values(), strict=True))
            except ValidationError:
                pass  # validated field by field below, to name the one that is wrong
        update: Update = {}
        values, compiled = output.__dict__, self._compiled
        for name in output.__pydantic_fields_set__:
            field = compiled.get(name)
            if field is None:
                raise WrongOutput(
                    f"It returned a field '{name}' that {self.model.__name__} does not have. "
                    f"{did_you_mean(name, self.fields)}"
                )
            index, validate = field
            try:
                update[index] = validate(values[name])
            except ValidationError as error:
                raise _invalid_value(self.model, error, name) from error
        return update

    def returned_input(self, output: BaseModel, version: Version) -> Update:
        """Return the update of a node that returns the very slice that it was given.

        It consists of the fields that it set and those that it changed in place. Raise
        `WrongOutput` if one of them has a reducer: the whole old value would be folded in a second
        time.
        """
        update = self.update(output)
        for field in self.fields.values():
            changed = field.index in update or _is_changed(field, output, version)
            if changed and field.reduce is not None:
                raise WrongOutput(
                    f"It changed '{field.name}' of the slice that it was given, and returned that "
                    f"slice. '{field.name}' has a reducer: return "
                    f"{self.model.__name__}({field.name}=…) with only what is new."
                )
            if changed:
                update[field.index] = self._validated(field, output.__dict__[field.name])
        return update

    def _validated(self, field: Field, value: Any) -> Any:
        try:
            return field.validate(value)
        except ValidationError as error:
            raise _invalid_value(self.model, error, field.name) from error


class InputWriter(Writer[M]):
    """Writer of an input, which also makes the defaults of the fields that nothing has set."""

    __slots__ = ("_maker",)

    def __init__(self, model: type[M], fields: Sequence[Field], maker: DefaultMaker) -> None:
        super().__init__(model, fields)
        self._maker = maker

    def update(self, output: object) -> Update:
        """Return the fields that were set, validated, with all defaults. Raise `WrongOutput`."""
        update = super().update(output)
        assert isinstance(output, self.model)
        return self._maker.complete(update, instance=output)


class Reading(Protocol):
    """Reader for a node or for the output of a flow."""

    def read(self, version: Version) -> Any: ...
    def result(self, version: Version) -> Any: ...
    def is_assigned(self, version: Version) -> bool: ...


class Writing(Protocol):
    """Writer of the output of a node or the input of a flow."""

    def update(self, output: object) -> Update: ...
    def returned_input(self, output: BaseModel, version: Version) -> Update: ...


class ValueReader:
    """Reader of one field whose value is a whole slice: the item or result of a map's worker."""

    __slots__ = ("field", "model")

    def __init__(self, model: type[BaseModel], field: Field) -> None:
        self.model = model
        self.field = field

    def read(self, version: Version) -> Any:
        """Return the slice. Raise `Unassigned` if nothing has written it."""
        entry = version.own.get(self.field.index) or version.base.get(self.field.index)
        if not isinstance(entry, tuple):
            raise Unassigned(
                f"A {self.model.__name__} was read, but the worker has not written one."
            )
        return self.field.copy_value(entry[1])

    def result(self, version: Version) -> Any:
        """Return the slice with the `model_fields_set` that its writer gave it."""
        return self.read(version)

    def is_assigned(self, version: Version) -> bool:
        """Return whether it has been written."""
        return version.get(self.field.index) is not None


class ValueWriter:
    """Writer of a whole slice into one field."""

    __slots__ = ("field", "model")

    def __init__(self, model: type[BaseModel], field: Field) -> None:
        self.model = model
        self.field = field

    def update(self, output: object) -> Update:
        """Return the slice, validated. Raise `WrongOutput`."""
        if not isinstance(output, self.model):
            raise _wrong_type(output, self.model)
        try:
            return {self.field.index: self.field.validate(output)}
        except ValidationError as error:
            raise _invalid_value(self.model, error) from error

    def returned_input(self, output: BaseModel, version: Version) -> Update:
        """Return the update of a worker that returns its item: the item as it is now."""
        return self.update(output)


class AnyWriter:
    """Writer of any slice of the state: for a lambda, whose return type is not declared."""

    __slots__ = ("_schema", "_writers")

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._writers: dict[type[BaseModel], Writer[Any]] = {}

    def update(self, output: object) -> Update:
        """Return the fields that were set on `output`, validated. Raise `WrongOutput`."""
        if not isinstance(output, BaseModel) or self._schema.mistakes(type(output)):
            state = self._schema.model.__name__
            raise WrongOutput(
                f"It returned {format_value(output)}, which is not a slice of the state {state}. "
                f"Return a model that {state} inherits from."
            )
        writer = self._writers.get(type(output))
        if writer is None:
            writer = self._writers[type(output)] = self._schema.writer(type(output))
        return writer.update(output)

    def returned_input(self, output: BaseModel, version: Version) -> Update:
        """Return the update of a lambda: it made the slice itself, so its set fields count."""
        return self.update(output)


class Schema:
    """Fields of a state, by index and by name, and the readers and writers of its slices.

    `memory` are slices beside the state for the nodes that a pattern made; a reader of the whole
    state does not see them.
    """

    def __init__(self, model: type[BaseModel], memory: Sequence[type[BaseModel]] = ()) -> None:
        self.model = model
        fields: list[Field] = []
        for slice in (model, *memory):
            validators = field_validators(slice)
            for name in slice.model_fields:
                fields.append(Field(len(fields), slice, name, validators[name]))
        self.fields = tuple(fields)
        self.by_name = {field.name: field for field in self.fields}
        self.defaults = DefaultMaker(self.fields)

    def reader(self, model: type[M]) -> Reader[M]:
        """Return the reader of a slice; the whole state is read as far as it is assigned."""
        return Reader(model, self._fields_of(model), partial=model is self.model)

    def writer(self, model: type[M]) -> Writer[M]:
        """Return the writer of a slice."""
        return Writer(model, self._fields_of(model))

    def input_writer(self, model: type[M]) -> Writer[M]:
        """Return the writer of a slice that is the input of a scope."""
        if not self.defaults.is_needed:
            return self.writer(model)
        return InputWriter(model, self._fields_of(model), self.defaults)

    def mistakes(self, slice: type[BaseModel]) -> list[str]:
        """Return a sentence for each field that a slice and the state declare differently."""
        mistakes: list[str] = []
        for name, info in slice.model_fields.items():
            field = self.by_name.get(name)
            if field is None:
                mistakes.append(
                    f"'{slice.__name__}.{name}' is not a field of the state {self.model.__name__}."
                )
            elif not _is_equal_declaration(info, field.info):
                mistakes.append(
                    f"'{slice.__name__}.{name}' is declared as {_format_declaration(info)}, "
                    f"but the state {self.model.__name__} has {_format_declaration(field.info)}."
                )
        return mistakes

    def _fields_of(self, model: type[BaseModel]) -> list[Field]:
        return [self.by_name[name] for name in model.model_fields]


def _is_changed(field: Field, output: BaseModel, version: Version) -> bool:
    """Return whether a node changed a field in place; a deeply immutable value cannot be."""
    if field.copy is None:
        return False
    before = field.stored(version)
    if before is UNSET:
        before = field.default()
    return before is not UNSET and not _is_equal(output.__dict__.get(field.name), before)


def _is_equal(left: Any, right: Any) -> bool:
    """Return whether two values are equal; arrays and tables, whose `==` is no bool, by content."""
    with contextlib.suppress(Exception):
        answer = left == right
        if isinstance(answer, bool):
            return answer
    with contextlib.suppress(Exception):
        return type(left) is type(right) and _has_equal_parts(left, right)
    return False  # in doubt a value has changed


def _has_equal_parts(left: Any, right: Any) -> bool:
    """Compare the parts of two values: entries, items, or what a copy would be made of."""
    if isinstance(left, BaseModel):
        left, right = left.__dict__, right.__dict__
    if isinstance(left, dict):
        entries, others = cast("dict[Any, Any]", left), cast("dict[Any, Any]", right)
        same_keys = entries.keys() == others.keys()
        return same_keys and all(_is_equal(entries[key], others[key]) for key in entries)
    if not isinstance(left, list | tuple):
        left, right = left.__reduce_ex__(4), right.__reduce_ex__(4)
    items, others = cast("Sequence[Any]", left), cast("Sequence[Any]", right)
    return len(items) == len(others) and all(map(_is_equal, items, others))


def _is_equal_declaration(left: FieldInfo, right: FieldInfo) -> bool:
    return (left.annotation, left.metadata, left.is_required(), left.default) == (
        right.annotation,
        right.metadata,
        right.is_required(),
        right.default,
    ) and left.default_factory is right.default_factory


def _format_declaration(info: FieldInfo) -> str:
    """Return a field as text: its type, reducer and default."""
    parts = [str(info.annotation)]
    # A plain class is shown by its name, a generic type in full.
    if not getattr(info.annotation, "__args__", None):
        parts = [getattr(info.annotation, "__name__", None) or str(info.annotation)]
    reducer = find_reducer(info)
    if reducer is not None:
        parts.append(f" folded by {name_reducer(reducer)}")
    if info.default_factory is not None:
        parts.append(" with a default factory")
    elif not info.is_required():
        parts.append(f" = {info.default!r}")
    return "".join(parts)


def _wrong_type(output: object, model: type[BaseModel]) -> WrongOutput:
    if isinstance(output, Coroutine):
        output.close()
        return WrongOutput(
            f"It returned a coroutine, but declares {model.__name__}. "
            "Write `await` before the call that made it."
        )
    if output is None:
        return WrongOutput(
            f"It returned nothing, but declares {model.__name__}. Return a {model.__name__}, or "
            f"declare `{model.__name__} | None` if it may write nothing."
        )
    return WrongOutput(
        f"It returned {format_value(output)}, but declares {model.__name__}. "
        f"Return a {model.__name__}."
    )


def _invalid_value(model: type[BaseModel], error: ValidationError, *place: str) -> WrongOutput:
    """Return the error for a value of a slice that is not valid; `place` begins the path to it."""
    errors = error.errors(include_url=False)
    # Of a union, the choice that the value came furthest in says most.
    is_other_model = errors[0]["type"] == "is_instance_of"
    first = max(errors, key=lambda item: len(item["loc"])) if is_other_model else errors[0]
    path = [str(part) for part in (*place, *first["loc"])]
    where = ".".join(part for part in path if not part.startswith(_CHECK_OF_MODEL))
    value = format_value(first["input"])
    if path and path[0] in model.model_fields and is_secret(model.model_fields[path[0]]):
        value = HIDDEN
    return WrongOutput(f"It returned {model.__name__} with '{where}' = {value}: {first['msg']}.")


def _join_names(names: list[str], limit: int = 6) -> str:
    """Return quoted names for a sentence; a long list is cut short."""
    shown = ", ".join(f"'{name}'" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
