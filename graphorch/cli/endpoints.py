"""The endpoints that the runs of a command ask: opened once, and named in its first line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from graphorch.cli.journals import query_store
from graphorch.cli.run_request import JournalPlace
from graphorch.cli.terminal import print_status, sanitize_line
from graphorch.graph.plan import Plan
from graphorch.models.config.loader import LoadedConfig, load_config, load_config_file
from graphorch.models.config.router import Router, RouterParts
from graphorch.runs.asked_models import list_models
from graphorch.runs.clients import SharedClient, open_shared_limits, share_router
from graphorch.runs.durable import read_model

_EMBEDDED = (
    "note: no model endpoint is configured (OPENAI_BASE_URL, OPENAI_API_KEY), so the "
    "embedded offline/extractive answers. It is not a language model: it picks sentences "
    "out of the text that it is given, and measures."
)


def read_command_config(file: str) -> LoadedConfig:
    """Return the configuration that `--config` names, or that of the current directory.

    Raises `InputError`, also for a file in the current directory that is not trusted and needs it.
    """
    return load_config_file(Path(file)) if file else load_config(Path.cwd())


def open_endpoints(
    file: str, *plans: Plan, models: Iterable[str], journal: JournalPlace | None
) -> SharedClient:
    """Return the client for runs of some flows, and print which endpoints it asks.

    `file` is the value of `--config`, and `models` are the names that the runs ask for. Runs whose
    journal is in a database share their limits with all others there. Nothing is printed for flows
    that call no model. Raises as `read_command_config` does.
    """
    loaded = read_command_config(file)
    limits = None if journal is None else open_shared_limits(journal.durable)
    router = Router(loaded.config, parts=RouterParts(limits=limits))
    if any(plan.can_ask for plan in plans):
        print_status(describe_endpoints(router, models))
    for warning in loaded.warnings:
        print_status(f"warning: {sanitize_line(warning, 400)}")
    return share_router(router)


def describe_endpoints(router: Router, models: Iterable[str]) -> str:
    """Return one line that names each endpoint, its address, and the variable with its key."""
    if not router.config.endpoints:
        return _EMBEDDED
    names = list(dict.fromkeys(name for model in models for name in router.find_endpoints(model)))
    described = [_describe_endpoint(router, name) for name in names]
    return f"{'endpoint' if len(described) == 1 else 'endpoints'}: {'; '.join(described)}"


def _describe_endpoint(router: Router, name: str) -> str:
    endpoint = router.config.endpoints[name]
    key = f"key in {endpoint.key_env}" if endpoint.key_env else "no key"
    return f"{sanitize_line(name)} {sanitize_line(endpoint.base_url, 200)} ({sanitize_line(key)})"


def list_models_of_run(journal: JournalPlace, run_id: str, plan: Plan, model: str) -> list[str]:
    """Return the names that a stored run asks for from here on; `model` replaces all of them."""
    if not plan.can_ask:
        return []
    log = query_store(journal, lambda store: store.load(run_id))
    return list_models(plan, model or read_model(log))


def list_all_models(plans: Iterable[Plan], model: str = "") -> list[str]:
    """Return the names that some flows ask for, each once; `model` replaces all of them."""
    return list(dict.fromkeys(name for plan in plans for name in list_models(plan, model)))
