"""Configuration file: its meaning, and errors that name file, line, field and a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphorch.errors import InputError
from graphorch.models.budgets.budget import Budget, CapRules
from graphorch.models.config.loader import find_config, parse_config, read_config
from graphorch.models.config.schema import TargetConfig
from tests.models.config.examples import WHOLE


def write_config(folder: Path, text: str, name: str = "graphorch.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


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
        'endpoint = "direct"',
        'endpoint = "dircet"',
        r":16: policies\.careful\.targets\.1\.endpoint: there is no endpoint 'dircet'\. "
        "Did you mean 'direct'",
    ),
    (
        'default_endpoint = "main"',
        'default_endpoint = "mein"',
        r":2: default_endpoint: there is no endpoint 'mein'\. Did you mean 'main'",
    ),
    ('at_cap = "policy/split"', 'at_cap = "stop"', r":33: budgets\.run\.at_cap: at_cap='stop'"),
    (
        'dialect = "requesty"',
        'dialect = "requestly"',
        r":7: endpoints\.main\.dialect: Input should be",
    ),
    (
        'base_url = "https://api',
        'base_url = "api',
        r":10: endpoints\.direct\.base_url: base_url is not an address",
    ),
    ('kind = "weighted"', 'kind = "cascade"', r":23: policies\.split: a cascade needs a check"),
    (
        'kind = "weighted"',
        'kind = "cheapest"\nfloor = 5',
        r":25: policies\.split\.floor: no target has a quality of 5",
    ),
    (
        "attempt_timeout = 30",
        'on = ["timeout", "sever"]',
        r":21: policies\.careful\.on\.1: there is no failure 'sever'\. Did you mean 'server'",
    ),
    (
        "weight = 1 }",
        "weight = 1, wieght = 2 }",
        r":25: policies\.split\.targets\.1\.wieght: there is no such key\. Did you mean 'weight'",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), WRONG)
def test_wrong_value_names_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Name the line, the field and the problem of a wrong value."""
    assert old in WHOLE
    with pytest.raises(InputError, match=rf"graphorch\.toml{expected}"):
        read_config(write_config(tmp_path, WHOLE.replace(old, new)))


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


def test_unknown_policy_gets_suggestion(
    tmp_path: Path,
) -> None:
    """Suggest a policy for an unknown one, unless the gateway may have it."""
    misspelt = WHOLE.replace('"policy/split",\n', '"policy/spilt",\n')
    # the default endpoint is Requesty, which has policies of its own
    read_config(write_config(tmp_path, misspelt))
    with pytest.raises(
        InputError,
        match=r":16: policies\.careful\.targets\.2: there is no policy 'spilt'\. "
        "Did you mean 'split'",
    ):
        read_config(
            write_config(tmp_path, misspelt.replace('dialect = "requesty"', 'dialect = "generic"'))
        )


def test_circle_of_policies_is_refused(tmp_path: Path) -> None:
    """Refuse policies that lead in a circle."""
    text = "".join(
        f'[policies.{a}]\nkind = "fallback"\ntargets = ["m", "policy/{b}"]\n'
        for a, b in ("ab", "bc", "ca")
    )
    with pytest.raises(
        InputError, match=r":3: policies\.a\.targets: the policies lead in a circle: a → b → c → a"
    ):
        read_config(write_config(tmp_path, text))
    with pytest.raises(InputError, match="circle: a → a"):
        parse_config({"policies": {"a": {"kind": "fallback", "targets": ["policy/a"]}}})


def test_zero_weights_are_refused() -> None:
    """Refuse weights that sum to zero."""
    targets = [{"model": "a", "weight": 0}, {"model": "b", "weight": 0}]
    with pytest.raises(InputError, match="the weights sum to nothing"):
        parse_config({"policies": {"p": {"kind": "weighted", "targets": targets}}})


def test_repeated_target_is_refused() -> None:
    """Refuse a target that appears twice."""
    with pytest.raises(InputError, match=r"targets\.1: 'm' is there twice"):
        parse_config({"policies": {"p": {"kind": "fallback", "targets": ["m", "m"]}}})


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
