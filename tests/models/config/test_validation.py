"""Problems of a well-formed configuration, with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphorch.errors import InputError
from graphorch.models.config.loader import parse_config, read_config
from tests.models.config.examples import WHOLE
from tests.models.config.files import write_config

# What is replaced in the whole file, its replacement, and the line, field and text of the error.
WRONG = [
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
]


@pytest.mark.parametrize(("old", "new", "expected"), WRONG)
def test_validation_error_names_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Name the line, the field and the problem of a well-formed but wrong value."""
    assert old in WHOLE
    with pytest.raises(InputError, match=rf"graphorch\.toml{expected}"):
        read_config(write_config(tmp_path, WHOLE.replace(old, new)))


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
