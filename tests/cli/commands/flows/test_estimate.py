"""`graphorch estimate`: what a run costs, message before it."""

from __future__ import annotations

import json

import pytest

from tests.cli.shell import Shell

PRICED = """
from graphorch import Retry
@agent(output=Draft, model="house/large", max_tokens=1_000, timeout=30, retry=Retry(2, first=0))
def outline(topic: Topic) -> str:
    return topic.topic
@agent(output=Draft, model="house/unknown")
def polish(draft: Draft) -> str:
    return draft.draft
bounded = Graph("bounded", Essay, input=Topic, output=Draft).chain(outline).build()
open_ = Graph("open", Essay, input=Topic, output=Draft).chain(outline, polish).build()
"""
CONFIG = """
default_model = "policy/careful"
[endpoints.main]
base_url = "http://127.0.0.1:9/v1"
attempts = 1
[endpoints.here]
base_url = "http://127.0.0.1:9/v1"
free = true
attempts = 1
[policies.careful]
kind = "fallback"
rounds = 1
targets = ["house/large", { model = "house/small", endpoint = "here" }]
[prices."house/large"]
input = 2
output = 10
"""


@pytest.fixture
def priced(shell: Shell) -> Shell:
    shell.write("essay.py", PRICED)
    shell.configure(CONFIG)
    return shell


def estimate_json(shell: Shell, *arguments: str) -> dict:
    ended = shell("estimate", *arguments, "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_estimate_uses_configured_prices(priced: Shell) -> None:
    """The figures follow from the prices and limits of the configuration."""
    estimate = estimate_json(
        priced,
        "essay.py:bounded",
        "--longest-prompt",
        "4000",
        "--usual-prompt",
        "1000",
        "--usual-answer",
        "100",
    )
    assert estimate["worst"] == {
        "activations": 1,
        "calls": 2,
        "input_tokens": 8000,
        "output_tokens": 2000,
        "usd": pytest.approx(0.036),
        "seconds": 60,
    }
    assert estimate["expected"]["usd"] == pytest.approx(0.003)
    assert estimate["unbounded"] == []


def test_estimate_table_names_gaps(priced: Shell) -> None:
    """The table has every node, and names what nothing bounds."""
    ended = priced("estimate", "essay.py:open_")
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert lines[0] == "open: at most / expected"
    assert "outline 1 / 1 2 / 1 16,000 / 2,000 2,000 / 500 $0.0520 / $0.0090 60 / 11" in lines
    assert (
        "the tokens of polish: no max_tokens bounds its answers, and so their cost. "
        "Give the agent max_tokens=…." in lines
    )
    assert any(
        line.startswith("the dollars of polish: the price of 'house/unknown' is not known.")
        for line in lines
    )
    assert estimate_json(priced, "essay.py:open_")["worst"]["usd"] is None


def test_estimate_follows_model_and_policy(priced: Shell) -> None:
    """Another model or a policy changes what is paid."""
    free = estimate_json(priced, "essay.py:bounded", "--model", "policy/careful")
    # two targets may be paid for each call, and one of them charges
    assert free["worst"]["output_tokens"] == 4000
    assert free["worst"]["usd"] == pytest.approx(2 * (8_000 * 2 + 1_000 * 10) / 1e6)
    assert estimate_json(priced, "essay.py:bounded", "--model", "default")["worst"] == free["worst"]


def test_estimate_offline_is_free(shell: Shell) -> None:
    """Without an endpoint the embedded model answers, which costs nothing."""
    shell.write(
        "essay.py", PRICED.replace(', model="house/large"', "").replace('model="house/unknown"', "")
    )
    assert estimate_json(shell, "essay.py:open_")["worst"]["usd"] == 0


@pytest.mark.parametrize("arguments, code, message", [
    (("nowhere.py",), 2, "does not exist"),
    (
        ("essay.py:bounded", "--longest-prompt", "10"),
        2,
        "the usual prompt is longer than the longest one",
    ),
    (("essay.py:bounded", "--usual-answer", "-1"), 2, "usual_answer=-1"),
])  # fmt: skip
def test_wrong_estimate_options_are_explained(
    priced: Shell, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """Options that make no sense are one message."""
    ended = priced("estimate", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
