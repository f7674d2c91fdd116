"""The types of the public surface: right programs are clean under both checkers and run; wrong ones are refused by whom their tag names.

A wrong program is one function under a tag, `# N01: [pyright mypy build:SLICE_MISSING] what is wrong`. Its words say who refuses it:

- `pyright` (strict) and `mypy` (strict) report it, on the lines that end in `# wrong` and on no others; who is not named reports nothing;
- `build:CODE`: when the function runs, it raises a `GraphError` whose problems have exactly this code;
- `raises:Name`: when it runs, it raises an exception of this class.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from graphorch import GraphError

HERE = Path(__file__).parent
PROGRAMS = sorted((HERE / "programs").glob("*.py"))
RIGHT = [path for path in PROGRAMS if not path.stem.startswith("wrong_")]
WRONG = [path for path in PROGRAMS if path.stem.startswith("wrong_")]
CHECKERS = ("pyright", "mypy")

TAG = re.compile(r"# (?P<id>[A-Z]\d\d): \[(?P<words>[^]]+)\] \S")
MARK = "# wrong"
# What pyright adds wherever the type of an expression became unknown through the error that counts.
CONSEQUENCES = {
    "reportUnknownArgumentType",
    "reportUnknownLambdaType",
    "reportUnknownMemberType",
    "reportUnknownVariableType",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One wrong program: where it stands, and what its tag says."""

    path: Path
    function: str
    lines: range
    marked: frozenset[int]
    checkers: frozenset[str]
    refusals: frozenset[str]


@dataclass(frozen=True, slots=True)
class Report:
    """One error that a type checker found."""

    checker: str
    file: str
    line: int
    rule: str
    message: str


def blocks_of(path: Path, text: str) -> Iterator[Block]:
    """The wrong programs of a file. Raises `ValueError` for a tag that says nothing, or nothing that is known."""
    lines = text.splitlines()
    tags = [(number, tag) for number, line in enumerate(lines, 1) if (tag := TAG.match(line))]
    ends = [*(number for number, _ in tags[1:]), len(lines) + 1]
    for (begin, tag), end in zip(tags, ends, strict=True):
        words = frozenset(tag["words"].split())
        refusals = frozenset(word for word in words if word.startswith(("build:", "raises:")))
        inside = range(begin, end)
        marked = frozenset(number for number in inside if lines[number - 1].endswith(MARK))
        checkers = words - refusals
        if not checkers <= {*CHECKERS} or bool(checkers) != bool(marked):
            raise ValueError(f"{path.name}:{begin}: {tag.group()}")
        yield Block(path, tag["id"].lower(), inside, marked, checkers, refusals)


BLOCKS = [block for path in WRONG for block in blocks_of(path, path.read_text(encoding="utf-8"))]


def by_name(value: object) -> str | None:
    """The id of a test's parameter."""
    return (
        value.stem
        if isinstance(value, Path)
        else value.function
        if isinstance(value, Block)
        else None
    )


# ---- the checkers ------------------------------------------------------------------------------


def pyright_reports(output: str) -> list[Report]:
    found = json.loads(output)["generalDiagnostics"]
    return [
        Report(
            "pyright",
            Path(item["file"]).name,
            item["range"]["start"]["line"] + 1,
            item.get("rule", ""),
            item["message"],
        )
        for item in found
    ]


def mypy_reports(output: str) -> list[Report]:
    found = [json.loads(line) for line in output.splitlines()]
    return [
        Report("mypy", Path(item["file"]).name, item["line"], item["code"] or "", item["message"])
        for item in found
        if item["severity"] == "error"
    ]


READERS: dict[str, Callable[[str], list[Report]]] = {
    "pyright": pyright_reports,
    "mypy": mypy_reports,
}


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    """What the two checkers say about all programs; one process each, side by side."""
    # stays: the second run takes a fifth of the time
    cache_dir = tmp_path_factory.getbasetemp().parent / "mypy"
    commands = {
        "pyright": [
            "pyright",
            "--outputjson",
            "--pythonpath",
            sys.executable,
            "--project",
            str(HERE / "pyrightconfig.json"),
        ],
        "mypy": [
            "mypy",
            "--strict",
            "--config-file=",
            "--output=json",
            f"--cache-dir={cache_dir}",
            *map(str, PROGRAMS),
        ],
    }
    running = {
        name: subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, command in commands.items()
    }
    found: list[Report] = []
    for name, process in running.items():
        output, errors = process.communicate()
        assert process.returncode in (0, 1), f"{name} did not run: {output}{errors}"
        found += READERS[name](output)
    return found


def shown(found: Iterable[Report]) -> str:
    return "\n".join(
        f"{report.checker}: {report.file}:{report.line}: {report.message} [{report.rule}]"
        for report in found
    )


@pytest.mark.slow
@pytest.mark.parametrize("path", RIGHT, ids=by_name)
def test_right_program_is_clean(path: Path, reports: list[Report]) -> None:
    found = [report for report in reports if report.file == path.name]
    assert not found, shown(found)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=by_name)
def test_wrong_program_is_reported(block: Block, reports: list[Report]) -> None:
    found = [
        report
        for report in reports
        if report.file == block.path.name
        and report.line in block.lines
        and report.rule not in CONSEQUENCES
    ]
    elsewhere = [report for report in found if report.line not in block.marked]
    assert not elsewhere, shown(elsewhere)
    assert {report.checker for report in found} == block.checkers, (
        shown(found) or "nobody reports it"
    )


@pytest.mark.slow
def test_other_lines_are_not_reported(reports: list[Report]) -> None:
    covered = {(block.path.name, line) for block in BLOCKS for line in block.lines}
    found = [
        report
        for report in reports
        if report.file.startswith("wrong_") and (report.file, report.line) not in covered
    ]
    assert not found, shown(found)


# ---- the programs, run for real ----------------------------------------------------------------


@cache
def loaded(path: Path) -> ModuleType:
    """The program as a module; pydantic looks its annotations up by the module's name."""
    spec = importlib.util.spec_from_file_location(f"typing_programs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def refusal_of(function: Callable[[], Any]) -> set[str]:
    """How a wrong program is refused when it runs, in the words of a tag."""
    try:
        made = function()
        if inspect.iscoroutine(made):
            asyncio.run(made)
    except GraphError as error:
        return {f"build:{problem.code}" for problem in error.problems}
    except Exception as error:
        return {f"raises:{type(error).__name__}"}
    return set()


@pytest.mark.parametrize("path", RIGHT, ids=by_name)
def test_right_program_gives_answer(path: Path) -> None:
    program = loaded(path)
    assert program.main() == program.ANSWER


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.refusals], ids=by_name)
def test_wrong_program_is_refused_at_runtime(block: Block) -> None:
    assert refusal_of(getattr(loaded(block.path), block.function)) == block.refusals


# ---- the tags ----------------------------------------------------------------------------------


def test_tags_and_functions_match() -> None:
    for path in WRONG:
        functions = [name for name in vars(loaded(path)) if re.fullmatch(r"[a-z]\d\d", name)]
        assert [block.function for block in BLOCKS if block.path == path] == functions


@pytest.mark.parametrize(
    "tag",
    ["# A01: [pyrite] x\n1  # wrong", "# A01: [pyright] x\n1", "# A01: [build:CODE] x\n1  # wrong"],
)
def test_useless_tag_is_noticed(tag: str) -> None:
    with pytest.raises(ValueError, match="A01"):
        list(blocks_of(Path("x.py"), tag))


def test_right_program_among_wrong_is_noticed() -> None:
    assert refusal_of(lambda: None) == set()
