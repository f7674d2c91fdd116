"""Core schemas by which valid values are written as JSON and read again, and stay what they are.

Theory of operation. pydantic's own JSON is made for talking to other programs: a time zone becomes
an offset, a deque loses its bound, NaN becomes null, aliases and computed fields come in, and a
validator that converts runs again on what it has converted. The schema of a field is therefore
changed, part by part, into one that keeps these things and calls no function of the user. Whether
that was enough is not a matter of theory: whoever writes a value reads it back at once and compares
(see `identity`).
"""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from pydantic import BaseModel

from graphorch.state.free_values import FreeValues, Unnamed
from graphorch.state.zoned_times import read_time, write_time

Json = dict[str, Any]

_LEAVES: Final = frozenset(
    "metadata default expected members function cls config discriminator return_schema "
    "json_schema_input_schema".split()
)
_BARE: Final[dict[str, type]] = {
    "dict": dict, "list": list, "set": set, "frozenset": frozenset, "deque": deque
}  # fmt: skip
_BY_NAME: Final = frozenset({"fields", "choices"})  # schemas by names that the user chose
_FIELDS: Final = frozenset({"model-field", "dataclass-field", "typed-dict-field"})
_FUNCTIONS: Final = frozenset({"function-after", "function-before", "function-wrap"})
_OUTWARD: Final = (  # what a field says about other programs
    "validation_alias",
    "serialization_alias",
    "serialization_exclude",
    "serialization_exclude_if",
)
# What `SerializeAsAny` writes. A value is read by the type that is declared, so it is written so.
_BY_TYPE_OF_VALUE: Final = {"type": "any"}
_OWN_MODULES: Final = ("pydantic.", "pydantic_core", __name__)
_CONFIG: Final = {"ser_json_inf_nan": "strings", "strict": False}


class StorageSchema:
    """Adapts core schemas; values without a type are written by `free`.

    `drops_functions` tells whether functions of the user were left out.

    With `reveals`, serializers of the user are left out as well, and secrets are written in clear:
    for a pipe between two processes of one program, never for a file.
    """

    def __init__(self, free: FreeValues, *, reveals: bool = False) -> None:
        self._free = free
        self._reveals = reveals
        self.drops_functions = False

    def adapt(self, schema: Any) -> Any:
        """Return an adapted copy of a core schema, or of a list of schemas."""
        if isinstance(schema, list):
            return [self.adapt(item) for item in cast("list[Any]", schema)]
        if not isinstance(schema, dict):
            return schema
        mapping = cast(Json, schema)
        kind = mapping.get("type")
        if kind in _FUNCTIONS and _is_of_user(mapping.get("function")):
            self.drops_functions = True
            return self._adapt_inner(mapping)
        if kind == "json":
            return self._adapt_inner({"schema": {"type": "any"}, **mapping})
        adapted = {key: self._adapt_entry(key, value) for key, value in mapping.items()}
        adapted.pop("strict", None)
        self._adapt_part(mapping, adapted)
        return adapted

    def _adapt_entry(self, key: str, value: Any) -> Any:
        if key in _LEAVES:
            return value
        if key == "serialization":
            return self._adapt_serializer(value)
        if key in _BY_NAME and isinstance(value, dict):
            return {name: self.adapt(schema) for name, schema in cast(Json, value).items()}
        return self.adapt(value)

    def _adapt_serializer(self, serializer: Json) -> Json:
        """Adapt the schema in a serializer; the type of a serializer is not that of a value."""
        if "schema" not in serializer:
            return serializer
        return {**serializer, "schema": self.adapt(serializer["schema"])}

    def adapt_config(self, config: Json | None) -> Json:
        """Return a configuration under which floats, and bytes unless it names a way, survive."""
        adapted = {**(config or {}), **_CONFIG}
        if adapted.get("ser_json_bytes", "utf8") == "utf8":
            adapted |= {"ser_json_bytes": "base64", "val_json_bytes": "base64"}
        return adapted

    def _adapt_inner(self, mapping: Json) -> Any:
        """Return the schema inside a function, which takes over its serializer and its name."""
        inner = self.adapt(mapping["schema"])
        outer = {key: mapping[key] for key in ("serialization", "ref") if key in mapping}
        adapted = {**inner, **outer}
        self._adapt_serialization(adapted)
        return adapted

    def _adapt_part(self, schema: Json, adapted: Json) -> None:
        """Change one part of a schema in place, by its kind; `schema` is what it was."""
        kind = schema.get("type")
        if kind in _FIELDS:
            for key in _OUTWARD:
                adapted.pop(key, None)
        elif kind == "model-fields":
            adapted.pop("computed_fields", None)
        elif kind == "model":
            self._adapt_model(adapted)
        elif kind == "dataclass":
            adapted.pop("post_init", None)
        elif "serialization" in adapted:
            pass  # a function writes it
        elif kind == "any" or _is_bare(schema):
            expected = _BARE.get(str(kind), object)
            _carry(adapted, self._read_free(expected), self._write_free)
        elif kind in _CARRIERS:
            read, write = _CARRIERS[kind]
            _carry(adapted, read, write)
        if kind in ("model", "dataclass", "typed-dict") and "config" in adapted:
            adapted["config"] = self.adapt_config(adapted["config"])
        self._adapt_serialization(adapted)

    def _write_free(self, value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return self._free.write(value)
        except Unnamed:
            return handler(value)

    def _read_free(self, expected: type) -> Callable[..., Any]:
        def read(value: Any, handler: Callable[[Any], Any]) -> Any:
            read = self._free.read(value)
            return read if isinstance(read, expected) else handler(read)

        return read

    def _adapt_model(self, adapted: Json) -> None:
        """Leave out what a model does at the end of each validation, except for private fields."""
        model: type[BaseModel] = adapted["cls"]
        adapted.setdefault("config", {})
        adapted.pop("custom_init", None)
        if "post_init" in adapted and not model.__private_attributes__:
            del adapted["post_init"]

    def _adapt_serialization(self, adapted: Json) -> None:
        if adapted.get("serialization") == _BY_TYPE_OF_VALUE:
            del adapted["serialization"]
        function = adapted.get("serialization", {}).get("function")
        if function is None or not self._reveals:
            return
        if _is_of_user(function):
            self.drops_functions = True
            del adapted["serialization"]
        elif "secret" in getattr(function, "__name__", ""):
            adapted["serialization"] = {"type": "function-plain", "function": _reveal}


def _is_of_user(function: Any) -> bool:
    """Return whether a function is neither pydantic's own nor one of this file."""
    if isinstance(function, dict):
        function = cast(Json, function).get("function")
    function = getattr(function, "func", function)  # of a `functools.partial`
    module = str(getattr(function, "__module__", ""))
    return not module.startswith(_OWN_MODULES)


def _is_bare(schema: Json) -> bool:
    """Return whether a schema is that of a container which does not say what it holds."""
    inner = [
        schema[key] for key in ("keys_schema", "values_schema", "items_schema") if key in schema
    ]
    return schema.get("type") in _BARE and all(part == {"type": "any"} for part in inner)


def _reveal(secret: Any) -> Any:
    return secret.get_secret_value()


# ---- what JSON has no word for -------------------------------------------------------------------
def _carry(schema: Json, read: Callable[..., Any], write: Callable[..., Any]) -> None:
    """Turn a schema, in place, into one that is read and written with the help of functions."""
    inner = {key: value for key, value in schema.items() if key != "ref"}
    ref = {"ref": schema["ref"]} if "ref" in schema else {}
    schema.clear()
    schema |= {
        "type": "function-wrap",
        "function": {"type": "no-info", "function": read},
        "schema": inner,
        "serialization": {
            "type": "function-wrap",
            "function": write,
            "schema": inner,
            "when_used": "json",
        },
        **ref,
    }


def _write_time(value: Any, handler: Callable[[Any], Any]) -> Any:
    is_time = isinstance(value, datetime.datetime | datetime.time)
    if is_time and (value.tzinfo is not None or value.fold):
        zoned = write_time(value)
        if zoned.endswith("]"):
            return zoned
    return handler(value)  # a time without a zone, or another member of a union


def _read_time(value: Any, handler: Callable[[Any], Any]) -> Any:
    return read_time(value, handler) if isinstance(value, str) else handler(value)


def _write_deque(value: Any, handler: Callable[[Any], Any]) -> Any:
    """Write a bounded deque as its bound and its items."""
    items = handler(value)
    is_bounded = isinstance(value, deque) and cast("deque[Any]", value).maxlen is not None
    return {"maxlen": value.maxlen, "items": items} if is_bounded else items


def _read_deque(value: Any, handler: Callable[[Any], Any]) -> Any:
    if not isinstance(value, dict):
        return handler(value)
    bounded = cast(Json, value)
    return deque(handler(bounded["items"]), maxlen=bounded["maxlen"])


_CARRIERS: Final = {
    "datetime": (_read_time, _write_time),
    "time": (_read_time, _write_time),
    "deque": (_read_deque, _write_deque),
}
"""By kind of schema, the functions that read and write what JSON has no word for."""
