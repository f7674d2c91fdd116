"""`graphorch policies`: what a name resolves to, and why."""

from __future__ import annotations

import json

import pytest

from tests.cli.shell import Shell

CONFIG = """
default_model = "policy/careful"

[endpoints.main]
base_url = "https://models.example/v1"
key_env = "MAIN_KEY"
dialect = "openai"

[policies.careful]
kind = "fallback"
targets = ["vendor/large", "policy/cheap"]

[policies.cheap]
kind = "fallback"
targets = ["vendor/small"]
"""


def test_policy_is_explained_without_key(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy is explained down to its endpoints; the key itself is never shown."""
    shell.configure(CONFIG)
    monkeypatch.setenv("MAIN_KEY", "a-secret-key")
    ended = shell("policies", "careful")
    assert ended.code == 0
    assert ended.out.splitlines()[0].startswith(
        "policy/careful is a fallback: the first that answers"
    )
    assert "vendor/large: endpoint 'main'" in ended.out
    assert "MAIN_KEY (set)" in ended.out
    assert "a-secret-key" not in ended.out + ended.err
    assert shell("policies", "policy/careful").out == ended.out


def test_all_policies_without_name(shell: Shell) -> None:
    """Without a name all policies are shown, and the default model."""
    shell.configure(CONFIG)
    ended = shell("policies")
    assert "policy/cheap is a fallback" in ended.out
    assert "NOT SET" in ended.out
    assert ended.err == "agents that name no model use policy/careful\n"
    assert set(json.loads(shell("policies", "--json").out)["policies"]) == {"careful", "cheap"}


def test_missing_configuration_is_explained(shell: Shell) -> None:
    """Without a configuration there are no policies, which is not an error."""
    ended = shell("policies")
    assert (ended.code, ended.out) == (0, "")
    assert "no policies: there is no graphorch.toml here" in ended.err


@pytest.mark.parametrize(
    "name, config, message",
    [
        ("policy/carefull", CONFIG, "Did you mean 'careful'?"),
        ("", "[polices.x]", "polices: there is no such key. Did you mean 'policies'?"),
    ],
)
def test_wrong_name_or_file_is_explained(
    shell: Shell, name: str, config: str, message: str
) -> None:
    """A wrong name gets a suggestion, a wrong file its mistake."""
    shell.configure(config)
    ended = shell("policies", *([name] if name else []))
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
