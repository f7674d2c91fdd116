"""A bound on the input tokens of a request, which a budget relies on before a call is made.

Theory of operation. A tokenizer of bytes never makes more tokens than there are bytes of UTF-8,
because its smallest token is one byte; a tokenizer that brings text into normal form first (NFKC)
counts the bytes of that form. So the larger of the two is a bound for any model. For a model whose
tokenizer is known, installed and has its data on this machine, the exact count of the texts is used
instead. What the provider adds (roles, separators, the schema in its own words) is bounded by
constants and by the bytes of the schema.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from graphorch.models.json_schema import build_response_format, describe_schema
from graphorch.models.messages import Request

CountTokens: TypeAlias = Callable[[str], int]

_PER_MESSAGE = 16  # role, separators and name; the formats of chat models take 3 to 8 tokens
# the beginning, the turn of the assistant, a standing note on the date or the knowledge of the model
_PER_REQUEST = 64
_PER_SCHEMA = 256  # what a provider says around a schema
# characters; counting more would hold up the event loop for longer than it is worth
_EXACT_UP_TO = 100_000

_O200K = ("o200k_base", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d")
_CL100K = ("cl100k_base", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7")
# The encoding of each model and the SHA-256 of its data (tiktoken 0.14, `model.py` and `openai_public.py`).
_ENCODINGS = {
    "gpt-5": _O200K, "gpt-5-mini": _O200K, "gpt-5-nano": _O200K, "gpt-4.1": _O200K, "gpt-4.1-mini": _O200K, "gpt-4.1-nano": _O200K,
    "gpt-4o": _O200K, "gpt-4o-mini": _O200K, "o1": _O200K, "o3": _O200K, "o3-mini": _O200K, "o4-mini": _O200K,
    "gpt-4": _CL100K, "gpt-4-turbo": _CL100K, "gpt-3.5-turbo": _CL100K,
}  # fmt: skip


def bound_input_tokens(request: Request, count: CountTokens | None = None) -> int:
    """Return a number of input tokens that the request cannot exceed.

    `count` is the tokenizer of the model, if you have it. Without it, one is taken from tiktoken
    where that needs no network; otherwise bytes are counted: three to four times too many for
    English, which is the price of certainty.
    """
    texts = [
        text
        for message in request.messages
        for text in (
            message.content,
            *(f"{call.id}{call.name}{call.arguments}" for call in message.tool_calls),
        )
    ]
    exact = count or (
        _tokenizer_of(request.model) if sum(map(len, texts)) <= _EXACT_UP_TO else None
    )
    said = sum(min(exact(text), _bytes_of(text)) if exact else _bytes_of(text) for text in texts)
    return said + _PER_MESSAGE * len(texts) + _PER_REQUEST + _schema_bound(request)


def _bytes_of(text: str) -> int:
    return (
        max(
            len(form.encode("utf-8", "surrogatepass"))
            for form in (text, unicodedata.normalize("NFKC", text))
        )
        + 1
    )


def _schema_bound(request: Request) -> int:
    """Return a bound on the tokens of the tools and of the schema.

    The tools are an option of the request. So is the schema, or it is sent in words if the endpoint
    knows no such option.
    """
    tools = sum(
        len(json.dumps([spec.name, spec.description, dict(spec.parameters)])) + _PER_MESSAGE
        for spec in request.tools
    )
    if request.schema is None:
        return tools + (_PER_SCHEMA if tools else 0)
    # escapes what is not ASCII, so it is never shorter than what is sent
    as_option = json.dumps(build_response_format(request.schema))
    return tools + max(len(as_option), _bytes_of(describe_schema(request.schema))) + _PER_SCHEMA


def _tokenizer_of(model: str) -> CountTokens | None:
    """Return the tokenizer of a model of OpenAI, by its exact name."""
    maker, slash, name = model.lower().rpartition("/")
    if slash and maker not in ("openai", "azure"):
        return None
    known = _ENCODINGS.get(strip_snapshot(name))
    return None if known is None else _tiktoken(*known, _tiktoken_folder())


def _tiktoken_folder() -> str:
    """Return where tiktoken keeps its data (`read_file_cached` in its `load.py`); "" if it keeps none."""
    usual = os.path.join(tempfile.gettempdir(), "data-gym-cache")
    return os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", usual))


class _Encoding(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...


class _Tiktoken(Protocol):
    def get_encoding(self, encoding_name: str) -> _Encoding: ...


@lru_cache(maxsize=8)
def _tiktoken(encoding: str, checksum: str, folder: str) -> CountTokens | None:
    """Return an encoding if its data is on this machine and whole; else tiktoken would download it."""
    source = f"https://openaipublic.blob.core.windows.net/encodings/{encoding}.tiktoken"
    file = Path(folder) / hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    try:
        if not folder or hashlib.sha256(file.read_bytes()).hexdigest() != checksum:
            return None
        tiktoken = cast("_Tiktoken", importlib.import_module("tiktoken"))
    except (OSError, ImportError):
        return None
    encode = tiktoken.get_encoding(encoding).encode_ordinary

    def count(text: str) -> int:
        return len(encode(text))

    return count


_SNAPSHOT = re.compile(r"-(?:20\d\d-[01]\d-[0-3]\d|20\d\d[01]\d[0-3]\d)$")


def strip_snapshot(name: str) -> str:
    """Return the model of a dated snapshot: `openai/gpt-5-2025-08-07` → `openai/gpt-5`."""
    return _SNAPSHOT.sub("", name)
