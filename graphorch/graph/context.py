"""Context of a node: its access to the run that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

from pydantic import BaseModel
from typing_extensions import TypeVar as DefaultTypeVar

if TYPE_CHECKING:
    from graphorch.models.budgets.budget import Budget
    from graphorch.models.messages import Prompt

ROUNDS: Final = 8
"""Number of times that a model may ask for tools before it has to answer."""

M = TypeVar("M", bound=BaseModel)
R_co = DefaultTypeVar("R_co", covariant=True, default=None)


class ToolSource(Protocol):
    """A server of tools, or a tool chosen from one, where a function could stand."""

    @property
    def name(self) -> str:
        """Name of the server, or by which models call the tool."""
        ...


class Context(Protocol[R_co]):
    """Optional first parameter of a node: `async def write(ctx: Context, t: Topic) -> Draft`.

    `Context[Clients]` says that the run must be given `resources=` of type `Clients`.
    """

    @property
    def key(self) -> str:
        """Idempotency key: equal for every attempt of this activation, different for all others."""
        ...

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        ...

    @property
    def path(self) -> str:
        """Path of the activation in the run, such as `team/research`."""
        ...

    @property
    def time_left(self) -> float | None:
        """Seconds until the nearest deadline (this attempt's or the run's), or None without one."""
        ...

    @property
    def budget_left(self) -> Budget:
        """Budget that the run has left."""
        ...

    @property
    def resources(self) -> R_co:
        """Clients, pools or settings given as `resources=`; never part of the state."""
        ...

    @overload
    async def complete(
        self,
        prompt: Prompt,
        *,
        output: type[M],
        model: str = ...,
        instructions: str = ...,
        tools: Sequence[Callable[..., Any] | ToolSource] = ...,
        rounds: int = ...,
        keep_rounds: int | None = ...,
        keep_tokens: int | None = ...,
        max_tokens: int | None = ...,
        temperature: float | None = ...,
    ) -> M: ...
    @overload
    async def complete(
        self,
        prompt: Prompt,
        *,
        model: str = ...,
        instructions: str = ...,
        tools: Sequence[Callable[..., Any] | ToolSource] = ...,
        rounds: int = ...,
        keep_rounds: int | None = ...,
        keep_tokens: int | None = ...,
        max_tokens: int | None = ...,
        temperature: float | None = ...,
    ) -> str: ...
    async def complete(
        self,
        prompt: Prompt,
        *,
        output: type[BaseModel] | None = None,
        model: str = "default",
        instructions: str = "",
        tools: Sequence[Callable[..., Any] | ToolSource] = (),
        rounds: int = ROUNDS,
        keep_rounds: int | None = None,
        keep_tokens: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Any:
        """Ask a model, and return text or a validated instance of `output`.

        `instructions` become the system message; `tools` are typed functions, and servers of tools,
        that the model may call before it answers, in at most so many `rounds`. A prompt holds the
        last `keep_rounds` of them, and as many as fit into about `keep_tokens` with the rest of it;
        without either, all. `max_tokens` and `temperature` are left to the model if they are None.
        A node that has tools called runs again from its beginning, and is served what it has got,
        where a person has to approve a call: leave its own effects to its tools.

        Raises `ModelError`; `BudgetExceeded` if the call does not fit into what is left; and
        `InnerFailed` if a tool fails.
        """
        ...

    def emit(self, event: BaseModel) -> None:
        """Send an event of your own to the observers of the run."""
        ...

    def note(self, text: str) -> None:
        """Leave a remark for people, such as why an answer is second best.

        If the attempt succeeds, the remark is kept with its result: `Result.notes`, the command
        line, the picture of the run and the journal show it, and a resumed run has it too. It is
        one line of at most 500 characters; what is longer is cut, and the cut is marked.
        """
        ...
