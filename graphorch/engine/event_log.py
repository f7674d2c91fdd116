"""The way of a run's events out of the engine: into its journal first, to its observers afterwards.

Rule of this file: with a journal, observers, and the hook that hears of questions, hear of an event
only once its record is durable, so they never see anything that a crash could take back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from graphorch.core.events import Event
from graphorch.core.run import Run
from graphorch.core.state import append_to
from graphorch.engine.lease_heartbeat import LeaseHeartbeat
from graphorch.engine.observers import Observers, to_run_event

if TYPE_CHECKING:
    from graphorch.engine.events import RunEvent
    from graphorch.engine.mailbox.mailbox import Mailbox
    from graphorch.engine.questions.question_hook import QuestionHook
    from graphorch.engine.run_journal import RunJournal


class EventLog:
    """Journal, observers and hook of one run; each may be absent."""

    __slots__ = ("_heartbeat", "_undelivered", "journal", "mailbox", "observers", "questions")

    def __init__(self, journal: RunJournal | None, observers: Observers | None) -> None:
        self.journal = journal
        self.observers = observers
        self.questions: QuestionHook | None = None
        # (number of the record, what to do once it is durable)
        self._undelivered: Sequence[tuple[int, Callable[[], None]]] = ()
        self._heartbeat: LeaseHeartbeat | None = None
        self.mailbox: Mailbox | None = None  # of a run with a journal

    def notify(self, event: Event) -> None:
        """Deliver an event that the core has taken, at once or as soon as it is durable."""
        deliveries: list[Callable[[], None]] = []
        if self.observers is not None:
            deliveries.append(partial(self._tell_observers, event))
        if self.questions is not None:
            call = self.questions.begin_call
            deliveries += [partial(call, change) for change in self.questions.read(event)]
        if self.journal is None:
            for deliver in deliveries:
                deliver()
        elif deliveries:
            seq = self.journal.last_buffered_seq
            entries = [(seq, deliver) for deliver in deliveries]
            self._undelivered = append_to(self._undelivered, entries)

    def publish(self, event: RunEvent) -> None:
        """Hand an event to the observers."""
        if self.observers is not None:
            self.observers.notify(event)

    async def make_durable(self) -> None:
        """Return when everything buffered so far is durable and delivered.

        Raises `JournalError`.
        """
        if self.journal is None:
            return
        await self.journal.flush()
        if self._undelivered:
            self._deliver_durable()

    async def write_end(self, run: Run, at: float) -> bool:
        """Record that nothing is left to do for now, and release the run to other processes.

        Returns whether it was released: not if there are letters that have to be taken in.
        """
        if self.journal is None:
            return True
        from graphorch.engine.record_bodies import encode_end  # runs with a journal have loaded it

        await self.journal.end(encode_end(run, at))
        self._deliver_durable()
        return await self.journal.release_unless_mail()

    async def leave_open(self) -> None:
        """Release the run without an end: another process goes on with it at once."""
        if self.journal is not None:
            await self.make_durable()
            await self.journal.release()

    def publish_end(self, run: Run, at: float) -> None:
        """Hand the last event of a run to the observers."""
        if self.observers is not None:
            from graphorch.engine.events import Ended

            self.publish(Ended(run.status, run.reason, run.run_id, at))

    def start_background(self, group: asyncio.TaskGroup) -> None:
        """Keep the lease on the run, and read its letters. The group fails if the lease is lost."""
        if self.journal is not None:
            self._heartbeat = LeaseHeartbeat(self.journal.renew_lease)
            self._heartbeat.start(group)
        if self.mailbox is not None:
            self.mailbox.open(group)

    def stop_background(self) -> None:
        """Let the lease expire from here on, and read no more letters."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None
        if self.mailbox is not None:
            self.mailbox.close()

    def _deliver_durable(self) -> None:
        """Deliver what has become durable."""
        durable = self.journal.last_durable_seq if self.journal is not None else 0
        ready = [deliver for seq, deliver in self._undelivered if seq <= durable]
        self._undelivered = self._undelivered[len(ready) :]
        for deliver in ready:
            deliver()

    def _tell_observers(self, event: Event) -> None:
        run_event = to_run_event(event)
        if run_event is not None and self.observers is not None:
            self.observers.notify(run_event)
