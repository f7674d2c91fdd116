"""Configuration file: its meaning, and errors that name file, line, field and a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphorch.errors import InputError
from graphorch.models.budgets.budget import Budget, CapRules
from graphorch.models.config.loader import find_config, parse_config, read_config
from graphorch.models.config.schema import TargetConfig
from tests.models.config.examples import WHOLE
from tests.models.config.files import write_config


def test_loader_reads_whole_file(tmp_path: Path) -> None:
    """Read a file that has every table."""
    config = read_config(write_config(tmp_path, WHOLE))
    assert config.policies["careful"].targets[1] == TargetConfig(model="gpt-5", endpoint="direct")
    assert config.limits["openai/gpt-5"].build_limits().rpm == 60
    assert config.prices["openai/gpt-5"].output == 10
    assert config.guards == {"secrets": "mask"}
    run = config.budgets.run
    assert run is not None
    assert (run.build_budget(), config.build_cap_rules(run)) == (
        Budget(usd=0.5),
        CapRules(at_cap="policy/split", alert_shares=(0.5, 0.8)),
    )


def test_loader_reads_project_file(tmp_path: Path) -> None:
    """Read the table of pyproject.toml."""
    text = (
        '[project]\nname = "x"\n\n[tool.graphorch.endpoints.a]\n'
        'base_url = "http://127.0.0.1:1/v1"\ndialekt = "openai"\n'
    )
    with pytest.raises(
        InputError,
        match=r"pyproject.toml:6: endpoints\.a\.dialekt: there is no such key\. "
        "Did you mean 'dialect'",
    ):
        find_config(write_config(tmp_path, text, "pyproject.toml").parent)


def test_missing_file_is_empty_config(tmp_path: Path) -> None:
    """Return an empty configuration if there is no file."""
    assert find_config(tmp_path) == parse_config({})


def test_own_file_precedes_project_file(tmp_path: Path) -> None:
    """Prefer graphorch.toml to pyproject.toml."""
    write_config(tmp_path, '[tool.graphorch]\ndefault_model = "b"\n', "pyproject.toml")
    write_config(tmp_path, 'default_model = "a"\n')
    assert find_config(tmp_path).default_model == "a"


def test_problems_are_reported_together(tmp_path: Path) -> None:
    """Report all problems at once."""
    text = (
        WHOLE.replace("rpm = 60", "rpm = 0")
        .replace("usd = 0.50", "usd = 0")
        .replace("[alerts]", "[alert]")
    )
    with pytest.raises(InputError) as caught:
        read_config(write_config(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a = = 1", r"line 1"), ("a = 1\nb = = 2", "line 2"), (b"\xff", "is not TOML")],
)
def test_invalid_toml_names_line(tmp_path: Path, text: str | bytes, expected: str) -> None:
    """Name the line of invalid TOML."""
    path = tmp_path / "graphorch.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=expected):
        read_config(path)


def test_unreadable_file_is_reported(tmp_path: Path) -> None:
    """Report a file that does not exist."""
    with pytest.raises(InputError, match=r"nowhere\.toml cannot be read: No such file"):
        read_config(tmp_path / "nowhere.toml")
