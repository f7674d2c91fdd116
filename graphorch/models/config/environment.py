"""A configuration together with the environment, whose variables beat the file.

`OPENAI_BASE_URL` and `OPENAI_API_KEY` name any endpoint that speaks the OpenAI protocol;
`GRAPHORCH_MODEL` is the model of agents that name none; a `graphorch.toml` may name more endpoints,
policies, prices and budgets. Without any endpoint, the embedded model answers agents that name no
model.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphorch.errors import InputError
from graphorch.models.config.schema import DEFAULT_MODEL, ENVIRONMENT, Config, EndpointConfig
from graphorch.models.openai.gateways import read_connection

KEY_VARIABLE = "OPENAI_API_KEY"


def merge_environment(config: Config, environment: Mapping[str, str]) -> Config:
    """Return the configuration as the environment completes it.

    - `GRAPHORCH_MODEL` is the default model.
    - `OPENAI_BASE_URL` is the default endpoint. `OPENAI_API_KEY` alone stands for OpenAI's own,
      where the file has no endpoints; the file's have keys of their own.

    Raises `InputError` for an address without a key, or one that no key may be sent to.
    """
    updates: dict[str, object] = {}
    if model := environment.get("GRAPHORCH_MODEL"):
        if model == DEFAULT_MODEL or model.strip() != model:
            raise InputError(f"GRAPHORCH_MODEL={model!r} names no model. Set it to a model's name.")
        updates["default_model"] = model
    if environment.get("OPENAI_BASE_URL") or not config.endpoints:
        connection = read_connection(environment)
        if connection is not None:
            endpoint = EndpointConfig(
                base_url=connection.endpoint.base_url,
                key_env=KEY_VARIABLE,
                dialect=connection.gateway.name,  # pyright: ignore[reportArgumentType]
            )
            updates["endpoints"] = {**config.endpoints, ENVIRONMENT: endpoint}
            updates["default_endpoint"] = ENVIRONMENT
    return config.model_copy(update=updates)
