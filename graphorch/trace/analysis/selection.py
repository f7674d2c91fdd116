"""The spans that a question is about, and how they are grouped, as SQL.

Only words of ours become SQL; everything that a caller gives is bound as a value. A group or filter
that is not one of the words below is the name of a tag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graphorch.errors import InputError, did_you_mean

# A tool call lies below the step of its agent, and belongs to it.
_ABOVE = "substr(s.step, 1, length(s.step) - length(s.node) - 1)"
_LAST_ABOVE = f"substr({_ABOVE}, length(rtrim({_ABOVE}, replace({_ABOVE}, '/', ''))) + 1)"
_IS_TOOL = "s.kind IN ('tool', 'tool_attempt')"
_OF_SPANS = {
    "agent": f"iif({_IS_TOOL}, {_LAST_ABOVE}, s.node)",
    "tool": f"iif({_IS_TOOL}, s.node, '')",
    "node": "s.node",
    "step": "s.step",
    "path": "s.path",
    "level": "s.level",
    "model": "s.model",
    "endpoint": "s.endpoint",
    "policy": "s.policy",
    "error": "s.error",
    "state": "s.status",
    "attempt": "s.attempt",
    "day": "strftime('%Y-%m-%d', s.began, 'unixepoch', {zone})",
    "hour": "strftime('%Y-%m-%dT%H:00', s.began, 'unixepoch', {zone})",
    "month": "strftime('%Y-%m', s.began, 'unixepoch', {zone})",
}
_OF_RUNS = {
    "flow": "t.flow",
    "run": "t.run_id",
    "status": "t.status",
    "reason": "t.reason",
}
_RUN_TIMES = {
    "day": "strftime('%Y-%m-%d', t.began, 'unixepoch', {zone})",
    "hour": "strftime('%Y-%m-%dT%H:00', t.began, 'unixepoch', {zone})",
    "month": "strftime('%Y-%m', t.began, 'unixepoch', {zone})",
}
_OF_REQUESTS = frozenset({"model", "endpoint"})
# A JSON path of SQLite has no way to write these.
_PATH_SIGNS = frozenset('"\\\0')
WORDS = (*_OF_SPANS, *_OF_RUNS)
"""Words to group by and filter on beside tags; `tag:` marks a tag with the name of a word."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A window of time and filters.

    `since` ≤ time < `until` in seconds since 1970, None is open. `where` maps words or tags to the
    value that they must have. Days and hours are those of a zone `utc_offset` seconds east of UTC;
    None is the zone of this machine.
    """

    since: float | None = None
    until: float | None = None
    where: Mapping[str, str] = field(default_factory=dict[str, str])
    utc_offset: float | None = 0.0

    @property
    def asks_targets(self) -> bool:
        """Return whether it selects by what belongs to a request, and not to a whole call."""
        return not _OF_REQUESTS.isdisjoint(self.where)

    def before(self) -> Selection:
        """Return the window of equal length right before this one.

        Raises `InputError` if this one has no beginning or no end.
        """
        if self.since is None or self.until is None:
            raise InputError(
                "Only a window with a beginning and an end has one before it: "
                "give `since` and `until`."
            )
        return replace(self, since=2 * self.since - self.until, until=self.since)


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of SQL with the values that it binds."""

    sql: str
    values: tuple[Any, ...] = ()


def splits_calls(by: Sequence[str], selection: Selection) -> bool:
    """Return whether the requests of one call may belong to different groups."""
    return selection.asks_targets or not _OF_REQUESTS.isdisjoint(by)


def build_groups(
    by: Sequence[str], *, of_runs: bool = False, utc_offset: float | None = 0.0
) -> Clause:
    """Return the columns g0, g1, … of a grouping."""
    terms = [_build_term(word, of_runs, utc_offset) for word in by]
    columns = [f"coalesce({term.sql}, '') AS g{number}" for number, term in enumerate(terms)]
    values = tuple(value for term in terms for value in term.values)
    return Clause(", ".join(columns) or "'' AS g0", values)


def list_columns(by: Sequence[str]) -> str:
    """Return the names of the columns of a grouping."""
    return ", ".join(f"g{number}" for number in range(len(by) or 1))


def build_conditions(selection: Selection, *, of_runs: bool = False) -> Clause:
    """Return the conditions of a selection, each with `AND` before it."""
    time = "t.began" if of_runs else "s.began"
    sql: list[str] = []
    values: list[Any] = []
    for comparison, bound in ((">=", selection.since), ("<", selection.until)):
        if bound is not None:
            sql.append(f"{time} {comparison} ?")
            values.append(bound)
    for word, wanted in selection.where.items():
        term = _build_term(word, of_runs, selection.utc_offset)
        sql.append(f"CAST(coalesce({term.sql}, '') AS TEXT) = ?")
        values += [*term.values, str(wanted)]
    return Clause("".join(f" AND {text}" for text in sql), tuple(values))


def _build_term(word: str, of_runs: bool, utc_offset: float | None) -> Clause:
    """Return the SQL of a word or tag. Raises `InputError`."""
    if word in _OF_RUNS:
        return Clause(_OF_RUNS[word])
    zone = "'localtime'" if utc_offset is None else f"'{utc_offset:+.0f} seconds'"
    if of_runs and word in _RUN_TIMES:
        return Clause(_RUN_TIMES[word].format(zone=zone))
    if word in _OF_SPANS and not of_runs:
        return Clause(_OF_SPANS[word].format(zone=zone))
    if word in _OF_SPANS:
        hint = did_you_mean(word, (*_OF_RUNS, *_RUN_TIMES))
        raise InputError(f"Runs have no '{word}': it belongs to what happens in them. {hint}")
    name = word.removeprefix("tag:").strip()
    if not name:
        raise InputError(
            f"{word!r} names nothing to group by or filter on. {did_you_mean(word, WORDS)} "
            "Anything else is the name of a tag."
        )
    if set(name) & _PATH_SIGNS:
        return Clause("(SELECT value FROM json_each(t.tags) WHERE key = ?)", (name,))
    return Clause("json_extract(t.tags, ?)", (f'$."{name}"',))
