"""Values of fields that declare no type (`Any`) as JSON, and back.

What JSON has a word for is written as it is. Other plain data of Python, such as a tuple, a set or
a time, becomes an object with its kind under "$". The kinds are a closed list, so what is stored
chooses neither code nor a class of the user: only an enum is looked up by its name, among those in
the modules of the models around the field.
"""

from __future__ import annotations

import base64
import datetime
import enum
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from math import isfinite
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from types import ModuleType
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from pydantic import SecretBytes, SecretStr
from pydantic_core import TzInfo

from graphorch.state.zoned_times import read_time, write_time

_KIND: Final = "$"
_type_of: Callable[[object], type] = type
# What damaged content raises; a path of another system is not implemented.
_UNREADABLE: Final = (
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
)


class Unnamed(ValueError):
    """A value for which there is no kind."""


class _Kind(NamedTuple):
    """How values of one type are written as JSON, and read."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


class FreeValues:
    """Writes and reads values of any type, for a field that has these models around its values.

    With `reveals`, secrets are written in clear.
    """

    def __init__(self, models: Iterable[type], *, reveals: bool = False) -> None:
        self._secrets = {"SecretStr": SecretStr, "SecretBytes": SecretBytes} if reveals else {}
        names = {base.__module__ for model in models for base in model.__mro__}
        self._modules = [sys.modules[name] for name in sorted(names) if name in sys.modules]

    # ---- writing ---------------------------------------------------------------------------------
    def write(self, value: Any) -> Any:
        """Return a value as plain JSON. Raises `Unnamed`."""
        kind = _type_of(value)
        if value is None or kind is bool or kind is int:
            return value
        if kind is str:
            return value if _is_unicode(value) else self._tag("text", _write_text(value))
        if kind is float:
            return value if isfinite(value) else self._tag("float", str(value))
        if kind is list:
            return self._write_all(value)
        if kind is dict and _is_object(value):
            return {key: self.write(item) for key, item in cast("dict[str, Any]", value).items()}
        if kind in _CONTAINERS:
            return self._write_container(kind, value)
        if kind.__name__ in _ATOMS and _ATOM_TYPES[kind.__name__] is kind:
            return self._tag(kind.__name__, _ATOMS[kind.__name__].write(value))
        if self._secrets.get(kind.__name__) is kind:
            return self._tag(kind.__name__, self.write(value.get_secret_value()))
        if isinstance(value, enum.Enum) and self._find_enum(kind.__qualname__) is kind:
            return self._tag("enum", [kind.__qualname__, self.write(value.value)])
        raise Unnamed(f"a {kind.__qualname__} has no word in JSON")

    def _write_container(self, kind: type, value: Any) -> Any:
        if kind is deque:
            bounded = cast("deque[Any]", value)
            return self._tag("deque", [self._write_all(bounded), bounded.maxlen])
        if issubclass(kind, dict):
            entries = cast("dict[Any, Any]", value).items()
            return self._tag(kind.__name__, [self._write_all(entry) for entry in entries])
        items: Iterable[Any] = sorted(value, key=repr) if kind in (set, frozenset) else value
        return self._tag(kind.__name__, self._write_all(items))

    def _write_all(self, values: Iterable[Any]) -> list[Any]:
        return [self.write(value) for value in values]

    def _tag(self, kind: str, content: Any) -> dict[str, Any]:
        return {_KIND: kind, "is": content}

    # ---- reading ---------------------------------------------------------------------------------
    def read(self, value: Any) -> Any:
        """Return the value of plain JSON. Raises `ValueError` for what `write` does not write."""
        if isinstance(value, list):
            return [self.read(item) for item in cast("list[Any]", value)]
        if not isinstance(value, dict):
            return value
        entries = cast("dict[str, Any]", value)
        if _KIND not in entries:
            return {key: self.read(item) for key, item in entries.items()}
        try:
            return self._read_tagged(str(entries[_KIND]), entries["is"])
        except _UNREADABLE as error:
            raise ValueError(f"{error!r} in a stored {entries[_KIND]!r:.40}") from error

    def _read_tagged(self, kind: str, content: Any) -> Any:
        if kind == "text":
            return _read_text(content)
        if kind == "float":
            return float(content)
        if kind == "enum":
            return self._read_enum(*content)
        if kind == "deque":
            return deque(map(self.read, content[0]), maxlen=content[1])
        if kind in _ATOMS:
            return _ATOMS[kind].read(content)
        if kind in self._secrets:
            return self._secrets[kind](self.read(content))
        make: Any = _CONTAINER_NAMES[kind]
        if issubclass(make, dict):
            entries = {self.read(key): self.read(item) for key, item in content}
            return cast(Any, make)(entries)
        return make(map(self.read, content))

    def _read_enum(self, name: str, content: Any) -> Any:
        found = self._find_enum(name)
        if found is None:
            raise ValueError(f"the enum '{name}' is not in the module of the state any more")
        return found(self.read(content))

    def _find_enum(self, name: str) -> Any:
        """Return the enum of a name that the models' modules define or import; None if none."""
        for module in self._modules:
            found: Any = module
            for part in name.split("."):
                # Nothing but a look into its names: a stored text makes no module load another.
                found = vars(found).get(part) if isinstance(found, ModuleType | type) else None
            if isinstance(found, type) and issubclass(found, enum.Enum):
                return found
        return None


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_object(value: dict[Any, Any]) -> bool:
    """Return whether a dictionary can be an object of JSON that is not taken for a tagged value."""
    return _KIND not in value and all(_type_of(key) is str and _is_unicode(key) for key in value)


def _read_moment(text: str) -> datetime.datetime:
    return read_time(text, lambda clock: _with_offset(datetime.datetime.fromisoformat(clock)))


def _read_clock(text: str) -> datetime.time:
    return read_time(text, lambda clock: _with_offset(datetime.time.fromisoformat(clock)))


def _with_offset(time: Any) -> Any:
    """Return a time whose bare offset, if it has one, is of the type that pydantic has for it."""
    offset: datetime.timedelta | None = time.utcoffset()
    return time if offset is None else time.replace(tzinfo=TzInfo(offset.total_seconds()))


def _write_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _write_text(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


def _read_text(text: str) -> str:
    return base64.b64decode(text).decode("utf-8", "surrogatepass")


def _write_delta(value: datetime.timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _read_delta(parts: list[int]) -> datetime.timedelta:
    return datetime.timedelta(*parts)


_CONTAINERS: Final = frozenset({tuple, set, frozenset, dict, Counter, OrderedDict, deque})
_CONTAINER_NAMES: Final[dict[str, Any]] = {kind.__name__: kind for kind in _CONTAINERS}
_ATOM_TYPES: Final[dict[str, type]] = {
    kind.__name__: kind
    for kind in (
        bytes, complex, Decimal, UUID, datetime.date, datetime.time, datetime.datetime,
        datetime.timedelta, PosixPath, WindowsPath, PurePosixPath, PureWindowsPath,
    )
}  # fmt: skip
_ATOMS: Final[dict[str, _Kind]] = {
    "bytes": _Kind(_write_bytes, base64.b64decode),
    "complex": _Kind(str, complex),
    "Decimal": _Kind(str, Decimal),
    "UUID": _Kind(str, UUID),
    "date": _Kind(str, datetime.date.fromisoformat),
    "time": _Kind(write_time, _read_clock),
    "datetime": _Kind(write_time, _read_moment),
    "timedelta": _Kind(_write_delta, _read_delta),
    **{
        name: _Kind(str, _ATOM_TYPES[name])
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    },
}
