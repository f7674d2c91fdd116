"""`graphorch stats`, without its options: which tables are asked for, and how they are written."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from graphorch.cli.encoding import as_object
from graphorch.cli.files import check_writable, write_text
from graphorch.cli.journals import ask, existing, moment_of, one_of
from graphorch.cli.safe import one_line, result, safe, say
from graphorch.errors import InputError, did_you_mean
from graphorch.journal.store import Store
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.analysis.statistics import Table
from graphorch.trace.spans.index import SpanIndex

Form = Literal["table", "json", "csv"]
_FORMS: tuple[Form, ...] = ("table", "json", "csv")
_OVERVIEW = ("runs", "calls", "steps", "errors", "findings")
_FEW = 100  # values below which a 99th percentile says nothing
_SHOWN = 40  # rows of a table for people

# each topic, and what it is grouped by if nobody says
_MAKERS: dict[str, tuple[Callable[..., Table[Any]], tuple[str, ...]]] = {
    "calls": (statistics.calls, ("agent", "model")),
    "steps": (statistics.steps, ("step",)),
    "errors": (statistics.errors, ("step",)),
    "runs": (statistics.runs, ("flow",)),
    "loops": (statistics.loops, ("flow",)),
    "findings": (statistics.findings, ("agent",)),
}
# of each topic for people: heading, and the name of the value
_COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "calls": (
        ("CALLS", "calls"), ("FAILED", "failed"), ("REQUESTS", "requests"), ("FAILED REQ", "failed_requests"), ("RETRIES", "retries"),
        ("FALLBACKS", "fallbacks"), ("HEDGES", "hedges"), ("CACHE", "cache_hits"), ("TOKENS IN", "input_tokens"), ("OUT", "output_tokens"),
        ("USD", "usd"), ("P50 S", "latency_p50"), ("P90", "latency_p90"), ("P99", "latency_p99"), ("TTFT P50", "first_token_p50"),
        ("P90", "first_token_p90"),
    ),
    "steps": (
        ("VISITS", "visits"), ("FAILED", "failed"), ("HANDLED", "handled"), ("SKIPPED", "skipped"), ("ATTEMPTS", "attempts"),
        ("FAILED ATT", "failed_attempts"), ("P50 S", "latency_p50"), ("P90", "latency_p90"), ("P99", "latency_p99"),
    ),
    "errors": (("WHAT", "what"), ("ERROR", "error"), ("COUNT", "count"), ("RUNS", "runs"), ("FOR EXAMPLE", "example_run"), ("", "example")),
    "runs": (
        ("RUNS", "runs"), ("SUCCEEDED", "succeeded"), ("FAILED", "failed"), ("WAITING", "waiting"), ("RUNNING", "running"), ("CALLS", "calls"),
        ("TOKENS", "tokens"), ("USD", "usd"), ("OF BUDGET", "budget_used"), ("P50 S", "latency_p50"), ("P90", "latency_p90"), ("P99", "latency_p99"),
    ),
    "loops": (("LOOP", "loop"), ("RUNS", "runs"), ("ROUNDS", "rounds"), ("MOST", "most"), ("EXHAUSTED", "exhausted")),
    "findings": (("KIND", "kind"), ("WHERE", "where"), ("ACTION", "action"), ("COUNT", "count"), ("CALLS", "calls")),
}  # fmt: skip
# what a comparison shows the change of
_MEASURES = ("calls", "visits", "runs", "count", "rounds", "usd", "latency_p50", "latency_p90")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for, checked."""

    topics: tuple[str, ...]
    by: tuple[str, ...]
    selection: Selection
    is_compared: bool
    form: Form
    chart: str

    @classmethod
    def of(
        cls,
        topic: str,
        *,
        by: str,
        where: Sequence[str],
        since: str,
        until: str,
        is_compared: bool,
        form: str,
        chart: str,
    ) -> Self:
        """Raises `InputError` for what is not possible."""
        if topic not in (*_MAKERS, "overview"):
            raise InputError(
                f"There are no statistics of '{topic}'. {did_you_mean(topic, (*_MAKERS, 'overview'))}"
            )
        kind = one_of(form, "--format", _FORMS)
        if topic == "overview" and (by or kind == "csv" or chart):
            raise InputError(
                "--by, --chart and --format csv are for one topic. Write, for example, `graphorch stats calls --by model`."
            )
        if is_compared and not since:
            raise InputError(
                "--compare needs the length of the window: give --since, for example --since 7d."
            )
        if chart:
            check_writable(chart)
        begin = moment_of(since, "--since") if since else None
        end = moment_of(until, "--until") if until else time.time() if is_compared else None
        if begin is not None and end is not None and end <= begin:
            raise InputError(
                f"--until {until} is not after --since {since}. Give a window that has a length."
            )
        selection = Selection(begin, end, _conditions(where))
        groups = tuple(part.strip() for part in by.split(",") if part.strip())
        return cls(
            _OVERVIEW if topic == "overview" else (topic,),
            groups,
            selection,
            is_compared,
            kind,
            chart,
        )


def tell(wanted: Wanted, db: str) -> None:
    """Read the journal, and write the tables. Raises `InputError` and `JournalError`."""
    journal = existing(db)

    async def read(store: Store) -> tuple[dict[str, Table[Any]], dict[str, Table[Any]]]:
        with SpanIndex.open(store) as index:
            caught = await index.catch_up(store)
            if caught.runs > 200:
                say(
                    f"note: read {caught.runs:,} runs for the first time in {caught.seconds:.1f} s; next time only what is new is read"
                )
            for run_id in caught.damaged[:10]:
                say(
                    f"note: run {run_id} is damaged and left out; `graphorch runs show {run_id}` says where"
                )
            tables = {
                topic: _table(index, topic, wanted, wanted.selection) for topic in wanted.topics
            }
            before = (
                {
                    topic: _table(index, topic, wanted, wanted.selection.before())
                    for topic in wanted.topics
                }
                if wanted.is_compared
                else {}
            )
            if wanted.chart:
                _draw(index, wanted, tables[wanted.topics[0]])
            return tables, before

    tables, before = ask(journal, read)
    if wanted.form == "json":
        found = {topic: _records(table, before.get(topic)) for topic, table in tables.items()}
        result(as_object(found if len(found) > 1 else next(iter(found.values()))))
    elif wanted.form == "csv":
        (topic, table), = tables.items()  # fmt: skip
        result(_csv(_records(table, before.get(topic))))
    else:
        _show(tables, before)


def _table(index: SpanIndex, topic: str, wanted: Wanted, selection: Selection) -> Table[Any]:
    make, usual = _MAKERS[topic]
    return make(index, wanted.by or usual, selection)


def _conditions(where: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in where:
        key, has_value, value = text.partition("=")
        if not (key.strip() and has_value):
            raise InputError(
                f"--where {text}: write KEY=VALUE, such as --where model=openai/gpt-5 or --where team=search for a tag."
            )
        found[key.strip()] = value
    return found


# ---- writing -------------------------------------------------------------------------------------
def _records(table: Table[Any], before: Table[Any] | None) -> list[dict[str, Any]]:
    """Flat rows; beside a measure its value in the window before, if there is one."""
    rows = table.records()
    if before is None:
        return rows
    old = {_key(row, table.by): row for row in before.records()}
    measured = [name for name in _MEASURES if name in (rows or before.records() or [{}])[0]]
    for row in rows:
        was = old.pop(_key(row, table.by), {})
        row |= {f"{name}_before": was.get(name) for name in measured}
    for was in old.values():
        rows.append(
            {name: was[name] for name in table.by}
            | {f"{name}_before": was[name] for name in measured}
        )
    return rows


def _key(row: dict[str, Any], by: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in by)


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    file = io.StringIO()
    if rows:
        writer = csv.DictWriter(
            file, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    return safe(file.getvalue().rstrip("\n"))


def _plain(value: Any) -> Any:
    """A cell that a spreadsheet does not take for a formula."""
    return (
        f"'{value}"
        if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
        else value
    )


def _show(tables: dict[str, Table[Any]], before: dict[str, Table[Any]]) -> None:
    from graphorch.cli.run_list import table as aligned

    is_empty = True
    for topic, table in tables.items():
        rows = _records(table, before.get(topic))
        if not rows:
            continue
        if len(tables) > 1:
            result(("" if is_empty else "\n") + topic)
        is_empty = False
        columns = list(_COLUMNS[topic])
        if topic in before:
            columns += [
                (f"{name.upper()} BEFORE", f"{name}_before")
                for name in _MEASURES
                if any(f"{name}_before" in row for row in rows)
            ]
        heads = [*(name.upper() for name in table.by), *(head for head, _ in columns)]
        lines = [
            [
                *(one_line(str(row.get(name) or "–"), 60) for name in table.by),
                *(_cell(row, name) for _, name in columns),
            ]
            for row in rows[:_SHOWN]
        ]
        result(safe(aligned([tuple(heads), *map(tuple, lines)])))
        if len(rows) > _SHOWN:
            result(f"and {len(rows) - _SHOWN:,} more rows; --format csv has them all")
    if is_empty:
        say("nothing in this window: no run in the journal did any of it")


def _cell(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None or (name.endswith("_p99") and (row.get(f"{name[:-4]}_count") or 0) < _FEW):
        return "–"
    if name.startswith("usd"):
        return f"{value:.6f}" if 0 < value < 0.01 else f"{value:.4f}"
    if name == "budget_used":
        return f"{value:.0%}"
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) else one_line(str(value), 80)


# ---- charts --------------------------------------------------------------------------------------
def _draw(index: SpanIndex, wanted: Wanted, table: Table[Any]) -> None:
    from graphorch.render.charts import Series, bar_chart, distribution_chart, line_chart

    topic, by = wanted.topics[0], table.by
    rows = table.records()
    if topic == "steps":
        found = statistics.spread(index, by, wanted.selection)
        series = [Series(" · ".join(key), values) for key, values in found.items()]
        text = distribution_chart(series, title=f"Latency by {', '.join(by)}", unit="seconds")
    elif by[0] in ("day", "hour"):
        text = line_chart(
            _over_time(rows, by, _measure(topic)),
            title=f"{_measure(topic)} by {', '.join(by)}",
            unit=_measure(topic),
        )
    else:
        names = [" · ".join(str(row[name]) or "–" for name in by) for row in rows]
        text = bar_chart(
            names,
            [float(row[_measure(topic)] or 0) for row in rows],
            title=f"{_measure(topic)} by {', '.join(by)}",
            unit=_measure(topic),
        )
    write_text(wanted.chart, text)
    say(f"written to {wanted.chart}")


def _measure(topic: str) -> str:
    return "usd" if topic in ("calls", "runs") else "rounds" if topic == "loops" else "count"


def _over_time(rows: Sequence[dict[str, Any]], by: Sequence[str], measure: str) -> list[Any]:
    from graphorch.render.charts import Series

    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        name = " · ".join(str(row[text]) or "–" for text in by[1:])
        lines.setdefault(name, []).append((_moment(str(row[by[0]])), float(row[measure] or 0)))
    return [
        Series(name, [value for _, value in sorted(points)], [at for at, _ in sorted(points)])
        for name, points in lines.items()
    ]


def _moment(text: str) -> float:
    from datetime import UTC, datetime

    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
