"""Hints at a line that is not TOML."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphorch.errors import InputError
from graphorch.models.config.loader import read_config
from tests.models.config.files import write_config

WRONG = [
    ("a = gpt-5", r"line 1, .*Text is put in quotes: a = \"…\"\."),
    ("x = 1\nbase_url = https://x.example/v1", r"line 2, .*in quotes: base_url = \"…\""),
    ("targets = [gpt-5, gpt-4]", r"in quotes: targets = \[\"…\", \"…\"\]"),
    ("targets = [ a, b ]", "in quotes: targets = "),
    ("free = True", "lower case and without quotes: free = true"),
    ("free = yes", "lower case and without quotes: free = true"),
    ("usd = 0,50", r"digits and a point, and no unit: usd = 0\.50"),
    ("usd = $0.50", "digits and a point, and no unit: usd"),
    ("usd = .5", "digits and a point, and no unit: usd"),
    ("share = 80%", "digits and a point, and no unit: share"),
    ("a = “gpt-5”", 'Use plain quotes: a = "…"'),
    ("[limits.openai/gpt-5]", r"put in quotes: \[limits\.\"vendor/model\"\]"),
    ("a =", "The value of a is missing"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_invalid_line_gets_hint(tmp_path: Path, text: str, expected: str) -> None:
    """Guess what was meant by a line that is not TOML."""
    with pytest.raises(InputError, match=expected):
        read_config(write_config(tmp_path, text))


@pytest.mark.parametrize(
    "text", ["a = sk-secret", "a = [sk-secret, b]", "sk-secret", 'a = "sk-secret']
)
def test_hint_repeats_no_value(tmp_path: Path, text: str) -> None:
    """Repeat no value: it may be a key."""
    with pytest.raises(InputError) as caught:
        read_config(write_config(tmp_path, text))
    assert "sk-secret" not in str(caught.value)
