"""A configuration with every table that `graphorch.toml` may have."""

from __future__ import annotations

from pathlib import Path

from graphorch.models.config.loader import read_config
from graphorch.models.config.schema import Config
from tests.models.config.files import write_config

WHOLE = """\
default_model = "policy/careful"
default_endpoint = "main"

[endpoints.main]
base_url = "https://router.requesty.ai/v1"
key_env = "REQUESTY_API_KEY"
dialect = "requesty"

[endpoints.direct]
base_url = "https://api.openai.com/v1"
key_env = "OPENAI_API_KEY"
dialect = "openai"

[policies.careful]
kind = "fallback"
targets = [
    "openai/gpt-5",
    { model = "gpt-5", endpoint = "direct" },
    "policy/split",
]
attempt_timeout = 30

[policies.split]
kind = "weighted"
targets = [{ model = "openai/gpt-5-mini", weight = 3 }, { model = "openai/gpt-5-nano", weight = 1 }]

[limits."openai/gpt-5"]
rpm = 60
concurrency = 8

[budgets.run]
usd = 0.50
at_cap = "policy/split"

[budgets.tags.research]
tokens = 100_000

[alerts]
shares = [0.5, 0.8]

[guards]
secrets = "mask"

[prices."openai/gpt-5"]
input = 1.25
output = 10
"""


def read_changed(folder: Path, old: str, new: str) -> Config:
    """Read the whole configuration with one text in it replaced, from a file in a folder."""
    assert old in WHOLE
    return read_config(write_config(folder, WHOLE.replace(old, new)))
