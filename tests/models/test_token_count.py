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
def test_the_bound_is_at_least_the_bytes_and_a_share_for_each_message(texts: list[str]) -> None:
    """A tokenizer of bytes with the costliest chat format there is: 8 tokens a message, 3 for the beginning of the answer."""
    byte_tokens = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    assert bound_input_tokens(ask(*texts)) >= byte_tokens + 8 * len(texts) + 3


def test_a_text_that_grows_when_it_is_normalised_is_bounded_by_what_it_becomes() -> None:
    """U+FDFA is one character of 3 bytes and 18 characters of 33 bytes in normal form (NFKC)."""
    assert bound_input_tokens(ask("\ufdfa" * 100)) >= 3300


@given(st.text(), st.text())
def test_more_text_never_lowers_the_bound(first: str, second: str) -> None:
    assert bound_input_tokens(ask(first, second)) >= bound_input_tokens(ask(first))


def test_a_schema_counts_with_all_its_bytes() -> None:
    import json

    assert bound_input_tokens(ask("x", schema=Answer)) - bound_input_tokens(ask("x")) >= len(
        json.dumps(Answer.model_json_schema())
    )


def test_a_tokenizer_of_yours_makes_the_bound_tighter_and_never_looser() -> None:
    text = "The tide is high. " * 50
    words = bound_input_tokens(ask(text), lambda entry: len(entry.split()))
    assert words < bound_input_tokens(ask(text)) / 3
    assert bound_input_tokens(ask(text), lambda entry: 10 * len(entry)) == bound_input_tokens(
        ask(text)
    )


def test_no_tokenizer_data_on_this_machine_means_bytes_and_no_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether tiktoken is installed or not; the guard in conftest.py would end a test that goes to the network."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert bound_input_tokens(ask("hello " * 20, model="openai/gpt-4o")) == bound_input_tokens(
        ask("hello " * 20, model="nobody/nothing")
    )


def test_tokenizer_data_that_is_damaged_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is that of tiktoken's file for o200k_base: it would remove the file and download it again."""
    file = tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790"
    file.write_text("damaged")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert bound_input_tokens(ask("hello " * 20, model="gpt-4o")) == bound_input_tokens(
        ask("hello " * 20)
    )
    assert file.read_text() == "damaged"


def test_a_very_long_prompt_is_bounded_quickly() -> None:
    assert bound_input_tokens(ask("a" * 1_000_000, model="gpt-4o")) > 1_000_000
