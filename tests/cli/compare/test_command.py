"""`graphorch compare`: two flows on the same inputs, and everything that may be wrong about it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from typing import Any

import pytest

from tests.cli.shell import Shell

FLOWS = """
class Query(BaseModel):
    n: int
class Answer(BaseModel):
    answer: int
class State(Query, Answer): ...
class Other(BaseModel):
    topic: str
class OtherState(Other, Answer): ...

@node(isolation="inline")
def careful(query: Query) -> Answer:
    return Answer(answer=query.n * 2)
@node(isolation="inline")
def hasty(query: Query) -> Answer:
    if query.n % 5 == 4:
        raise ValueError(f"too hasty for {query.n}")
    return Answer(answer=query.n * 2 + (query.n % 3 == 0))
@node(isolation="inline")
def doomed(query: Query) -> Answer:
    raise ValueError("never")
@node(isolation="inline")
def talk(other: Other) -> Answer:
    return Answer(answer=1)

def flow_of(step, state=State, input=Query):
    return Graph(step.name, state, input=input, output=Answer).chain(step).build()

a, b, c, d = flow_of(careful), flow_of(hasty), flow_of(doomed), flow_of(talk, OtherState, Other)

def right(query: Query, answer: Answer) -> float:
    return float(answer.answer == 2 * query.n)
def as_wanted(query: Query, answer: Answer, line: dict) -> bool:
    return answer.answer == line["want"]
def raises(query: Query, answer: Answer) -> float:
    raise KeyError("no such thing")
def wordy(query: Query, answer: Answer) -> str:
    return "good"
def endless(query: Query, answer: Answer) -> float:
    return float("inf")
async def late(query: Query, answer: Answer) -> float:
    return 1.0
def lonely(query: Query) -> float:
    return 1.0
"""
CASES = [{"input": {"n": n}, "want": 2 * n} for n in range(20)]


@pytest.fixture
def bench(shell: Shell) -> Shell:
    shell.write("flows.py", FLOWS)
    put(shell, CASES)
    return shell


def put(shell: Shell, cases: Iterable[Any]) -> None:
    shell.here.joinpath("cases.jsonl").write_text(
        "".join(f"{case if isinstance(case, str) else json.dumps(case)}\n" for case in cases),
        "utf-8",
    )


def told(shell: Shell, *arguments: str) -> dict[str, Any]:
    ended = shell("compare", *arguments, "--inputs", "cases.jsonl", "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def row(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in found["figures"] if item["name"] == name)


def test_both_run_every_case_and_what_differs_is_said_with_its_interval(bench: Shell) -> None:
    found = told(bench, "flows.py:a", "flows.py:b", "--score", "flows.py:right")
    assert (found["cases"], found["answered_by_both"]) == (20, 16)
    quality = row(found, "quality")
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
    failed = row(found, "failed runs")
    assert (failed["first"]["value"], failed["second"]["value"]) == (0, 0.2)
    assert [item["line"] for item in found["runs"] if item["b"]["error"]] == [5, 10, 15, 20]
    assert row(found, "dollars a run")["verdict"] == "no difference shown"


def test_the_table_tells_the_same_to_people(bench: Shell) -> None:
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


def test_a_flow_does_not_differ_from_itself(bench: Shell) -> None:
    found = told(bench, "flows.py:a", "flows.py:a", "--score", "flows.py:right")
    assert [
        row(found, name)["verdict"] for name in ("quality", "dollars a run", "failed runs")
    ] == ["no difference shown"] * 3


def test_equal_runs_give_equal_intervals_and_another_seed_others(bench: Shell) -> None:
    first, second, other = (
        row(
            told(bench, "flows.py:a", "flows.py:b", "--score", "flows.py:right", "--seed", seed),
            "quality",
        )
        for seed in "112"
    )
    assert first == second
    assert first["second"]["value"] == other["second"]["value"]


def test_without_a_score_nothing_is_said_about_quality(bench: Shell) -> None:
    ended = bench("compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl")
    assert "quality " not in ended.out.replace("quality and seconds", "").replace(
        "quality is not compared", ""
    )
    assert "quality is not compared" in ended.out


def test_few_cases_conclude_nothing(bench: Shell) -> None:
    put(bench, CASES[:4])
    found = told(bench, "flows.py:a", "flows.py:b", "--score", "flows.py:right")
    assert {item["verdict"] for item in found["figures"]} == {"no difference shown"}


def test_the_picture_is_svg_and_says_what_the_table_says(bench: Shell) -> None:
    ended = bench(
        "compare",
        "flows.py:a",
        "flows.py:b",
        "--inputs",
        "cases.jsonl",
        "--score",
        "flows.py:right",
        "--svg",
        "out.svg",
    )
    assert "written to out.svg" in ended.err
    picture = ElementTree.parse(bench.here / "out.svg").getroot()
    words = " ".join(picture.itertext())
    assert picture.tag.endswith("svg")
    assert all(
        word in words
        for word in ("quality", "seconds, P90", "A is better", "20 cases, 16 answered by both")
    )


def test_inputs_may_stand_alone_in_their_lines_and_on_standard_input(
    bench: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bench, [{"n": n} for n in range(3)] + ["", {"n": 7}])
    assert told(bench, "flows.py:a", "flows.py:b")["runs"][3]["line"] == 5


def test_flows_that_never_succeed_end_with_1(bench: Shell) -> None:
    ended = bench(
        "compare",
        "flows.py:c",
        "flows.py:c",
        "--inputs",
        "cases.jsonl",
        "--score",
        "flows.py:right",
        "--svg",
        "out.svg",
    )
    assert ended.code == 1
    assert "nothing to compare" in bench.here.joinpath("out.svg").read_text("utf-8")


@pytest.mark.parametrize("line, said", [
    ('{"n": 1', "line 2: not JSON: Expecting ',' delimiter at column 8"),
    ("[1]", "line 2: not an object, but a list: [1]"),
    ("{}", "line 2: Query: n: Field required"),
    ('{"n": "many"}', "line 2: Query: n: Input should be a valid integer"),
    ('{"n": 1, "want": 2}', "line 2: Query has no field 'want'."),
    ('{"input": {"m": 1}}', "line 2: Query has no field 'm'."),
    ("[" * 100_000, "line 2: nested too deeply"),
])  # fmt: skip
def test_a_wrong_line_is_named_by_its_number_before_anything_runs(
    bench: Shell, line: str, said: str
) -> None:
    put(bench, [CASES[0], line, *CASES])
    ended = bench("compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl")
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "runs" not in ended.err


def test_all_wrong_lines_are_told_at_once_up_to_twenty(bench: Shell) -> None:
    put(bench, ["x"] * 30)
    ended = bench("compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl")
    assert ended.err.count("  - line ") == 20
    assert "and 10 more" in ended.err


@pytest.mark.parametrize("cases, said", [([], "holds no cases"), (CASES[:1], "holds one case")])
def test_less_than_two_cases_are_no_comparison(bench: Shell, cases: list[Any], said: str) -> None:
    put(bench, cases)
    assert said in bench("compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl").err


def test_flows_with_different_inputs_are_refused(bench: Shell) -> None:
    ended = bench("compare", "flows.py:a", "flows.py:d", "--inputs", "cases.jsonl")
    assert ended.code == 2
    assert "A takes Query (n); B takes Other (topic). In one only: n, topic." in ended.err


@pytest.mark.parametrize("score, said", [
    ("flows.py", "names no function"),
    ("flows.py:rigth", "has no function 'rigth'. Did you mean 'right'"),
    ("flows.py:late", "'late' is async"),
    ("flows.py:lonely", "cannot be called with an input and an output"),
    ("flows.py:raises", "of line 1 raised KeyError"),
    ("flows.py:wordy", "of line 1 must be a finite number, got 'good'"),
    ("flows.py:endless", "of line 1 must be a finite number, got inf"),
    ("nowhere.py:right", "nowhere.py does not exist"),
])  # fmt: skip
def test_a_score_that_is_none_ends_it_with_one_message(bench: Shell, score: str, said: str) -> None:
    ended = bench(
        "compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl", "--score", score
    )
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_a_file_that_cannot_be_written_is_said_before_anything_runs(bench: Shell) -> None:
    ended = bench(
        "compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl", "--svg", "nowhere/out.svg"
    )
    assert ended.code == 2
    assert "80 runs" not in ended.err
