"""Fields of an input as options."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_type_hints

import pytest
from pydantic import BaseModel
from typer.models import OptionInfo

from graphorch.cli.commands.runs.answer import answer
from graphorch.cli.commands.runs.run import run
from graphorch.cli.input_options import ANSWER_OPTIONS, RUN_OPTIONS, list_options
from graphorch.cli.input_parser import parse_input
from graphorch.errors import InputError


@pytest.mark.parametrize(("command", "taken"), [(run, RUN_OPTIONS), (answer, ANSWER_OPTIONS)])
def test_taken_names_are_options(command: Callable[..., None], taken: frozenset[str]) -> None:
    """The taken names are the options of the command itself."""
    hints = get_type_hints(command, include_extras=True).values()
    options = [
        item
        for hint in hints
        for item in getattr(hint, "__metadata__", ())
        if isinstance(item, OptionInfo)
    ]
    declared = {
        word
        for info in options
        for word in (info.default, *(info.param_decls or ()))
        if str(word).startswith("--")
    }
    assert declared | {"--help"} == taken


def test_taken_name_is_given_in_json() -> None:
    """A field with the name of an option is given in --input."""

    class Clash(BaseModel):
        model: str

    assert [option.usage for option in list_options(Clash)] == ["'model' in --input"]
    assert parse_input(Clash, '{"model": "x"}', []) == Clash(model="x")
    with pytest.raises(InputError, match=r"model: missing\. Give 'model' in --input\."):
        parse_input(Clash, None, [])
