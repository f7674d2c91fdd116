"""Makes one script of the page's modules: an inline script cannot import files beside it.

Rule 1: each module becomes a function that is called once, after those that it imports.
Rule 2: imports are names that are written out in braces, and exports are declarations. Anything
    else is refused, so that a module that this cannot read is found by the tests.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Final

from graphorch.errors import InternalError

_IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";\n', re.MULTILINE)
_DECLARED: Final = re.compile(
    r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE
)
_LISTED: Final = re.compile(r"^export \{([\w\s,]*)\};\n", re.MULTILINE)
_OTHER: Final = re.compile(r"^(?:import|export)\b.*|\bimport\(.*", re.MULTILINE)
_ENDING: Final = re.compile(r"</script|<!--", re.IGNORECASE)


def join_modules(modules: Mapping[str, str], entry: str) -> str:
    """Return a script that does what the module `entry` does, with all that it imports.

    `modules` are sources by their paths. Raises `InternalError` for modules that import each other
    in a circle, import what is not there, or hold what this cannot read.
    """
    names: dict[str, str] = {}
    parts: list[str] = []

    def add(path: str, above: tuple[str, ...]) -> None:
        if path in above:
            raise InternalError(f"modules import each other: {' → '.join([*above, path])}")
        if path in names:
            return
        if path not in modules:
            raise InternalError(
                f"{above[-1] if above else 'the page'} imports {path}: no such file"
            )
        source = modules[path]
        for _, reference in _IMPORT.findall(source):
            add(_resolve(path, reference), (*above, path))
        body, exported = _read_module(path, source, names)
        names[path] = f"module{len(names)}"
        if path == entry:  # which may await, and exports nothing
            parts.append(f"// {path}\n{{\n{body}}}\n")
        else:
            returned = ", ".join(exported)
            parts.append(
                f"// {path}\nconst {names[path]} = (() => {{\n{body}"
                f"return {{ {returned} }};\n}})();\n"
            )

    add(entry, ())
    script = "".join(parts)
    if found := _ENDING.search(script):
        raise InternalError(f"a module holds {found[0]!r}, which would end an inline script")
    return script


def _resolve(path: str, reference: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), reference))


def _read_module(path: str, source: str, names: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return a module without imports and exports, and the names that it exports."""
    exported = _DECLARED.findall(source)
    for listed in _LISTED.findall(source):
        exported += [name.strip() for name in listed.split(",") if name.strip()]

    def take(found: re.Match[str]) -> str:
        taken = re.sub(r"(\w+) as (\w+)", r"\1: \2", " ".join(found[1].split()))
        return f"const {{ {taken} }} = {names[_resolve(path, found[2])]};\n"

    body = _IMPORT.sub(take, source)
    body = _LISTED.sub("", _DECLARED.sub("", body))
    if other := _OTHER.search(body):
        raise InternalError(f"{path}: cannot be put into one script: {other[0]}")
    return body, exported
