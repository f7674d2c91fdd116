"""What waits for a collector, one queue per signal, and when it is sent.

Rule 1: each signal fails alone.
Rule 2: what a collector cannot take now is sent again, after the pause that it asks for, else after
    pauses that grow. What it refuses is dropped. A batch that is too large, or not answered in
    time, is halved.
Rule 3: a signal that the collector does not take at all is switched off.
Rule 4: whatever is dropped is counted, and the first loss of each kind is logged.
Rule 5: at the end everything is tried once more.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphorch.text import plural
from graphorch.trace.export.otlp import Signal
from graphorch.trace.export.transport import Answer, Transport

_LOG = logging.getLogger("graphorch.trace.export")
_BATCH_SIZE = 500
_LONGEST_PAUSE = 30.0  # seconds, unless the collector asks for more

Item: TypeAlias = dict[str, Any]
_ITEM_NAMES: Mapping[Signal, str] = {
    "traces": "span",
    "logs": "log record",
    "metrics": "data point",
}


@dataclass(slots=True)
class SignalCount:
    """Counts of one signal: what the collector took, what was dropped, and what waits.

    `failures` counts failed exports in a row, and `last_error` is the reason of the last one.
    `is_off`: the collector does not take this signal, so it is not sent any more.
    """

    taken: int = 0
    dropped: int = 0
    waiting: int = 0
    failures: int = 0
    last_error: str = ""
    is_off: bool = False


class Delivery:
    """The queue of one signal, and its way to the collector.

    `build` makes the body of a request of items. At most `most_waiting` items wait. `interval` is
    the least pause after a failure, in seconds.
    """

    def __init__(
        self,
        signal: Signal,
        transport: Transport,
        build: Callable[[Sequence[Item]], Item],
        *,
        most_waiting: int,
        interval: float,
    ) -> None:
        self.count = SignalCount()
        self._signal: Signal = signal
        self._transport = transport
        self._build = build
        self._most_waiting = most_waiting
        self._interval = interval
        self._queue: deque[Item] = deque()
        self._batch_size = _BATCH_SIZE
        self._next = 0.0  # monotonic time before which nothing is sent
        self._logged: set[str] = set()

    def put(self, item: Item) -> None:
        """Add an item; if the queue is full it is sent first, else the oldest item is dropped."""
        if self.count.is_off:
            self.count.dropped += 1
            return
        if len(self._queue) >= self._most_waiting:
            # A burst is no reason for a loss: only a collector that does not take it is.
            self.send()
        if len(self._queue) >= self._most_waiting:
            self._queue.popleft()
            self._drop(1, "full", "too many wait")
        self._queue.append(item)
        self.count.waiting = len(self._queue)

    def replace(self, items: Sequence[Item]) -> None:
        """Let these items wait in place of all that wait now, whose content they contain."""
        if self.count.is_off:
            self.count.dropped += len(items)
            return
        self._queue = deque(items)
        self.count.waiting = len(items)

    def send(self, *, is_last: bool = False) -> None:
        """Send what waits, unless a pause is not over; the last time, drop what is left."""
        if is_last or time.monotonic() >= self._next:
            while self._queue and self._send_batch():
                pass
        if is_last and self._queue:
            number = len(self._queue)
            self._queue.clear()
            self._drop(number, "end", f"not taken at the end ({self.count.last_error})")
        self.count.waiting = len(self._queue)

    def _send_batch(self) -> bool:
        """Send one batch; return False if it has to be tried again later."""
        size = min(self._batch_size, len(self._queue))
        batch = [self._queue[number] for number in range(size)]
        answer = self._transport.send(self._signal, self._build(batch))
        match answer.verdict:
            case "later":
                if answer.timed_out:
                    self._batch_size = max(1, size // 2)
                self._wait(answer)
                return False
            case "too_large" if size > 1:
                self._batch_size = size // 2
                return True
            case "taken":
                self._take_out(size)
                self._accept(size, answer)
            case "not_supported":
                self._switch_off(answer)
            case _:
                self._take_out(size)
                self._fail(answer)
                self._drop(size, "refused", answer.message)
        return True

    def _take_out(self, size: int) -> None:
        for _ in range(size):
            self._queue.popleft()

    def _accept(self, size: int, answer: Answer) -> None:
        rejected = min(size, answer.rejected)
        self.count.taken += size - rejected
        self.count.failures = 0
        self._batch_size = min(_BATCH_SIZE, self._batch_size * 2)
        if rejected:
            self.count.last_error = answer.message
            self._drop(rejected, "rejected", answer.message or "rejected")
        elif answer.message:
            # A partial success without a rejection is a warning.
            self._log("warning", f"warns about {self._signal}: {answer.message}")

    def _fail(self, answer: Answer) -> None:
        self.count.failures += 1
        self.count.last_error = answer.message

    def _wait(self, answer: Answer) -> None:
        """Put off the next try."""
        self._fail(answer)
        pause = min(_LONGEST_PAUSE, self._interval * 2 ** min(self.count.failures, 8))
        self._next = time.monotonic() + max(pause, answer.pause or 0.0)
        if self.count.failures == 1:
            _LOG.warning(
                "the collector at %s does not take %s now (%s); runs go on, and it is tried again",
                self._transport.place,
                self._signal,
                answer.message,
            )

    def _switch_off(self, answer: Answer) -> None:
        self._fail(answer)
        self.count.is_off = True
        self.count.dropped += len(self._queue)
        self._queue.clear()
        self._log("off", f"does not take {self._signal} ({answer.message}): they are not sent")

    def _drop(self, number: int, kind: str, reason: str) -> None:
        self.count.dropped += number
        lost = plural(number, _ITEM_NAMES[self._signal])
        self._log(kind, f"did not get {lost}: {reason}; later ones are only counted")

    def _log(self, kind: str, text: str) -> None:
        """Log a message once per kind."""
        if kind not in self._logged:
            self._logged.add(kind)
            _LOG.warning("the collector at %s %s", self._transport.place, text)
