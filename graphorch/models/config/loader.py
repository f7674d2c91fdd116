"""Find, read and check `graphorch.toml`, or `[tool.graphorch]` in `pyproject.toml`.

    default_model = "policy/careful"

    [endpoints.main]                       # the key is never in the file:
    base_url = "https://router.requesty.ai/v1"
    key_env = "REQUESTY_API_KEY"           # the name of the variable that holds it
    dialect = "requesty"

    [policies.careful]                     # used as model="policy/careful"
    kind = "fallback"
    targets = ["openai/gpt-5", { model = "gpt-5", endpoint = "direct" }, "policy/cheap"]

    [limits."openai/gpt-5"]
    rpm = 60

    [budgets.run]
    usd = 0.50
    at_cap = "policy/cheap"

    [prices."openai/gpt-5"]                # dollars per million tokens
    input = 1.25
    output = 10

All problems are reported at once, with file, line and field. Without a file, `OPENAI_BASE_URL` and
`OPENAI_API_KEY` are enough.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from graphorch.errors import InputError, did_you_mean
from graphorch.models.config.schema import Config
from graphorch.models.config.sources import FILE, PROJECT_FILE
from graphorch.models.config.toml_lines import find_line
from graphorch.models.config.validation import Loc, find_wrong_references, find_wrong_values


@dataclass(frozen=True, slots=True)
class _Source:
    """A file that was read, to locate a value in it; `table` is the table that is ours."""

    path: Path
    text: str
    table: Loc = ()

    def locate(self, loc: Loc) -> str:
        """Return `file:line` of a value, or the file if the line is unknown."""
        line = find_line(self.text, (*self.table, *loc))
        return f"{self.path}:{line}" if line else f"{self.path}"


def find_config(directory: Path) -> Config:
    """Return the configuration of a directory.

    That is its `graphorch.toml`, else its `pyproject.toml`, else an empty one. Raises `InputError`
    with all problems.
    """
    path = directory / FILE
    if path.is_file():
        return read_config(path)
    path = directory / PROJECT_FILE
    if path.is_file() and "tool.graphorch" in path.read_text("utf-8", "replace"):
        return read_config(path)
    return Config()


def read_config(path: Path) -> Config:
    """Return the configuration in a file.

    Raises `InputError` with all problems: file, line, field, and what to write instead.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}.") from error
    source = _Source(path, text)
    if path.name == PROJECT_FILE:
        tables = tables.get("tool", {}).get("graphorch", {})
        source = _Source(path, text, ("tool", "graphorch"))
    return _check(tables, source)


def parse_config(tables: Mapping[str, Any]) -> Config:
    """Return the configuration in a dictionary, checked like a file."""
    return _check(tables, None)


def _check(tables: Mapping[str, Any], source: _Source | None) -> Config:
    try:
        config = Config.model_validate(tables)
    except ValidationError as error:
        problems = [
            _describe_misfit(details["type"], tuple(details["loc"]), details["msg"])
            for details in error.errors(include_url=False, include_input=False)
        ]
        raise _build_error(problems, source) from None
    problems = [*find_wrong_references(config), *find_wrong_values(config)]
    if problems:
        raise _build_error(problems, source)
    return config


def _build_error(problems: Iterable[tuple[Loc, str]], source: _Source | None) -> InputError:
    subject = f"{source.path}" if source else "The configuration"
    lines = [f"{subject} does not fit:"]
    for loc, problem in problems:
        place = f"{source.locate(loc)}: " if source else ""
        field = ".".join(str(step) for step in loc)
        lines.append(f"  {place}{field}: {problem}")
    return InputError("\n".join(lines))


def _describe_misfit(kind: str, loc: Loc, message: str) -> tuple[Loc, str]:
    """Return the place and text of a problem that pydantic reports."""
    if kind != "extra_forbidden":
        return loc, message
    known_keys = _list_keys(loc[:-1])
    return loc, f"there is no such key. {did_you_mean(str(loc[-1]), known_keys)}"


def _list_keys(loc: Loc) -> list[str]:
    """Return the keys that the table at a place takes."""
    here: Any = Config
    for step in loc:
        # a model has fields; a dictionary or list has items of one type, its last argument
        if hasattr(here, "model_fields"):
            here = here.model_fields[step].annotation
        else:
            here = get_args(here)[-1]
        # of `X | None` and `Annotated[X, …]` only X matters
        while get_origin(here) not in (None, dict, list):
            here = get_args(here)[0]
    return list(getattr(here, "model_fields", {}))
