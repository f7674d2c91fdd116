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
from graphorch.models.tool_arguments import encode_object

CountTokens: TypeAlias = Callable[[str], int]

_PER_MESSAGE = 16  # role, separators and name; the formats of chat models take 3 to 8 tokens
# The beginning, the turn of the assistant, a standing note on the date or the model's knowledge.
_PER_REQUEST = 64
_PER_SCHEMA = 256  # the words of a provider around a schema
# Characters; counting more would hold up the event loop for longer than it is worth.
_EXACT_UP_TO = 100_000

_O200K = ("o200k_base", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d")
_CL100K = ("cl100k_base", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7")
# The encoding of each model and the SHA-256 of its data (tiktoken 0.14: `model.py` and
# `openai_public.py`).
_ENCODINGS = {
    "gpt-5": _O200K,
    "gpt-5-mini": _O200K,
    "gpt-5-nano": _O200K,
    "gpt-4.1": _O200K,
    "gpt-4.1-mini": _O200K,
    "gpt-4.1-nano": _O200K,
    "gpt-4o": _O200K,
    "gpt-4o-mini": _O200K,
    "o1": _O200K,
    "o3": _O200K,
    "o3-mini": _O200K,
    "o4-mini": _O200K,
    "gpt-4": _CL100K,
    "gpt-4-turbo": _CL100K,
    "gpt-3.5-turbo": _CL100K,
}

# The date at the end of a snapshot's name, with or without dashes.
_SNAPSHOT = re.compile(r"-(?:20\d\d-[01]\d-[0-3]\d|20\d\d[01]\d[0-3]\d)$")


def bound_input_tokens(request: Request, count: CountTokens | None = None) -> int:
    """Return a number of input tokens that the request cannot exceed.

    `count` is the tokenizer of the model, if you have it. Without it, one is taken from tiktoken
    where that needs no network; otherwise bytes are counted: three to four times too many for
    English, which is the price of certainty.
    """
    texts = _list_texts(request)
    if count is None and sum(len(text) for text in texts) <= _EXACT_UP_TO:
        count = _find_tokenizer(request.model)
    tokens = sum(_bound_text(text, count) for text in texts)
    tokens += _PER_MESSAGE * len(texts) + _PER_REQUEST
    return tokens + _bound_tools_and_schema(request)


def strip_snapshot(name: str) -> str:
    """Return the model of a dated snapshot: `openai/gpt-5-2025-08-07` → `openai/gpt-5`."""
    return _SNAPSHOT.sub("", name)


def _list_texts(request: Request) -> list[str]:
    """Return the contents of the messages and the tool calls in them."""
    texts: list[str] = []
    for message in request.messages:
        texts.append(message.content)
        for call in message.tool_calls:
            texts.append(f"{call.id}{call.name}{encode_object(call.arguments)}")
    return texts


def _bound_text(text: str, count: CountTokens | None) -> int:
    bound = _bound_by_bytes(text)
    if count is None:
        return bound
    # A tokenizer that was handed in may be the wrong one; the bytes are a bound for every model.
    return min(bound, count(text))


def _bound_by_bytes(text: str) -> int:
    """Return the bytes of a text or of its normal form, and one more."""
    normalized = unicodedata.normalize("NFKC", text)
    return max(_count_bytes(text), _count_bytes(normalized)) + 1


def _count_bytes(text: str) -> int:
    # A model's JSON may hold half a character (a lone surrogate), which strict UTF-8 refuses.
    return len(text.encode("utf-8", "surrogatepass"))


def _bound_tools_and_schema(request: Request) -> int:
    """Return a bound on the tokens of the tools and of the schema."""
    # 1. The tools are an option of the request.
    tokens = 0
    for spec in request.tools:
        description = json.dumps([spec.name, spec.description, dict(spec.parameters)])
        tokens += len(description) + _PER_MESSAGE
    if request.schema is None:
        if tokens:
            tokens += _PER_SCHEMA
        return tokens
    # 2. So is the schema, or it is sent in words if the endpoint knows no such option. The JSON
    #    here escapes characters outside of ASCII, so it is never shorter than what is sent.
    as_option = len(json.dumps(build_response_format(request.schema)))
    in_words = _bound_by_bytes(describe_schema(request.schema))
    return tokens + max(as_option, in_words) + _PER_SCHEMA


def _find_tokenizer(model: str) -> CountTokens | None:
    """Return the tokenizer of a model of OpenAI by its exact name, or None."""
    maker, slash, name = model.lower().rpartition("/")
    if slash and maker not in ("openai", "azure"):
        return None
    encoding = _ENCODINGS.get(strip_snapshot(name))
    if encoding is None:
        return None
    return _load_tiktoken(*encoding, _locate_tiktoken_data())


def _locate_tiktoken_data() -> str:
    """Return the folder of tiktoken's data, or "" if it keeps none.

    Follows `read_file_cached` in its `load.py`.
    """
    usual = os.path.join(tempfile.gettempdir(), "data-gym-cache")
    return os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", usual))


class _Encoding(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...


class _Tiktoken(Protocol):
    def get_encoding(self, encoding_name: str) -> _Encoding: ...


@lru_cache(maxsize=8)
def _load_tiktoken(encoding: str, checksum: str, folder: str) -> CountTokens | None:
    """Return an encoding if its data is on this machine and whole, else None.

    Otherwise tiktoken would delete the damaged data and download it again.
    """
    if not folder:
        return None
    # tiktoken names the file by a hash of its address
    source = f"https://openaipublic.blob.core.windows.net/encodings/{encoding}.tiktoken"
    file = Path(folder) / hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    try:
        if hashlib.sha256(file.read_bytes()).hexdigest() != checksum:
            return None
        tiktoken = cast("_Tiktoken", importlib.import_module("tiktoken"))
    except (OSError, ImportError):
        return None
    encode = tiktoken.get_encoding(encoding).encode_ordinary

    def count(text: str) -> int:
        return len(encode(text))

    return count
