"""What the caller of `graphorch run` asked for, beside the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from graphorch.engine.settings import Limits
from graphorch.models.budget import Budget

Form = Literal["text", "json", "events"]  # of what goes to standard output


class _Options(TypedDict):
    """The options of a run that the command line can set."""

    limits: Limits
    budget: Budget | None
    model: str


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to run, and what to do with the output: `target` is the file that gets it."""

    form: Form = "text"
    quiet: bool = False
    target: str = ""
    model: str = ""
    usd: float | None = None
    seconds: float | None = None
    activations: int | None = None

    @property
    def run_options(self) -> _Options:
        """The same as options of a run. Raises `InputError` for a limit that makes no sense."""
        return {
            "limits": Limits(seconds=self.seconds, activations=self.activations),
            "budget": Budget(usd=self.usd) if self.usd is not None else None,
            "model": self.model,
        }
