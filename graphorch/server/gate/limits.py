"""How much goes on at once: places that requests, streams and runs take and give back."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from graphorch.server.problems import Problem


class Places:
    """A number of places; what finds none free is refused at once and may come again.

    `what` names those who take them, in the plural. Every method belongs to the event loop.
    """

    def __init__(self, most: int, what: str, *, status: int, retry_seconds: int) -> None:
        self._most = most
        self._what = what
        self._status = status
        self._retry_seconds = retry_seconds
        self.taken = 0

    def take(self) -> None:
        """Take a place. Raises `Problem` if none is free."""
        if self.taken >= self._most:
            raise Problem(
                self._status,
                "busy",
                f"This server has {self._most} {self._what} at once, and all of them are taken. "
                f"Try again in {self._retry_seconds} s.",
                headers={"retry-after": str(self._retry_seconds)},
            )
        self.taken += 1

    def give_back(self) -> None:
        """Give a place back."""
        self.taken -= 1

    @contextmanager
    def hold(self) -> Generator[None]:
        """Take a place, and give it back at the end. Raises `Problem` if none is free."""
        self.take()
        try:
            yield
        finally:
            self.give_back()
