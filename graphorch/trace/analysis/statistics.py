"""Questions about many runs: cost, time, failures and where they happened, as tables of typed rows.

    with SpanIndex.open(store) as index:
        await index.catch_up(store)
        table = calls(index, by=["agent", "model"], selection=Selection(since=yesterday))
        pandas.DataFrame(table.records())

Quantiles are exact and of the nearest rank: the smallest value that at least that share of the
values does not exceed. Spans that a forked run took over from another one are not counted again.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from operator import itemgetter
from typing import Any, Generic, TypeAlias, TypeVar

from graphorch.statuses import COUNTED_AS
from graphorch.trace.analysis.selection import (
    Clause,
    Selection,
    build_conditions,
    build_groups,
    list_columns,
    splits_calls,
)
from graphorch.trace.spans.index import SpanIndex

EVERYTHING = Selection()

Key: TypeAlias = tuple[str, ...]

MIN_FOR_P99 = 100
"""Values of which a 99th percentile says something; with fewer it is their maximum."""

_COUNTED = "s.copied = 0"


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds; `count` is the number of values: with few, the high quantiles say little."""

    count: int = 0
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


NO_VALUES = Quantiles()


@dataclass(frozen=True, slots=True)
class Calls:
    """Model calls of one group.

    `failed` calls got no answer; `requests` were sent, of which `failed_requests` were not answered
    and `unusable` got an answer that could not be used, also if the call then got its answer
    elsewhere. In `estimated` calls not all tokens were reported: the others are guessed from the
    length of the texts. `unpriced` requests have dollars that are not known, and not part of `usd`;
    `booked_usd` is what budgets count, with the worst case of those.

    By model or endpoint, a call counts where its requests were sent: at each of them, and as failed
    at those that did not answer it. What was sent and paid is split among them.
    """

    key: Key
    calls: int
    failed: int
    error_rate: float
    requests: int
    failed_requests: int
    unusable: int
    retries: int
    fallbacks: int
    hedges: int
    cache_hits: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    estimated: int
    usd: float
    unpriced: int
    booked_usd: float
    latency: Quantiles
    first_token: Quantiles


@dataclass(frozen=True, slots=True)
class Steps:
    """Activations of one group of nodes.

    Attempts are counted apart: an activation that succeeded in its second attempt has not failed.
    """

    key: Key
    visits: int
    failed: int
    handled: int
    skipped: int
    cancelled: int
    error_rate: float
    attempts: int
    failed_attempts: int
    latency: Quantiles


@dataclass(frozen=True, slots=True)
class Tools:
    """Calls of tools of one group.

    `failed` calls failed for good, and with them their agent; of `errors_read` ones the model read
    an error, and went on. A person `refused` a call, so that it did not run. `seconds` is the sum
    over all calls.
    """

    key: Key
    calls: int
    failed: int
    errors_read: int
    refused: int
    cancelled: int
    error_rate: float
    attempts: int
    failed_attempts: int
    seconds: float
    latency: Quantiles


@dataclass(frozen=True, slots=True)
class Errors:
    """One kind of error in one group, of attempts (`what` is "attempt"), calls or requests.

    Errors of tools that a model was told are of "tool".

    `example_run` is a run to look at, and `example` a message.
    """

    key: Key
    what: str
    error: str
    count: int
    runs: int
    example_run: str
    example: str


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of one group, counted by what became of them (see `statuses.COUNTED_AS`).

    In `estimated` calls not all of the tokens were reported. `unpriced` requests have dollars that
    are not known, and not part of `usd`; `booked_usd` is what budgets count. `budget_used` is the
    share of `budget` that is booked, of the runs that had one.
    """

    key: Key
    runs: int
    succeeded: int
    failed: int
    cancelled: int
    waiting: int
    running: int
    usd: float
    unpriced: int
    booked_usd: float
    tokens: int
    estimated: int
    calls: int
    budget: float
    budget_used: float | None
    latency: Quantiles


@dataclass(frozen=True, slots=True)
class Loops:
    """One loop: its rounds in the runs that used it, and the runs in which it was used up."""

    key: Key
    loop: str
    runs: int
    rounds: int
    most: int
    exhausted: int


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings of guardrails in one group, by kind, place (input or output) and action."""

    key: Key
    kind: str
    where: str
    action: str
    count: int
    calls: int


R = TypeVar("R", Calls, Steps, Tools, Errors, Runs, Loops, Findings)


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """Rows, the largest first.

    `by` names the parts of their keys, and `columns` those of a flat row.
    """

    by: tuple[str, ...]
    rows: tuple[R, ...]
    columns: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as flat dictionaries, as `pandas.DataFrame` takes them.

        Quantiles are columns such as `latency_p50`.
        """
        return [_flatten(self.by, row) for row in self.rows]


@dataclass(frozen=True, slots=True)
class _Question:
    """A grouping and a selection of spans or runs, and the SQL of both."""

    index: SpanIndex
    by: Sequence[str]
    selection: Selection
    of_runs: bool = False

    @property
    def groups(self) -> str:
        """Columns of the grouping, with their names."""
        return self._build_groups().sql

    def _build_groups(self) -> Clause:
        return build_groups(self.by, of_runs=self.of_runs, utc_offset=self.selection.utc_offset)

    @property
    def where(self) -> str:
        """Conditions of the selection, to be added to others."""
        return build_conditions(self.selection, of_runs=self.of_runs).sql

    @property
    def columns(self) -> str:
        """Names of the columns of the grouping."""
        return list_columns(self.by)

    @property
    def values(self) -> tuple[Any, ...]:
        """Values that `groups` and `where` bind, in this order."""
        groups = self._build_groups()
        return (*groups.values, *build_conditions(self.selection, of_runs=self.of_runs).values)

    def query(self, sql: str, *values: Any) -> list[tuple[Key, tuple[Any, ...]]]:
        """Return the key and the other columns of each row."""
        rows = self.index.query(sql, (*self.values, *values))
        return [self.split(row) for row in rows]

    def split(self, row: Sequence[Any]) -> tuple[Key, tuple[Any, ...]]:
        """Return the key and the other columns of a row."""
        key = tuple(str(part) for part in row[: len(self.by)])
        return key, tuple(row[len(self.by) or 1 :])

    def aggregate(self, kind: str, columns: str) -> dict[Key, tuple[Any, ...]]:
        """Return aggregates over the spans of one kind, by key."""
        sql = f"""
            SELECT {self.groups}, {columns} FROM spans s JOIN traces t ON t.id = s.run
            WHERE s.kind = '{kind}' AND {_COUNTED}{self.where} GROUP BY {self.columns}
        """
        return dict(self.query(sql))

    @property
    def calls(self) -> str:
        """Condition of the spans that count as calls: their requests, where groups may split them.

        A call without spans of its requests stands for them.
        """
        if splits_calls(self.by, self.selection):
            return "s.kind IN ('call', 'request') AND s.has_requests = 0"
        return "s.kind = 'call'"

    def rank(self, condition: str, value: str) -> dict[Key, Quantiles]:
        """Return quantiles of a value over some spans, by key."""
        sql = f"""
            SELECT {self.groups}, {value} AS x FROM spans s JOIN traces t ON t.id = s.run
            WHERE {condition} AND {_COUNTED}{self.where}
        """
        return self.rank_rows(Clause(sql, self.values))

    def rank_rows(self, source: Clause) -> dict[Key, Quantiles]:
        """Return quantiles of `x` over the rows of a query, by key.

        The rows are read once, sorted by group and value; the values of one group at a time are
        kept, and those at the ranks are taken.
        """
        columns = self.columns
        sql = f"""
            SELECT {columns}, x FROM ({source.sql}) WHERE x IS NOT NULL ORDER BY {columns}, x
        """
        rows = self.index.iterate(sql, source.values)
        quantiles: dict[Key, Quantiles] = {}
        for group, members in groupby(rows, key=itemgetter(slice(-1))):
            values = array("d", (row[-1] for row in members))
            quantiles[self.split(group)[0]] = _build_quantiles(values)
        return quantiles


def _build_quantiles(ordered: Sequence[float]) -> Quantiles:
    """Return the quantiles of values in ascending order."""
    count = len(ordered)
    ranks = [(count * percent + 99) // 100 for percent in (50, 90, 95, 99)]
    return Quantiles(count, *(ordered[rank - 1] for rank in ranks))


def calls(
    index: SpanIndex, by: Sequence[str] = ("agent",), selection: Selection = EVERYTHING
) -> Table[Calls]:
    """Return model calls by group, the most expensive group first."""
    question = _Question(index, by, selection)
    if splits_calls(by, selection):
        rows_by_key = _sum_split_calls(question)
    else:
        totals = ", ".join(f"total(s.{name})" for name in _CALL_SUMS)
        columns = f"count(*), sum(s.status = 'failed'), {totals}"
        rows_by_key = list(question.aggregate("call", columns).items())
    latency = question.rank(question.calls, "s.seconds")
    first_token = question.rank(question.calls, "s.first_token")
    rows = [
        _build_calls(key, values, latency.get(key, NO_VALUES), first_token.get(key, NO_VALUES))
        for key, values in rows_by_key
    ]
    return _build_table(Calls, by, rows, lambda row: (row.usd, row.calls))


def _sum_split_calls(question: _Question) -> list[tuple[Key, tuple[Any, ...]]]:
    """Return the sums of calls whose requests may belong to different groups."""
    columns = question.columns
    sums = ", ".join(f"sum({name}) AS {name}" for name in _CALL_SUMS)
    totals = ", ".join(f"total({name})" for name in _CALL_SUMS)
    # Inner: what each call, or its part in a group, is made of. Outer: the groups.
    return question.query(
        f"""
        SELECT {columns}, count(*), sum(has_failed AND NOT is_answered), {totals} FROM (
            SELECT {columns}, max(is_answered) AS is_answered, max(has_failed) AS has_failed, {sums}
            FROM (
                SELECT {question.groups}, s.run, iif(s.kind = 'call', s.id, s.parent) AS call,
                    s.status = 'ok' AS is_answered, s.status = 'failed' AS has_failed,
                    {", ".join(f"s.{name}" for name in _CALL_SUMS)}
                FROM spans s JOIN traces t ON t.id = s.run
                WHERE {question.calls} AND {_COUNTED}{question.where}
            ) GROUP BY {columns}, run, call
        ) GROUP BY {columns}
        """
    )


_CALL_SUMS = (
    "sent",
    "failed_sent",
    "unusable",
    "retries",
    "fallbacks",
    "hedges",
    "from_cache",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "estimated",
    "usd",
    "unpriced",
    "booked_usd",
)
_DOLLARS = ("usd", "booked_usd")


def _build_calls(
    key: Key, values: Sequence[Any], latency: Quantiles, first_token: Quantiles
) -> Calls:
    count, failed, *totals = values
    # SQLite's `total` gives floats, and never fails where integers overflow.
    numbers: dict[str, Any] = {
        name: total if name in _DOLLARS else int(total)
        for name, total in zip(_CALL_SUMS, totals, strict=True)
    }
    return Calls(
        key=key,
        calls=count,
        failed=failed,
        error_rate=failed / count,
        requests=numbers.pop("sent"),
        failed_requests=numbers.pop("failed_sent"),
        cache_hits=numbers.pop("from_cache"),
        **numbers,
        latency=latency,
        first_token=first_token,
    )


# How often a step or a call of a tool ended in each way, and the seconds of those that ran.
_ENDS = ", ".join(
    f"sum(s.status = '{status}')" for status in ("failed", "handled", "skipped", "cancelled")
)
_SECONDS_OF_ENDED = "CASE WHEN s.status IN ('ok', 'failed', 'handled') THEN s.seconds END"
# The attempt of an agent that rests while its tool calls wait for people goes on in another span.
_ATTEMPTS = "sum(s.status <> 'waiting'), sum(s.status = 'failed')"


def steps(
    index: SpanIndex, by: Sequence[str] = ("step",), selection: Selection = EVERYTHING
) -> Table[Steps]:
    """Return activations of nodes by group, the slowest group first; `tools` has calls of tools."""
    question = _Question(index, by, selection)
    sums = question.aggregate("node", f"count(*), {_ENDS}")
    attempt_sums = question.aggregate("attempt", _ATTEMPTS)
    latency = question.rank("s.kind = 'node'", _SECONDS_OF_ENDED)
    rows: list[Steps] = []
    for key, (count, failed, handled, skipped, cancelled) in sums.items():
        attempts, failed_attempts = attempt_sums.get(key, (0, 0))
        rows.append(
            Steps(
                key,
                count,
                failed,
                handled,
                skipped,
                cancelled,
                error_rate=(failed + handled) / count,
                attempts=attempts,
                failed_attempts=failed_attempts,
                latency=latency.get(key, NO_VALUES),
            )
        )
    return _build_table(Steps, by, rows, lambda row: (row.latency.p50 or 0.0, row.visits))


def tools(
    index: SpanIndex, by: Sequence[str] = ("agent", "tool"), selection: Selection = EVERYTHING
) -> Table[Tools]:
    """Return calls of tools by group, those that took longest first."""
    question = _Question(index, by, selection)
    sums = question.aggregate("tool", f"count(*), {_ENDS}, total(s.seconds)")
    attempt_sums = question.aggregate("tool_attempt", _ATTEMPTS)
    latency = question.rank("s.kind = 'tool'", _SECONDS_OF_ENDED)
    rows: list[Tools] = []
    for key, (count, failed, errors_read, refused, cancelled, seconds) in sums.items():
        attempts, failed_attempts = attempt_sums.get(key, (0, 0))
        rows.append(
            Tools(
                key,
                count,
                failed,
                errors_read,
                refused,
                cancelled,
                error_rate=(failed + errors_read) / count,
                attempts=attempts,
                failed_attempts=failed_attempts,
                seconds=seconds,
                latency=latency.get(key, NO_VALUES),
            )
        )
    return _build_table(Tools, by, rows, lambda row: (row.seconds, row.calls))


def errors(
    index: SpanIndex, by: Sequence[str] = ("step",), selection: Selection = EVERYTHING
) -> Table[Errors]:
    """Return failures by group and kind of error, the most frequent first."""
    question = _Question(index, by, selection)
    columns = question.columns
    rows_by_key = question.query(
        f"""
        SELECT {columns}, kind, error, count(*), count(DISTINCT run), max(run_id), max(message)
        FROM (
            SELECT {question.groups}, replace(s.kind, 'tool_attempt', 'attempt') AS kind, s.error,
                s.run, t.run_id, s.message
            FROM spans s JOIN traces t ON t.id = s.run
            WHERE (
                (s.kind IN ('attempt', 'tool_attempt', 'call', 'request') AND s.status = 'failed')
                OR (s.kind = 'tool' AND s.status = 'handled')
            ) AND {_COUNTED}{question.where}
        ) GROUP BY {columns}, kind, error
        """
    )
    rows = [Errors(key, *values) for key, values in rows_by_key]
    return _build_table(Errors, by, rows, lambda row: row.count)


_OUTCOMES = ", ".join(
    "sum(status IN ({}))".format(", ".join(f"'{status}'" for status in statuses))
    for statuses in COUNTED_AS.values()
)


def runs(
    index: SpanIndex, by: Sequence[str] = ("flow",), selection: Selection = EVERYTHING
) -> Table[Runs]:
    """Return runs by flow, status, day or tag, the most expensive group first."""
    question = _Question(index, by, selection, of_runs=True)
    rows_by_key = question.query(
        f"""
        SELECT {question.columns}, count(*),
            {_OUTCOMES}, total(usd),
            coalesce(sum(unpriced), 0), total(booked_usd), coalesce(sum(tokens), 0),
            coalesce(sum(estimated), 0), coalesce(sum(calls), 0), total(budget),
            total(CASE WHEN budget IS NOT NULL THEN booked_usd END)
        FROM (
            SELECT {question.groups}, t.status, t.budget, spent.usd, spent.unpriced,
                spent.booked_usd, spent.tokens, spent.estimated, spent.calls
            FROM traces t LEFT JOIN (
                SELECT s.run, total(s.usd) AS usd, count(*) AS calls,
                    sum(s.unpriced) AS unpriced, total(s.booked_usd) AS booked_usd,
                    sum(s.input_tokens + s.output_tokens) AS tokens,
                    sum(s.estimated) AS estimated
                FROM spans s WHERE s.kind = 'call' AND {_COUNTED} GROUP BY s.run
            ) spent ON spent.run = t.id
            WHERE 1{question.where}
        ) GROUP BY {question.columns}
        """
    )
    durations = f"""
        SELECT {question.groups}, t.seconds AS x FROM traces t
        WHERE t.status <> 'running'{question.where}
    """
    latency = question.rank_rows(Clause(durations, question.values))
    rows: list[Runs] = []
    for key, (*counts, budget, used) in rows_by_key:
        share = used / budget if budget else None
        quantiles = latency.get(key, NO_VALUES)
        columns: tuple[Any, ...] = (key, *counts, budget, share, quantiles)
        rows.append(Runs(*columns))
    return _build_table(Runs, by, rows, lambda row: (row.usd, row.runs))


def loops(
    index: SpanIndex, by: Sequence[str] = ("flow",), selection: Selection = EVERYTHING
) -> Table[Loops]:
    """Return rounds of loops by group, the busiest first."""
    question = _Question(index, by, selection)
    columns = question.columns
    # Innermost: each way back of each run. Then a row per run and loop, then one per loop.
    rows_by_key = question.query(
        f"""
        SELECT {columns}, loop, count(*), sum(rounds), max(rounds), sum(ended) FROM (
            SELECT {columns}, replace(loop, ', exhausted', '') AS loop, run,
                sum(loop NOT LIKE '%, exhausted') AS rounds,
                max(loop LIKE '%, exhausted') AS ended
            FROM (
                SELECT {question.groups}, s.loop, s.run
                FROM spans s JOIN traces t ON t.id = s.run
                WHERE s.loop <> '' AND {_COUNTED}{question.where}
            ) GROUP BY {columns}, replace(loop, ', exhausted', ''), run
        ) GROUP BY {columns}, loop
        """
    )
    rows = [Loops(key, *values) for key, values in rows_by_key]
    return _build_table(Loops, by, rows, lambda row: row.rounds)


def findings(
    index: SpanIndex, by: Sequence[str] = ("agent",), selection: Selection = EVERYTHING
) -> Table[Findings]:
    """Return findings of guardrails by group, the most frequent first."""
    question = _Question(index, by, selection)
    columns = question.columns
    rows_by_key = question.query(
        f"""
        SELECT {columns}, kind, place, action, sum(amount), count(*) FROM (
            SELECT {question.groups}, json_extract(f.value, '$.kind') AS kind,
                json_extract(f.value, '$.where') AS place,
                json_extract(f.value, '$.action') AS action,
                json_extract(f.value, '$.count') AS amount
            FROM spans s JOIN traces t ON t.id = s.run JOIN json_each(s.findings) f
            WHERE s.findings IS NOT NULL AND {_COUNTED}{question.where}
        ) GROUP BY {columns}, kind, place, action
        """
    )
    rows = [Findings(key, *values) for key, values in rows_by_key]
    return _build_table(Findings, by, rows, lambda row: row.count)


def spread(
    index: SpanIndex,
    by: Sequence[str] = ("step",),
    selection: Selection = EVERYTHING,
    most: int = 2_000,
) -> dict[Key, list[float]]:
    """Return the latencies of the activations of each group, in ascending order.

    Of more than `most` only every n-th is returned, evenly over the ranks.
    """
    question = _Question(index, by, selection)
    columns = question.columns
    rows = question.query(
        f"""
        SELECT {columns}, x FROM (
            SELECT {columns}, x, row_number() OVER (PARTITION BY {columns} ORDER BY x) AS r,
                count(*) OVER (PARTITION BY {columns}) AS n
            FROM (
                SELECT {question.groups}, s.seconds AS x
                FROM spans s JOIN traces t ON t.id = s.run
                WHERE s.kind = 'node' AND s.seconds IS NOT NULL AND {_COUNTED}{question.where}
            )
        ) WHERE r = n OR r % max(1, n / ?) = 0 ORDER BY {columns}, x
        """,
        most,
    )
    latencies: dict[Key, list[float]] = {}
    for key, (seconds,) in rows:
        latencies.setdefault(key, []).append(seconds)
    return latencies


# ---- tables --------------------------------------------------------------------------------------
def _build_table(
    kind: type[R], by: Sequence[str], rows: list[R], size: Callable[[R], Any]
) -> Table[R]:
    rows.sort(key=lambda row: row.key)
    rows.sort(key=size, reverse=True)  # stable: equal sizes stay in the order of their keys
    return Table(tuple(by), tuple(rows), (*by, *_list_columns(kind)))


def _list_columns(kind: type) -> Iterator[str]:
    """Yield the names of the columns of a flat row, without those of its key."""
    for field in fields(kind):
        if field.type == Quantiles.__name__:
            yield from (f"{field.name}_{part.name}" for part in fields(Quantiles))
        elif field.name != "key":
            yield field.name


def _flatten(by: Sequence[str], row: Any) -> dict[str, Any]:
    flat: dict[str, Any] = dict(zip(by, row.key, strict=True))
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Quantiles):
            for part in fields(value):
                flat[f"{field.name}_{part.name}"] = getattr(value, part.name)
        elif field.name != "key":
            flat[field.name] = value
    return flat
