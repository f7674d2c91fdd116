"""What a command that runs a flow was asked to do, beside the input of the flow."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from graphorch.engine.settings import Limits
from graphorch.journal.address import JournalAddress
from graphorch.models.budgets.budget import Budget
from graphorch.runs.clients import SharedClient
from graphorch.runs.options import RunOptions

OutputFormat: TypeAlias = Literal["text", "json", "events"]
"""Format of standard output; `events` are lines of JSON, and the result is the last of them."""


def choose_output_format(*, as_json: bool, as_events: bool) -> OutputFormat:
    """Return the format that `--json` and `--events` select; events win."""
    if as_events:
        return "events"
    return "json" if as_json else "text"


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """Where a command finds its journal.

    `written` is the value of `--db`, empty for the default journal.
    """

    address: JournalAddress
    written: str = field(default="", repr=False)

    @property
    def durable(self) -> str:
        """The journal as the `durable` option of a run; never shown, since it may be secret."""
        return self.address.text

    @property
    def option(self) -> str:
        """Option that names this journal in another command, with a leading space.

        It holds no password.
        """
        if not self.written:
            return ""
        shown = self.address.shown if self.address.is_database else self.written
        return f" --db {shlex.quote(shown)}"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """How to run a flow, and where its output goes.

    `flow` and `config` are FLOW and the value of `--config` as they were typed; `client` makes the
    model calls.
    """

    output_format: OutputFormat = "text"
    quiet: bool = False
    output_file: str = ""
    model: str = ""
    usd: float | None = None
    seconds: float | None = None
    activations: int | None = None
    flow: str = ""
    config: str = ""
    client: SharedClient | None = None
    journal: JournalPlace | None = None
    after: str = ""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    def build_run_options(self) -> RunOptions:
        """Return the request as options of a run: `--usd` becomes its budget.

        Raises `InputError` for a limit that is not positive.
        """
        limits = Limits(seconds=self.seconds, activations=self.activations)
        options = RunOptions(limits=limits, model=self.model)
        if self.usd is not None:
            options["budget"] = Budget(usd=self.usd)
        if self.client is not None:
            options["client"] = self.client
        if self.journal is not None:
            options["durable"] = self.journal.durable
        if self.after:
            options["after"] = self.after
        if self.tags:
            options["tags"] = self.tags
        return options

    def format_command(self, name: str, *words: str, value: str = "") -> str:
        """Return another command for this flow and journal, ready to paste into a shell.

        It names the model and the configuration of this command too. `value` is the last word and
        is quoted already.
        """
        quoted = [shlex.quote(word) for word in (self.flow, *words)]
        command = " ".join(["graphorch", name, *quoted])
        if value:
            command += f" {value}"
        for option, given in (("--model", self.model), ("--config", self.config)):
            if given:
                command += f" {option} {shlex.quote(given)}"
        return command + (self.journal.option if self.journal is not None else "")
