"""`graphorch check`: build flows, and show all problems and warnings."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from graphorch.cli.exit_codes import (
    DONE,
    NOT_BUILT,
    WRONG_USE,
    describe_errors,
    format_error,
)
from graphorch.cli.flow_loader import LoadedFlow, load_flows
from graphorch.cli.json_output import to_json_line
from graphorch.cli.shared_options import AsJson, Debug
from graphorch.cli.terminal import print_output, print_status, sanitize
from graphorch.errors import GraphError, GraphorchError
from graphorch.text import plural


def check(
    flows: Annotated[
        list[str],
        typer.Argument(
            metavar="FLOW",
            help="path.py, path.py:name or module:name; one or several",
            show_default=False,
        ),
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Build every flow, without running it, and show all problems at once.

    Exit codes: 0 all build, 2 a file cannot be loaded, 3 a graph does not build (with --strict:
    or has warnings).
    """
    code = DONE
    reports: list[dict[str, Any]] = []
    for reference in flows:
        loaded, report = check_reference(reference, debug=debug)
        has_warnings = any(item.flow.warnings for item in loaded)
        code = max(code, report["exit_code"], NOT_BUILT if strict and has_warnings else DONE)
        reports.append({"reference": reference, **report})
        if not as_json:
            _print_flows(loaded)
    if as_json:
        print_output(to_json_line({"ok": code == DONE, "checked": reports}))
    raise typer.Exit(code)


def check_reference(reference: str, *, debug: bool) -> tuple[list[LoadedFlow], dict[str, Any]]:
    """Return the flows of a reference, and the report about them for a program."""
    try:
        loaded = load_flows(reference)
    except GraphorchError as error:
        if debug:
            print_status("".join(traceback.format_exception(error)))
        print_status(f"{reference}: {format_error(error)}")
        code = NOT_BUILT if isinstance(error, GraphError) else WRONG_USE
        return [], {"exit_code": code, "flows": [], "errors": describe_errors(error)}
    flows = [
        {"name": item.flow.name, "where": item.reference, "warnings": list(item.flow.warnings)}
        for item in loaded
    ]
    return loaded, {"exit_code": DONE, "flows": flows, "errors": []}


def _print_flows(loaded: Sequence[LoadedFlow]) -> None:
    for item in loaded:
        plan, warnings = item.flow.plan, item.flow.warnings
        facts = [
            f"{plan.input.__name__} → {plan.output.__name__}",
            plural(plan.end, "node"),
        ]
        if warnings:
            facts.append(plural(len(warnings), "warning"))
        line = f"ok: {item.reference}: '{item.flow.name}' ({', '.join(facts)})"
        print_output(sanitize(line))
        for warning in warnings:
            print_status(f"  warning: {warning}".replace("\n", "\n  "))
