"""Arguments of tools: read from the parameters of a function, checked as a model wrote them.

Rules of this file:
1. A tool is called only with arguments that fit; what does not fit is told to the model as text.
2. What will run is decided before a person approves it: arguments are plain JSON with all defaults,
   and the function gets exactly what that JSON means.

Texts that begin with "Error:" are read by models: they are part of stored requests.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Final, Protocol, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticUserError,
    ValidationError,
    create_model,
)
from pydantic_core import to_jsonable_python

from graphorch.callables import find_annotated
from graphorch.errors import GraphError, GraphorchError, Problem
from graphorch.graph.signature import find_resources, inspect_callable, is_context
from graphorch.models.tool_arguments import read_object
from graphorch.state.marks import NO_MARKS, Marks, find_marks

_DEEPEST: Final = 32  # levels of arguments
_MOST_BITS: Final = 4_096  # of a number


class WrongArguments(GraphorchError):
    """Arguments that do not fit a tool; the message is for the model, the `fault` for people."""

    def __init__(self, tool: str, fault: str) -> None:
        self.fault = fault
        super().__init__(
            f"Error: the arguments of '{tool}' do not fit: {fault}. "
            "Call it again with arguments that fit its schema."
        )


class ArgumentReader(Protocol):
    """Checks what a tool is called with. `schema` is a JSON schema of an object."""

    @property
    def schema(self) -> Mapping[str, object]:
        """JSON schema that the model reads."""
        ...

    def read(self, tool: str, written: str) -> dict[str, Any]:
        """Return arguments as plain JSON, of the text that a model wrote.

        Raises `WrongArguments`.
        """
        ...

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that a function gets for arguments that `read` returned."""
        ...


@dataclass(frozen=True, slots=True)
class FunctionArguments:
    """Arguments of a function; `resources` is the type that its context must carry, if any.

    `marks` are those of what it returns.
    """

    model: type[BaseModel]
    schema: Mapping[str, object]
    has_context: bool
    resources: type | None
    marks: Marks = NO_MARKS

    def read(self, tool: str, written: str) -> dict[str, Any]:
        """Return arguments as plain JSON with all defaults. Raises `WrongArguments`."""
        text = read_object(written)
        try:
            given = self.model.model_validate_json(text)
        except ValidationError as error:
            raise WrongArguments(tool, _list_faults(error)) from error
        return self._write(given, text)

    def _write(self, given: BaseModel, text: str) -> dict[str, Any]:
        """Return the JSON of arguments; as the model wrote it where a type does not write itself.

        A secret, for example, shows as stars. A default that is made anew each time, such as an id
        or the date, is left to the call: the same answer of a model always means the same call. So
        is the default of a parameter that does not come back as it was.
        """
        as_written: dict[str, Any] = json.loads(text)
        if _has_made_default(given):
            return as_written
        try:
            plain = to_jsonable_python(_sort_sets(given.model_dump(by_alias=True, warnings=False)))
            again = self.model.model_validate_json(json.dumps(plain))
            for name, info in self.model.model_fields.items():
                if getattr(again, name) == getattr(given, name):
                    continue
                if name in given.model_fields_set:
                    return as_written
                del plain[info.alias or name]
        except Exception:  # types of users may raise anything when they are written or compared
            return as_written
        return plain

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the parameters. Raises `ValidationError` if they do not fit."""
        given = self.model.model_validate_json(json.dumps(arguments))
        fields = type(given).model_fields.items()
        return {str(info.alias): getattr(given, name) for name, info in fields}


def read_parameters(
    fn: Callable[..., Any], name: str, local: Mapping[str, Any]
) -> FunctionArguments:
    """Return how a function is called by models. Raises `GraphError` with code `TOOL`."""
    try:
        hints = typing.get_type_hints(find_annotated(fn), localns=dict(local), include_extras=True)
    except NameError as error:
        raise build_tool_error(
            name,
            f"an annotation names '{error.name}', which is not defined",
            "import it, or define it before the tool",
        ) from None
    parameters = list(inspect_callable(fn).parameters.values())
    has_context = bool(parameters) and is_context(hints.get(parameters[0].name))
    resources = find_resources(hints[parameters[0].name]) if has_context else None
    fields: dict[str, Any] = {}
    for parameter in parameters[has_context:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise build_tool_error(
                name,
                f"parameter '{parameter.name}' cannot be given by name",
                "use plain parameters, each with a type",
            )
        if parameter.name not in hints:
            raise build_tool_error(
                name,
                f"parameter '{parameter.name}' has no annotation",
                "annotate it: the model reads its type",
            )
        if is_context(hints[parameter.name]):
            what = f"parameter '{parameter.name}' is the context, which comes first"
            raise build_tool_error(name, what, f"write def {name}({parameter.name}: Context, …)")
        # An alias, so that a parameter may be called like a method of pydantic's (`json`, `copy`).
        info = Field(alias=parameter.name, title=parameter.name)
        has_default = parameter.default is not parameter.empty
        default = parameter.default if has_default else ...
        fields[f"p{len(fields)}"] = (Annotated[hints[parameter.name], info], default)
    try:
        model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        schema = model.model_json_schema()
    except (PydanticUserError, NameError) as error:
        raise build_tool_error(
            name,
            f"its parameters have no JSON schema ({type(error).__name__})",
            "use types that JSON can express",
        ) from None
    marks = find_marks(hints.get("return"))
    return FunctionArguments(model, schema, has_context, resources, marks)


def write_canonical(arguments: Mapping[str, Any]) -> str:
    """Return arguments as JSON text that is the same for equal arguments, whatever their order.

    Raises `ValueError` for what JSON, or a journal, does not have: numbers that are not finite or
    have thousands of digits, half characters, and values that are nested too deeply.
    """
    _check_plain(arguments, 0)
    text = json.dumps(
        arguments, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )
    text.encode()
    return text


_CONSTANT_FACTORIES: Final = (list, dict, set, frozenset, tuple, str, int, float, bool)


def _has_made_default(value: Any) -> bool:
    """Return whether a model inside of a value has a default that a function made."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            is_made = info.default_factory not in (None, *_CONSTANT_FACTORIES)
            if is_made and name not in value.model_fields_set:
                return True
            if _has_made_default(getattr(value, name)):
                return True
        return False
    if isinstance(value, dict):
        return any(map(_has_made_default, cast("dict[Any, Any]", value).values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_has_made_default, cast("list[Any]", value)))
    if is_dataclass(value) and not isinstance(value, type):
        made = any(
            item.default_factory not in (MISSING, *_CONSTANT_FACTORIES) for item in fields(value)
        )
        return made or any(_has_made_default(getattr(value, item.name)) for item in fields(value))
    return False


def _check_plain(value: Any, depth: int) -> None:
    """Raise `ValueError` for values that a record of a journal could not hold."""
    if depth > _DEEPEST:
        raise ValueError(f"they are nested more than {_DEEPEST} levels deep")
    inside = cast("Mapping[str, Any]", value).values() if isinstance(value, Mapping) else value
    if isinstance(value, Mapping | list):
        for item in cast("list[Any]", inside):
            _check_plain(item, depth + 1)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError(f"a number has more than {_MOST_BITS:,} bits")


def _sort_sets(value: Any) -> Any:
    """Return a value with lists for its sets, in an order that does not depend on the process."""
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {key: _sort_sets(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [_sort_sets(item) for item in cast("list[Any]", value)]
    if isinstance(value, set | frozenset):
        items = map(_sort_sets, cast("set[Any]", value))
        return sorted(items, key=lambda item: json.dumps(to_jsonable_python(item), sort_keys=True))
    return value


def _list_faults(error: ValidationError) -> str:
    faults: list[str] = []
    for details in error.errors(include_url=False)[:5]:
        place = ".".join(map(str, details["loc"])) or "arguments"
        faults.append(f"{place}: {details['msg']}")
    return "; ".join(faults)


def build_tool_error(name: str, what: str, fix: str) -> GraphError:
    """Return the error of a tool that cannot be one."""
    where = f"tool '{name}'"
    return GraphError(where, [Problem("TOOL", where, what, fix)], where)
