"""Schema of the configuration: unknown keys and values of the wrong kind, with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphorch.errors import InputError
from tests.models.config.examples import read_changed

# What is replaced in the whole file, its replacement, and the line, field and text of the error.
WRONG = [
    (
        'kind = "fallback"',
        'kind = "fallbak"',
        r":15: policies\.careful\.kind: Input should be 'fallback'",
    ),
    (
        "attempt_timeout = 30",
        "attempt_timout = 30",
        r":21: policies\.careful\.attempt_timout: there is no such key\. "
        "Did you mean 'attempt_timeout'",
    ),
    ("rpm = 60", "rpm = 0", r":28: limits\.openai/gpt-5\.rpm: Input should be greater than 0"),
    (
        "rpm = 60",
        "rmp = 60",
        r":28: limits\.openai/gpt-5\.rmp: there is no such key\. Did you mean 'rpm'",
    ),
    ("usd = 0.50", "usd = -1", r":32: budgets\.run\.usd: Input should be greater than 0"),
    ("usd = 0.50", "usd = 0", r":32: budgets\.run\.usd: Input should be greater than 0"),
    ("usd = 0.50", "usd = nan", r":32: budgets\.run\.usd"),
    (
        "tokens = 100_000",
        'tokens = "many"',
        r":36: budgets\.tags\.research\.tokens: Input should be a valid integer",
    ),
    (
        "input = 1.25",
        'input = "1,25"',
        r":45: prices\.openai/gpt-5\.input: Input should be a valid number",
    ),
    (
        "input = 1.25",
        "input = -1",
        r":45: prices\.openai/gpt-5\.input: Input should be greater than or equal to 0",
    ),
    (
        "shares = [0.5, 0.8]",
        "shares = [0.5, 80]",
        r":39: alerts\.shares\.1: Input should be less than or equal to 1",
    ),
    ("[alerts]", "[alert]", r":38: alert: there is no such key\. Did you mean 'alerts'"),
    (
        'dialect = "requesty"',
        'dialect = "requestly"',
        r":7: endpoints\.main\.dialect: Input should be",
    ),
    (
        "weight = 1 }",
        "weight = 1, wieght = 2 }",
        r":25: policies\.split\.targets\.1\.wieght: there is no such key\. Did you mean 'weight'",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), WRONG)
def test_schema_error_names_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Name the line, the field and the problem of a value or key outside the schema."""
    with pytest.raises(InputError, match=rf"graphorch\.toml{expected}"):
        read_changed(tmp_path, old, new)
