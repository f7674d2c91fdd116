"""Public names of a package that are loaded at their first use, so that a program pays for what it uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """The `__all__`, `__getattr__` and `__dir__` of a package; `homes` says in which of its modules which names live, separated by spaces.

    For type checkers and editors, which do not follow this, the package imports the same names under `TYPE_CHECKING`.
    """
    module = sys.modules[package]
    home_of = {name: home for home, names in homes.items() for name in names.split()}
    names = sorted(home_of)

    def load(name: str) -> Any:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(import_module(f"{package}.{home}"), name)
        setattr(module, name, value)  # so that the next use finds it without asking
        return value

    def listed() -> list[str]:
        return sorted({*vars(module), *names})

    return names, load, listed
