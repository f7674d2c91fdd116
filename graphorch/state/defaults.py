"""Defaults that differ from call to call, such as ids and times: made once for each scope of a run.

A run makes the defaults of the fields that its input does not set when it begins, as pydantic would
in an instance of the state: in the order of the fields, validated where the model says so, and with
the values of the fields before. So all nodes read the same ones, and so does a run that is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, get_origin

from pydantic import BaseModel

from graphorch.errors import WrongOutput
from graphorch.state.copiers import has_plain_instances
from graphorch.state.validators import build_validator, read_field_schemas
from graphorch.state.version import UNSET, InputUpdate

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class DefaultField(Protocol):
    """What this file needs to know of a field of the state."""

    @property
    def index(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def model(self) -> type[BaseModel]: ...
    @property
    def info(self) -> FieldInfo: ...
    @property
    def required(self) -> bool: ...
    @property
    def constant(self) -> Any: ...
    def copy_value(self, value: Any) -> Any: ...


_PLAIN_TYPES = (list, dict, set, frozenset, tuple, str, bytes, int, float, bool)


def find_constant(model: type[BaseModel], info: FieldInfo) -> Any:
    """Return the default of a field if it is the same in every instance, or `UNSET`."""
    if info.is_required() or _is_validated(model, info):
        return UNSET
    factory = info.default_factory
    if factory is None:
        return info.default
    return factory() if _is_steady(factory) else UNSET  # type: ignore[call-arg]


def _is_validated(model: type[BaseModel], info: FieldInfo) -> bool:
    if info.validate_default is not None:
        return info.validate_default
    return bool(model.model_config.get("validate_default"))


def _is_steady(factory: Any) -> bool:
    """Return whether a factory is known to make equal values: a plain type, or a plain model."""
    if (get_origin(factory) or factory) in _PLAIN_TYPES:
        return True
    if not (isinstance(factory, type) and issubclass(factory, BaseModel)):
        return False
    decorators = factory.__pydantic_decorators__
    has_functions = bool(
        decorators.validators
        or decorators.field_validators
        or decorators.root_validators
        or decorators.model_validators
    )
    has_hook = factory.model_post_init is not BaseModel.model_post_init
    is_plain = has_plain_instances(factory) and factory.__init__ is BaseModel.__init__
    if has_functions or has_hook or not is_plain:
        return False
    infos = factory.model_fields.values()
    return all(info.is_required() or find_constant(factory, info) is not UNSET for info in infos)


class DefaultMaker:
    """Makes the defaults of the fields of a state that have no constant one."""

    def __init__(self, fields: Sequence[DefaultField]) -> None:
        self._fields = fields
        self._makers = {
            field.index: compile_maker(field.model, field.name)
            for field in fields
            if not field.required and field.constant is UNSET
        }

    @property
    def is_needed(self) -> bool:
        """Whether there are such fields."""
        return bool(self._makers)

    def complete(
        self,
        update: dict[int, Any],
        made: Mapping[int, Any] | None = None,
        instance: BaseModel | None = None,
    ) -> InputUpdate:
        """Return an input with the defaults of the fields that it does not set.

        Those that were made before are kept, and then those that the instance of the input has. A
        default that needs fields which have no value yet is left out. Raises `WrongOutput`.
        """
        before = made or {}
        defaults = {index: value for index, value in before.items() if index not in update}
        own: Mapping[str, Any] = {} if instance is None else instance.__dict__
        values: dict[str, Any] = {}
        for field in self._fields:
            index, name = field.index, field.name
            if index in self._makers and index not in update and index not in defaults:
                value = self._make(field, values, own)
                if value is not UNSET:
                    defaults[index] = value
            known = update.get(index, defaults.get(index, field.constant))
            if known is not UNSET:
                values[name] = known
        return InputUpdate(update, defaults)

    def _make(self, field: DefaultField, values: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
        if field.name in own:
            return field.copy_value(own[field.name])
        try:
            return self._makers[field.index](values)
        except Exception as error:
            if field.info.default_factory_takes_validated_data:
                return UNSET  # whoever reads the field is told that it has no value
            raise WrongOutput(
                f"The default of '{field.model.__name__}.{field.name}' cannot be made: "
                f"{type(error).__name__}: {error}. Mend its default_factory, or give a value."
            ) from error


def compile_maker(model: type[BaseModel], name: str) -> Callable[..., Any]:
    """Return a function that makes the value of one field as pydantic does in an instance.

    It is called with the values of other fields by name, of which those before it may matter, and
    with what the field is given; without that it makes the default. It raises `ValidationError`.
    """
    schemas = read_field_schemas(model)
    fields: dict[str, Any] = {}
    for other, field in schemas.fields.items():
        if other == name:
            fields[name] = {"type": "typed-dict-field", "schema": field["schema"]}
            break
        fields[other] = {"type": "typed-dict-field", "schema": {"type": "any"}, "required": False}
    # A typed dictionary heeds its own configuration, and none from around it.
    schema: Any = {"type": "typed-dict", "fields": fields, "config": schemas.config or {}}
    if schemas.definitions:
        schema = {"type": "definitions", "schema": schema, "definitions": schemas.definitions}
    validator = build_validator(schema, schemas.config)

    def make(values: Mapping[str, Any], given: Any = UNSET) -> Any:
        known = {key: values[key] for key in fields if key in values and key != name}
        if given is not UNSET:
            known[name] = given
        return validator.validate_python(known, by_name=True, by_alias=True)[name]

    return make
