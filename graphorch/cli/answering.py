"""An answer from the command line: yes or no, the one thing that is asked for, a JSON object, or one option for each field."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pydantic import BaseModel

from graphorch.cli.reading import Option, example_of, options_of, read_input
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError
from graphorch.graph.plan import Plan
from graphorch.journal.store import Store
from graphorch.runs.clients import ReplayClient
from graphorch.runs.durable import rebuild_run
from graphorch.runs.result import Question, build_question, find_asker

_WORDS = {"yes": "true", "true": "true", "no": "false", "false": "false"}


async def find_question(store: Store, plan: Plan, run_id: str, name: str) -> Question:
    """The open question of a run that a path or an id names. Raises `InputError` and `JournalError`; nothing is changed."""
    _, rebuilt = await rebuild_run(store, plan, run_id)
    reading = Scheduler.from_records(
        plan, RunSettings(client=ReplayClient(), run_id=run_id), rebuilt, None
    )
    return build_question(find_asker(reading, name))


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
    flags = [option for option in options if option.kind == "flag"]
    others = [option for option in options if option.info.is_required() and option.kind != "flag"]
    return flags[0] if len(flags) == 1 and not others else None


def _only(model: type[BaseModel]) -> Option | None:
    """The one field that an answer has, or has to have."""
    options = options_of(model)
    required = [option for option in options if option.info.is_required()]
    return options[0] if len(options) == 1 else required[0] if len(required) == 1 else None
