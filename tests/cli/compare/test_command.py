"""`graphorch compare`: two flows on the same inputs."""

from __future__ import annotations

from tests.cli.compare.bench import CASES, compare_json, find_row, write_cases
from tests.cli.shell import Shell


def test_both_run_every_case_and_what_differs_is_said_with_its_interval(bench: Shell) -> None:
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


def test_a_flow_does_not_differ_from_itself(bench: Shell) -> None:
    comparison = compare_json(bench, "flows.py:a", "flows.py:a", "--score", "flows.py:right")
    assert [
        find_row(comparison, name)["verdict"]
        for name in ("quality", "dollars a run", "failed runs")
    ] == ["no difference shown"] * 3


def test_equal_runs_give_equal_intervals_and_another_seed_others(bench: Shell) -> None:
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
    write_cases(bench, CASES[:4])
    comparison = compare_json(bench, "flows.py:a", "flows.py:b", "--score", "flows.py:right")
    assert {item["verdict"] for item in comparison["figures"]} == {"no difference shown"}
