"""The model client that the environment asks for: an endpoint if one is named, else the embedded offline one.

`OPENAI_BASE_URL` and `OPENAI_API_KEY` name any endpoint that speaks the OpenAI protocol; `GRAPHORCH_MODEL` is the model of agents that
name none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import SecretStr

from graphorch.errors import InputError
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.messages import Request, Response
from graphorch.models.offline import OfflineClient
from graphorch.models.openai import OpenAIClient
from graphorch.models.retry import RetryingClient

VARIABLES = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "GRAPHORCH_MODEL")
OFFICIAL = "https://api.openai.com/v1"


def is_configured(environment: Mapping[str, str]) -> bool:
    """Whether the environment names an endpoint."""
    return bool(environment.get("OPENAI_BASE_URL") or environment.get("OPENAI_API_KEY"))


def client_of(environment: Mapping[str, str]) -> ModelClient:
    """The client. Raises `InputError` for an address without a key."""
    if not is_configured(environment):
        return OfflineClient()
    base_url, key = environment.get("OPENAI_BASE_URL") or OFFICIAL, environment.get("OPENAI_API_KEY", "")
    if not key:
        raise InputError("OPENAI_BASE_URL is set, but OPENAI_API_KEY is not. Set the endpoint's key; for a server that takes any, set it to 'none'.")
    client = RetryingClient(OpenAIClient(base_url, SecretStr(key)))
    return DefaultModel(client, environment.get("GRAPHORCH_MODEL", ""))


class DefaultModel:
    """A client that knows which model is meant by `default`."""

    def __init__(self, client: ModelClient, model: str) -> None:
        self._client = client
        self._model = model

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Ask the client within. Raises `InputError` if the request names no model, and nobody said which one is meant."""
        if request.model != "default":
            return await self._client.complete(request, on_text)
        if not self._model:
            raise InputError("An agent names no model, and there is no default. Set GRAPHORCH_MODEL, use --model, or write @agent(model=…).")
        return await self._client.complete(replace(request, model=self._model), on_text)

    async def aclose(self) -> None:
        """Close the client within."""
        await close(self._client)
