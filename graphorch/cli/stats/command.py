"""`graphorch stats`: add up what the runs in a journal did."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeAlias

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.files import check_writable, print_written, write_text
from graphorch.cli.journals import catch_up, query_store, require_journal
from graphorch.cli.json_output import to_json_line
from graphorch.cli.shared_options import (
    Db,
    Debug,
    Since,
    Until,
    parse_choice,
    parse_pairs,
    parse_window,
    read_utc_offset,
)
from graphorch.cli.stats.chart import draw_chart
from graphorch.cli.stats.tables import (
    format_csv,
    join_windows,
    list_csv_columns,
    print_tables,
)
from graphorch.cli.terminal import print_output
from graphorch.errors import InputError, did_you_mean
from graphorch.journal.store import Store
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.analysis.statistics import Table
from graphorch.trace.spans.index import SpanIndex

TableFormat: TypeAlias = Literal["table", "json", "csv"]
_FORMATS: tuple[TableFormat, ...] = ("table", "json", "csv")

# topic → its statistics, and what they are grouped by without --by
_TOPICS: Mapping[str, tuple[Callable[..., Table[Any]], tuple[str, ...]]] = {
    "calls": (statistics.calls, ("agent", "model")),
    "steps": (statistics.steps, ("step",)),
    "tools": (statistics.tools, ("agent", "tool")),
    "errors": (statistics.errors, ("step",)),
    "runs": (statistics.runs, ("flow",)),
    "loops": (statistics.loops, ("flow",)),
    "findings": (statistics.findings, ("agent",)),
}
_OVERVIEW_TOPICS = ("runs", "calls", "steps", "tools", "errors", "findings")


def stats(
    topic: Annotated[
        str,
        typer.Argument(
            metavar="TOPIC",
            help="overview, calls, steps, tools, errors, runs, loops or findings.",
        ),
    ] = "overview",
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="A,B",
            help="Group by agent, step, tool, level, model, endpoint, policy, error, day, hour, "
            "month, flow, run, status or a tag. Days and hours are those of the zone of --since.",
        ),
    ] = "",
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="KEY=VALUE",
            help="Only these; KEY is a word of --by. Repeatable.",
        ),
    ] = None,
    since: Since = "",
    until: Until = "",
    is_compared: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Show the window of the same length before it, too; needs --since.",
        ),
    ] = False,
    table_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="table, json or csv.")
    ] = "table",
    chart: Annotated[
        str,
        typer.Option(
            "--chart",
            metavar="FILE",
            help="Write a chart of cost or latency as SVG; over time with --by day or hour.",
        ),
    ] = "",
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Add up what the runs in a journal did.

    Quantiles are exact; "–" stands where there are too few values for one. Runs that are damaged,
    or protected by another key, are named and left out.

    Exit codes: 0 done, 2 wrong usage or journal.
    """
    with exit_on_error(debug=debug, as_json=table_format == "json"):
        request = StatsRequest.parse(
            topic,
            by=by,
            where=where or [],
            since=since,
            until=until,
            is_compared=is_compared,
            table_format=table_format,
            chart=chart,
        )
        print_stats(request, db)


@dataclass(frozen=True, slots=True)
class StatsRequest:
    """Topics, groups and window of the statistics, checked."""

    topics: tuple[str, ...]
    by: tuple[str, ...]
    selection: Selection
    is_compared: bool
    table_format: TableFormat
    chart: str

    @classmethod
    def parse(
        cls,
        topic: str,
        *,
        by: str,
        where: Sequence[str],
        since: str,
        until: str,
        is_compared: bool,
        table_format: str,
        chart: str,
    ) -> Self:
        """Return the request that the options describe. Raises `InputError`."""
        is_overview = topic == "overview"
        if not is_overview and topic not in _TOPICS:
            suggestion = did_you_mean(topic, (*_TOPICS, "overview"))
            raise InputError(f"There are no statistics of '{topic}'. {suggestion}")
        chosen_format = parse_choice(table_format, "--format", _FORMATS)
        if is_overview and (by or chosen_format == "csv" or chart):
            raise InputError(
                "--by, --chart and --format csv need one topic. "
                "Write, for example, `graphorch stats calls --by model`."
            )
        if chart:
            check_writable(chart)
        window = cls._parse_window(since, until, is_compared)
        conditions = {
            key.strip(): value
            for key, value in parse_pairs(where, "--where", "model=openai/gpt-5").items()
        }
        groups = tuple(part.strip() for part in by.split(",") if part.strip())
        return cls(
            topics=_OVERVIEW_TOPICS if is_overview else (topic,),
            by=groups,
            selection=Selection(*window, conditions, read_utc_offset(since)),
            is_compared=is_compared,
            table_format=chosen_format,
            chart=chart,
        )

    @staticmethod
    def _parse_window(
        since: str, until: str, is_compared: bool
    ) -> tuple[float | None, float | None]:
        if is_compared and not since:
            raise InputError(
                "--compare needs the length of the window. Give --since, for example --since 7d."
            )
        begin, end = parse_window(since, until)
        if is_compared and end is None:
            end = time.time()
        if begin is not None and end is not None and end <= begin:
            raise InputError(
                f"--until {until} is not after --since {since}. Give a window that has a length."
            )
        return begin, end


def print_stats(request: StatsRequest, db: str) -> None:
    """Read a journal and print the tables. Raises `InputError` and `JournalError`."""
    journal = require_journal(db)

    async def read(store: Store) -> tuple[dict[str, Table[Any]], dict[str, Table[Any]]]:
        with SpanIndex.open(store) as index:
            await catch_up(index, store)
            tables = _build_tables(index, request, request.selection)
            before: dict[str, Table[Any]] = {}
            if request.is_compared:
                before = _build_tables(index, request, request.selection.before())
            if request.chart:
                topic = request.topics[0]
                svg = draw_chart(index, topic, request.selection, tables[topic])
                write_text(request.chart, svg)
                print_written(request.chart)
            return tables, before

    tables, before = query_store(journal, read)
    if request.table_format == "table":
        print_tables(tables, before)
        return
    rows = {topic: join_windows(table, before.get(topic)) for topic, table in tables.items()}
    only = next(iter(rows.values()))
    if request.table_format == "csv":
        table = next(iter(tables.values()))
        names = list_csv_columns(table, is_compared=request.is_compared)
        print_output(format_csv(only, names))
    else:
        print_output(to_json_line(rows if len(rows) > 1 else only))


def _build_tables(
    index: SpanIndex, request: StatsRequest, selection: Selection
) -> dict[str, Table[Any]]:
    tables: dict[str, Table[Any]] = {}
    for topic in request.topics:
        build, default_groups = _TOPICS[topic]
        tables[topic] = build(index, request.by or default_groups, selection)
    return tables
