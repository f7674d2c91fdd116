"""Score of a comparison: a function of the user."""

from __future__ import annotations

import pytest

from tests.cli.shell import Shell


@pytest.mark.parametrize("score, message", [
    ("flows.py", "names no function"),
    ("flows.py:rigth", "has no function 'rigth'. Did you mean 'right'"),
    ("flows.py:late", "'late' is async"),
    ("flows.py:lonely", "cannot be called with an input and an output"),
    ("flows.py:raises", "of line 1 raised KeyError"),
    ("flows.py:wordy", "of line 1 must be a finite number, got 'good'"),
    ("flows.py:endless", "of line 1 must be a finite number, got inf"),
    ("nowhere.py:right", "nowhere.py does not exist"),
])  # fmt: skip
def test_wrong_score_is_explained(bench: Shell, score: str, message: str) -> None:
    """A score that is missing, does not fit, raises or returns no number is one message."""
    ended = bench(
        "compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl", "--score", score
    )
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
