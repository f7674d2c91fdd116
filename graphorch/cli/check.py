"""`graphorch check`: whether graphs build, and what is worth a look in those that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphorch.cli.encoding import as_object
from graphorch.cli.ending import DONE, NOT_BUILT, WRONG_USE, errors_of, message_of
from graphorch.cli.safe import result, safe, say
from graphorch.errors import GraphError, GraphorchError

if TYPE_CHECKING:
    from graphorch.cli.finding import Found


def check(
    flows: Annotated[
        list[str],
        typer.Argument(
            metavar="FLOW...",
            help="path.py, path.py:name or module:name; several are possible",
            show_default=False,
        ),
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: one JSON object on standard output.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Build every flow, without running it, and show all problems at once.

    Exit codes: 0 all build, 2 a file cannot be loaded, 3 a graph does not build (with --strict: or has warnings).
    """
    code = DONE
    reports: list[dict[str, Any]] = []
    for reference in flows:
        found, report = _checked(reference, debug=debug)
        wrong = report["exit_code"] or (
            NOT_BUILT if strict and any(item.flow.warnings for item in found) else DONE
        )
        code = max(code, wrong)
        reports.append({"reference": reference, **report})
        if not as_json:
            _tell(found)
    if as_json:
        result(as_object({"ok": code == DONE, "checked": reports}))
    raise typer.Exit(code)


def _checked(reference: str, *, debug: bool) -> tuple[list[Found], dict[str, Any]]:
    """The flows of a reference, and the report on them for a program."""
    from graphorch.cli.finding import find_all

    try:
        found = find_all(reference)
    except GraphorchError as error:
        if debug:
            import traceback

            say("".join(traceback.format_exception(error)))
        say(f"{reference}: {message_of(error)}")
        return [], {
            "exit_code": NOT_BUILT if isinstance(error, GraphError) else WRONG_USE,
            "flows": [],
            "errors": errors_of(error),
        }
    flows = [
        {"name": item.flow.name, "where": item.where, "warnings": list(item.flow.warnings)}
        for item in found
    ]
    return found, {"exit_code": DONE, "flows": flows, "errors": []}


def _tell(found: list[Found]) -> None:
    from graphorch.cli.progress import counted

    for item in found:
        plan, warnings = item.flow.plan, item.flow.warnings
        told = f", {counted(len(warnings), 'warning')}" if warnings else ""
        result(
            safe(
                f"ok: {item.where}: '{item.flow.name}' ({plan.input.__name__} → {plan.output.__name__}, {counted(plan.end, 'node')}{told})"
            )
        )
        for warning in warnings:
            say(f"  warning: {warning}".replace("\n", "\n  "))
