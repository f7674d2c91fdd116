"""`graphorch heat`: draw figures of runs onto their flow, or the difference of two runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.files import check_writable, write_or_print
from graphorch.cli.flow_loader import load_flow
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
from graphorch.render.heat_map import Measure, difference_map, heat_map
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.theme import Theme
from graphorch.text import plural
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.conversation.builder import build_conversation
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.model import strip_index
from graphorch.views.pictures.heats import measure_steps


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
    words = [word for word in (request.run, request.against) if word]

    async def read(store: Store) -> str:
        runs = [(await find_stored_run(store, word)).run_id for word in words]
        with SpanIndex.open(store) as index:
            left_out = (await catch_up(index, store)).damaged
            for run_id in runs:
                if run_id in left_out:
                    raise JournalError(left_out[run_id])
            if not runs:
                selection = Selection(*request.window, {"flow": flow.name})
                title = plural(_count_runs(index, selection), "run")
                heats = measure_steps(index, selection)
                picture = draw_plan(flow.plan, ran=heats)
                return heat_map(picture, heats, request.measure, title=title, theme=request.theme)
            per_run = [
                measure_steps(index, Selection(*request.window, {"flow": flow.name, "run": run_id}))
                for run_id in runs
            ]
        picture = draw_plan(flow.plan, ran=[path for heats in per_run for path in heats])
        names = [run_id[:12] for run_id in runs]
        taken_over = frozenset[str]()
        for run_id in runs:
            taken_over |= await _find_taken_over(store, run_id)
        if len(runs) == 1:
            return heat_map(
                picture,
                per_run[0],
                request.measure,
                reused=taken_over,
                title=f"run {names[0]}",
                theme=request.theme,
            )
        return difference_map(
            picture,
            per_run[1],
            per_run[0],
            changed=await _find_changed_steps(store, runs[0], runs[1]),
            reused=taken_over,
            title=f"{names[0]} against {names[1]}",
            theme=request.theme,
        )

    return query_store(journal, read)


def _count_runs(index: SpanIndex, selection: Selection) -> int:
    return sum(row.runs for row in statistics.runs(index, ["flow"], selection))


# ---- difference of two runs ----------------------------------------------------------------------
async def _find_changed_steps(store: Store, first: str, second: str) -> frozenset[str]:
    """Return the steps whose results differ between two runs."""
    before = await _read_results(store, first)
    after = await _read_results(store, second)
    steps = before.keys() | after.keys()
    return frozenset(step for step in steps if before.get(step) != after.get(step))


async def _find_taken_over(store: Store, run_id: str) -> frozenset[str]:
    """Return the steps of which a run took results over from another one."""
    log = await store.load(run_id)
    trace = build_conversation(log.head, log.records).trace
    return frozenset(strip_index(span.path) for span in trace.spans if span.is_copy and span.node)


async def _read_results(store: Store, run_id: str) -> dict[str, list[str]]:
    """Return what each step of a run wrote or answered, sorted: their order does not count."""
    log = await store.load(run_id)
    results: dict[str, list[str]] = {}
    for turn in build_conversation(log.head, log.records).turns:
        if turn.kind in ("writes", "answers"):
            results.setdefault(strip_index(turn.path), []).append(turn.text)
    return {step: sorted(texts) for step, texts in results.items()}
