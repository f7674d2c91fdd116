"""The triage workflow: who answers, when it asks back, and how often it is right."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from graphorch.cli.flow_loader import load_flow
from graphorch.testing.models import ScriptedModel, when
from tests.cli.shell import Shell

GRAPHS = Path(__file__).parents[2] / "graphs"
GRAPH = str(GRAPHS / "support_triage.py")
CASES = [
    json.loads(line)
    for line in (GRAPHS / "samples" / "support_requests.jsonl").read_text("utf-8").splitlines()
]


def handled(request: str, category: str, confidence: float, *others: Any) -> tuple[Any, list[str]]:
    flow: Any = load_flow(GRAPH).flow
    triage = json.dumps({"category": category, "confidence": confidence})
    with ScriptedModel(when("", triage, node="classify"), *others) as model:
        result = flow.run_sync(flow.plan.input(request=request), client=model)
    return result.output, [item.metadata["path"] for item in model.requests]


def test_sure_classifier_chooses_specialist() -> None:
    output, asked = handled(
        "The box was torn.",
        "shipping",
        0.9,
        when("Parcels leave", "We send a new one.", node="shipping"),
    )
    assert (output.category, output.reply, asked) == (
        "shipping",
        "We send a new one.",
        ["classify", "shipping"],
    )


def test_unsure_classifier_leaves_it_to_keywords() -> None:
    output, asked = handled(
        "My parcel with the invoice never came, where is the parcel?",
        "billing",
        0.4,
        when("", "We look.", node="shipping"),
    )
    assert (output.category, asked) == ("shipping", ["classify", "shipping"])


def test_general_desk_asks_back() -> None:
    """It takes requests of which neither classifier nor key words are sure."""
    output, asked = handled(
        "My account shows the wrong invoice.", "other", 0.2, when("", "Which one?", node="general")
    )
    assert (output.reply, asked) == ("Which one?", ["classify", "general"])


def test_requests_cover_every_category() -> None:
    """There are at least sixty, each of them once."""
    assert len(CASES) == len({case["input"]["request"] for case in CASES}) >= 60
    counts = Counter(case["category"] for case in CASES)
    assert set(counts) == {"billing", "shipping", "technical", "account", "other"}
    assert min(counts.values()) >= 9


def test_offline_most_requests_reach_right_desk() -> None:
    flow: Any = load_flow(GRAPH).flow
    right = sum(
        flow.run_sync(flow.plan.input(**case["input"])).output.category == case["category"]
        for case in CASES
    )
    assert right >= 0.75 * len(CASES)


def test_docstring_comparison_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(tmp_path, capsys)
    score = f"{GRAPH}:right"
    cases = str(GRAPHS / "samples" / "support_requests.jsonl")
    ended = shell(
        "compare",
        f"{GRAPH}:flow",
        f"{GRAPH}:one_for_all",
        "--inputs",
        cases,
        "--score",
        score,
        "--json",
    )
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["answered_by_both"] == len(CASES)
