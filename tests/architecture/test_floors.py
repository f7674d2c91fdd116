"""Contracts of pyproject.toml: imports go down, there are no cycles, the core stays pure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINT_IMPORTS = """\
import sys
from importlinter.cli import lint_imports_command

sys.exit(lint_imports_command())
"""


def check_floors(project: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter in a process of its own, since it imports the package and caches it."""
    command = [
        sys.executable,
        "-c",
        LINT_IMPORTS,
        "--no-logo",
        "--no-cache",
        str(project / "pyproject.toml"),
    ]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def test_contracts_are_kept() -> None:
    """Every contract of pyproject.toml holds."""
    outcome = check_floors(ROOT)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_planted_breaches_are_found(
    tmp_path: Path,
) -> None:
    """A package that breaks each contract is refused; otherwise a contract guards nothing."""
    (tmp_path / "pyproject.toml").write_text(
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    wrong = {
        "errors.py": "",
        "core/__init__.py": "def now():\n    import time\n    return time.time()\n",
        "graph/__init__.py": "import graphorch.journal\n",
        "journal/__init__.py": "import graphorch.core\n",
        "state/__init__.py": "",
        "state/left.py": "import graphorch.state.right\n",
        "state/right.py": "import graphorch.state.left\n",
        "clock.py": "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import graphorch.core\n",
        "helpers.py": "",
    }
    for name, source in {"__init__.py": "", **wrong}.items():
        path = tmp_path / "graphorch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    outcome = check_floors(tmp_path)
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    expected = [
        "graphorch.core is not allowed to import time",
        "graphorch.graph is not allowed to import graphorch.journal",  # up
        "graphorch.journal is not allowed to import graphorch.core",  # sideways
        "graphorch.clock is not allowed to import graphorch.core",  # up, in an annotation
        "No cycles are allowed in graphorch.state",
        "- graphorch.helpers",  # on no floor
    ]
    assert [line for line in expected if line not in outcome.stdout] == [], outcome.stdout
