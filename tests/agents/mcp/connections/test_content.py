"""Results of servers as texts for models."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest

from graphorch.agents.mcp.connections.content import NOTHING, write_content


def text(words: str) -> Any:
    return types.TextContent(text=words)


def test_texts_stay_as_they_are() -> None:
    """Texts stand in their order with an empty line between them."""
    assert write_content([text("one\n"), text("two")], None) == "one\n\n\ntwo"


def test_images_are_named() -> None:
    """What is no text is named with its type and size."""
    image = types.ImageContent(data="aGVsbG8=", mime_type="image/png")
    sound = types.AudioContent(data="aGVsbG8h", mime_type="audio/wav")
    assert write_content([text("Look:"), image, sound], None) == (
        "Look:\n\n[image of type image/png, 5 bytes, not shown]\n\n"
        "[audio of type audio/wav, 6 bytes, not shown]"
    )


def test_resources_are_headed_by_address() -> None:
    """A text resource is given whole, a binary one by its size, a link by what it leads to."""
    note = types.EmbeddedResource(
        resource=types.TextResourceContents(uri="file:///a.txt", mime_type="text/plain", text="A")
    )
    blob = types.EmbeddedResource(
        resource=types.BlobResourceContents(uri="file:///a.bin", blob="AAAA")
    )
    link = types.ResourceLink(uri="file:///b", name="b", description="The second.")
    assert write_content([note, blob, link], None) == (
        "[resource file:///a.txt, text/plain]\nA\n\n"
        "[resource file:///a.bin, 3 bytes, not shown]\n\n"
        "[link to file:///b: b, The second.]"
    )


@pytest.mark.parametrize("said", ['{"n": 1, "m": [2]}', '{ "m":[2], "n":1 }'])
def test_structured_result_is_not_repeated(said: str) -> None:
    """A structured result that a text part holds already is not written twice."""
    assert write_content([text(said)], {"n": 1, "m": [2]}) == said


@pytest.mark.parametrize("said", ['{"n": true}', "one", "[" * 100_000])
def test_structured_result_is_added(said: str) -> None:
    """A structured result that no text part holds is written as JSON."""
    assert write_content([text(said)], {"n": 1}) == f'{said}\n\n{{"n": 1}}'


def test_empty_result_is_said() -> None:
    """A result without content is not an empty message."""
    assert write_content([], None) == NOTHING
    assert write_content([text("")], None) == NOTHING


def test_half_characters_are_escaped() -> None:
    """Half a surrogate pair could not be sent to a model."""
    assert write_content([text("a\ud800")], None) == "a\\ud800"
