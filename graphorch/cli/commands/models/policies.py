"""`graphorch policies`: show what the name of a policy or model resolves to, and why."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from graphorch.cli.endpoints import read_command_config
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.json_output import to_json_line
from graphorch.cli.shared_options import AsJson, ConfigFile, Debug
from graphorch.cli.terminal import print_output, print_status, sanitize
from graphorch.models.config.environment import merge_environment
from graphorch.models.config.explanation import explain_policy


def policies(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A policy, with or without policy/, or a model. Default: all policies.",
        ),
    ] = "",
    config: ConfigFile = "",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what a name in model=… resolves to here, and why.

    The names are those of graphorch.toml, or of [tool.graphorch] in pyproject.toml. Endpoints,
    limits and prices are shown, and whether keys are set; no model is called.

    Exit codes: 0 done, 2 the name or the file is wrong.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        loaded = read_command_config(config)
        merged = merge_environment(loaded.config, os.environ)
        names = [name] if name else sorted(merged.policies)
        explanations = {entry: explain_policy(loaded.config, entry) for entry in names}
        for warning in loaded.warnings:
            print_status(f"warning: {sanitize(warning)}")
        if as_json:
            described = {"default_model": merged.default_model, "policies": explanations}
            print_output(to_json_line(described))
            return
        for text in explanations.values():
            print_output(sanitize(text))
        if not name and merged.default_model:
            print_status(f"agents that name no model use {merged.default_model}")
        elif not name:
            print_status("agents that name no model have none: set GRAPHORCH_MODEL")
        if not explanations:
            print_status(
                "no policies: there is no graphorch.toml here, or no [policies.NAME] in it"
            )
