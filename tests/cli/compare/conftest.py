"""A directory with two flows to compare, and twenty cases."""

from __future__ import annotations

import pytest

from tests.cli.compare.bench import CASES, FLOWS, write_cases
from tests.cli.shell import Shell


@pytest.fixture
def bench(shell: Shell) -> Shell:
    shell.write("flows.py", FLOWS)
    write_cases(shell, CASES)
    return shell
