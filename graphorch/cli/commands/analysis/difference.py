"""`graphorch runs diff`: in what two runs differ. No flow is needed, and none is run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

import typer

from graphorch.cli.completion import complete_run
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.journals import find_stored_run, query_store, require_journal
from graphorch.cli.json_output import to_json_line
from graphorch.cli.shared_options import AsJson, Db, Debug
from graphorch.cli.tables import align_columns
from graphorch.cli.terminal import print_output, print_status, sanitize, sanitize_line
from graphorch.errors import InputError
from graphorch.journal.store import Store
from graphorch.render.picture.overlay import format_seconds
from graphorch.text import format_cost, format_dollars, plural, shorten_run_ids, truncate_repr
from graphorch.views.comparison.comparison import (
    ActivationDifference,
    ActivationSide,
    ComparedActivation,
    ComparedRun,
    Comparison,
    FieldDifference,
)
from graphorch.views.comparison.differences import RunPair
from graphorch.views.comparison.recorded_run import Place
from graphorch.views.comparison.run_comparison import (
    MOST_ACTIVATIONS,
    WantedActivations,
    compare_activation,
    compare_runs,
    open_pair,
)
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.runs.calls import ModelCall

_HEADINGS: Final = ("PATH", "ROUND", "IN", "DIFFERS", "SECONDS", "USD")
_RUN_HEADINGS: Final = ("", "RUN", "FLOW", "STATUS", "SECONDS", "CALLS", "TOKENS", "COST", "SERVED")
_WHERE: Final = {"both": "both", "left": "A", "right": "B"}
_LONGEST: Final = 60  # characters of a value

FirstRun = Annotated[
    str,
    typer.Argument(
        metavar="A",
        help="The id of a run, the beginning of one, or `last`, the newest.",
        autocompletion=complete_run,
    ),
]
SecondRun = Annotated[
    str,
    typer.Argument(metavar="B", help="The run to compare with.", autocompletion=complete_run),
]


def diff(
    context: typer.Context,
    first: FirstRun,
    second: SecondRun,
    path: Annotated[
        str,
        typer.Option("--path", metavar="PATH", help="Only the activation at this path, in full."),
    ] = "",
    round_number: Annotated[
        int, typer.Option("--round", help="With --path: which of its rounds, from 1.")
    ] = 1,
    show_all: Annotated[
        bool, typer.Option("--all", help="List also what is the same in both runs.")
    ] = False,
    db: Db = "",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show in what two runs differ: input, way, fields, errors, model calls, cost and time.

    Activations are aligned by their paths and rounds, not by time. Of a rerun, what it took over
    from the other run is marked as served.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        if round_number != 1 and not path:
            raise InputError("--round chooses among the rounds of a path. Name it with --path.")
        journal = require_journal(db or context.obj)

        async def read(store: Store) -> Comparison | ActivationDifference:
            async with _open(store, first, second) as pair:
                if path:
                    return compare_activation(pair, Place(path, round_number))
                wanted = WantedActivations(0, MOST_ACTIVATIONS, only_differences=not show_all)
                return compare_runs(pair, wanted)

        print_difference(query_store(journal, read), as_json=as_json)


def print_difference(found: Comparison | ActivationDifference, *, as_json: bool) -> None:
    """Print the difference of two runs, or of an activation, for people or as one object."""
    if as_json:
        print_output(to_json_line(found))
    elif isinstance(found, Comparison):
        print_output(sanitize("\n".join(_format_comparison(found))))
        if found.next is not None:
            print_status(f"there are more than {found.next:,}; --json names how many in `counts`")
    else:
        print_output(sanitize("\n".join(_format_activation(found))))


@asynccontextmanager
async def _open(store: Store, first: str, second: str) -> AsyncGenerator[RunPair]:
    """Open the runs that two words stand for."""
    heads = [await find_stored_run(store, word) for word in (first, second)]
    async with open_pair(JournalReader(store), *(head.run_id for head in heads)) as pair:
        yield pair


# ---- two runs ------------------------------------------------------------------------------------
def _format_comparison(found: Comparison) -> Iterator[str]:
    ids = shorten_run_ids([found.left.run_id, found.right.run_id])
    rows = [
        _format_run(letter, id_, run)
        for letter, id_, run in zip("AB", ids, (found.left, found.right), strict=True)
    ]
    yield from align_columns([_RUN_HEADINGS, *rows], numeric=(4, 5, 6, 7, 8))
    if not found.is_same_graph:
        yield "note: two graphs wrote these runs, so their paths may mean different things"
    for run in (found.left, found.right):
        for fault in run.faults:
            yield f"note: left out of {run.run_id}: {sanitize_line(fault, 400)}"
    for each in found.inputs:
        yield f"input {_format_field(each)}"
    counts = found.counts
    yield (
        f"{counts.same} the same, {counts.different} different, "
        f"{counts.only_left} only in A, {counts.only_right} only in B"
    )
    if found.activations:
        cells = map(_format_row, found.activations)
        yield from align_columns([_HEADINGS, *cells], numeric=(1, 4, 5))


def _format_run(letter: str, id_: str, run: ComparedRun) -> tuple[str, ...]:
    usage = run.usage
    return (
        letter,
        id_,
        sanitize_line(run.flow, 40),
        run.status,
        "" if run.seconds is None else format_seconds(run.seconds),
        str(usage.calls),
        f"{usage.input_tokens + usage.output_tokens:,}",
        format_cost(usage.usd, usage.unpriced),
        f"{run.served} of {run.activations}",
    )


def _format_row(row: ComparedActivation) -> tuple[str, ...]:
    return (
        sanitize_line(row.path, 80),
        str(row.round),
        _WHERE[row.presence],
        ", ".join([*row.differs, *_list_served(row)]),
        _format_change(row, lambda side: side.seconds, format_seconds),
        _format_cost_change(row),
    )


def _list_served(row: ComparedActivation) -> Iterator[str]:
    for letter, side in (("A", row.left), ("B", row.right)):
        if side is not None and side.is_served:
            yield f"served in {letter}"


def _format_change(
    row: ComparedActivation,
    read: Callable[[ActivationSide], float],
    write: Callable[[float], str],
) -> str:
    """Return how much more the second run took of something, or what the only one took."""
    if row.left is None or row.right is None:
        side = row.left or row.right
        return "" if side is None or not read(side) else write(read(side))
    change = read(row.right) - read(row.left)
    text = write(abs(change))
    return "" if text == write(0) else f"{'-' if change < 0 else '+'}{text}"


def _format_cost_change(row: ComparedActivation) -> str:
    """Return how much more the second run cost; where a price is not known, that is not known."""
    sides = [side for side in (row.left, row.right) if side is not None]
    if any(side.usage.unpriced for side in sides):
        return "unknown"
    return _format_change(row, lambda side: side.usage.usd, format_dollars)


# ---- one activation ------------------------------------------------------------------------------
def _format_activation(found: ActivationDifference) -> Iterator[str]:
    row = found.activation
    yield f"{row.path}, round {row.round}, in {_WHERE[row.presence]}"
    for letter, side in (("A", row.left), ("B", row.right)):
        if side is not None:
            yield f"  {letter}: {_format_side(side)}"
    for kind, fields in (("input", found.inputs), ("output", found.outputs)):
        for each in fields:
            yield f"  {kind} {_format_field(each)}"
    if found.same:
        yield f"  the same: {', '.join(found.same)}"
    routes = found.left_route, found.right_route
    if routes[0] != routes[1]:
        yield f"  led to: {' → '.join(', '.join(route) or 'nothing' for route in routes)}"
    for letter, errors in (("A", found.left_errors), ("B", found.right_errors)):
        for error in errors:
            yield f"  error in {letter}: {sanitize_line(error, 400)}"
    for call in found.calls:
        words = ", ".join(call.differs) or "the same"
        where = words if call.presence == "both" else f"only in {_WHERE[call.presence]}"
        yield f"  call {call.number}: {where}"
        if call.presence == "both" and call.differs:
            yield from _format_answers([("A", call.left), ("B", call.right)])


def _format_answers(calls: Iterable[tuple[str, ModelCall | None]]) -> Iterator[str]:
    for letter, call in calls:
        if call is not None:
            text = call.message or call.answer or ", ".join(tool.name for tool in call.tools)
            yield f"    {letter} {call.model}: {truncate_repr(text, 2 * _LONGEST)}"


def _format_side(side: ActivationSide) -> str:
    usage = side.usage
    parts = [side.status, plural(side.attempts, "attempt"), format_seconds(side.seconds)]
    if usage.calls:
        parts += [plural(usage.calls, "model call"), format_cost(usage.usd, usage.unpriced)]
    return ", ".join([*parts, *(["served"] if side.is_served else [])])


def _format_field(each: FieldDifference) -> str:
    sides = [
        "nothing" if each.presence == missing else truncate_repr(value, _LONGEST)
        for value, missing in ((each.left, "right"), (each.right, "left"))
    ]
    beyond = " (they differ in what is hidden or not shown)" if each.is_beyond_cut else ""
    return f"{each.field}: {sides[0]} → {sides[1]}{beyond}"
