"""What models are writing just now in the runs that this process drives, for those who watch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from graphorch.engine.events import Ended, ModelCalled, RunEvent, TextDelta
from graphorch.views.reading.journal_changes import JournalChanges
from graphorch.views.runs.run_events import TextPiece


class TextPreviews:
    """Passes on the pieces of answers, and an empty one when a call is over or begins anew."""

    def __init__(self, changes: JournalChanges) -> None:
        self._changes = changes
        self._written: defaultdict[str, set[str]] = defaultdict(set)  # paths of calls, by run

    def watch(self, run_id: str, event: RunEvent) -> None:
        """Take an event of a run that this process drives."""
        if isinstance(event, TextDelta):
            paths = self._written[run_id]
            is_new = event.path not in paths
            paths.add(event.path)
            self._changes.announce(TextPiece(run_id, event.path, event.text, is_new))
        elif isinstance(event, ModelCalled):
            self._end(run_id, {event.path})
        elif isinstance(event, Ended):
            self._end(run_id, self._written[run_id])
            del self._written[run_id]

    def _end(self, run_id: str, paths: Collection[str]) -> None:
        for path in sorted(self._written[run_id].intersection(paths)):
            self._written[run_id].discard(path)
            self._changes.announce(TextPiece(run_id, path, "", is_new=True))
