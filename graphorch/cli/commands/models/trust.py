"""`graphorch trust`: let a configuration file say where prompts and keys go."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.json_output import to_json_line
from graphorch.cli.shared_options import AsJson, Debug
from graphorch.cli.terminal import print_output, print_status, sanitize, sanitize_line
from graphorch.errors import InputError
from graphorch.models.config.explanation import describe_tariff
from graphorch.models.config.loader import (
    ConfigSource,
    check_source,
    find_source,
    read_source,
)
from graphorch.models.config.schema import Config
from graphorch.models.config.trust import TrustStore, compute_digest

TrustedPath = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The file. Default: graphorch.toml or pyproject.toml in the current directory.",
    ),
]


def trust(
    context: typer.Context,
    config: TrustedPath = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask on a terminal; still show what it is.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Trust a configuration file as it is now, so that it may be used in its directory.

    A graphorch.toml that comes with a project could send your prompts and keys anywhere, and have
    your budgets overspent. Until you trust it, it may define policies, limits, budgets and guards,
    and no endpoints, paths or prices. This shows what the file would be allowed, and asks on a
    terminal. Any change of the file ends the trust, which is kept in your configuration directory.

    Exit codes: 0 done, 1 you said no, 2 the file is missing or wrong.
    """
    if context.invoked_subcommand is not None:
        context.obj = config
        return
    with exit_on_error(debug=debug):
        source = _find_source(config)
        for line in describe_grants(source):
            print_output(line)
        if not yes and sys.stdin.isatty() and not _ask():
            print_status("nothing was changed")
            raise typer.Exit(1)
        TrustStore().grant(source.path, source.content)
        print_status(f"trusted, until it changes: {sanitize(str(source.path))}")


def list_trusted(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the configuration files that you trust, and whether they have changed since.

    Exit codes: 0 done, 2 the list cannot be read.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        files = [(file, _describe_state(file.path, file.digest)) for file in TrustStore().list()]
        if as_json:
            listed = [
                {"path": str(file.path), "sha256": file.digest, "state": state}
                for file, state in files
            ]
            print_output(to_json_line({"trusted": listed}))
            return
        for file, state in files:
            print_output(f"{sanitize_line(str(file.path), 400)}  sha256 {file.digest}  {state}")
        if not files:
            print_status("no file is trusted")


def revoke(context: typer.Context, config: TrustedPath = "", debug: Debug = False) -> None:
    """Trust a configuration file no longer; it need not exist any more.

    Exit codes: 0 done, 2 it was not trusted.
    """
    with exit_on_error(debug=debug):
        name = config or context.obj
        path = Path(name) if name else _find_source("").path
        TrustStore().revoke(path)
        print_status(f"no longer trusted: {sanitize(str(path))}")


def _find_source(config: str) -> ConfigSource:
    source = read_source(Path(config)) if config else find_source(Path.cwd())
    if source is None:
        raise InputError(
            "There is no graphorch.toml here, and no [tool.graphorch] in a pyproject.toml. "
            "Name a file with --config FILE."
        )
    return source


def describe_grants(source: ConfigSource) -> Iterator[str]:
    """Yield lines that say what trust in a file allows it. Raises `InputError` if it is wrong."""
    config = check_source(source).config
    grants = list(_list_grants(config))
    digest = compute_digest(source.content)
    yield f"{sanitize_line(str(source.path), 400)} (sha256 {digest}) may"
    for grant in grants or ["define policies, limits, budgets and guards, trusted or not"]:
        yield f"  - {sanitize_line(grant, 400)}"


def _list_grants(config: Config) -> Iterator[str]:
    for name, endpoint in config.endpoints.items():
        key = f"with the key in {endpoint.key_env}" if endpoint.key_env else "without a key"
        yield f"send prompts to {endpoint.base_url} (endpoint '{name}'), {key}"
    if config.budgets.kept is not None:
        yield f"write the file {config.budgets.kept} (budgets.kept)"
    for name, tariff in config.prices.items():
        yield f"let budgets count {describe_tariff(tariff)} for '{name}'"


def _ask() -> bool:
    print_status("Trust this file, as it is now? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _describe_state(path: Path, digest: str) -> str:
    try:
        content = read_source(path).content
    except InputError:
        return "missing"
    return "unchanged" if compute_digest(content) == digest else "changed"
