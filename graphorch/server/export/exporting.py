"""Writes a run of a journal as one HTML file, as it is when it is read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from graphorch.clock import Clock, system_clock
from graphorch.journal.address import JournalAddress
from graphorch.server.context import open_context
from graphorch.server.export.answers import collect_answers
from graphorch.server.export.bounds import ExportBounds
from graphorch.server.export.document import write_document
from graphorch.server.served_flow import ServedFlow
from graphorch.server.settings import ServerSettings
from graphorch.text import shorten_run_id
from graphorch.views.reading.journal_reader import JournalReader

_NO_SERVER: Final = ServerSettings(hosts=frozenset(), origins=frozenset(), token="")


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """The file of a run; `notes` name what was left out of it.

    `problem` says why what needs the code of the flow is missing, if a flow was given.
    """

    content: str
    notes: tuple[str, ...]
    problem: str


async def export_run(
    journal: JournalAddress,
    run_id: str,
    flows: Sequence[ServedFlow] = (),
    *,
    bounds: ExportBounds | None = None,
    clock: Clock = system_clock,
) -> ExportedRun:
    """Return a run as a file; with its flow among `flows` also what needs the code of it.

    Raises `JournalError` for a run that cannot be read.
    """
    async with open_context(_NO_SERVER, journal, flows, clock=clock) as context:
        as_of = clock()
        # All answers are of one moment: the run is read once, and kept however large it is.
        reader = JournalReader(context.store, most_weight=sys.maxsize, follows=False)
        try:
            still = replace(context, reader=reader, clock=lambda: as_of)
            answers = await collect_answers(still, run_id, bounds or ExportBounds())
        finally:
            reader.close()
    row = answers.page.row
    about = {
        "run": run_id,
        "as_of": as_of,
        "notes": answers.notes,
        "absent": answers.absent,
    }
    title = f"{row.flow} {shorten_run_id(run_id)} · graphorch"
    flow = answers.page.flow
    return ExportedRun(
        write_document(title, about, answers.groups),
        tuple(answers.notes),
        flow.problem if flow.is_loaded and not flow.fits else "",
    )
