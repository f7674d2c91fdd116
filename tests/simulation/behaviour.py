"""Behaviour of simulated nodes: pure functions of all that they read.

They hash it, so that a wrong value anywhere changes everything after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast
from zlib import crc32

from pydantic import BaseModel, create_model

from graphorch.state.reducers import add, append, last, maximum

Values = Mapping[str, Any]


class Boom(Exception):
    """Failure of a node for good, always with the same input."""


class Outage(Exception):
    """A failure from outside of the graph; no error edge fits it, at whatever depth it happens."""


class Log(BaseModel):
    log: Annotated[list[int], append] = []
    total: Annotated[int, add] = 0


class Best(BaseModel):
    best: Annotated[int, maximum] = 0
    latest: Annotated[int, last] = 0


class Item(BaseModel):
    """Input of a worker of a map."""

    number: int = 0
    salt: int = 0


class Reply(BaseModel):
    """Result of a worker of a map."""

    value: int = 0


# plain fields w0, w1, …: node i writes w(i mod 10), so that most writers have a field to themselves
OWNED = 10
NAMES = [*(f"w{number}" for number in range(OWNED)), "s0", "s1"]  # the last two any node may write
PLAIN = [
    cast("type[BaseModel]", create_model(name.upper(), **cast("Any", {name: (int, 0)})))
    for name in NAMES
]
SLICES: dict[str, type[BaseModel]] = {model.__name__: model for model in (*PLAIN, Log, Best)}
State: type[BaseModel] = create_model("State", __base__=(*PLAIN, Log, Best))
FIELDS = tuple(State.model_fields)
INPUT: dict[str, Any] = {"w0": 7, "log": [1, 2]}


def mix(*parts: object) -> int:
    """Return a number that depends on all of these parts."""
    return crc32(repr(parts).encode())


def seen(values: Values) -> int:
    """Return a number that depends on the whole state."""
    return mix([values[name] for name in FIELDS])


def product(name: str, number: int) -> Any:
    """Return the value that is written to a field."""
    return [number % 997] if name == "log" else number % 10007


@dataclass(frozen=True, slots=True)
class Work:
    """Function of a node. Of a hundred inputs it fails on about `failing`."""

    seed: int
    slices: tuple[str, ...]
    failing: int = 0

    def __call__(self, values: Values) -> dict[str, Any]:
        return self.written(seen(values))

    def written(self, number: int) -> dict[str, Any]:
        """Return the update for what was seen, at times not all fields; raise `Boom` on failure."""
        result = mix(self.seed, number)
        if result // 7 % 100 < self.failing:
            raise Boom(f"boom {self.seed}")
        return {
            name: product(name, result + at)
            for at, name in enumerate(self.fields)
            if result >> 2 * at & 7
        }

    @property
    def fields(self) -> list[str]:
        return [name for slice in self.slices for name in SLICES[slice].model_fields]


@dataclass(frozen=True, slots=True)
class Choice:
    """Selector that returns one label, or with `many` a set of at least one."""

    seed: int
    labels: tuple[str, ...]
    many: bool

    def __call__(self, values: Values) -> str | frozenset[str]:
        number = mix(self.seed, seen(values))
        chosen = self.labels[number % len(self.labels)]
        if not self.many:
            return chosen
        return frozenset(
            {chosen} | {label for at, label in enumerate(self.labels) if number >> (4 + at) & 1}
        )


@dataclass(frozen=True, slots=True)
class While:
    """Predicate of a loop: it holds for `rate` of a hundred states."""

    seed: int
    rate: int

    def __call__(self, values: Values) -> bool:
        return mix(self.seed, seen(values)) // 3 % 100 < self.rate


@dataclass(frozen=True, slots=True)
class Key:
    """Key of a signal: none, or one of `many`."""

    seed: int
    many: int

    def __call__(self, values: Values) -> str:
        return f"k{mix(self.seed, seen(values)) // 3 % self.many}" if self.many else ""


@dataclass(frozen=True, slots=True)
class Worker:
    """Worker of a map."""

    seed: int
    failing: int = 0

    def __call__(self, item: Values) -> dict[str, Any]:
        result = mix(self.seed, item["number"], item["salt"])
        if result // 7 % 100 < self.failing:
            raise Boom(f"boom {self.seed}")
        return {"value": result % 10007}


@dataclass(frozen=True, slots=True)
class Inside:
    """Input and output of a sub-flow or map; `items` are the least and the most items of a map."""

    work: Work
    items: tuple[int, int] = (1, 1)
    flows: bool = True

    def over(self, values: Values) -> list[dict[str, Any]]:
        """Return one input per item."""
        number = mix(self.work.seed, "over", seen(values))
        low, high = self.items
        entries = [mix(number, at) for at in range(low + number % (high - low + 1))]
        if self.flows:
            return [{"w1": entry % 10007, "log": [entry % 997]} for entry in entries]
        return [{"number": at, "salt": entry % 10007} for at, entry in enumerate(entries)]

    def gather(self, results: list[Values], missing: list[int]) -> dict[str, Any]:
        """Return the update of the map or sub-flow."""
        numbers = [seen(values) if self.flows else values["value"] for values in results]
        return self.work.written(mix(numbers, missing))
