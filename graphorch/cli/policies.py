"""`graphorch policies`: what the name of a policy or model resolves to, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.ending import ending


def policies(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A policy, with or without policy/, or a model; all policies if left out.",
        ),
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: one JSON object on standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Say what a name in model=… resolves to in graphorch.toml (or [tool.graphorch] in pyproject.toml) here, and why.

    Endpoints, whether their keys are set, limits and prices are shown; no model is asked. Exit codes: 0 done, 2 the name or the file is wrong.
    """
    with ending(debug=debug, as_json=as_json):
        from pathlib import Path

        from graphorch.cli.encoding import as_object
        from graphorch.cli.safe import result, safe, say
        from graphorch.models.config.loader import explain_policy, find_config

        config = find_config(Path.cwd())
        names = [name] if name else sorted(config.policies)
        told = {entry: explain_policy(config, entry) for entry in names}
        if as_json:
            result(as_object({"default_model": config.default_model, "policies": told}))
            return
        for text in told.values():
            result(safe(text))
        if not name:
            say(
                f"the model of agents that name none: {config.default_model}"
                if config.default_model
                else "agents that name no model ask GRAPHORCH_MODEL"
            )
        if not told:
            say("no policies: there is no graphorch.toml here, or no [policies.NAME] in it")
