"""Every example builds, is short, has no warnings, and runs offline on its sample."""

from __future__ import annotations

import ast
import asyncio
import runpy
from pathlib import Path
from typing import Any

import pytest

from graphorch import Approval
from graphorch.cli.flow_loader import LoadedFlow, load_flow, load_flows
from graphorch.journal.memory import MemoryStore

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


def test_example_gives_equal_results_twice(
    example: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It runs on its sample with the embedded model, to its end where a person refuses a tool."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.sqlite"))
    monkeypatch.setenv("BOX_OFFICE", str(tmp_path / "box_office.txt"))
    loaded = load_flow(str(example))
    assert loaded.sample is not None
    first, second = (asyncio.run(run_to_end(loaded)) for _ in range(2))
    assert first.status == "succeeded"
    assert first.state == second.state


async def run_to_end(loaded: LoadedFlow) -> Any:
    """Run a flow on its sample; refuse what asks, and let the time come of what waits for one."""
    now = [1_000.0]
    options: dict[str, Any] = {"durable": MemoryStore(), "clock": lambda: now[0]}
    result = await loaded.flow.run(loaded.sample, run_id="r", **options)
    while result.status == "waiting":
        if result.questions:
            no, question = Approval(approved=False), result.questions[0]
            result = await loaded.flow.answer("r", question, no, **options)
        else:
            assert result.due is not None
            now[0] = result.due
            result = await loaded.flow.resume("r", **options)
    return result


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
