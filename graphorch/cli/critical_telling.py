"""`graphorch critical`, without its options."""

from __future__ import annotations

from dataclasses import asdict

from graphorch.cli.encoding import as_object
from graphorch.cli.finding import find
from graphorch.cli.journals import ask, existing
from graphorch.cli.run_list import table
from graphorch.cli.safe import one_line, result, safe
from graphorch.cli.why_telling import read_run
from graphorch.trace.analysis.critical_path import CriticalPath, critical_path

_SHOWN = 30


def tell(flow: str, run_id: str, db: str, *, as_json: bool) -> None:
    """Tell. Raises `InputError`, `JournalError`, `ReplayDiverged`, and `GraphError` if the flow does not build."""
    journal, plan = existing(db), find(flow).flow.plan
    read = ask(journal, lambda store: read_run(store, plan, run_id))
    found = critical_path(read.run, read.conversation.trace.seconds or 0.0)
    result(
        as_object({"run_id": read.conversation.trace.run_id, **asdict(found)})
        if as_json
        else safe(_told(found))
    )


def _told(found: CriticalPath) -> str:
    lines = [
        f"the run took {found.measured:.3f} s; its critical path is {found.seconds:.3f} s of {found.busy:.3f} s of work",
        "",
        *(f"  {seconds:9.3f} s  {one_line(path, 100)}" for path, seconds in found.path[:_SHOWN]),
    ]
    if len(found.path) > _SHOWN:
        lines.append(f"  and {len(found.path) - _SHOWN} more")
    rows = [
        (
            one_line(slack.step, 60),
            str(slack.visits),
            f"{slack.seconds:.3f}",
            f"{slack.critical_seconds:.3f}",
            f"{slack.slack:.3f}",
            f"{slack.twice_as_fast:.3f}",
        )
        for slack in found.steps[:_SHOWN]
    ]
    lines += [
        "",
        table(
            [("STEP", "VISITS", "SECONDS", "ON THE PATH", "SLACK", "RUN IF TWICE AS FAST"), *rows]
        ),
        "",
    ]
    limits = ", ".join(f"{limit}: {seconds:.3f} s" for limit, seconds in found.with_limit.items())
    return "\n".join(
        [*lines, f"with so many nodes at once: {limits}; without a limit: {found.seconds:.3f} s"]
    )
