"""The specification names tests that exist, one or more for each rule, and draws the real table."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from graphorch import core
from graphorch.core.transitions import draw_transitions

ROOT = Path(__file__).parents[2]
PAGE = (Path(core.__file__).parent / "semantics.md").read_text("utf-8")
RULE = re.compile(r"^\*\*(\d+\.\d+)\*\*", re.MULTILINE)
REFERENCE = re.compile(r"^`(tests/[\w/]+\.py)::(\w+)`$", re.MULTILINE)


@cache
def list_tests(file: str) -> set[str]:
    """Return the names of the test functions of a file."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def test_rules_name_existing_tests() -> None:
    """Every test that the page names is a function of that file."""
    references = REFERENCE.findall(PAGE)
    assert len(references) > 50
    missing = [f"{file}::{name}" for file, name in references if name not in list_tests(file)]
    assert missing == []


def test_rules_have_tests() -> None:
    """Every rule names at least one test, and their numbers are unique."""
    numbers = RULE.findall(PAGE)
    parts = RULE.split(PAGE)[2::2]
    assert len({*numbers}) == len(numbers) == len(parts)
    untested = [
        number
        for number, text in zip(numbers, parts, strict=True)
        if not REFERENCE.search(text.partition("\n\n")[0])
    ]
    assert untested == []


def test_diagram_is_drawn_from_table() -> None:
    """The picture in the page is the one that the table of transitions makes."""
    (diagram,) = re.findall(r"```mermaid\n(.*?)\n```", PAGE, re.DOTALL)
    assert diagram == draw_transitions()
