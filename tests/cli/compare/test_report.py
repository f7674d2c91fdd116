"""Comparison as a table for people."""

from __future__ import annotations

from tests.cli.shell import Shell


def test_table_has_same_figures(bench: Shell) -> None:
    """People read the same figures as a table."""
    ended = bench(
        "compare",
        "flows.py:a",
        "flows.py:b",
        "--inputs",
        "cases.jsonl",
        "--score",
        "flows.py:as_wanted",
    )
    assert ended.code == 0
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert lines[:2] == ["A: flows.py:a", "B: flows.py:b"]
    assert any(
        line.startswith("quality 1 [1, 1] 0.625 [") and line.endswith("A is better")
        for line in lines
    )
    assert (
        "failed: 0 of A, 4 of B; quality and seconds are of the 16 cases that both answered"
        in lines
    )
    assert (
        "B failed most often with: Node 'hasty' failed: ValueError: too hasty for 4 (at hasty)"
        in lines
    )
    assert "line 5, B: Node 'hasty' failed: ValueError: too hasty for 4 (at hasty)" in ended.err


def test_quality_needs_score(bench: Shell) -> None:
    """Without a score, quality is not compared."""
    ended = bench("compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl")
    assert "quality " not in ended.out.replace("quality and seconds", "").replace(
        "quality is not compared", ""
    )
    assert "quality is not compared" in ended.out
