"""Code that the package never holds: text run as code, and formats that run code when read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "graphorch"
BANNED_CALLS = {"eval", "exec", "__import__"}
BANNED_MODULES = {"cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve"}


def offences(source: str) -> list[str]:
    """Return each banned call or import of a module, with its line."""
    places: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id="builtins"), attr=name)
            ) if name in BANNED_CALLS:
                places.append((node.lineno, f"{name}()"))
            case ast.Import(names=names):
                places += [
                    (node.lineno, alias.name)
                    for alias in names
                    if alias.name.partition(".")[0] in BANNED_MODULES
                ]
            case ast.ImportFrom(module=str(name), level=0) if (
                name.partition(".")[0] in BANNED_MODULES
            ):
                places.append((node.lineno, name))
            case _:
                pass
    return [f"{line}: {what}" for line, what in sorted(places)]


def test_no_module_runs_text() -> None:
    """No module runs text as code, or unpickles."""
    modules = sorted(PACKAGE.rglob("*.py"))
    assert modules
    assert [
        f"{module.relative_to(PACKAGE)}:{offence}"
        for module in modules
        for offence in offences(module.read_text("utf-8"))
    ] == []


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "def f(): exec(text)",
        "import builtins; builtins.exec(text)",
        "import pickle",
        "from dill import loads",
    ],
)
def test_banned_code_is_found(line: str) -> None:
    """Each way to run text is found."""
    assert len(offences(line)) == 1


@pytest.mark.parametrize(
    "line",
    ["evaluate(x)", "re.compile(x)", "cursor.exec(x)", "import pickles", "from .pickle import x"],
)
def test_harmless_code_is_left_alone(line: str) -> None:
    """Names that only look alike are allowed."""
    assert offences(line) == []
