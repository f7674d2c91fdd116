"""The tools of a server as a run took them: stored, restored, and compared with a later list.

Rules of this file:
1. All of it is pure: a stored list alone gives the tools back, without a server.
2. A tool has a digest over all that a model or the engine reads of it: its names, description,
   schemas and annotations.
3. What changed is said in words, for the person who decides whether a run may go on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast

from graphorch.errors import JournalError
from graphorch.journal.record_kinds import ListedBody, ListedToolBody
from graphorch.text import join_limited, truncate, truncate_repr

HINTS: Final = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
"""Annotations of a tool that are kept: what the server says of its effects."""

_QUOTED: Final = 120  # characters of a description in a sentence about it


@dataclass(frozen=True)
class ListedTool:
    """A tool as its server described it.

    `name` is what models call it by, `tool` the server's own name. `output` is the schema that the
    server promises for structured results; None without a promise. `digest` is the SHA-256 of all
    that, in hex; of a stored tool it is the one that was stored, whatever a mask left of the rest.
    """

    name: str
    tool: str
    description: str
    parameters: Mapping[str, Any]
    output: Mapping[str, Any] | None
    annotations: Mapping[str, bool]
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            parts = [self.name, self.tool, self.description, self.parameters, self.output]
            digest = _compute_digest([*parts, self.annotations])
            object.__setattr__(self, "digest", digest)


@dataclass(frozen=True)
class ToolListing:
    """The tools of a server, in the order of the server."""

    server: str
    tools: tuple[ListedTool, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the tools, in any order, in hex."""
        return _compute_digest([self.server, sorted(tool.digest for tool in self.tools)])

    def find(self, tool: str) -> ListedTool | None:
        """Return the tool that the server calls by a name; None if there is none."""
        return next((listed for listed in self.tools if listed.tool == tool), None)


@dataclass(frozen=True, slots=True)
class ListingChange:
    """A difference between two lists: the tool's name for models, and what is different."""

    name: str
    what: str

    def __str__(self) -> str:
        return f"'{self.name}' {self.what}"


# ---- store and restore ---------------------------------------------------------------------------
def describe_listing(listing: ToolListing) -> ListedBody:
    """Return a list of tools as plain JSON, with a digest for each tool and for all."""
    return {
        "server": listing.server,
        "tools": [_describe_tool(tool) for tool in listing.tools],
        "digest": listing.digest,
    }


def _describe_tool(tool: ListedTool) -> ListedToolBody:
    return {
        "name": tool.name,
        "tool": tool.tool,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        "output": None if tool.output is None else dict(tool.output),
        "annotations": dict(tool.annotations),
        "digest": tool.digest,
    }


def restore_listing(record: Mapping[str, Any]) -> ToolListing:
    """Return the list of tools of a record. Raises `JournalError` if it is not one."""
    try:
        tools = tuple(_restore_tool(tool) for tool in record["tools"])
        return ToolListing(cast("str", record["server"]), tools)
    except (KeyError, TypeError) as error:
        raise JournalError(
            f"A stored list of tools cannot be read ({type(error).__name__}: {error}). "
            "The journal was changed outside of graphorch."
        ) from None


def _restore_tool(record: ListedToolBody) -> ListedTool:
    return ListedTool(
        name=record["name"],
        tool=record["tool"],
        description=record["description"],
        parameters=record["parameters"],
        output=record["output"],
        annotations=record["annotations"],
        digest=record["digest"],
    )


# ---- compare -------------------------------------------------------------------------------------
def compare_listings(old: ToolListing, new: ToolListing) -> tuple[ListingChange, ...]:
    """Return what is different in a later list: gone, changed and new tools, in that order."""
    before = {tool.tool: tool for tool in old.tools}
    after = {tool.tool: tool for tool in new.tools}
    gone = [
        ListingChange(tool.name, "is gone") for name, tool in before.items() if name not in after
    ]
    changed = [
        ListingChange(tool.name, what)
        for name, tool in before.items()
        if name in after
        for what in _compare_tools(tool, after[name])
    ]
    added = [
        ListingChange(tool.name, "is new") for name, tool in after.items() if name not in before
    ]
    return (*gone, *changed, *added)


def _compare_tools(old: ListedTool, new: ListedTool) -> Iterator[str]:
    """Yield what is different about a tool, one part each."""
    if old.digest == new.digest:
        return
    is_shown = False
    for what in _list_differences(old, new):
        is_shown = True
        yield what
    if not is_shown:
        yield "differs in a part that the journal does not show"


def _list_differences(old: ListedTool, new: ListedTool) -> Iterator[str]:
    if old.name != new.name:
        yield f"is called '{new.name}' now"
    if old.description != new.description:
        before, after = (
            truncate_repr(text, _QUOTED) for text in (old.description, new.description)
        )
        yield f"describes itself differently: {before} became {after}"
    if old.parameters != new.parameters:
        yield f"takes other arguments: {_compare_schemas(old.parameters, new.parameters)}"
    if old.output != new.output:
        yield f"returns something else: {_compare_schemas(old.output or {}, new.output or {})}"
    for hint in HINTS:
        before, after = old.annotations.get(hint), new.annotations.get(hint)
        if before != after:
            yield f"says {_write_hint(hint, after)}, and said {_write_hint(hint, before)} before"


def _write_hint(hint: str, value: bool | None) -> str:
    return f"nothing of {hint}" if value is None else f"{hint}={str(value).lower()}"


def _compare_schemas(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return in words how the fields of two schemas differ."""
    before, after = _read_fields(old), _read_fields(new)
    required_before, required_after = _read_required(old), _read_required(new)
    parts = [f"no '{name}' any more" for name in before if name not in after]
    for name, schema in after.items():
        if name not in before:
            parts.append(f"'{name}' is new" + (" and required" if name in required_after else ""))
        elif before[name] != schema:
            was, now = _write_schema(before[name]), _write_schema(schema)
            parts.append(f"'{name}' was {was} and is {now}")
        if name in before and (name in required_before) != (name in required_after):
            parts.append(f"'{name}' is {'' if name in required_after else 'not '}required now")
    return join_limited(parts, 6) or "its schema has other rules"


def _read_fields(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    fields = schema.get("properties")
    return cast("Mapping[str, Any]", fields) if isinstance(fields, Mapping) else {}


def _read_required(schema: Mapping[str, Any]) -> Sequence[str]:
    required = schema.get("required")
    return cast("Sequence[str]", required) if isinstance(required, list) else ()


def _write_schema(schema: object) -> str:
    return truncate(_write_canonical(schema), _QUOTED)


# ---- digests -------------------------------------------------------------------------------------
def _compute_digest(value: object) -> str:
    return hashlib.sha256(_write_canonical(value).encode()).hexdigest()


def _write_canonical(value: object) -> str:
    """Return JSON that is equal for equal values, in whatever order their keys came."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=dict)
