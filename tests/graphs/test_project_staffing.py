"""The staffing workflow: typed tasks in order, departments that decline, bounded digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graphorch import RunFailed
from graphorch.cli.flow_loader import load_flow
from graphorch.testing.models import ScriptedModel, when

loaded = load_flow(str(Path(__file__).parents[2] / "graphs" / "project_staffing.py") + ":flow")
flow: Any = loaded.flow
sample: Any = loaded.sample


def planned(**work: str) -> str:
    return json.dumps(
        dict.fromkeys(("engineering", "software", "legal", "communication", "finance"), "") | work
    )


def test_finance_begins_after_departments() -> None:
    """Each department gets its people, and finance begins when it knows the others."""
    plan = planned(engineering="build gauges", legal="get licences", finance="ask the state")
    with ScriptedModel(
        when("Brief:", plan), when("People:", "We take all of them.", repeats=True)
    ) as model:
        text = flow.run_sync(sample, client=model).output.staffing
    assert text.startswith("# Staffing: A second river gauge network")
    assert text.count("We take all of them.") == 3
    places = [text.index(f"## {name}") for name in ("engineering", "legal", "finance")]
    assert places == sorted(places)
    asked = [
        "\n".join(message.content for message in request.messages) for request in model.requests
    ]
    assert "Amira Haddad" in asked[1] + asked[2]
    assert "Nils Eriksen" in asked[3]


def test_declining_department_is_planned_again() -> None:
    """The lead plans once more, with the reason."""
    roster = "\n".join(line for line in sample.roster.splitlines() if ",legal," not in line)
    first, second = planned(software="write it", legal="read it"), planned(software="write it")
    with ScriptedModel(
        when("Brief:", first, second), when("People:", "Esther.", repeats=True)
    ) as model:
        result = flow.run_sync(flow.plan.input(brief=sample.brief, roster=roster), client=model)
    assert "## software" in result.output.staffing
    plans = [
        request
        for request in model.requests
        if any("Brief:" in message.content for message in request.messages)
    ]
    assert "legal has nobody on the roster" in "\n".join(
        message.content for message in plans[1].messages
    )


def test_empty_plan_ends_with_reason() -> None:
    with pytest.raises(RunFailed) as caught:
        flow.run_sync(sample, client=ScriptedModel(planned()))
    assert "is empty" in str(caught.value.exceptions[0])


def test_long_proposals_are_cut() -> None:
    plan = planned(engineering="a", software="b", legal="c", communication="d", finance="e")
    with ScriptedModel(
        when("Brief:", plan),
        when("People:", "A very long sentence about a person. " * 2_000, repeats=True),
    ) as model:
        text = flow.run_sync(sample, client=model).output.staffing
    assert len(text) < 4 * 1_500 + 500


def test_offline_departments_have_tasks_and_people() -> None:
    text = flow.run_sync(sample).output.staffing
    for name, person in {
        "engineering": "Amira",
        "software": "Farid",
        "legal": "Ida",
        "communication": "Maja",
        "finance": "Nils",
    }.items():
        part = text.split(f"## {name}")[1].split("## ")[0]
        assert "Has to do: " in part
        assert person in part
