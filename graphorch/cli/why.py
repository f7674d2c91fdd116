"""`graphorch why`: why a node ran or did not, what it saw, why that model, why that cost; without a node, how the run came to its end."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.arguments import AsJson, Db, Debug, FlowName
from graphorch.cli.conversation import RunName
from graphorch.cli.ending import ending


def why(
    flow: FlowName,
    run: RunName = "",
    node: Annotated[
        str, typer.Argument(metavar="[NODE]", help="Its name or path; node#2 for its second time.")
    ] = "",
    as_json: AsJson = False,
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Give the reasons for what happened in a run, or for what did not.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run or node, 3 the graph does not build.
    """
    with ending(debug=debug, as_json=as_json):
        from graphorch.cli.journals import check_order
        from graphorch.cli.why_telling import tell

        check_order("why", flow, run)
        tell(flow, run, node, db, as_json=as_json)
