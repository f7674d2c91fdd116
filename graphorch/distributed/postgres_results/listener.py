"""Thread that waits for notifications of notes, on a connection of its own."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import Final

import psycopg

from graphorch.distributed.postgres_results.notes_table import LISTEN
from graphorch.errors import JournalError
from graphorch.journal.postgres.connection import Address, Connection

_PAUSE: Final = 0.25  # seconds until a server that is away is asked again


class Listener:
    """Calls `hint`, on its thread, with the payload of each notification; "" if some were lost."""

    def __init__(self, address: Address, hint: Callable[[str], None]) -> None:
        self._address = address
        self._hint = hint
        self._is_closed = False
        self._wakeup = os.pipe()
        self._thread = threading.Thread(
            target=self._work, name="graphorch notes listener", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the thread and its connection."""
        self._is_closed = True
        os.write(self._wakeup[1], b"\0")
        self._thread.join()
        for end in self._wakeup:
            os.close(end)

    def _work(self) -> None:
        while not self._is_closed:
            try:
                with self._address.connect() as connection:
                    connection.execute(LISTEN)
                    self._hint("")
                    self._listen(connection)
            except (psycopg.Error, OSError, JournalError):
                self._wait(_PAUSE)

    def _listen(self, connection: Connection) -> None:
        while not self._is_closed:
            self._wait(None, connection.fileno())
            for notification in connection.notifies(timeout=0):
                self._hint(notification.payload)

    def _wait(self, seconds: float | None, *descriptors: int) -> None:
        """Wait for a time, for a descriptor, or for the end."""
        poll = select.poll()
        for descriptor in (self._wakeup[0], *descriptors):
            poll.register(descriptor, select.POLLIN)
        poll.poll(None if seconds is None else seconds * 1000)
