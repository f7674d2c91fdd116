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
from graphorch.models.openai.addresses import NO_KEY, find_url_problem
from graphorch.models.openai.errors import Endpoint

OFFICIAL = "https://api.openai.com/v1"

# Entries of `Request.metadata` that mean something to a gateway; all others are details.
_TAGS = "tags"  # separated by commas
_USER = "user_id"
_RUN = "run"
_NODE = "node"
_TRACE = "trace_id"
_STICKY = "sticky_key"
_CACHE = "auto_cache"
_NOT_DETAILS = frozenset({_TAGS, _USER, _RUN, _NODE, _TRACE, _STICKY, _CACHE})

_HEADER_PREFIX = "x-requesty-"
_SWITCHES = {"true": True, "false": False}
# How an option of each type is written.
_WRITTEN: Mapping[type, str] = {
    bool: "a switch, true or false without quotes",
    list: 'a list, such as ["…", "…"]',
    dict: 'a table, such as { order = ["…"] }',
}

_Body = Callable[[Request, Mapping[str, Any]], dict[str, object]]


def _no_body(request: Request, options: Mapping[str, Any]) -> dict[str, object]:
    """Return no fields: strict servers refuse fields that they do not know."""
    return {}


def _no_headers(request: Request) -> dict[str, str]:
    return {}


def _no_cost(headers: Mapping[str, str]) -> float | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Special features of one kind of endpoint.

    `make_body` returns the fields of a request's body beyond the protocol, `make_headers` its
    headers (all their names begin with `header_prefix`), `read_cost` the dollars in the headers of
    a whole (not streamed) answer; `usage.cost` is read for every endpoint. `attempts` is how often
    a call may ask it: 1 where it repeats by itself, since repeats multiply. `owns_policies`: it
    resolves `policy/NAME`. `markup` is the fraction that it adds to list prices. `options` are the
    settings of this endpoint, `takes` those that exist, each with its type.
    """

    name: str
    make_body: _Body = _no_body
    make_headers: Callable[[Request], dict[str, str]] = _no_headers
    header_prefix: str = ""
    read_cost: Callable[[Mapping[str, str]], float | None] = _no_cost
    attempts: int = 2
    owns_policies: bool = False
    markup: float = 0.0
    takes: Mapping[str, type] = field(default_factory=dict[str, type])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def build_body(self, request: Request) -> dict[str, object]:
        """Return the fields of the body that are this gateway's own."""
        return self.make_body(request, self.options)

    def with_options(self, options: Mapping[str, Any]) -> Gateway:
        """Return this gateway with the settings of one endpoint.

        Raises `InputError` for a setting that it does not take, or of the wrong type.
        """
        unknown = sorted(set(options) - set(self.takes))
        if unknown:
            hint = did_you_mean(unknown[0], self.takes)
            raise InputError(f"A {self.name} endpoint has no option '{unknown[0]}'. {hint}")
        for name, value in options.items():
            expected = self.takes[name]
            if not isinstance(value, expected):
                raise InputError(
                    f"option '{name}' of a {self.name} endpoint is {_WRITTEN[expected]}."
                )
        return replace(self, options=dict(options))


def _make_requesty_body(request: Request, options: Mapping[str, Any]) -> dict[str, object]:
    fields: dict[str, object] = {
        "tags": _split_tags(request),
        "user_id": request.metadata.get(_USER),
        "trace_id": _choose_trace(request),
        "extra": _collect_requesty_details(request),
    }
    fields = {name: value for name, value in fields.items() if value}
    # the setting of the endpoint goes before that of the request
    auto_cache = options.get(_CACHE, _SWITCHES.get(request.metadata.get(_CACHE, "")))
    if auto_cache is not None:
        fields["auto_cache"] = bool(auto_cache)
    return {"requesty": fields} if fields else {}


def _collect_requesty_details(request: Request) -> dict[str, object]:
    """Return the entries of the metadata without a place of their own, then run and node."""
    details: dict[str, object] = {}
    for name, value in request.metadata.items():
        is_header = name.lower().startswith(_HEADER_PREFIX)
        if name not in _NOT_DETAILS and not is_header:
            details[name] = value
    return details | _pick(request.metadata, (_RUN, _NODE))


def _choose_trace(request: Request) -> str:
    """Return the trace of a request for Requesty.

    A policy of the gateway's own picks a model by a hash of the trace: one trace for a whole run
    would pin the run to one model.
    """
    metadata = request.metadata
    trace = metadata.get(_TRACE)
    if not request.model.startswith("policy/"):
        return trace or metadata.get(_RUN, "")
    run, node = metadata.get(_RUN), metadata.get(_NODE)
    place = "/".join(part for part in (run, node) if part)
    return metadata.get(_STICKY) or trace or place


def _make_requesty_headers(request: Request) -> dict[str, str]:
    """Return the `X-Requesty-…` entries of the metadata.

    The gateway takes them off before it asks the provider.
    """
    return {
        name: value
        for name, value in request.metadata.items()
        if name.lower().startswith(_HEADER_PREFIX)
    }


def _make_openrouter_body(request: Request, options: Mapping[str, Any]) -> dict[str, object]:
    body = _pick(options, ("models", "provider"))
    user = request.metadata.get(_USER)
    if user:
        body["user"] = user
    return body


def _make_litellm_body(request: Request, options: Mapping[str, Any]) -> dict[str, object]:
    metadata = request.metadata
    details: dict[str, object] = {
        name: value for name, value in metadata.items() if name not in (_TAGS, _STICKY)
    }
    tags = _split_tags(request)
    if tags:
        details["tags"] = tags
    body: dict[str, object] = {}
    if details:
        body["metadata"] = details
    return body | _pick(options, ("fallbacks",))


def _read_litellm_cost(headers: Mapping[str, str]) -> float | None:
    try:
        cost = float(headers.get("x-litellm-response-cost", ""))
    except ValueError:
        return None
    return cost if 0 <= cost < math.inf else None


def _split_tags(request: Request) -> list[str]:
    tags = [tag.strip() for tag in request.metadata.get(_TAGS, "").split(",")]
    return [tag for tag in tags if tag]


def _pick(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, object]:
    """Return the entries with these names that exist, in the order of the names."""
    return {name: values[name] for name in names if name in values}


GENERIC = Gateway(name="generic")
GATEWAYS: Mapping[str, Gateway] = {
    "generic": GENERIC,
    "openai": Gateway(name="openai"),
    "requesty": Gateway(
        name="requesty",
        make_body=_make_requesty_body,
        make_headers=_make_requesty_headers,
        header_prefix=_HEADER_PREFIX,
        attempts=1,
        owns_policies=True,
        markup=0.05,
        takes={_CACHE: bool},
    ),
    "openrouter": Gateway(
        name="openrouter",
        make_body=_make_openrouter_body,
        takes={"models": list, "provider": dict},
    ),
    "litellm": Gateway(
        name="litellm",
        make_body=_make_litellm_body,
        read_cost=_read_litellm_cost,
        takes={"fallbacks": list},
    ),
}

_BY_HOST = {"requesty.ai": "requesty", "openrouter.ai": "openrouter", "openai.com": "openai"}


@dataclass(frozen=True, slots=True)
class Connection:
    """Endpoint to connect to: its name here, its address with its key, and its kind.

    `sends_finish_reason` is whether it says why an answer ended.
    """

    name: str
    endpoint: Endpoint
    gateway: Gateway = GENERIC
    sends_finish_reason: bool = True


def find_gateway(name: str) -> Gateway:
    """Return the gateway of that name. Raises `InputError` with the nearest name."""
    if name not in GATEWAYS:
        raise InputError(f"There is no dialect '{name}'. {did_you_mean(name, GATEWAYS)}")
    return GATEWAYS[name]


def find_gateway_at(base_url: str) -> Gateway:
    """Return the gateway that is known to live at an address, else the generic one."""
    host = urlsplit(base_url).hostname or ""
    for domain, name in _BY_HOST.items():
        if host == domain or host.endswith(f".{domain}"):
            return GATEWAYS[name]
    return GENERIC


def read_connection(environment: Mapping[str, str]) -> Connection | None:
    """Return the endpoint that `OPENAI_BASE_URL` and `OPENAI_API_KEY` name, or None.

    Raises `InputError` for an address without a key.
    """
    base_url, key = environment.get("OPENAI_BASE_URL", ""), environment.get("OPENAI_API_KEY", "")
    if not base_url and not key:
        return None
    if not key:
        raise InputError(
            "OPENAI_BASE_URL is set, but OPENAI_API_KEY is not. Set the endpoint's key; "
            f"for a server that takes any, set it to '{NO_KEY}'."
        )
    address = check_address(base_url or OFFICIAL, "OPENAI_BASE_URL")
    return Connection("environment", Endpoint(address, SecretStr(key)), find_gateway_at(address))


def check_address(base_url: str, where: str) -> str:
    """Return the address.

    Raises `InputError` if it is not one, or holds a password: keys come from the environment only.
    """
    problem = find_url_problem(base_url)
    if problem:
        raise InputError(
            f"{where} {problem}. Write it like {OFFICIAL}, and give the key in a variable of its "
            "own."
        )
    return base_url
