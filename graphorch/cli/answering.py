"""An answer from the command line: yes or no, the one thing that is asked for, a JSON object, or one option for each field."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pydantic import BaseModel

from graphorch.cli.reading import Option, example_of, options_of, read_input
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import Settings
from graphorch.errors import InputError
from graphorch.graph.plan import Plan
from graphorch.journal.store import Store
from graphorch.runs.clients import NoModels
from graphorch.runs.durable import rebuilt_run
from graphorch.runs.result import Question, open_question, question_of

_WORDS = {"yes": "true", "true": "true", "no": "false", "false": "false"}


async def find_question(store: Store, plan: Plan, run_id: str, name: str) -> Question:
    """The open question of a run that a path or an id names. Raises `InputError` and `JournalError`; nothing is changed."""
    _, rebuilt = await rebuilt_run(store, plan, run_id)
    reading = Scheduler.of_record(plan, Settings(client=NoModels(), run_id=run_id), rebuilt, None)
    return question_of(open_question(reading, name))


def answer_of(model: type[BaseModel], words: Sequence[str]) -> BaseModel:
    """The answer that the words after QUESTION are: a VALUE, options of its fields, or both. Raises `InputError`."""
    if not words or words[0].startswith("--"):
        return read_input(model, None, words, "VALUE")
    value, rest = words[0], words[1:]
    flag, only = _flag(model), _only(model)
    if flag is not None and value.lower() in _WORDS:
        return read_input(model, None, [f"{flag.name}={_WORDS[value.lower()]}", *rest], "VALUE")
    if value.lstrip().startswith("{") or value == "-" or (value.startswith("@") and only is None):
        return read_input(model, value, rest, "VALUE")
    if only is not None and flag is None:
        return read_input(model, None, [f"{only.name}={value}", *rest], "VALUE")
    raise InputError(
        f"'{value}' is no answer: {model.__name__} is asked for. Write {value_of(model)}{' or no' if flag is not None else ''}."
    )


def value_of(model: type[BaseModel]) -> str:
    """How VALUE is written for an answer of this type, for example."""
    flag, only = _flag(model), _only(model)
    return (
        "yes"
        if flag is not None
        else "TEXT"
        if only is not None and only.kind == "text"
        else shlex.quote(example_of(model))
    )


def _flag(model: type[BaseModel]) -> Option | None:
    """The field that yes or no decides: the only one of its kind, if no other is required."""
    options = options_of(model)
    flags = [one for one in options if one.kind == "flag"]
    others = [one for one in options if one.info.is_required() and one.kind != "flag"]
    return flags[0] if len(flags) == 1 and not others else None


def _only(model: type[BaseModel]) -> Option | None:
    """The one field that an answer has, or has to have."""
    options = options_of(model)
    required = [one for one in options if one.info.is_required()]
    return options[0] if len(options) == 1 else required[0] if len(required) == 1 else None
