"""The bound on the input: no tokenizer gets above it, and nothing is fetched to find it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from graphorch.models.messages import Message, Request
from graphorch.models.token_count import bound_input_tokens


class Answer(BaseModel):
    ort: str = Field(description="Größe des Ortes")


def ask(*texts: str, model: str = "m", schema: type[BaseModel] | None = None) -> Request:
    return Request(model, tuple(Message(content=text) for text in texts), schema=schema)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_token_bound_covers_costliest_format(texts: list[str]) -> None:
    """Cover a byte tokenizer and the costliest format: 8 tokens a message, 3 for the answer."""
    byte_tokens = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    assert bound_input_tokens(ask(*texts)) >= byte_tokens + 8 * len(texts) + 3


def test_token_bound_covers_normalised_text() -> None:
    """Count the normal form (NFKC): U+FDFA has 3 bytes and becomes 18 characters of 33 bytes."""
    assert bound_input_tokens(ask("\ufdfa" * 100)) >= 3300


@given(st.text(), st.text())
def test_token_bound_grows_with_text(first: str, second: str) -> None:
    """Never lower the bound for more text."""
    assert bound_input_tokens(ask(first, second)) >= bound_input_tokens(ask(first))


def test_token_bound_counts_schema() -> None:
    """Count all bytes of the schema."""
    import json

    assert bound_input_tokens(ask("x", schema=Answer)) - bound_input_tokens(ask("x")) >= len(
        json.dumps(Answer.model_json_schema())
    )


def test_own_tokenizer_only_tightens_bound() -> None:
    """Use a given tokenizer to tighten the bound, never to loosen it."""
    text = "The tide is high. " * 50
    words = bound_input_tokens(ask(text), lambda entry: len(entry.split()))
    assert words < bound_input_tokens(ask(text)) / 3
    assert bound_input_tokens(ask(text), lambda entry: 10 * len(entry)) == bound_input_tokens(
        ask(text)
    )


def test_missing_tokenizer_data_means_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count bytes and download nothing; the guard in conftest.py would end a test that did.

    This holds whether tiktoken is installed or not.
    """
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert bound_input_tokens(ask("hello " * 20, model="openai/gpt-4o")) == bound_input_tokens(
        ask("hello " * 20, model="nobody/nothing")
    )


def test_damaged_tokenizer_data_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore a damaged file.

    It has the name of tiktoken's file for o200k_base, which tiktoken would remove and download
    again.
    """
    file = tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790"
    file.write_text("damaged")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert bound_input_tokens(ask("hello " * 20, model="gpt-4o")) == bound_input_tokens(
        ask("hello " * 20)
    )
    assert file.read_text() == "damaged"


def test_long_prompt_is_bounded_quickly() -> None:
    """Bound a prompt of a million characters quickly."""
    assert bound_input_tokens(ask("a" * 1_000_000, model="gpt-4o")) > 1_000_000
