"""Configuration file: its meaning, and errors that name file, line, field and a suggestion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphorch.errors import InputError
from graphorch.models.budgets.budget import Budget, CapRules
from graphorch.models.config.loader import find_config, parse_config, read_config
from graphorch.models.config.schema import GuardConfig, TargetConfig
from tests.models.config.examples import WHOLE
from tests.models.config.files import trust_config, write_config


def test_loader_reads_whole_file(tmp_path: Path) -> None:
    """Read a file that has every table."""
    config = read_config(write_config(tmp_path, WHOLE))
    assert config.policies["careful"].targets[1] == TargetConfig(model="gpt-5", endpoint="direct")
    assert config.limits["openai/gpt-5"].build_limits().rpm == 60
    assert config.prices["openai/gpt-5"].output == 10
    assert config.guards.secrets == GuardConfig(action="mask")
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
        find_config(trust_config(write_config(tmp_path, text, "pyproject.toml")).parent)


@pytest.mark.parametrize(
    "text",
    [
        "[tool]\ngraphorch = { default_model = 'b' }",
        "tool.graphorch.default_model = 'b'",
        "[tool.'graphorch']\ndefault_model = 'b'",
        "tool = { graphorch = { default_model = 'b' } }",
    ],
)
def test_project_table_has_many_spellings(tmp_path: Path, text: str) -> None:
    """Find the table of pyproject.toml however TOML lets it be written."""
    write_config(tmp_path, text, "pyproject.toml")
    assert find_config(tmp_path).default_model == "b"


@pytest.mark.parametrize("text", ["[project]\nname = 'x'", "dependencies = ['graphorch']", ""])
def test_other_project_file_is_ignored(tmp_path: Path, text: str) -> None:
    """Leave a pyproject.toml without a table for us alone."""
    write_config(tmp_path, text, "pyproject.toml")
    assert find_config(tmp_path) == parse_config({})


def test_missing_file_is_empty_config(tmp_path: Path) -> None:
    """Return an empty configuration if there is no file."""
    assert find_config(tmp_path) == parse_config({})


def test_own_file_precedes_project_file(tmp_path: Path) -> None:
    """Prefer graphorch.toml to pyproject.toml."""
    write_config(tmp_path, '[tool.graphorch]\ndefault_model = "b"\n', "pyproject.toml")
    write_config(tmp_path, 'default_model = "a"\n')
    with pytest.warns(UserWarning, match=r"pyproject\.toml: \[tool\.graphorch\] is not read"):
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[tool]\ngraphorch = 5", "tool.graphorch is not a table"),
        ("a = " + "[" * 5_000, "nested too deeply"),
        ("a = 1\n" * 200_000, "more than 1,000,000 bytes"),
    ],
)
def test_odd_file_is_one_message(tmp_path: Path, text: str, expected: str) -> None:
    """Refuse a file that is no table, nested without end or far too long."""
    with pytest.raises(InputError, match=expected):
        read_config(write_config(tmp_path, text, "pyproject.toml"))


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_name_without_file_is_reported(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """Report a graphorch.toml that is a directory or leads nowhere, instead of ignoring it."""
    make(tmp_path / "graphorch.toml")
    with pytest.raises(InputError, match=r"graphorch\.toml (is not a file|cannot be read)"):
        find_config(tmp_path)


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """Read a file that an editor began with a byte order mark."""
    assert read_config(write_config(tmp_path, '\ufeffdefault_model = "a"')).default_model == "a"


def test_paths_are_relative_to_file(tmp_path: Path) -> None:
    """Find a path from the directory of the file, wherever the program runs."""
    text = "[budgets]\nkept = 'spend.db'\n[budgets.day]\nusd = 1\n"
    assert read_config(write_config(tmp_path, text)).budgets.kept == str(tmp_path / "spend.db")


def test_unreadable_file_is_reported(tmp_path: Path) -> None:
    """Report a file that does not exist."""
    with pytest.raises(InputError, match=r"nowhere\.toml cannot be read: No such file"):
        read_config(tmp_path / "nowhere.toml")
