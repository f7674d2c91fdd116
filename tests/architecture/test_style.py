"""The house stays readable: small folders, no private vocabulary, no circles between files."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grimp
import networkx
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "graphorch"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MOST_FILES = 20

# Words that say nothing about what a name or a sentence is about.
VAGUE_NAMES = frozenset({"one", "told", "said"})
VAGUE_WORDS = re.compile(r"\b(nobody|somebody|whoever|told)\b", re.IGNORECASE)


def find_vague_names(tree: ast.AST) -> Iterator[str]:
    """Yield each variable, parameter, function and class that is named by a vague word."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                words = [name]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                words = name.strip("_").split("_")[:1]
            case ast.ClassDef(name=name):
                words = [name.lower()]
            case _:
                continue
        if VAGUE_NAMES.intersection(words):
            yield f"{getattr(node, 'lineno', 0)}: {name}"


def find_vague_docstrings(tree: ast.AST) -> Iterator[str]:
    """Yield the first line of each docstring that holds a vague word."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and (docstring := ast.get_docstring(node)):
            first = docstring.splitlines()[0]
            if VAGUE_WORDS.search(first):
                yield f"{getattr(node, 'lineno', 1)}: {first}"


def test_folders_hold_few_files() -> None:
    """A folder that holds more hides its design."""
    sizes = Counter(path.parent for path in SOURCES)
    assert {str(folder): size for folder, size in sizes.items() if size > MOST_FILES} == {}


def test_every_folder_states_its_purpose() -> None:
    """The docstring of each `__init__.py` begins with one sentence."""
    faces = [path for path in SOURCES if path.name == "__init__.py"]
    assert len(faces) > 20
    for face in faces:
        docstring = ast.get_docstring(ast.parse(face.read_text("utf-8")))
        assert docstring, face
        assert docstring.splitlines()[0].endswith("."), face


@pytest.mark.parametrize("find", [find_vague_names, find_vague_docstrings])
def test_package_holds_no_vague_words(find: Callable[[ast.AST], Iterator[str]]) -> None:
    """Neither a name nor the first line of a docstring holds a vague word."""
    places = {
        str(path.relative_to(ROOT)): list(find(ast.parse(path.read_text("utf-8"))))
        for path in SOURCES
    }
    assert {path: lines for path, lines in places.items() if lines} == {}


def test_vague_words_are_found() -> None:
    """A check that cannot fail guards nothing."""
    tree = ast.parse(
        'def _told(one):\n    """Whatever somebody said."""\n    for said in one: pass\n'
    )
    assert [line.partition(": ")[2] for line in find_vague_names(tree)] == ["_told", "one", "said"]
    assert len(list(find_vague_docstrings(tree))) == 1


def find_circles(package: str) -> list[set[str]]:
    """Return the groups of modules that import each other in a circle, in annotations too."""
    imports = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for module in imports.modules:
        for imported in imports.find_modules_directly_imported_by(module):
            graph.add_edge(module, imported)
    groups = networkx.strongly_connected_components(graph)
    return [group for group in groups if len(group) > 1]


def test_files_import_without_circles() -> None:
    """No module imports itself through others, in annotations either."""
    assert find_circles("graphorch") == []
