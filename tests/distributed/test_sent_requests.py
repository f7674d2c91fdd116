"""Model calls as messages: what is asked arrives as it was, and equal calls keep their order."""

from __future__ import annotations

import json

from pydantic import BaseModel

from graphorch.distributed.sent_requests import RequestNames, decode_request, encode_request
from graphorch.engine.calls.kept_answers import compute_key
from graphorch.models.json_schema import build_response_format
from graphorch.models.messages import Message, Request


class Facts(BaseModel):
    facts: list[str]


class Other(BaseModel):
    other: int


REQUEST = Request(
    model="large",
    messages=(Message(role="system", content="Be brief."), Message(content="Why?\n")),
    schema=Facts,
    max_tokens=7,
    temperature=0.5,
)


def test_request_arrives_as_it_was() -> None:
    """A known type is itself again; of any other one a model is told the same."""
    body = json.loads(json.dumps(encode_request(REQUEST)))
    assert decode_request(body, [Other, Facts]) == REQUEST
    stranger = decode_request(body, [Other])
    assert stranger.schema is not None
    assert stranger.schema is not Facts
    assert compute_key(stranger) == compute_key(REQUEST)
    assert build_response_format(stranger.schema) == build_response_format(Facts)


def test_type_of_same_name_is_not_taken() -> None:
    """A type with the name of another one is not it."""
    facts = type("Facts", (Other,), {})
    stranger = decode_request(encode_request(REQUEST), [facts])
    assert stranger.schema is not facts
    assert stranger.schema is not None
    assert stranger.schema.model_json_schema() == Facts.model_json_schema()


def test_equal_requests_are_counted() -> None:
    """The n-th of equal requests has the name that it has in each repetition."""
    one, other = encode_request(REQUEST), {**encode_request(REQUEST), "model": "small"}
    first, again = RequestNames(), RequestNames()
    names = [first.name(one), first.name(other), first.name(one)]
    assert len(set(names)) == 3
    assert [again.name(one), again.name(one), again.name(other)] == [names[0], names[2], names[1]]
