"""The mask of a key: no encoding of it is left in text of its endpoint."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import time
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.errors import ModelError
from graphorch.models.client import close
from graphorch.models.messages import Request, Response, to_messages
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.openai.key_mask import MASK, KeyMask
from tests.models.servers import completion, pieces_of, replies, serve, streams

KEY = "sk-proj_AbC+dE/fG=.12~xyz-9876"
Encode = Callable[[str], str]
ENCODINGS: dict[str, Encode] = {
    "plain": lambda key: key,
    "percent": lambda key: quote(key, safe=""),
    "percent, lower case": lambda key: quote(key, safe="").replace("%2B", "%2b"),
    "percent, every character": lambda key: "".join(f"%{ord(c):02X}" for c in key),
    "percent, twice": lambda key: quote(quote(key, safe=""), safe=""),
    "form": quote_plus,
    "json": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "json, twice": lambda key: json.dumps(json.dumps("".join(f"\\u{ord(c):04X}" for c in key))),
    "json, slashes": lambda key: key.replace("/", "\\/"),
    "code": lambda key: "".join(f"\\x{ord(c):02x}" for c in key),
    "code, braces": lambda key: "".join(f"\\u{{{ord(c):x}}}" for c in key),
    "html": lambda key: html.escape(key).replace("+", "&plus;").replace("/", "&sol;"),
    "html, decimal": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "html, hexadecimal": lambda key: "".join(f"&#x{ord(c):X};" for c in key),
    "hexadecimal": lambda key: key.encode().hex(),
    "hexadecimal, colons": lambda key: key.encode().hex(":").upper(),
    "backwards": lambda key: key[::-1],
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of a header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of a user": lambda key: base64.b64encode(f"u:{key}\n".encode()).decode(),
    "base64url": lambda key: base64.urlsafe_b64encode(f"ab{key}".encode()).decode(),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_key_is_hidden_in_encoding(name: str) -> None:
    """What is left cannot be decoded to the key; the text around stays."""
    encoded = ENCODINGS[name](KEY)
    hidden = KeyMask(KEY).hide(f"before {encoded} after")
    assert MASK in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert len(hidden) < len(f"before {MASK} after") + 20  # no more than the ends of base64


@given(st.text(alphabet="abcAB019-_+/=.~&\"'<:", min_size=8, max_size=60), st.randoms())
def test_key_in_mixed_encodings_is_hidden(key: str, random: object) -> None:
    """Each character may be encoded in its own way."""
    ways: list[Encode] = [
        lambda c: c,
        lambda c: f"%{ord(c):02x}",
        lambda c: f"\\u{ord(c):04x}",
        lambda c: f"&#{ord(c)};",
    ]
    mixed = "".join(random.choice(ways)(c) for c in key)  # type: ignore[attr-defined]
    assert KeyMask(key).hide(f"«{mixed}»") == f"«{MASK}»"


@given(st.text(max_size=200))
def test_other_text_stays(text: str) -> None:
    """Text without the key is left alone, and so is any text for a key that is only a word."""
    assert KeyMask("sk-0123456789").hide(text) == text
    assert KeyMask("none").hide("none of it") == "none of it"


def stream(key: str, text: str, cuts: Iterable[int]) -> list[str]:
    """Return the pieces that are shown of a text that comes in pieces."""
    masked = KeyMask(key).open_stream()
    assert masked is not None
    ends = [*sorted(cuts), len(text)]
    pieces = [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    return [*map(masked.add, pieces), masked.finish()]


def _join(shown: list[str]) -> str:
    """Return all that was shown, without the optional end of an escape that came after the key."""
    return re.sub(r"\[key\][;}]", MASK, "".join(shown))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("name", ENCODINGS)
def test_key_is_hidden_across_pieces(name: str, size: int) -> None:
    """A text in pieces shows what the whole text shows, and never a part of the key before."""
    text = f"before {ENCODINGS[name](KEY)} after, and s"
    shown = stream(KEY, text, range(size, len(text), size))
    assert _join(shown) == KeyMask(KEY).hide(text)


_PARTS = st.sampled_from(
    [
        *(encode(KEY) for encode in ENCODINGS.values()),
        KEY[:9],
        "sk-",
        "%",
        "&",
        "\\",
        " ",
        "x",
        "73",
    ]
)


@given(st.lists(_PARTS, max_size=6).map("".join), st.sets(st.integers(0, 400)))
def test_pieces_show_what_whole_text_shows(text: str, cuts: set[int]) -> None:
    """Wherever a text is cut, what is shown in the end is the same, without the key."""
    shown = stream(KEY, text, {cut for cut in cuts if cut <= len(text)})
    assert _join(shown) == KeyMask(KEY).hide(text)


@given(st.text(max_size=80), st.sets(st.integers(0, 80)))
def test_other_text_is_streamed_as_it_is(text: str, cuts: set[int]) -> None:
    """Text without the key loses nothing in a stream."""
    shown = stream("sk-0123456789", text, {cut for cut in cuts if cut <= len(text)})
    assert "".join(shown) == text


def test_words_are_shown_at_once() -> None:
    """Nothing is held back of what cannot become the key."""
    text = "The tide rises, and the moon: 3 < 4 & more. "
    assert stream(KEY, text, range(1, len(text)))[-1] == ""
    shown = stream("sk-0123456789", "The tide rises. ", range(4, 16, 4))
    assert shown == ["The ", "tide", " ri", "ses. ", ""]  # the key begins with an s


@pytest.mark.parametrize("part", ["s", KEY[:-1] + "%", "%", "\\", "&#115;", "x" * 50])
def test_stream_takes_linear_time(part: str) -> None:
    """A stream full of beginnings of the key costs no more than its length."""
    seconds = list[float]()
    for size in (1_000, 4_000):
        masked = KeyMask(KEY).open_stream()
        assert masked is not None
        begun = time.process_time()
        for _ in range(size):
            masked.add(part)
        seconds.append(time.process_time() - begun)
    assert seconds[1] < 12 * seconds[0] + 0.05


def test_mask_takes_linear_time() -> None:
    """Text full of beginnings of the key costs no more than its length."""
    mask, seconds = KeyMask(KEY), list[float]()
    for size in (20_000, 80_000):
        text = (KEY[:-1] + "%" + "&#115;") * (size // 40)
        begun = time.process_time()
        mask.hide(text)
        seconds.append(time.process_time() - begun)
    assert seconds[1] < 12 * seconds[0] + 0.05


def ask(body: object, status: int = 200) -> Response | ModelError:
    """Return what a client makes of an endpoint's answer."""

    async def main() -> Response | ModelError:
        async with serve(replies(body, status)) as server:
            client = OpenAIClient(server.url, KEY)
            try:
                return await client.complete(Request("m", to_messages("hi")))
            except ModelError as error:
                return error
            finally:
                await close(client)

    return asyncio.run(main())


@pytest.mark.parametrize("name", ["plain", "percent", "json", "base64"])
def test_echoed_key_is_in_neither_answer_nor_error(name: str) -> None:
    """An endpoint that repeats its key gets it neither into a stored answer nor into a message."""
    encoded = ENCODINGS[name](KEY)
    answer = ask(completion(f"your key is {encoded}"))
    assert isinstance(answer, Response)
    assert encoded not in answer.text
    assert MASK in answer.text
    error = ask({"error": {"message": f"bad header {encoded}"}}, 400)
    assert isinstance(error, ModelError)
    assert encoded not in str(error)
    assert MASK in str(error)


@pytest.mark.parametrize("size", [1, 5, 64])
@pytest.mark.parametrize("name", ["plain", "percent", "json", "base64"])
def test_echoed_key_is_not_in_preview(name: str, size: int) -> None:
    """The pieces of a stream show what the answer holds, also of a key that lies across them."""
    text = f"<think>{KEY}</think>your key is {ENCODINGS[name](KEY)}, is it not?"
    pieces = [text[begin : begin + size] for begin in range(0, len(text), size)]
    shown: list[str] = []

    async def main() -> Response:
        async with serve(streams(pieces_of(*pieces))) as server:
            client = OpenAIClient(server.url, KEY)
            try:
                return await client.complete(Request("m", to_messages("hi")), shown.append)
            finally:
                await close(client)

    answer = asyncio.run(main())
    assert "".join(shown) == answer.text == KeyMask(KEY).hide(text.partition("</think>")[2])
    assert all(shown)
