"""Questions about many runs: what they cost, how long they took, what failed, and where, as tables of typed rows.

    with SpanIndex.open(store) as index:
        await index.catch_up(store)
        table = calls(index, by=["agent", "model"], selection=Selection(since=yesterday))
        pandas.DataFrame(table.records())

Quantiles are exact and of the nearest rank: the smallest value that at least that share of the values does not exceed. What a forked run
took over from another one is not counted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from graphorch.trace.analysis.selection import Clause, Selection, conditions, groups, names
from graphorch.trace.spans.index import SpanIndex

EVERYTHING = Selection()
_COUNTED = "s.copied = 0"


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds; `count` is how many values there are: with few of them, the high quantiles say little."""

    count: int = 0
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


NO_VALUES = Quantiles()


@dataclass(frozen=True, slots=True)
class Calls:
    """Model calls of one group. `failed` calls got no answer; `requests` were sent, of which `failed_requests` failed, also if the call
    then got its answer elsewhere. `unpriced` calls have a price that nobody knows, and count as 0 dollars."""

    key: tuple[str, ...]
    calls: int
    failed: int
    error_rate: float
    requests: int
    failed_requests: int
    retries: int
    fallbacks: int
    hedges: int
    cache_hits: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    usd: float
    unpriced: int
    latency: Quantiles
    first_token: Quantiles


@dataclass(frozen=True, slots=True)
class Steps:
    """Activations of one group of nodes. Attempts are counted apart: one that failed and was repeated with success is no failed visit."""

    key: tuple[str, ...]
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
class Errors:
    """One kind of error in one group: of attempts (`what` = attempt), calls or requests; `example` is a run to look at, and a message."""

    key: tuple[str, ...]
    what: str
    error: str
    count: int
    runs: int
    example_run: str
    example: str


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of one group. `budget_used` is the share of the dollars that their budgets allowed, of those that had one."""

    key: tuple[str, ...]
    runs: int
    succeeded: int
    failed: int
    waiting: int
    running: int
    usd: float
    tokens: int
    calls: int
    budget: float
    budget_used: float | None
    latency: Quantiles


@dataclass(frozen=True, slots=True)
class Loops:
    """One loop: how often it went back in the runs that used it, and in how many it was used up."""

    key: tuple[str, ...]
    loop: str
    runs: int
    rounds: int
    most: int
    exhausted: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What guardrails found in one group, by kind: in the input or the output, and what was done about it."""

    key: tuple[str, ...]
    kind: str
    where: str
    action: str
    count: int
    calls: int


R = TypeVar("R", Calls, Steps, Errors, Runs, Loops, Findings)


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """Rows, the largest first. `by` names the parts of their keys."""

    by: tuple[str, ...]
    rows: tuple[R, ...]

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def records(self) -> list[dict[str, Any]]:
        """The rows as flat dictionaries, as `pandas.DataFrame` takes them: quantiles are columns such as `latency_p50`."""
        return [_flat(self.by, row) for row in self.rows]


def calls(
    index: SpanIndex, by: Sequence[str] = ("agent",), selection: Selection = EVERYTHING
) -> Table[Calls]:
    """Model calls by anything; the dearest group first."""
    sums = _grouped(
        index, "call", by, selection,
        "count(*), sum(s.status = 'failed'), sum(s.sent), sum(s.retries), sum(s.fallbacks), sum(s.hedges), sum(s.from_cache), "
        "sum(s.input_tokens), sum(s.output_tokens), sum(s.cached_tokens), total(s.usd), sum(s.usd_source = 'none')",
    )  # fmt: skip
    requests = _grouped(index, "request", by, selection, "sum(s.status = 'failed')")
    latency, first = (
        _quantiles(index, "call", by, selection, "s.seconds"),
        _quantiles(index, "call", by, selection, "s.first_token"),
    )
    rows = [
        Calls(
            key, count, failed, failed / count, sent, failed_requests=requests.get(key, (failed,))[0], retries=retries, fallbacks=fallbacks, hedges=hedges,
            cache_hits=hits, input_tokens=tokens_in, output_tokens=tokens_out, cached_tokens=cached, usd=usd, unpriced=unpriced,
            latency=latency.get(key, NO_VALUES), first_token=first.get(key, NO_VALUES),
        )
        for key, (count, failed, sent, retries, fallbacks, hedges, hits, tokens_in, tokens_out, cached, usd, unpriced) in sums.items()
    ]  # fmt: skip
    return _table(by, rows, lambda row: (row.usd, row.calls))


def steps(
    index: SpanIndex, by: Sequence[str] = ("step",), selection: Selection = EVERYTHING
) -> Table[Steps]:
    """Activations of nodes by anything; the slowest group first."""
    sums = _grouped(
        index, "node", by, selection,
        "count(*), sum(s.status = 'failed'), sum(s.status = 'handled'), sum(s.status = 'skipped'), sum(s.status = 'cancelled')",
    )  # fmt: skip
    attempts = _grouped(index, "attempt", by, selection, "count(*), sum(s.status = 'failed')")
    latency = _quantiles(
        index,
        "node",
        by,
        selection,
        "CASE WHEN s.status IN ('ok', 'failed', 'handled') THEN s.seconds END",
    )
    rows = [
        Steps(
            key, count, failed, handled, skipped, cancelled, (failed + handled) / count, attempts.get(key, (0, 0))[0], attempts.get(key, (0, 0))[1],
            latency.get(key, NO_VALUES),
        )
        for key, (count, failed, handled, skipped, cancelled) in sums.items()
    ]  # fmt: skip
    return _table(by, rows, lambda row: (row.latency.p50 or 0.0, row.visits))


def errors(
    index: SpanIndex, by: Sequence[str] = ("step",), selection: Selection = EVERYTHING
) -> Table[Errors]:
    """What failed, by kind; the most frequent first."""
    group, where = groups(by), conditions(selection)
    found = index.query(
        f"""
        SELECT {names(by)}, kind, error, count(*), count(DISTINCT run), max(run_id), max(message) FROM (
            SELECT {group.sql}, s.kind, s.error, s.run, t.run_id, s.message FROM spans s JOIN traces t ON t.id = s.run
            WHERE s.kind IN ('attempt', 'call', 'request', 'tool') AND s.status = 'failed' AND {_COUNTED}{where.sql}
        ) GROUP BY {names(by)}, kind, error
        """,
        (*group.values, *where.values),
    )
    rows = [Errors(_key(row, by), *row[-6:]) for row in found]
    return _table(by, rows, lambda row: row.count)


def runs(
    index: SpanIndex, by: Sequence[str] = ("flow",), selection: Selection = EVERYTHING
) -> Table[Runs]:
    """Runs by flow, status, day, tag; the dearest group first."""
    group, where = groups(by, of_runs=True), conditions(selection, of_runs=True)
    found = index.query(
        f"""
        SELECT {names(by)}, count(*), sum(status IN ('succeeded', 'partial')), sum(status IN ('failed', 'stopped', 'crashed', 'cancelled')),
            sum(status = 'waiting'), sum(status = 'running'), total(usd), coalesce(sum(tokens), 0), coalesce(sum(calls), 0), total(budget),
            total(CASE WHEN budget IS NOT NULL THEN usd END)
        FROM (
            SELECT {group.sql}, t.status, t.budget, spent.usd, spent.tokens, spent.calls FROM traces t LEFT JOIN (
                SELECT s.run, total(s.usd) AS usd, sum(s.input_tokens + s.output_tokens) AS tokens, count(*) AS calls
                FROM spans s WHERE s.kind = 'call' AND {_COUNTED} GROUP BY s.run
            ) spent ON spent.run = t.id
            WHERE 1{where.sql}
        ) GROUP BY {names(by)}
        """,
        (*group.values, *where.values),
    )
    source = Clause(
        f"SELECT {group.sql}, t.seconds AS x FROM traces t WHERE t.status <> 'running'{where.sql}",
        (*group.values, *where.values),
    )
    latency = _ranked(index, by, source)
    rows: list[Runs] = []
    for row in found:
        key, (count, succeeded, failed, waiting, running, usd, tokens, asked, budget, used) = (
            _key(row, by),
            row[len(by) or 1 :],
        )
        share = used / budget if budget else None
        rows.append(
            Runs(
                key,
                count,
                succeeded,
                failed,
                waiting,
                running,
                usd,
                tokens,
                asked,
                budget,
                share,
                latency.get(key, NO_VALUES),
            )
        )
    return _table(by, rows, lambda row: (row.usd, row.runs))


def loops(
    index: SpanIndex, by: Sequence[str] = ("flow",), selection: Selection = EVERYTHING
) -> Table[Loops]:
    """Rounds of loops; the busiest first."""
    group, where = groups(by), conditions(selection)
    found = index.query(
        f"""
        SELECT {names(by)}, loop, count(*), sum(rounds), max(rounds), sum(ended) FROM (
            SELECT {names(by)}, replace(loop, ', exhausted', '') AS loop, run,
                sum(loop NOT LIKE '%, exhausted') AS rounds, max(loop LIKE '%, exhausted') AS ended
            FROM (
                SELECT {group.sql}, s.loop, s.run FROM spans s JOIN traces t ON t.id = s.run
                WHERE s.loop <> '' AND {_COUNTED}{where.sql}
            ) GROUP BY {names(by)}, replace(loop, ', exhausted', ''), run
        ) GROUP BY {names(by)}, loop
        """,
        (*group.values, *where.values),
    )
    rows = [Loops(_key(row, by), *row[-5:]) for row in found]
    return _table(by, rows, lambda row: row.rounds)


def findings(
    index: SpanIndex, by: Sequence[str] = ("agent",), selection: Selection = EVERYTHING
) -> Table[Findings]:
    """What the guardrails caught; the most frequent first."""
    group, where = groups(by), conditions(selection)
    found = index.query(
        f"""
        SELECT {names(by)}, kind, place, action, sum(amount), count(*) FROM (
            SELECT {group.sql}, json_extract(f.value, '$.kind') AS kind, json_extract(f.value, '$.where') AS place,
                json_extract(f.value, '$.action') AS action, json_extract(f.value, '$.count') AS amount
            FROM spans s JOIN traces t ON t.id = s.run JOIN json_each(s.findings) f
            WHERE s.findings IS NOT NULL AND {_COUNTED}{where.sql}
        ) GROUP BY {names(by)}, kind, place, action
        """,
        (*group.values, *where.values),
    )
    rows = [Findings(_key(row, by), *row[-5:]) for row in found]
    return _table(by, rows, lambda row: row.count)


# ---- SQL -----------------------------------------------------------------------------------------
def _grouped(
    index: SpanIndex, kind: str, by: Sequence[str], selection: Selection, columns: str
) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Aggregates over the spans of one kind, by key."""
    group, where = groups(by), conditions(selection)
    sql = f"""
        SELECT {group.sql}, {columns} FROM spans s JOIN traces t ON t.id = s.run
        WHERE s.kind = '{kind}' AND {_COUNTED}{where.sql} GROUP BY {names(by)}
    """
    rows = index.query(sql, (*group.values, *where.values))
    return {_key(row, by): row[len(by) or 1 :] for row in rows}


def _quantiles(
    index: SpanIndex, kind: str, by: Sequence[str], selection: Selection, value: str
) -> dict[tuple[str, ...], Quantiles]:
    group, where = groups(by), conditions(selection)
    sql = f"""
        SELECT {group.sql}, {value} AS x FROM spans s JOIN traces t ON t.id = s.run
        WHERE s.kind = '{kind}' AND {_COUNTED}{where.sql}
    """
    return _ranked(index, by, Clause(sql, (*group.values, *where.values)))


def _ranked(
    index: SpanIndex, by: Sequence[str], source: Clause
) -> dict[tuple[str, ...], Quantiles]:
    """Exact quantiles: values are numbered within their group, and the ones at the ranks are taken."""
    columns = names(by)
    found = index.query(
        f"""
        SELECT {columns}, n, max(CASE WHEN r = (n * 50 + 99) / 100 THEN x END), max(CASE WHEN r = (n * 90 + 99) / 100 THEN x END),
            max(CASE WHEN r = (n * 95 + 99) / 100 THEN x END), max(CASE WHEN r = (n * 99 + 99) / 100 THEN x END)
        FROM (
            SELECT {columns}, x, row_number() OVER (PARTITION BY {columns} ORDER BY x) AS r, count(*) OVER (PARTITION BY {columns}) AS n
            FROM ({source.sql}) WHERE x IS NOT NULL
        ) GROUP BY {columns}
        """,
        source.values,
    )
    return {_key(row, by): Quantiles(*row[len(by) or 1 :]) for row in found}


def _key(row: Sequence[Any], by: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(part) for part in row[: len(by)])


def _table(by: Sequence[str], rows: list[R], size: Callable[[R], Any]) -> Table[R]:
    return Table(
        tuple(by), tuple(sorted(sorted(rows, key=lambda row: row.key), key=size, reverse=True))
    )


def _flat(by: Sequence[str], row: Any) -> dict[str, Any]:
    flat: dict[str, Any] = dict(zip(by, row.key, strict=True))
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Quantiles):
            flat |= {
                f"{field.name}_{part.name}": getattr(value, part.name) for part in fields(value)
            }
        elif field.name != "key":
            flat[field.name] = value
    return flat


def spread(
    index: SpanIndex,
    by: Sequence[str] = ("step",),
    selection: Selection = EVERYTHING,
    most: int = 2_000,
) -> dict[tuple[str, ...], list[float]]:
    """The latencies of the activations of each group, in order: all of them, or evenly every so-manieth if there are more than `most`."""
    group, where = groups(by), conditions(selection)
    columns = names(by)
    found = index.query(
        f"""
        SELECT {columns}, x FROM (
            SELECT {columns}, x, row_number() OVER (PARTITION BY {columns} ORDER BY x) AS r, count(*) OVER (PARTITION BY {columns}) AS n FROM (
                SELECT {group.sql}, s.seconds AS x FROM spans s JOIN traces t ON t.id = s.run
                WHERE s.kind = 'node' AND s.seconds IS NOT NULL AND {_COUNTED}{where.sql}
            )
        ) WHERE r = n OR r % max(1, n / ?) = 0 ORDER BY {columns}, x
        """,
        (*group.values, *where.values, most),
    )
    values: dict[tuple[str, ...], list[float]] = {}
    for row in found:
        values.setdefault(_key(row, by), []).append(row[-1])
    return values
