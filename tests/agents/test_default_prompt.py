"""Default prompts: the task and the slices, laid out as headings and values."""

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


def test_fields_are_headings_with_values() -> None:
    """Each field is a heading and its value."""
    text = build_default_prompt(
        prompt, [Topic(topic="tides"), Notes(notes=["moon", "sun"], count=2, is_final=True)], Draft
    )
    task, *rest = text.split("\n\n")
    assert task == "Write the draft, from what follows. Answer with its text and nothing else."
    assert rest == ["Topic:\ntides", "Notes:\n- moon\n- sun", "Count:\n2", "Is final:\nTrue"]


def test_docstring_is_the_task() -> None:
    """The docstring of the function is the task."""
    assert (
        build_default_prompt(documented, [Topic(topic="tides")], Draft)
        == "Write a limerick.\n\nKeep it clean.\n\nTopic:\ntides"
    )


def test_output_fields_are_described() -> None:
    """The task names the fields of the output with their descriptions."""
    text = build_default_prompt(prompt, [Topic(topic="tides")], Report)
    assert text.startswith(
        "Write the title and open questions (what is still unknown), from what follows.\n"
    )
    assert "nothing else" not in text


def test_fields_without_value_are_left_out() -> None:
    """A field that is empty, unassigned or only a default is left out."""
    partial = Notes.model_construct()
    del partial.count  # as the engine hands out a whole state in which nothing has assigned a field
    assert build_default_prompt(
        prompt, [Verdict(), None, Notes(), partial, Topic(topic="tides")], Draft
    ).endswith("nothing else.\n\nTopic:\ntides")
    assert "Score:\n0" in build_default_prompt(prompt, [Verdict(feedback="shorter")], Draft)


def test_shared_field_is_shown_once() -> None:
    """A field that two slices share is shown once."""
    assert (
        build_default_prompt(prompt, [Topic(topic="tides"), Topic(topic="tides")], Draft).count(
            "tides"
        )
        == 1
    )


def test_nested_values_are_json() -> None:
    """Nested values are JSON under their title."""
    text = build_default_prompt(prompt, [Basket(items=[Item(name="bread", price=2.5)])], Draft)
    assert 'What is in it:\n[\n  {\n    "name": "bread",\n    "price": 2.5\n  }\n]' in text


def test_humanize_makes_titles() -> None:
    """The name of a field becomes a title."""
    assert humanize("open_questions") == "Open questions"
