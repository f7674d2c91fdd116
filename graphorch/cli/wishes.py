"""What the caller of a command that runs something asked for, beside the input."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from graphorch.engine.settings import Limits
from graphorch.models.budgets.budget import Budget
from graphorch.runs.options import RunOptions

Form = Literal["text", "json", "events"]  # of what goes to standard output


def form_of(*, as_json: bool, as_events: bool) -> Form:
    """The form that two options ask for; events have the result as their last line."""
    return "events" if as_events else "json" if as_json else "text"


@dataclass(frozen=True, slots=True)
class Journal:
    """Where a run is kept. `written` is how the caller named the file, empty if it is the default one."""

    path: str
    written: str = ""

    @property
    def option(self) -> str:
        """The option that names the file again, to be appended to a command."""
        return f" --db {shlex.quote(self.written)}" if self.written else ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to run, and what to do with the output: `target` is the file that gets it. `flow` is the word that named the flow."""

    form: Form = "text"
    quiet: bool = False
    target: str = ""
    model: str = ""
    usd: float | None = None
    seconds: float | None = None
    activations: int | None = None
    flow: str = ""
    journal: Journal | None = None
    after: str = ""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def run_options(self) -> RunOptions:
        """The same as options of a run. Raises `InputError` for a limit that makes no sense."""
        options = RunOptions(
            limits=Limits(seconds=self.seconds, activations=self.activations), model=self.model
        )
        if self.usd is not None:
            options["budget"] = Budget(usd=self.usd)
        if self.journal is not None:
            options["durable"] = self.journal.path
        if self.after:
            options["after"] = self.after
        if self.tags:
            options["tags"] = self.tags
        return options

    def command(self, verb: str, *words: str, value: str = "") -> str:
        """How to call another command for this flow and journal, ready to be pasted into a shell; `value` is quoted already."""
        quoted = [shlex.quote(word) for word in (self.flow, *words)]
        return " ".join(["graphorch", verb, *quoted, *([value] if value else [])]) + (
            self.journal.option if self.journal is not None else ""
        )
