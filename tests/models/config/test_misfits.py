"""Values of the wrong type: how they are written instead, without repeating a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphorch.errors import InputError
from graphorch.models.config.loader import parse_config, read_config
from tests.models.config.files import write_config

WRONG = [
    ('[budgets.run]\nusd = "0.50"', r":2: budgets\.run\.usd: .* without quotes: usd = 0\.50"),
    ('[budgets.run]\ncalls = "5"', r":2: budgets\.run\.calls: .* without quotes: calls = 5"),
    ("[budgets.run]\ncalls = 5.5", r":2: budgets\.run\.calls: .* no point: calls = 10"),
    ("[budgets.run]\nusd = true", r":2: budgets\.run\.usd: Input should be a valid number"),
    ("[budgets]\nrun = 5", r":2: budgets\.run: .* It is a table: write \[run\]"),
    ("default_model = 5", r':1: default_model: .* in quotes: default_model = "…"'),
    ('default_model = ""', ":1: default_model: String should have at least 1 character"),
    ("[endpoints.a]\nbase_url = 'https://x'\nfree = 'yes'", r":3: .* without quotes: free = true"),
    ("[policies.p]\nkind = 'fallback'\ntargets = 'm'", r':3: .* brackets: targets = \["…"\]'),
    ("[alerts]\nshares = 0.8", r":2: alerts\.shares: .* brackets: shares = \[…\]"),
    ("[alerts]\nshares = [80]", r":2: alerts\.shares\.0: .* write 0\.8 for 80 %"),
    ("[limits.gpt-4.1]\nrpm = 5", r":1: limits\.gpt-4\.1: .* a point in quotes: \[limits\.\"gpt-4"),
    ("[budgets.tags.a.b]\nusd = 1", r":1: budgets\.tags\.a\.b: .* a point in quotes"),
    ("[prices.gpt-4.1]\ninput = 1\noutput = 2", r":1: prices\.gpt-4\.1: .* a point in quotes"),
    ("[guards]\nsecret = 'mask'", r":2: guards\.secret: .* Did you mean 'secrets'"),
    ("[guards]\nsecrets = 'maks'", r":2: guards\.secrets\.action: Input should be 'block'"),
    ("[tools.files]\ncommand = 'rm'", ":1: tools: there is no such key"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_misfit_has_line_and_hint(tmp_path: Path, text: str, expected: str) -> None:
    """Say how a value of the wrong type is written, with its line and field."""
    with pytest.raises(InputError, match=rf"graphorch\.toml{expected}"):
        read_config(write_config(tmp_path, text))


@pytest.mark.parametrize(
    "tables",
    [
        {"endpoints": {"main": {"base_url": "https://x", "api_key": "sk-secret"}}},
        {"endpoints": {"main": {"base_url": "https://x", "max_output": "sk-secret"}}},
        {"endpoints": "sk-secret"},
        {"endpoints": {"main": {"base_url": "https://x", "dialect": "sk-secret"}}},
        {"endpoints": {"main": {"base_url": "https://sk-secret@x"}}},
    ],
)
def test_misplaced_key_is_not_repeated(tables: dict[str, object]) -> None:
    """Repeat no text of a wrong configuration: it may be a key in the wrong place."""
    with pytest.raises(InputError) as caught:
        parse_config(tables)
    assert "sk-secret" not in str(caught.value)
