"""The document: one operation for each endpoint, and one for each flow where a flow is named.

An endpoint of `{flow}` becomes an operation of each served flow, whose body holds the schema of
that flow's input. So a client that is generated from the document has typed inputs.
"""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from graphorch._version import __version__
from graphorch.server import problems
from graphorch.server.endpoint import JSON, Endpoint, NoQuery
from graphorch.server.event_stream import MEDIA_TYPE as EVENT_STREAM
from graphorch.server.openapi.schemas import (
    Key,
    Mode,
    Schema,
    Schemas,
    collect_schemas,
    find_flow_type,
    keep_referred,
    list_references,
)
from graphorch.server.served_flow import ServedFlow
from graphorch.text import LONGEST_NAME

Flows: TypeAlias = Mapping[str, ServedFlow]

_FLOW: Final = "{flow}"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_TOKEN: Final = "token"
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "What was wrong with a request, and what to do (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "A stable name for programs."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and how to mend it."},
        "mistakes": {
            "type": "array",
            "description": "Each value that does not fit, by a JSON pointer.",
            "items": {
                "type": "object",
                "required": ["where", "what"],
                "properties": {"where": {"type": "string"}, "what": {"type": "string"}},
            },
        },
    },
}
_EMPTY: Final[Schema] = {"type": "object", "additionalProperties": False, "maxProperties": 0}
"""The body of a POST that takes none: its type keeps pages of others from sending it."""
_ABOUT: Final = (
    "Runs of typed graphs, read from a journal. Every path below /api needs the token that "
    "`graphorch serve` prints, as `Authorization: Bearer TOKEN`. The status of a run is never an "
    "error of HTTP; errors are problems (RFC 9457) with a stable type. Bodies are JSON without "
    "duplicate keys, and what a schema does not name is refused."
)


def build_document(endpoints: Sequence[Endpoint], flows: Flows) -> dict[str, Any]:
    """Return the OpenAPI document of some endpoints and flows, as plain JSON."""
    schemas = collect_schemas(_list_types(endpoints, flows))
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    named: set[str] = set()
    for endpoint in endpoints:
        for flow in _list_flows(endpoint, flows):
            path = endpoint.path if flow is None else endpoint.path.replace(_FLOW, flow.name)
            operation = _describe(endpoint, flow, schemas)
            if operation["operationId"] in named:  # a handler of two methods
                operation["operationId"] += f"_{endpoint.method.lower()}"
            named.add(operation["operationId"])
            paths[path][endpoint.method.lower()] = operation
    of_flows = [
        schemas.by_key[key]
        for flow in flows.values()
        for key in (_input_key(flow), _output_key(flow))
    ]
    definitions = keep_referred(schemas.definitions, list_references([dict(paths), of_flows]))
    return {
        "openapi": "3.1.0",
        "info": {"title": "graphorch", "version": __version__, "description": _ABOUT},
        "security": [{_TOKEN: []}],
        "paths": dict(paths),
        "components": {
            "securitySchemes": {_TOKEN: {"type": "http", "scheme": "bearer"}},
            "schemas": {**definitions, "Problem": _PROBLEM},
        },
    }


# ---- types ---------------------------------------------------------------------------------------
def _list_types(endpoints: Sequence[Endpoint], flows: Flows) -> dict[Key, Any]:
    """Return every type that the document describes, by its key."""
    types: dict[Key, Any] = {}
    for endpoint in endpoints:
        name = _name(endpoint)
        types[_key(name, "serialization")] = endpoint.returns
        types[_key(f"{name}?", "validation")] = endpoint.query
        if endpoint.body is not None:
            types[_key(name, "validation")] = endpoint.body
    for flow in flows.values():
        plan = flow.flow.plan
        types[_input_key(flow)] = find_flow_type(plan.input, "validation")
        types[_output_key(flow)] = find_flow_type(plan.output, "serialization")
    return types


def _key(name: str, mode: Mode) -> Key:
    return (name, mode)


def _input_key(flow: ServedFlow) -> Key:
    return (f"flow {flow.name}", "validation")


def _output_key(flow: ServedFlow) -> Key:
    return (f"flow {flow.name}", "serialization")


def _name(endpoint: Endpoint) -> str:
    return getattr(endpoint.handle, "__name__", endpoint.path)


def _list_flows(endpoint: Endpoint, flows: Flows) -> Iterable[ServedFlow | None]:
    """Return the flows for which an endpoint has an operation of its own; None for no flow."""
    return flows.values() if _FLOW in endpoint.path and flows else [None]


# ---- operations ----------------------------------------------------------------------------------
def _describe(endpoint: Endpoint, flow: ServedFlow | None, schemas: Schemas) -> dict[str, Any]:
    """Return the operation of an endpoint, for a flow if it has one for each."""
    name = _name(endpoint)
    summary, _, more = inspect.cleandoc(endpoint.handle.__doc__ or "").partition("\n")
    operation: dict[str, Any] = {
        "operationId": name if flow is None else f"{name}_{flow.name.replace('-', '_')}",
        "summary": summary,
        "tags": [endpoint.path.split("/")[2].partition(".")[0]],
        "parameters": _list_parameters(endpoint, flow, schemas),
        "responses": _list_responses(endpoint, flow, schemas),
    }
    if more.strip():
        operation["description"] = more.strip()
    if endpoint.body is not None or endpoint.method == "POST":
        body = _describe_body(endpoint, flow, schemas)
        content = {JSON: {"schema": body}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _list_parameters(
    endpoint: Endpoint, flow: ServedFlow | None, schemas: Schemas
) -> list[dict[str, Any]]:
    named = [name for name in _PARAMETER.findall(endpoint.path) if flow is None or name != "flow"]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _describe_name(name)}
        for name in named
    ]
    if endpoint.query is not NoQuery:
        query = schemas.resolve((f"{_name(endpoint)}?", "validation"))
        required = query.get("required", [])
        for name, schema in query.get("properties", {}).items():
            parameter = {"name": name, "in": "query", "required": name in required}
            parameters.append({**parameter, "schema": _without_null(schema)})
    for name, meaning in endpoint.headers.items():
        schema = {"type": "string"}
        parameters.append({"name": name, "in": "header", "description": meaning, "schema": schema})
    return parameters


def _describe_name(name: str) -> Schema:
    """Return the schema of a parameter of a path: ids are plain."""
    pattern = "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
    return {"type": "string", "pattern": pattern, "maxLength": LONGEST_NAME, "title": name}


def _without_null(schema: Schema) -> Schema:
    """Return the schema of a parameter of a query, which is left out instead of being null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**choices[0], **kept}


def _describe_body(endpoint: Endpoint, flow: ServedFlow | None, schemas: Schemas) -> Schema:
    """Return the schema of a body; one with an `input` has that of the flow in its place."""
    if endpoint.body is None:
        return _EMPTY
    key: Key = (_name(endpoint), "validation")
    schema = schemas.by_key[key]
    whole = schemas.resolve(key)
    is_typed = endpoint.is_change and "input" in whole.get("properties", {})
    if flow is None or not is_typed:  # a check takes any input, and says what is wrong with it
        return schema
    input_schema = {**whole["properties"]["input"], **schemas.by_key[_input_key(flow)]}
    input_schema.pop("default", None)
    properties = {**whole["properties"], "input": input_schema}
    return {**whole, "properties": properties, "title": f"{whole['title']} {flow.name}"}


def _list_responses(
    endpoint: Endpoint, flow: ServedFlow | None, schemas: Schemas
) -> dict[str, Any]:
    problem = {
        "description": "What is wrong with the request.",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    refused = {str(status): problem for status in sorted({401, *endpoint.refuses})}
    success = _describe_success(endpoint, flow, schemas)
    successes = {str(endpoint.status): success}
    if endpoint.status == 201:
        again = "The run that an earlier request with this Idempotency-Key began."
        successes["200"] = {**success, "description": again}
    return {
        **successes,
        **refused,
        "default": problem,
    }


def _describe_success(
    endpoint: Endpoint, flow: ServedFlow | None, schemas: Schemas
) -> dict[str, Any]:
    schema = schemas.by_key[(_name(endpoint), "serialization")]
    if endpoint.streams:
        # The data of each event; OpenAPI has no word for it before 3.2.
        content = {EVENT_STREAM: {"schema": {"type": "string"}, "x-event-data": schema}}
        return {"description": "A stream of server-sent events.", "content": content}
    content = {endpoint.media_type: {"schema": schema}}
    success: dict[str, Any] = {"description": "Done.", "content": content}
    if flow is not None and endpoint.status == 201:
        success["x-flow-output"] = schemas.by_key[_output_key(flow)]
    return success
