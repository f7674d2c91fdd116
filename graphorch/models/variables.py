"""The environment variables that say which models a program uses, and the files that may say more."""

from __future__ import annotations

VARIABLES = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "GRAPHORCH_MODEL")
FILE, PROJECT_FILE = "graphorch.toml", "pyproject.toml"
