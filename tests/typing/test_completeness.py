"""What a type checker, and an editor, know of the package: a type for everything, declared for all that is public, and a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import graphorch

pytestmark = pytest.mark.slow  # a third run of a type checker, over every module of the package

PYTHON = Path(sys.executable)
PUBLIC_HOMES = {
    getattr(graphorch, name).__module__
    for name in graphorch.__all__
    if hasattr(getattr(graphorch, name), "__qualname__")
}
# Names of the package itself: a list that is made when it is imported, and what it imports to load the rest.
NOT_OURS = ("graphorch.import_module",)
FOREIGN = "Type of metaclass unknown"  # of a base class in a package without types


@pytest.fixture(scope="module")
def symbols() -> list[dict[str, Any]]:
    """Every symbol of the package as `pyright --verifytypes` sees it. It looks for the package through the first Python of the PATH."""
    path = os.pathsep.join([str(PYTHON.parent), os.environ.get("PATH", "")])
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--verifytypes",
        "graphorch",
        "--ignoreexternal",
        "--outputjson",
    ]
    outcome = subprocess.run(
        command,
        cwd=PYTHON.parent,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode in (0, 1), outcome.stdout + outcome.stderr
    return json.loads(outcome.stdout)["typeCompleteness"]["symbols"]


def own_faults(symbol: dict[str, Any]) -> list[str]:
    """What is wrong with a symbol itself, not with a type that it mentions."""
    messages = [item["message"].replace("\xa0", " ") for item in symbol["diagnostics"]]
    return [
        f"{symbol['name']}: {message}"
        for message in messages
        if "partially unknown" not in message.split("\n")[0]
    ]


def is_public(name: str) -> bool:
    """Whether a symbol is of a module that public names come from, or of the package itself."""
    return name not in NOT_OURS and (
        name.count(".") == 1 or any(name.startswith(f"{home}.") for home in PUBLIC_HOMES)
    )


def test_package_has_no_unknown_type(symbols: list[dict[str, Any]]) -> None:
    assert len(symbols) > 1000
    unknown = [
        symbol for symbol in symbols if not symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]
    ]
    assert [
        item["name"]
        for item in unknown
        if {entry["message"] for entry in item["diagnostics"]} != {FOREIGN}
    ] == []


def test_public_names_declare_types(
    symbols: list[dict[str, Any]],
) -> None:
    """Declared, not inferred: another checker would otherwise be free to infer something else."""
    public = [symbol for symbol in symbols if is_public(symbol["name"])]
    assert {f"graphorch.{name}" for name in graphorch.__all__} <= {item["name"] for item in public}
    assert [fault for item in public for fault in own_faults(item)] == []
