"""Port to other places than this process in which the functions of nodes may run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from graphorch.core.tree import Activation


class Placement(Protocol):
    """Decides where the function of a node runs: in this process, or elsewhere."""

    async def call(
        self, activation: Activation, arguments: list[Any], here: Callable[[], Awaitable[Any]]
    ) -> Any:
        """Return what the node's function returns for these arguments.

        `here` calls it in this process; the time of the attempt, its `timeout`, begins with that,
        and elsewhere the placement sees to it (see `build_timeout`). Cancelling the wait withdraws
        the call. Raises what the function raises; an exception of another process is of a class
        that the flow declares, builtin, one of graphorch's, or a `ProcessError`.
        """
        ...

    def count_at_once(self, activation: Activation) -> int | None:
        """Return how many items of a map that says nothing about it may be under way at once.

        None is as many as in a process without a placement.
        """
        ...

    async def wait_until_certain(self) -> None:
        """Return once no other process can have taken the run; if one has, this process ends.

        It is called before each request to a model, which must not be paid twice; `call` sees to it
        for functions.
        """
        ...

    async def take_over(self, vanished: Sequence[Activation]) -> Collection[Activation]:
        """Learn which attempts were under way when the process that drove the run before ended.

        Return those whose function has ended elsewhere, or runs there still: whether it acted is
        not in doubt, and the next `call` of the activation gets that outcome.
        """
        ...

    def leave(self) -> None:
        """Let what runs elsewhere go on: the next owner of the run takes it over.

        From now on, cancelling the wait for a call does not withdraw it.
        """
        ...
