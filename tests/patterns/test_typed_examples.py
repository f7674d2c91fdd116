"""Six complete programs of a user: they type-check, build without a warning and run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("typed_*.py"))
OUTPUTS = {
    "pipeline": {"text": "x draft edited"},
    "supervisor": {"jobs": [{"worker": "research"}, {"worker": "write"}], "log": ["facts", "text"]},
    "fan_out": {"out": ["A", "B", "n=2"]},
    "router": {"a": "math"},
    "hierarchy": {"results": ["A!", "report of 1"]},
    "evaluator_loop": {"essay": "xxx", "score": 3},
}


def load(path: Path) -> Any:
    """The module of a program; running it is importing it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_example_runs_without_warning(path: Path) -> None:
    """A program runs as it is and builds without a warning."""
    module = load(path)
    assert module.flow.warnings == ()
    assert module.result.output.model_dump() == OUTPUTS[path.stem.removeprefix("typed_")]


def test_every_pattern_has_example() -> None:
    """Each pattern has a program."""
    assert {path.stem.removeprefix("typed_") for path in PROGRAMS} == set(OUTPUTS)
