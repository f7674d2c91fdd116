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

    [guards]
    secrets = "mask"

    [prices."openai/gpt-5"]                # dollars per million tokens
    input = 1.25
    output = 10

    [mcp.files]                            # a server of tools: McpServer.configured("files")
    command = "npx"                        # or url = "https://…", bearer_env = "FILES_TOKEN"
    args = ["-y", "@modelcontextprotocol/server-filesystem", "."]
    env_from = ["FILES_KEY"]               # variables that it may see

All problems are reported at once, with file, line and field. A file that is found in a directory
may say where prompts and keys go, which file is written, and what calls cost, only once its person
trusts it (`trust.py`); a file that is named by hand may say everything. Without a file,
`OPENAI_BASE_URL` and `OPENAI_API_KEY` are enough.
"""

from __future__ import annotations

import os
import re
import tomllib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from graphorch.errors import InputError
from graphorch.models.config.misfits import describe_misfit
from graphorch.models.config.schema import Config, find_keys_that_need_trust
from graphorch.models.config.sources import FILE, PROJECT_FILE
from graphorch.models.config.toml_hints import find_toml_hint
from graphorch.models.config.toml_lines import find_line
from graphorch.models.config.trust import TrustStore
from graphorch.models.config.validation import Loc, find_doubts, find_problems

_MOST_BYTES = 1_000_000  # far beyond any configuration
_LINE = re.compile(r"\(at line (\d+)")


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """A file that was read: its bytes, and the table in it that is ours."""

    path: Path
    content: bytes
    table: Loc = ()

    @property
    def text(self) -> str:
        """Text of the file."""
        return self.content.decode("utf-8-sig")

    def locate(self, loc: Loc) -> str:
        """Return `file:line` of a value, or the file if the line is unknown."""
        line = find_line(self.text, (*self.table, *loc))
        return f"{self.path}:{line}" if line else f"{self.path}"

    def describe(self, problems: Iterable[tuple[Loc, str]]) -> list[str]:
        """Return problems as lines: file, line, field, and what is wrong."""
        return [f"{self.locate(loc)}: {_join(loc)}: {problem}" for loc, problem in problems]


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration, the file that it is from if there is one, and what is odd about it."""

    config: Config
    path: Path | None = None
    warnings: tuple[str, ...] = ()


# ---- find ----------------------------------------------------------------------------------------
def find_config(directory: Path) -> Config:
    """Return the configuration of a directory.

    That is its `graphorch.toml`, else its `pyproject.toml`, else an empty one. Raises `InputError`
    with all problems, and for a file that is not trusted and says where prompts and keys go,
    which file is written, or what calls cost. Oddities are warnings.
    """
    return _warn(load_config(directory))


def load_config(directory: Path) -> LoadedConfig:
    """Return the configuration of a directory as `find_config` does, with its oddities."""
    source = find_source(directory)
    if source is None:
        return LoadedConfig(Config())
    tables = _parse_tables(source)
    _require_trust(source, tables)
    loaded = check_source(source)
    if source.path.name == FILE and (other := _find_project_source(directory)) is not None:
        note = (
            f"{other.path}: [tool.graphorch] is not read, since there is a {FILE} beside it. "
            "Move its keys there, or take the table out."
        )
        return LoadedConfig(loaded.config, loaded.path, (*loaded.warnings, note))
    return loaded


def find_source(directory: Path) -> ConfigSource | None:
    """Return the file that configures a directory, read but not checked; None without one.

    Raises `InputError` if it cannot be read.
    """
    path = directory / FILE
    if os.path.lexists(path):
        return read_source(path)
    return _find_project_source(directory)


def _find_project_source(directory: Path) -> ConfigSource | None:
    """Return `pyproject.toml` if it has a table for us."""
    path = directory / PROJECT_FILE
    if not path.is_file():
        return None
    source = read_source(path)
    if b"graphorch" not in source.content:
        return None
    tool = _parse(source).get("tool")
    if not isinstance(tool, dict) or "graphorch" not in tool:
        return None
    return source


# ---- read ----------------------------------------------------------------------------------------
def read_config(path: Path) -> Config:
    """Return the configuration in a file that the caller names, and so trusts.

    Raises `InputError` with all problems: file, line, field, and what to write instead. Oddities
    are warnings.
    """
    return _warn(load_config_file(path))


def load_config_file(path: Path) -> LoadedConfig:
    """Return the configuration in a file as `read_config` does, with its oddities."""
    return check_source(read_source(path))


def parse_config(tables: Mapping[str, Any]) -> Config:
    """Return the configuration in a dictionary, checked like a file."""
    return _check(tables, None)


def read_source(path: Path) -> ConfigSource:
    """Return a file and its bytes. Raises `InputError` if it cannot be read."""
    table: Loc = ("tool", "graphorch") if path.name == PROJECT_FILE else ()
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a file. Put the configuration into a file there.")
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path} has more than {_MOST_BYTES:,} bytes: it is no configuration.")
    return ConfigSource(path, content, table)


def _parse_tables(source: ConfigSource) -> Mapping[str, Any]:
    """Return our tables of a file. Raises `InputError` if it is not TOML."""
    here: Any = _parse(source)
    for step in source.table:
        here = cast("dict[str, Any]", here).get(str(step), {}) if isinstance(here, dict) else {}
    if not isinstance(here, dict):
        raise InputError(f"{source.path}: {_join(source.table)} is not a table.")
    return cast("Mapping[str, Any]", here)


def _parse(source: ConfigSource) -> dict[str, Any]:
    try:
        return tomllib.loads(source.text)
    except RecursionError:
        problem = "it is nested too deeply."
    except UnicodeDecodeError as error:
        problem = f"it is not UTF-8 text (byte {error.start})."
    except tomllib.TOMLDecodeError as error:
        # "(at line 3, column 5)", or "(at end of document)"
        found = _LINE.search(str(error))
        line = int(found[1]) if found else len(source.text.splitlines())
        hint = find_toml_hint(source.text, line)
        problem = f"{error}. {hint}".rstrip()
    raise InputError(f"{source.path} is not TOML: {problem}")


# ---- check ---------------------------------------------------------------------------------------
def _require_trust(source: ConfigSource, tables: Mapping[str, Any]) -> None:
    """Raise `InputError` for a file that needs trust and does not have it."""
    found = list(find_keys_that_need_trust(tables))
    if not found or TrustStore().is_trusted(source.path, source.content):
        return
    lines = source.describe((key, f"it says {mark.why}") for key, mark in found)
    listed = "\n  ".join(lines)
    raise InputError(
        f"{source.path} is not trusted, or has changed since, so nothing of it is used:\n"
        f"  {listed}\n"
        "`graphorch trust` shows what it would be allowed, and allows it; or name the file "
        "yourself: --config FILE, or Router(read_config(path)) in a program."
    )


def check_source(source: ConfigSource) -> LoadedConfig:
    """Return the configuration in a file that was read. Raises `InputError` with all problems."""
    config = _check(_parse_tables(source), source)
    warnings = tuple(source.describe(find_doubts(config)))
    return LoadedConfig(_resolve_paths(config, source.path), source.path, warnings)


def _check(tables: Mapping[str, Any], source: ConfigSource | None) -> Config:
    try:
        config = Config.model_validate(tables)
    except ValidationError as error:
        problems = [describe_misfit(details) for details in error.errors(include_url=False)]
        raise _build_error(problems, source) from None
    problems = list(find_problems(config))
    if problems:
        raise _build_error(problems, source)
    return config


def _resolve_paths(config: Config, file: Path) -> Config:
    """Return the configuration with its paths made absolute, from the directory of the file."""
    folder = os.path.dirname(os.path.abspath(file))
    updates: dict[str, object] = {}
    kept = config.budgets.kept
    if kept is not None:
        updates["budgets"] = config.budgets.model_copy(update={"kept": _resolve(folder, kept)})
    if any(server.cwd is not None for server in config.mcp.values()):
        updates["mcp"] = {
            name: server.model_copy(update={"cwd": _resolve(folder, server.cwd)})
            if server.cwd is not None
            else server
            for name, server in config.mcp.items()
        }
    return config.model_copy(update=updates) if updates else config


def _resolve(folder: str, path: str) -> str:
    return os.path.join(folder, os.path.expanduser(path))


def _build_error(problems: Iterable[tuple[Loc, str]], source: ConfigSource | None) -> InputError:
    if source is None:
        lines = [f"{_join(loc)}: {problem}" for loc, problem in problems]
        return InputError("\n  ".join(["The configuration does not fit:", *lines]))
    return InputError("\n  ".join([f"{source.path} does not fit:", *source.describe(problems)]))


def _join(loc: Loc) -> str:
    return ".".join(str(step) for step in loc)


def _warn(loaded: LoadedConfig) -> Config:
    for text in loaded.warnings:
        warnings.warn(text, UserWarning, stacklevel=3)
    return loaded.config
