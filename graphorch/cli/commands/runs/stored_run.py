"""A run of a journal that a command continues, or makes another one of."""

from __future__ import annotations

from dataclasses import dataclass

from graphorch.cli.endpoints import list_models_of_run, open_endpoints
from graphorch.cli.flow_loader import AnyFlow, load_flow
from graphorch.cli.journals import require_journal, resolve_run_id
from graphorch.cli.run_request import JournalPlace, OutputFormat, RunRequest
from graphorch.runs.clients import SharedClient


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run in its journal, its flow, and the client that makes its model calls.

    `flow_name` and `config` are FLOW and the value of `--config` as they were typed.
    """

    run_id: str
    journal: JournalPlace
    flow: AnyFlow
    client: SharedClient
    flow_name: str
    config: str

    def build_request(
        self, output_format: OutputFormat, output: str, *, model: str = "", quiet: bool
    ) -> RunRequest:
        """Return the request to go on with the run, under the limits that it has."""
        return RunRequest(
            output_format=output_format,
            quiet=quiet,
            output_file=output,
            model=model,
            flow=self.flow_name,
            config=self.config,
            client=self.client,
            journal=self.journal,
        )


def open_stored_run(
    flow: str, run: str, *, db: str, config: str, model: str = "", node_model: str = ""
) -> StoredRun:
    """Find a run and load its flow, and print which endpoints it asks.

    `flow` is FLOW and `run` is RUN as they were typed. `model` replaces that of all agents, and
    `node_model` that of one node. Raises `InputError`, `JournalError` and `GraphError`.
    """
    journal = require_journal(db)
    run_id = resolve_run_id(journal, run)
    loaded = load_flow(flow).flow
    models = list_models_of_run(journal, run_id, loaded.plan, model)
    if node_model:
        models.append(node_model)
    client = open_endpoints(config, loaded.plan, models=models, journal=journal)
    return StoredRun(run_id, journal, loaded, client, flow, config)
