"""The coding workflow: what goes to the model, which attempt is kept, and when it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from graphorch import RunFailed, Usage
from graphorch.cli.flow_loader import load_flow, load_module
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response

GRAPHS = Path(__file__).parents[2] / "graphs"
loaded = load_flow(str(GRAPHS / "code_generation.py"))
code_in = load_module(str(GRAPHS / "code_generation.py"))[0].code_in

TESTS = """\
from solution import double

def test_two():
    assert double(2) == 4

def test_three():
    assert double(3) == 6, 'three'
"""
RIGHT = "def double(n):\n    return 2 * n\n"


class Coder:
    """Answers with the codes of a list, one after the other."""

    def __init__(self, codes: Sequence[str]) -> None:
        self.codes = list(codes)
        self.prompts: list[str] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        self.prompts.append(request.messages[-1].content)
        return Response(self.codes.pop(0), "fake", Usage(1, 1), 0.0, "free", "stop", 1, 0.0, None)


def solved(codes: Sequence[str], **given: Any) -> tuple[Any, Coder]:
    coder = Coder(codes)
    task = loaded.flow.plan.input(task="Double a number.", tests=TESTS, seconds=0.6, **given)
    return loaded.flow.run_sync(task, client=coder), coder


def test_passing_code_is_taken_at_once() -> None:
    result, coder = solved([f"Here it is:\n```python\n{RIGHT}```\nDone."])
    assert (result.output.code, result.output.by, result.output.score) == (RIGHT, "the model", 10)
    assert len(coder.prompts) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (f"```python\n{RIGHT}```\nTry it:\n```python\ndef demo(): ...\n```", RIGHT),
        (f"Not like this:\n```py\ndef x(): 0\n```\nbut:\n```\n{RIGHT}```", RIGHT),
        (f"```\npip install a-package-that-is-not-needed\n```\n```\n{RIGHT}```", RIGHT),
        (f"```\nprint('a longer block that defines nothing')\n```\n```\n{RIGHT}```", RIGHT),
        (RIGHT, RIGHT),
        (
            f'"""Use:\n```\ndef x(): 0\n```\n"""\n{RIGHT}',
            f'"""Use:\n```\ndef x(): 0\n```\n"""\n{RIGHT}',
        ),
        ("```\nasync def double(n): ...\n```", "async def double(n): ...\n"),
        ("```\ndef double(n:\n```", ""),
        ("Sorry.", ""),
    ],
)
def test_code_in_takes_longest_module(answer: str, expected: str) -> None:
    """The longest block that defines something is the code, and not an example beside it."""
    assert code_in(answer) == expected


def test_failures_go_back_with_attempt() -> None:
    wrong = "def double(n):\n    return n + 2\n"
    result, coder = solved([wrong, RIGHT])
    assert result.output.round == 2
    for given in (
        "Double a number.",
        wrong,
        "1 of 2 tests passed.",
        "test_three: AssertionError: three [tests.py:7: assert double(3) == 6, 'three']",
    ):
        assert given in coder.prompts[1]


def test_best_attempt_is_kept() -> None:
    """That holds even if no attempt passes."""
    half, none = "def double(n):\n    return 4\n", "def double(n):\n    return 0\n"
    result, _ = solved([half, none, none + "#\n", none + "##\n"])
    assert (result.output.code, result.output.score) == (half, 4.5)


def test_answers_without_code_are_replaced() -> None:
    """Prepared attempts stand in for them, and the report mentions it."""
    result, _ = solved(
        ["I cannot write code.", "Sorry."], attempts=["def double(n):\n    return 0\n", RIGHT]
    )
    assert (result.output.code, result.output.by) == (
        RIGHT,
        "prepared attempt 2: the model's answer held no code",
    )


def test_offline_sample_fails_hangs_and_passes() -> None:
    result = loaded.flow.run_sync(loaded.sample)
    assert (result.output.round, result.output.score) == (3, 10)
    assert result.output.failures == ""
    assert "prepared attempt 3" in result.output.by


def test_run_without_sandbox_pays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the code could not be run, the run fails before a model is asked."""
    monkeypatch.setenv("PATH", "/nowhere")
    coder = Coder([RIGHT])
    task = loaded.flow.plan.input(task="Double a number.", tests=TESTS)
    with pytest.raises(RunFailed) as caught:
        loaded.flow.run_sync(task, client=coder)
    assert "Install bubblewrap (Linux: apt install bubblewrap)" in str(caught.value.exceptions[0])
    assert coder.prompts == []


def test_sandbox_none_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output names what the code ran behind."""
    monkeypatch.setenv("PATH", "/nowhere")
    result, _ = solved([RIGHT], sandbox="none")
    assert result.output.score == 10
    assert result.output.enforced_by == "none: limits on time and memory only"
