"""Parts of a prompt: instructions, named sections, sentences."""

from __future__ import annotations

import pytest

from graphorch.models.messages import Message, to_messages
from graphorch.models.offline.prompt_parser import (
    MAX_CHARACTERS,
    ParsedPrompt,
    clean_text,
    content_words,
    parse_prompt,
    split_sentences,
    stem,
)


def material(prompt: str) -> ParsedPrompt:
    return parse_prompt(to_messages(prompt))


def test_order_before_colon_is_instruction() -> None:
    """A line that is an order and ends with a colon is an instruction, and the rest is material."""
    read_ = material("Summarise this report:\nThe sea is high.\nThe pier is old.")
    assert (read_.instructions, read_.text) == (
        "Summarise this report:",
        "The sea is high. The pier is old.",
    )


def test_order_carries_its_subject() -> None:
    """An order may carry its material behind a colon."""
    read_ = material("Research this topic thoroughly: the tides of the moon")
    assert (read_.instructions, read_.text) == (
        "Research this topic thoroughly:",
        "the tides of the moon",
    )


def test_sections_are_named() -> None:
    """Sections have names, and remarks are not material."""
    read_ = material(
        "Improve the draft.\n\nTopic: tides\n\nThe text goes on here.\n\n"
        "Draft:\nThe sea is high.\n\nFeedback:\nSay more about the moon."
    )
    assert [(section.name, section.text) for section in read_.sections] == [
        ("topic", "tides"),
        ("", "The text goes on here."),
        ("draft", "The sea is high."),
    ]
    assert (read_.instructions, read_.remarks) == ("Improve the draft.", "Say more about the moon.")


def test_orders_inside_document_are_material() -> None:
    """Only orders at the border of a message are instructions."""
    manual = "The pump is heavy.\n\nUse both hands. Turn the key to the left.\n\nThe lamp goes out."
    assert (
        material(f"Summarise:\n{manual}").text
        == "The pump is heavy.\nUse both hands. Turn the key to the left.\nThe lamp goes out."
    )


def test_system_message_is_instruction() -> None:
    """System messages are instructions."""
    read_ = parse_prompt(
        [Message(role="system", content="The tone is dry."), Message(content="The sea is high.")]
    )
    assert (read_.instructions, read_.text) == ("The tone is dry.", "The sea is high.")


def test_headings_and_bullets_are_separated() -> None:
    """Headings are kept apart, and bullets are paragraphs."""
    read_ = material(
        "# The Sea\n\nAll About Water\n\nIt is wet.\n\n- one thing\n- another\n  thing"
    )
    assert read_.headings == ("The Sea", "All About Water")
    assert read_.sections[-1].paragraphs == ["It is wet.", "one thing", "another thing"]


def test_long_text_is_read_in_windows() -> None:
    """A very long text is read in windows spread over all of it."""
    text = "".join(f"Line {n} says that the water is high. " for n in range(60_000))
    read_ = material(text)
    assert read_.unread == pytest.approx(len(text) - MAX_CHARACTERS, rel=0.01)
    numbers = [
        int(sentence.text.split()[1])
        for sentence in read_.sentences
        if sentence.text.startswith("Line") and sentence.text.endswith("high.")
    ]
    assert min(numbers) < 1_000
    assert max(numbers) > 58_000
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    "text, count",
    [
        ("One is here. Two is there! Three? Four.", 4),
        ("Dr. Smith and Mrs. Jones, i.e. they, came at no. 5.", 1),
        ("It is 6.2 metres. www.example.org is down.", 1),
        ('He said "stop." Then he left.', 2),
        ("これは文です。これも文です。", 2),
        ("", 0),
    ],
)
def test_sentences_are_split(text: str, count: int) -> None:
    """Abbreviations, numbers, quotes and other scripts do not confuse the ends."""
    assert len(split_sentences(text)) == count


def test_stems_unite_endings() -> None:
    """Words that differ in their ending have one stem."""
    assert {stem("tide"), stem("tides")} == {stem("tide")}
    assert content_words("the gauges of a harbour") == content_words("gauge, harbours!")


def test_clean_text_keeps_only_text() -> None:
    """Cleaning keeps text and removes the rest."""
    assert clean_text("a\x1b[31mb\x1b[0m\x00\u202ec\ud83d\r\nd\re\tf 🙂é") == "abc\nd\ne\tf 🙂é"
