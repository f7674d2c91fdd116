"""Where the configuration of models comes from: names of environment variables and files.

Apart from the code that reads them, because every run compares them and few runs load models.
"""

from __future__ import annotations

VARIABLES = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "GRAPHORCH_MODEL")
FILE, PROJECT_FILE = "graphorch.toml", "pyproject.toml"
