"""Cases of a comparison: lines of JSON, validated before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.compare.bench import CASES, compare_json, write_cases
from tests.cli.shell import Shell


def test_inputs_may_stand_alone(bench: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line may be the input itself; empty lines are skipped but counted."""
    write_cases(bench, [{"n": n} for n in range(3)] + ["", {"n": 7}])
    assert compare_json(bench, "flows.py:a", "flows.py:b")["runs"][3]["line"] == 5


@pytest.mark.parametrize("line, message", [
    ('{"n": 1', "line 2: not JSON: Expecting ',' delimiter at column 8"),
    ("[1]", "line 2: not an object, but a list: [1]"),
    ("{}", "line 2: Query: n: Field required"),
    ('{"n": "many"}', "line 2: Query: n: Input should be a valid integer"),
    ('{"n": 1, "want": 2}', "line 2: Query has no field 'want'."),
    ('{"input": {"m": 1}}', "line 2: Query has no field 'm'."),
    ("[" * 100_000, "line 2: nested too deeply"),
])  # fmt: skip
def test_wrong_line_is_named(bench: Shell, line: str, message: str) -> None:
    """A wrong line is named by its number before anything runs."""
    write_cases(bench, [CASES[0], line, *CASES])
    ended = bench("compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert "runs" not in ended.err


def test_wrong_lines_are_listed_together(bench: Shell) -> None:
    """All wrong lines are listed at once, up to twenty."""
    write_cases(bench, ["x"] * 30)
    ended = bench("compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl")
    assert ended.err.count("  - line ") == 20
    assert "and 10 more" in ended.err


@pytest.mark.parametrize("cases, message", [([], "holds no cases"), (CASES[:1], "holds one case")])
def test_fewer_than_two_cases_are_refused(bench: Shell, cases: list[Any], message: str) -> None:
    """A comparison needs at least two cases."""
    write_cases(bench, cases)
    assert message in bench("compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl").err


def test_different_inputs_are_refused(bench: Shell) -> None:
    """Both flows must take the same fields."""
    ended = bench("compare", "flows.py:a", "flows.py:d", "--inputs", "cases.jsonl")
    assert ended.code == 2
    assert "A takes Query (n); B takes Other (topic). In one only: n, topic." in ended.err
