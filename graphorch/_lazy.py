"""Public names of a package that are imported at their first use.

A program pays for the modules that it uses, and for no others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__all__`, `__getattr__` and `__dir__` of a package.

    `homes` maps each module, relative to the package, to the names that live there, separated by
    spaces. Type checkers and editors do not follow this, so the package also imports its names
    under `TYPE_CHECKING`.
    """
    module = sys.modules[package]
    home_of = {name: home for home, names in homes.items() for name in names.split()}
    names = sorted(home_of)

    def load(name: str) -> Any:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(import_module(f"{package}.{home}"), name)
        # The next use finds the name in the module, and does not call this function again.
        setattr(module, name, value)
        return value

    def list_names() -> list[str]:
        return sorted({*vars(module), *names})

    return names, load, list_names
