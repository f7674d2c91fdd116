"""`graphorch heat`: draw figures of runs onto their flow, or the difference of two runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.files import check_writable, write_or_print
from graphorch.cli.flow_loader import AnyFlow, load_flow
from graphorch.cli.journals import catch_up, find_stored_run, query_store, require_journal
from graphorch.cli.shared_options import (
    Db,
    Debug,
    FlowName,
    Output,
    Since,
    ThemeName,
    Until,
    parse_window,
)
from graphorch.errors import InputError, JournalError
from graphorch.journal.store import Store
from graphorch.render.heat_map import Measure, heat_map
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.theme import Theme
from graphorch.text import plural
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.spans.index import SpanIndex
from graphorch.views.comparison.comparison_picture import draw_comparison
from graphorch.views.comparison.run_comparison import open_pair
from graphorch.views.pictures.heats import measure_steps
from graphorch.views.reading.journal_reader import JournalReader


def heat(
    flow: FlowName,
    measure: Annotated[
        Literal["cost", "p50", "p95", "errors", "visits"],
        typer.Option("--by", help="The figure that makes a box red."),
    ] = "cost",
    run: Annotated[
        str,
        typer.Option("--run", metavar="RUN", help="Only this run. Default: all runs of the flow."),
    ] = "",
    against: Annotated[
        str,
        typer.Option("--against", metavar="RUN", help="With --run: how it differs from this run."),
    ] = "",
    since: Since = "",
    until: Until = "",
    theme: ThemeName = "auto",
    output: Output = "",
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Draw a heat map as SVG: cost, latency, errors or visits of one run, or of many, on the flow.

    Runs that are damaged, or protected by another key, are named and left out.

    Exit codes: 0 done, 2 wrong usage or journal, 3 the graph does not build.
    """
    with exit_on_error(debug=debug):
        if against and not run:
            raise InputError("--against compares with --run. Name both.")
        if output:
            check_writable(output)
        window = parse_window(since, until)
        request = HeatRequest(measure, run, against, window, theme)
        write_or_print(output, draw_heat_map(flow, request, db))


@dataclass(frozen=True, slots=True)
class HeatRequest:
    """Figure, runs, window (seconds since 1970) and theme of a heat map."""

    measure: Measure
    run: str
    against: str
    window: tuple[float | None, float | None]
    theme: Theme


def draw_heat_map(reference: str, request: HeatRequest, db: str) -> str:
    """Return the SVG of a heat map, or of the difference of two runs.

    Raises `InputError`, `JournalError`, and `GraphError` if the flow does not build.
    """
    flow, journal = load_flow(reference).flow, require_journal(db)

    async def read(store: Store) -> str:
        if request.against:
            return await _draw_difference(store, flow, request)
        return await _draw_heat(store, flow, request)

    return query_store(journal, read)


async def _draw_heat(store: Store, flow: AnyFlow, request: HeatRequest) -> str:
    """Draw the figures of one run, or of all runs of the flow."""
    where = {"flow": flow.name}
    if request.run:
        where["run"] = (await find_stored_run(store, request.run)).run_id
    selection = Selection(*request.window, where)
    with SpanIndex.open(store) as index:
        damaged = (await catch_up(index, store)).damaged
        if (run_id := where.get("run", "")) in damaged:
            raise JournalError(damaged[run_id])
        heats = measure_steps(index, selection)
        title = f"run {run_id[:12]}" if run_id else plural(_count_runs(index, selection), "run")
    return heat_map(
        draw_plan(flow.plan, ran=heats),
        heats,
        request.measure,
        reused=await _find_taken_over(store, run_id) if run_id else frozenset(),
        title=title,
        theme=request.theme,
    )


def _count_runs(index: SpanIndex, selection: Selection) -> int:
    return sum(row.runs for row in statistics.runs(index, ["flow"], selection))


async def _find_taken_over(store: Store, run_id: str) -> frozenset[str]:
    """Return the steps of which a run took results over from another one."""
    async with JournalReader(store).open_run(run_id) as run:
        return frozenset(span.step for span in run.trace.spans if span.is_copy and span.node)


async def _draw_difference(store: Store, flow: AnyFlow, request: HeatRequest) -> str:
    """Draw how the run differs from the one that it is compared with."""
    heads = [await find_stored_run(store, word) for word in (request.against, request.run)]
    reader = JournalReader(store)
    async with open_pair(reader, *(head.run_id for head in heads)) as pair:
        ran = [span.step for side in (pair.left, pair.right) for span in side.run.trace.spans]
        return draw_comparison(pair, request.theme, draw_plan(flow.plan, ran=ran))
