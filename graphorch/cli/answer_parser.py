"""An answer or the value of a signal from the command line: yes or no, a value, JSON, options."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pydantic import BaseModel

from graphorch.cli.input_options import (
    ANSWER_OPTIONS,
    InputOption,
    format_example,
    list_options,
)
from graphorch.cli.input_parser import parse_input
from graphorch.errors import InputError

_MEANINGS = {"--arguments": "yes", "--reason": "no", "--answer": "no"}
_TRUTH_VALUES = {"yes": "true", "true": "true", "no": "false", "false": "false"}


def parse_answer(
    model: type[BaseModel],
    words: Sequence[str],
    what: str = "answer",
    taken: frozenset[str] = ANSWER_OPTIONS,
) -> BaseModel:
    """Return the answer that the words after QUESTION give: VALUE, options of its fields, or both.

    An answer has at least one word, also if all of its fields have defaults: a question is answered
    once and for good, and no word may be a mistake. `what` is what messages call it, and `taken`
    are the options that the command itself has. Raises `InputError`.
    """
    if not words and list_options(model):
        choice = _format_choice(model)
        raise InputError(f"VALUE, the {what} of type {model.__name__}, is missing. Write {choice}.")
    if is_tool_approval(model):
        words = _add_verdict(words)
    if not words or words[0].startswith("--"):
        return parse_input(model, None, words, "VALUE", taken)
    value, rest = words[0], words[1:]
    flag, field = _find_flag(model), _find_only_field(model)
    truth = _TRUTH_VALUES.get(value.lower())
    if flag is not None and truth is not None:
        return parse_input(model, None, [f"{flag.name}={truth}", *rest], "VALUE", taken)
    # a file is JSON unless the answer is a single field, whose text it may hold
    is_json = value == "-" or value.lstrip().startswith("{")
    if is_json or (value.startswith("@") and field is None):
        return parse_input(model, value, rest, "VALUE", taken)
    if field is not None and flag is None:
        return parse_input(model, None, [f"{field.name}={value}", *rest], "VALUE", taken)
    article = "an" if what[0] in "aeiou" else "a"
    raise InputError(
        f"'{value}' is not {article} {what} of type {model.__name__}. "
        f"Write {_format_choice(model)}."
    )


def is_tool_approval(model: type[BaseModel]) -> bool:
    """Return whether an answer decides about a call of a tool."""
    from graphorch.graph.approval import ToolApproval  # only questions need it

    return model is ToolApproval


def _add_verdict(words: Sequence[str]) -> Sequence[str]:
    """Return what decides about a tool call with the yes or no that its options mean.

    Raises `InputError` for options that contradict it.
    """
    verdict = words[0].lower() if words else ""
    names = [word.partition("=")[0] for word in words if word.startswith("--")]
    meant = {_MEANINGS[name] for name in names if name in _MEANINGS}
    if verdict in _TRUTH_VALUES:
        meant.add("yes" if _TRUTH_VALUES[verdict] == "true" else "no")
    if len(meant) > 1:
        raise InputError(
            "The answer contradicts itself. Write yes; yes --arguments JSON to change the call; "
            "no --reason TEXT to refuse it; or no --answer TEXT to answer instead of the tool."
        )
    return [*meant, *words] if words and verdict.startswith("--") and meant else words


def _format_choice(model: type[BaseModel]) -> str:
    example = format_answer_example(model)
    return f"{example} or no" if _find_flag(model) is not None else example


def format_answer_example(model: type[BaseModel]) -> str:
    """Return an example of VALUE for an answer of this type, quoted for a shell."""
    if _find_flag(model) is not None:
        return "yes"
    field = _find_only_field(model)
    if field is not None and field.kind == "text":
        return "TEXT"
    return shlex.quote(format_example(model))


def _find_flag(model: type[BaseModel]) -> InputOption | None:
    """Return the field that yes or no decides: the only flag, if no other field is required."""
    options = list_options(model)
    flags = [option for option in options if option.kind == "flag"]
    others = [option for option in options if option.info.is_required() and option.kind != "flag"]
    return flags[0] if len(flags) == 1 and not others else None


def _find_only_field(model: type[BaseModel]) -> InputOption | None:
    """Return the only field of an answer, or the only one that is required."""
    options = list_options(model)
    if len(options) == 1:
        return options[0]
    required = [option for option in options if option.info.is_required()]
    return required[0] if len(required) == 1 else None
