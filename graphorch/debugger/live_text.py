"""Text of the model calls that run now, as it arrives."""

from __future__ import annotations

from collections.abc import Callable

from graphorch.engine.events import Ended, RunEvent, TextDelta

_LONGEST = 4000  # characters that are kept of a text, its end


class LiveText:
    """Watcher of a run that keeps the pieces of answers, by the path of their node.

    A text is a preview. It goes when its call, attempt or node is over: the step has the answer
    then.
    """

    def __init__(self, notify: Callable[[], None]) -> None:
        self.texts: dict[str, str] = {}
        self._notify = notify

    def __call__(self, event: RunEvent) -> None:
        """Take an event, and tell about a text that changed."""
        if isinstance(event, TextDelta):
            text = self.texts.get(event.path, "") + event.text
            self.texts[event.path] = text[-_LONGEST:]
            self._notify()
        elif isinstance(event, Ended):
            self.texts.clear()
        else:
            self.texts.pop(event.path, None)
