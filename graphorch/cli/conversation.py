"""`graphorch conversation`: what was said in a run, by whom, to whom."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.arguments import Db, Debug, Output
from graphorch.cli.ending import ending

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="The id of a run, the beginning of it, or `last`.", show_default=False
    ),
]


def conversation(
    run: RunName,
    other: Annotated[
        str, typer.Argument(metavar="[OTHER]", help="With --diff: the run to compare with.")
    ] = "",
    is_difference: Annotated[
        bool, typer.Option("--diff", help="Show what two runs said differently.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run ends.")
    ] = False,
    node: Annotated[
        str,
        typer.Option("--node", metavar="PATH", help="Only this node, and what is inside of it."),
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="Do not cut long texts.")] = False,
    form: Annotated[
        str, typer.Option("--format", metavar="FORM", help="text, json or html.")
    ] = "text",
    output: Output = "",
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Tell a run as a conversation, in causal order and indented by level: prompts, answers, what was handed on, costs, why that model.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run.
    """
    with ending(debug=debug, as_json=form == "json"):
        from graphorch.cli.conversation_telling import Wanted, tell

        tell(
            Wanted.of(
                run,
                other,
                is_difference=is_difference,
                follow=follow,
                node=node,
                full=full,
                form=form,
                output=output,
            ),
            db,
        )
