"""The environment and the file: an explicit variable beats a file."""

from __future__ import annotations

import pytest

from graphorch.errors import InputError
from graphorch.models.config.environment import merge_environment
from graphorch.models.config.loader import parse_config
from graphorch.models.config.schema import TargetConfig

FILE = parse_config(
    {
        "default_model": "file/model",
        "endpoints": {"main": {"base_url": "https://main.example/v1", "key_env": "MAIN_KEY"}},
    }
)
ADDRESS = {"OPENAI_BASE_URL": "https://house.example/v1", "OPENAI_API_KEY": "k"}


def test_variables_beat_file() -> None:
    """The model and the address of the environment go before those of the file."""
    merged = merge_environment(FILE, {**ADDRESS, "GRAPHORCH_MODEL": "house/model"})
    assert merged.default_model == "house/model"
    name = merged.find_endpoint(TargetConfig(model="m"))
    assert name == "environment"
    assert merged.endpoints[name].base_url == "https://house.example/v1"
    # a target that names its endpoint keeps it
    assert merged.find_endpoint(TargetConfig(model="m", endpoint="main")) == "main"


def test_key_alone_keeps_endpoints_of_file() -> None:
    """OpenAI's key does not name an endpoint: the file's stay, and get only their own keys."""
    merged = merge_environment(FILE, {"OPENAI_API_KEY": "k"})
    assert list(merged.endpoints) == ["main"]
    alone = merge_environment(parse_config({}), {"OPENAI_API_KEY": "k"})
    assert alone.endpoints["environment"].base_url == "https://api.openai.com/v1"


def test_environment_may_be_empty() -> None:
    """Without variables the file stays as it is."""
    assert merge_environment(FILE, {}) == FILE


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OPENAI_BASE_URL": "https://house.example/v1"}, "OPENAI_API_KEY is not"),
        ({**ADDRESS, "OPENAI_BASE_URL": "http://house.example/v1"}, "over plain http"),
        ({**ADDRESS, "OPENAI_BASE_URL": "house.example"}, "OPENAI_BASE_URL is not an address"),
        ({"GRAPHORCH_MODEL": "default"}, "names no model"),
        ({"GRAPHORCH_MODEL": " m"}, "names no model"),
    ],
)
def test_wrong_variable_is_refused(environment: dict[str, str], message: str) -> None:
    """Refuse an address without a key, a key over plain http, and a model that is none."""
    with pytest.raises(InputError, match=message):
        merge_environment(FILE, environment)
