"""Every example builds, is short, has no warnings, and runs offline on its sample."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

from graphorch.cli.flow_loader import load_flow, load_flows

GRAPHS = Path(__file__).parents[2] / "graphs"
EXAMPLES = sorted(GRAPHS.glob("*.py"))
MOST_STATEMENTS = 120

pytestmark = pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])


def test_example_builds_without_warning(example: Path) -> None:
    for loaded in load_flows(str(example)):
        assert loaded.flow.warnings == ()


def test_example_is_short(example: Path) -> None:
    """An example has few statements.

    They are counted without docstrings, since the number of lines depends on the format.
    """
    statements = [
        part for part in ast.walk(ast.parse(example.read_text("utf-8"))) if is_statement(part)
    ]
    assert len(statements) <= MOST_STATEMENTS


def is_statement(part: ast.AST) -> bool:
    is_text = (
        isinstance(part, ast.Expr)
        and isinstance(part.value, ast.Constant)
        and isinstance(part.value.value, str)
    )
    return isinstance(part, ast.stmt) and not is_text


def test_example_gives_equal_results_twice(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs on its sample with the embedded model."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    loaded = load_flow(str(example))
    assert loaded.sample is not None
    first, second = (loaded.flow.run_sync(loaded.sample) for _ in range(2))
    assert first.status == "succeeded"
    assert first.state == second.state


def test_example_as_script_says_how_to_run_it(
    example: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who starts the file with `python` learns the command that runs its flow."""
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed == f"Run this flow with: graphorch run {example}\n"
    assert load_flow(printed.split()[-1]).sample is not None


def test_example_picture_is_current(example: Path) -> None:
    """A picture that is kept beside an example shows its present graph.

    `graphorch render graphs/NAME.py -o graphs/NAME.svg --engine builtin` draws it again.
    """
    picture = example.with_suffix(".svg")
    if picture.exists():
        assert picture.read_text("utf-8") == load_flow(str(example)).flow.svg(engine="builtin")
