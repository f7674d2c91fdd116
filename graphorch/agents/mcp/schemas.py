"""JSON schemas of servers: checked when they arrive, and held against arguments and results.

A schema comes from outside: it refers to nothing beyond itself (no request is made for a `$ref`),
and one that is no schema, or leads in a circle, is a fault that is named instead of an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from graphorch.text import truncate, truncate_repr

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_MOST_FAULTS: Final = 5  # that a model reads at once
_LONGEST: Final = 300  # characters of a fault


def find_schema_problem(schema: Mapping[str, Any]) -> str:
    """Return why a schema cannot describe the arguments of a tool; "" if it can."""
    from jsonschema import SchemaError

    kind = schema.get("type", "object")
    if kind != "object":
        return f"its arguments are {truncate_repr(kind, 40)} instead of an object"
    validator = _build_validator(schema)
    try:
        validator.check_schema(dict(schema))
        lost = _find_lost_reference(schema)
        next(_iterate_errors(validator, {}), None)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path))
        where = f" at {truncate(place, 80)}" if place else ""
        return f"its schema is not a JSON schema{where}: {truncate(error.message, _LONGEST)}"
    except RecursionError:
        return "its schema refers to itself without end"
    except Exception as error:  # a schema from outside may break the library in any way
        return f"its schema cannot be used ({type(error).__name__})"
    return f"its schema refers to {truncate_repr(lost, 80)}, which is not in it" if lost else ""


def _find_lost_reference(schema: Mapping[str, Any]) -> str:
    """Return a reference that leads out of the schema, or nowhere in it; "" if there is none."""
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = Resource[Any].from_contents(dict(schema), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry[Any]().with_resource("", resource)
    resolver = registry.resolver()
    for reference in _list_references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            return reference
    return ""


def _list_references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[str, object]", value).items():
            if key in ("$ref", "$dynamicRef") and isinstance(item, str):
                yield item
            yield from _list_references(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _list_references(item)


def list_misfits(schema: Mapping[str, Any], value: object) -> list[str]:
    """Return what of a value does not fit a schema, at most five sentences; none if all fits."""
    from referencing.exceptions import Unresolvable

    validator = _build_validator(schema)
    faults: list[str] = []
    try:
        for error in _iterate_errors(validator, value):
            place = ".".join(map(str, error.absolute_path)) or "arguments"
            faults.append(f"{place}: {truncate(error.message, _LONGEST)}")
            if len(faults) == _MOST_FAULTS:
                break
    except Unresolvable as error:
        faults.append(f"the schema refers to {truncate_repr(error.ref, 80)}, which is not in it")
    except RecursionError:
        faults.append("it is nested too deeply")
    except Exception as error:  # as above
        faults.append(f"the schema cannot be applied ({type(error).__name__})")
    return faults


def _build_validator(schema: Mapping[str, Any]) -> Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    kind = validator_for(dict(schema), default=Draft202012Validator)
    # An empty registry: what is not in the schema itself cannot be referred to.
    registry: Registry[Any] = Registry()
    return kind(dict(schema), registry=registry)


def _iterate_errors(validator: Validator, value: Any) -> Iterator[Any]:
    return cast("Iterator[Any]", validator.iter_errors(value))  # pyright: ignore[reportUnknownMemberType]
