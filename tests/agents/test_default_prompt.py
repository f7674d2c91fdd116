"""The prompt of an agent that writes none: what to do, and what it reads, as a person would lay it out."""

from __future__ import annotations

from pydantic import BaseModel, Field

from graphorch.agents.default_prompt import build_default_prompt, humanize


class Topic(BaseModel):
    topic: str


class Notes(BaseModel):
    notes: list[str] = []
    count: int = 0
    is_final: bool = False


class Verdict(BaseModel):
    score: float = 0
    feedback: str = ""


class Draft(BaseModel):
    draft: str


class Item(BaseModel):
    name: str
    price: float


class Basket(BaseModel):
    items: list[Item] = Field(default=[], title="What is in it")


class Report(BaseModel):
    title: str
    open_questions: list[str] = Field(description="what is still unknown")


def prompt(*args: object) -> None: ...


def documented(t: Topic) -> str:
    """Write a limerick.

    Keep it clean.
    """
    raise NotImplementedError


def test_each_field_is_a_heading_and_its_value() -> None:
    text = build_default_prompt(
        prompt, [Topic(topic="tides"), Notes(notes=["moon", "sun"], count=2, is_final=True)], Draft
    )
    task, *rest = text.split("\n\n")
    assert task == "Write the draft, from what follows. Answer with its text and nothing else."
    assert rest == ["Topic:\ntides", "Notes:\n- moon\n- sun", "Count:\n2", "Is final:\nTrue"]


def test_the_docstring_of_the_function_is_the_task() -> None:
    assert (
        build_default_prompt(documented, [Topic(topic="tides")], Draft)
        == "Write a limerick.\n\nKeep it clean.\n\nTopic:\ntides"
    )


def test_the_fields_that_are_wanted_are_described() -> None:
    text = build_default_prompt(prompt, [Topic(topic="tides")], Report)
    assert text.startswith(
        "Write the title and open questions (what is still unknown), from what follows.\n"
    )
    assert "nothing else" not in text


def test_what_is_empty_unassigned_or_only_default_is_left_out() -> None:
    partial = Notes.model_construct()
    del partial.count  # as the engine hands out a whole state in which nothing has assigned a field
    assert build_default_prompt(
        prompt, [Verdict(), None, Notes(), partial, Topic(topic="tides")], Draft
    ).endswith("nothing else.\n\nTopic:\ntides")
    assert "Score:\n0" in build_default_prompt(prompt, [Verdict(feedback="shorter")], Draft)


def test_a_field_that_two_slices_share_is_shown_once() -> None:
    assert (
        build_default_prompt(prompt, [Topic(topic="tides"), Topic(topic="tides")], Draft).count(
            "tides"
        )
        == 1
    )


def test_nested_values_are_shown_as_json_under_their_title() -> None:
    text = build_default_prompt(prompt, [Basket(items=[Item(name="bread", price=2.5)])], Draft)
    assert 'What is in it:\n[\n  {\n    "name": "bread",\n    "price": 2.5\n  }\n]' in text


def test_a_name_becomes_a_title() -> None:
    assert humanize("open_questions") == "Open questions"
