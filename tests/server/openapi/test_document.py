"""The OpenAPI document: valid, complete, and without two meanings of one name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from graphorch import Graph, node
from graphorch.server.app import list_endpoints
from graphorch.server.openapi.document import build_document
from graphorch.server.served_flow import AnyFlow
from tests.server.serving import application, opened
from tests.trace.flows import shop


def build_flow(name: str, kind: type[Any]) -> AnyFlow:
    """Return a flow whose input has an item of a class that others have the name of, too."""

    class Item(BaseModel):
        value: kind  # pyright: ignore[reportInvalidTypeForm]

    class Topic(BaseModel):
        item: Item
        parts: list[Item] = []

    class Letter(BaseModel):
        letter: str = ""

    class State(Topic, Letter): ...

    @node
    def write(topic: Topic) -> Letter:
        return Letter(letter=str(topic.item.value))

    return Graph(name, State, input=Topic, output=Letter).chain(write).build()


def read_document(folder: Path, *flows: AnyFlow) -> dict[str, Any]:
    """Return the document of a server of some flows."""

    async def main() -> dict[str, Any]:
        async with application(folder, *flows) as ask:
            answer = await ask("GET", "/api/openapi.json")
        assert answer.status == 200
        return answer.value

    return asyncio.run(main())


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside of a value."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    if isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def test_document_describes_every_endpoint(tmp_path: Path) -> None:
    """Each endpoint is in the document, by its path and method, with a name of its own."""

    async def main() -> None:
        async with opened(tmp_path) as context:
            endpoints = list_endpoints(context)
            document = build_document(endpoints, context.flows)
        described = {(path, method) for path, item in document["paths"].items() for method in item}
        assert described == {(each.path, each.method.lower()) for each in endpoints}
        names = [operation["operationId"] for operation in list_operations(document)]
        assert len(set(names)) == len(names)
        assert all(operation["summary"] for operation in list_operations(document))

    asyncio.run(main())


def list_operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for item in document["paths"].values() for operation in item.values()]


def test_references_lead_to_valid_schemas(tmp_path: Path) -> None:
    """Every reference has its definition, and each is a schema of JSON Schema 2020-12."""
    document = read_document(tmp_path, shop(), build_flow("numbers", int))
    schemas = document["components"]["schemas"]
    references = {each["$ref"] for each in walk(document) if isinstance(each.get("$ref"), str)}
    assert {each.rpartition("/")[2] for each in references} <= schemas.keys()
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    assert document["openapi"].startswith("3.1")


def test_what_begins_runs_can_be_repeated(tmp_path: Path) -> None:
    """Whatever begins a run takes a key, and says what the same request gets again."""
    document = read_document(tmp_path, shop())
    begins = [each for each in list_operations(document) if "201" in each["responses"]]
    assert len(begins) == 3  # a run, a rerun, a fork
    for operation in begins:
        headers = [each["name"] for each in operation["parameters"] if each["in"] == "header"]
        assert headers == ["Idempotency-Key"]
        found = [operation["responses"][status]["content"] for status in ("200", "201")]
        assert found[0] == found[1]


def test_equal_names_of_flows_do_not_collide(tmp_path: Path) -> None:
    """Two flows with classes of one name have definitions of their own."""
    document = read_document(tmp_path, build_flow("numbers", int), build_flow("words", str))
    schemas = document["components"]["schemas"]
    values = sorted(
        schema["properties"]["value"]["type"]
        for name, schema in schemas.items()
        if "value" in schema.get("properties", {}) and "Item" in name
    )
    assert values == ["integer", "string"]


def test_flow_without_schema_is_described(tmp_path: Path) -> None:
    """A flow of which a type has no schema is served all the same, with any value as its input."""

    class Odd(BaseModel, arbitrary_types_allowed=True):
        odd: complex | None = None

    class Letter(BaseModel):
        letter: str = ""

    class State(Odd, Letter): ...

    @node
    def write(odd: Odd) -> Letter:
        return Letter()

    flow = Graph("odd", State, input=Odd, output=Letter).chain(write).build()
    read_document(tmp_path, flow)


@pytest.mark.parametrize("kind", ["plain", "recursive"])
def test_document_is_plain_json(kind: Literal["plain", "recursive"], tmp_path: Path) -> None:
    """The document is the same each time, for models that hold themselves as well."""

    class Tree(BaseModel):
        value: str = ""
        parts: list[Tree] = []

    Tree.model_rebuild(_types_namespace={"Tree": Tree})

    class Letter(BaseModel):
        letter: str = ""

    class State(Tree, Letter): ...

    @node
    def write(tree: Tree) -> Letter:
        return Letter()

    flows = [shop()]
    if kind == "recursive":
        flows = [Graph("trees", State, input=Tree, output=Letter).chain(write).build()]
    document = read_document(tmp_path, *flows)
    assert json.dumps(document) == json.dumps(read_document(tmp_path, *flows))
