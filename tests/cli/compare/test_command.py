"""`graphorch compare`: two flows on the same inputs."""

from __future__ import annotations

from tests.cli.compare.bench import CASES, compare_json, find_row, write_cases
from tests.cli.shell import Shell


def test_comparison_finds_differences(bench: Shell) -> None:
    """Both flows run every case; what differs has an interval that excludes zero."""
    comparison = compare_json(bench, "flows.py:a", "flows.py:b", "--score", "flows.py:right")
    assert (comparison["cases"], comparison["answered_by_both"]) == (20, 16)
    quality = find_row(comparison, "quality")
    assert (quality["first"]["value"], quality["second"]["value"], quality["verdict"]) == (
        1.0,
        10 / 16,
        "A is better",
    )
    assert (
        quality["difference"]["low"]
        < quality["difference"]["value"]
        == -6 / 16
        < quality["difference"]["high"]
        < 0
    )
    failed = find_row(comparison, "failed runs")
    assert (failed["first"]["value"], failed["second"]["value"]) == (0, 0.2)
    assert [item["line"] for item in comparison["runs"] if item["b"]["error"]] == [5, 10, 15, 20]
    assert find_row(comparison, "dollars a run")["verdict"] == "no difference shown"


def test_flow_equals_itself(bench: Shell) -> None:
    """A flow does not differ from itself."""
    comparison = compare_json(bench, "flows.py:a", "flows.py:a", "--score", "flows.py:right")
    assert [
        find_row(comparison, name)["verdict"]
        for name in ("quality", "dollars a run", "failed runs")
    ] == ["no difference shown"] * 3


def test_seed_decides_intervals(bench: Shell) -> None:
    """Equal runs give equal intervals; another seed gives others."""
    first, second, other = (
        find_row(
            compare_json(
                bench, "flows.py:a", "flows.py:b", "--score", "flows.py:right", "--seed", seed
            ),
            "quality",
        )
        for seed in "112"
    )
    assert first == second
    assert first["second"]["value"] == other["second"]["value"]


def test_few_cases_conclude_nothing(bench: Shell) -> None:
    """With few cases no difference is concluded."""
    write_cases(bench, CASES[:4])
    comparison = compare_json(bench, "flows.py:a", "flows.py:b", "--score", "flows.py:right")
    assert {item["verdict"] for item in comparison["figures"]} == {"no difference shown"}
