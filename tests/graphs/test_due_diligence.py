"""The contract workflow: three reviews at once, and a memo that says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphorch import RunFailed
from graphorch.cli.flow_loader import load_flow
from graphorch.testing.models import ScriptedModel, when

loaded = load_flow(str(Path(__file__).parents[2] / "graphs" / "due_diligence.py"))
flow: Any = loaded.flow
sample: Any = loaded.sample


def test_three_reviews_make_one_memo() -> None:
    with ScriptedModel(
        *(
            when("Contract:", f"{name} says no.", node=name)
            for name in ("legal", "financial", "technical")
        )
    ) as model:
        memo = flow.run_sync(sample, client=model).output.memo
    assert (
        memo == "# Before we sign\n\n## Legal\n\nlegal says no.\n\n"
        "## Financial\n\nfinancial says no.\n\n## Technical\n\ntechnical says no."
    )
    assert all("Black Friday" in request.messages[-1].content for request in model.requests)


def test_failing_review_is_named() -> None:
    """The other reviews are not held up."""
    with ScriptedModel(
        when("", ValueError("no lawyer today"), node="legal"),
        when("", "a", node="financial"),
        when("", "b", node="technical"),
    ) as model:
        memo = flow.run_sync(sample, client=model).output.memo
    assert "- The legal review is missing: it failed: ValueError: no lawyer today" in memo
    assert "## Financial\n\na" in memo
    assert "## Legal" not in memo


def test_wrong_document_is_refused_first() -> None:
    """A text that is not a contract is refused before a review begins."""
    model = ScriptedModel()
    with pytest.raises(RunFailed) as caught:
        flow.run_sync(flow.plan.input(contract="To be agreed."), client=model)
    assert "3 words are no contract" in str(caught.value.exceptions[0])
    assert model.requests == []


def test_offline_reviews_find_own_clauses() -> None:
    state = flow.run_sync(sample).state
    assert "breach of personal data" in state.legal
    assert "EUR 1,650 per day" in state.financial
    assert "1,100 orders per minute" in state.technical


def test_worst_case_is_known_before_run() -> None:
    worst = flow.estimate().worst
    assert (worst.calls, worst.output_tokens, worst.seconds) == (3, 3_600, 120)
