"""Gateways: which extras each takes, where it reports the cost, and what it does by itself.

A `Gateway` is a value of small functions, so that a client needs to know none of them by name.
`GATEWAYS` holds the known ones. Sources (stored copies of the vendors' pages, 2026-08 to 2026-11):
Requesty "Request metadata", "Analytics headers", "Fallback policies", "Error codes"; OpenRouter
"Model routing", "Provider routing", "Usage accounting"; LiteLLM 1.106 proxy (its responses and
source).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from graphorch.errors import InputError, did_you_mean
from graphorch.models.messages import Request
from graphorch.models.openai.errors import Endpoint

OFFICIAL = "https://api.openai.com/v1"

# Entries of `Request.metadata` that mean something to a gateway. Tags are separated by commas; all
# other entries are details.
_TAGS, _USER, _RUN, _NODE, _TRACE, _STICKY, _CACHE = (
    "tags",
    "user_id",
    "run",
    "node",
    "trace_id",
    "sticky_key",
    "auto_cache",
)
_Body = Callable[[Request, Mapping[str, Any]], dict[str, object]]
_HEADER_PREFIX = "x-requesty-"


def _no_body(request: Request, options: Mapping[str, Any]) -> dict[str, object]:
    """Return no fields: strict servers refuse fields that they do not know."""
    return {}


def _no_headers(request: Request) -> dict[str, str]:
    return {}


def _no_cost(headers: Mapping[str, str]) -> float | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What is special about one kind of endpoint.

    `body_of` gives fields of the request's body beyond the protocol, `headers` its headers (their names all begin with `header_prefix`),
    `cost_in` the dollars that the headers of a whole (not streamed) answer tell; `usage.cost` is read for every endpoint. `attempts`: how
    often a call may ask it, 1 where it repeats by itself, since repeats multiply. `owns_policies`: it resolves `policy/NAME`. `markup`:
    the fraction that it adds to list prices.
    `options` are the settings of this endpoint, `takes` the names of those that exist.
    """

    name: str
    make_body: _Body = _no_body
    make_headers: Callable[[Request], dict[str, str]] = _no_headers
    header_prefix: str = ""
    read_cost: Callable[[Mapping[str, str]], float | None] = _no_cost
    attempts: int = 2
    owns_policies: bool = False
    markup: float = 0.0
    takes: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def build_body(self, request: Request) -> dict[str, object]:
        """Return the fields of the body that are this gateway's own."""
        return self.make_body(request, self.options)

    def with_options(self, options: Mapping[str, Any]) -> Gateway:
        """Return this gateway with the settings of one endpoint.

        Raises `InputError` for a setting that it does not take.
        """
        unknown = sorted(set(options) - self.takes)
        if unknown:
            raise InputError(
                f"A {self.name} endpoint has no option '{unknown[0]}'. {did_you_mean(unknown[0], self.takes)}"
            )
        return replace(self, options=dict(options))


def _requesty_body(request: Request, options: Mapping[str, Any]) -> dict[str, object]:
    known = {_TAGS, _USER, _RUN, _NODE, _TRACE, _STICKY, _CACHE}
    metadata = request.metadata
    extra = {
        name: value
        for name, value in metadata.items()
        if name not in known and not name.lower().startswith(_HEADER_PREFIX)
    }
    extra |= {name: metadata[name] for name in (_RUN, _NODE) if name in metadata}
    inner: dict[str, object] = {}
    if tags := _tags(request):
        inner["tags"] = tags
    if user := metadata.get(_USER):
        inner["user_id"] = user
    if trace := _trace(request):
        inner["trace_id"] = trace
    if extra:
        inner["extra"] = extra
    auto_cache = options.get(_CACHE, {"true": True, "false": False}.get(metadata.get(_CACHE, "")))
    if auto_cache is not None:
        inner["auto_cache"] = bool(auto_cache)
    return {"requesty": inner} if inner else {}


def _trace(request: Request) -> str:
    """Return the trace of a request.

    A policy of the gateway's own picks a model by a hash of the trace: one trace for a whole run
    would pin the run to one model.
    """
    metadata = request.metadata
    if not request.model.startswith("policy/"):
        return metadata.get(_TRACE) or metadata.get(_RUN, "")
    place = "/".join(filter(None, [metadata.get(_RUN), metadata.get(_NODE)]))
    return metadata.get(_STICKY) or metadata.get(_TRACE) or place


def _requesty_headers(request: Request) -> dict[str, str]:
    """Return the `X-Requesty-…` entries of the metadata.

    The gateway takes them off before it asks the provider.
    """
    return {
        name: value
        for name, value in request.metadata.items()
        if name.lower().startswith(_HEADER_PREFIX)
    }


def _openrouter_body(request: Request, options: Mapping[str, Any]) -> dict[str, object]:
    body: dict[str, object] = {
        name: options[name] for name in ("models", "provider") if name in options
    }
    if user := request.metadata.get(_USER):
        body["user"] = user
    return body


def _litellm_body(request: Request, options: Mapping[str, Any]) -> dict[str, object]:
    metadata = request.metadata
    details: dict[str, object] = {
        name: value for name, value in metadata.items() if name not in (_TAGS, _STICKY)
    }
    if tags := _tags(request):
        details["tags"] = tags
    body: dict[str, object] = {"metadata": details} if details else {}
    return body | {name: options[name] for name in ("fallbacks",) if name in options}


def _litellm_cost(headers: Mapping[str, str]) -> float | None:
    try:
        cost = float(headers.get("x-litellm-response-cost", ""))
    except ValueError:
        return None
    return cost if 0 <= cost < math.inf else None


def _tags(request: Request) -> list[str]:
    return [tag for part in request.metadata.get(_TAGS, "").split(",") if (tag := part.strip())]


GENERIC = Gateway(name="generic")
GATEWAYS: Mapping[str, Gateway] = {
    "generic": GENERIC,
    "openai": Gateway(name="openai"),
    "requesty": Gateway(
        name="requesty", make_body=_requesty_body, make_headers=_requesty_headers, header_prefix=_HEADER_PREFIX, attempts=1, owns_policies=True, markup=0.05,
        takes=frozenset({_CACHE}),
    ),
    "openrouter": Gateway(name="openrouter", make_body=_openrouter_body, takes=frozenset({"models", "provider"})),
    "litellm": Gateway(name="litellm", make_body=_litellm_body, read_cost=_litellm_cost, takes=frozenset({"fallbacks"})),
}  # fmt: skip

_BY_HOST = {"requesty.ai": "requesty", "openrouter.ai": "openrouter", "openai.com": "openai"}


@dataclass(frozen=True, slots=True)
class Connection:
    """Endpoint to connect to: its name here, its address with its key, and its kind."""

    name: str
    endpoint: Endpoint
    gateway: Gateway = GENERIC


def find_gateway(name: str) -> Gateway:
    """Return the gateway of that name. Raises `InputError` with the nearest name."""
    if name not in GATEWAYS:
        raise InputError(f"There is no dialect '{name}'. {did_you_mean(name, GATEWAYS)}")
    return GATEWAYS[name]


def find_gateway_at(base_url: str) -> Gateway:
    """Return the gateway that is known to live at an address, else the generic one."""
    host = urlsplit(base_url).hostname or ""
    known = (
        name for domain, name in _BY_HOST.items() if host == domain or host.endswith(f".{domain}")
    )
    return GATEWAYS[next(known, "generic")]


def read_connection(environment: Mapping[str, str]) -> Connection | None:
    """Return the endpoint that `OPENAI_BASE_URL` and `OPENAI_API_KEY` name, or None.

    Raises `InputError` for an address without a key.
    """
    base_url, key = environment.get("OPENAI_BASE_URL", ""), environment.get("OPENAI_API_KEY", "")
    if not base_url and not key:
        return None
    if not key:
        raise InputError(
            "OPENAI_BASE_URL is set, but OPENAI_API_KEY is not. Set the endpoint's key; for a server that takes any, set it to 'none'."
        )
    address = check_address(base_url or OFFICIAL, "OPENAI_BASE_URL")
    return Connection("environment", Endpoint(address, SecretStr(key)), find_gateway_at(address))


def check_address(base_url: str, where: str) -> str:
    """Return the address.

    Raises `InputError` if it is not one, or holds a password: keys come from the environment only.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{where} is no address: it begins with http:// or https:// and names a host, such as {OFFICIAL}."
        )
    if parts.username or parts.password or parts.query:
        raise InputError(
            f"{where} holds more than an address (a user, a password or a query). Give the key in a variable of its own."
        )
    return base_url
