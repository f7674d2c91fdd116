"""`graphorch critical`: the critical path of a run, the slack of everything else, and what a change would give."""

from __future__ import annotations

from graphorch.cli.arguments import AsJson, Db, Debug, FlowName
from graphorch.cli.conversation import RunName
from graphorch.cli.ending import ending


def critical(
    flow: FlowName, run: RunName = "", as_json: AsJson = False, db: Db = "", debug: Debug = False
) -> None:
    """Say what a run's time went into: which nodes it had to wait for, how long the others could have taken, and what another
    concurrency limit or a node twice as fast would give.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run, 3 the graph does not build.
    """
    with ending(debug=debug, as_json=as_json):
        from graphorch.cli.critical_telling import tell
        from graphorch.cli.journals import check_order

        check_order("critical", flow, run)
        tell(flow, run, db, as_json=as_json)
