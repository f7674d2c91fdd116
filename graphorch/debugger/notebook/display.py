"""What a cell shows of a session: the stepper where widgets are, and beside it what a page without a kernel can show."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from graphorch.debugger.notebook.export import static_html
from graphorch.debugger.session import Session

if TYPE_CHECKING:
    from graphorch.debugger.notebook.widget import Stepper


def shown(session: Session[Any, Any]) -> Any:
    """The mime bundle of a session. A cell that runs again closes the session that it showed before, unless it is the same."""
    bundle: dict[str, Any] = {
        "text/plain": repr(session),
        "image/svg+xml": session.svg(),
        "text/html": static_html(session),
    }
    stepper = _stepper(session)
    found: Any = stepper._repr_mimebundle_() if stepper is not None else None  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType, reportUnknownVariableType]
    if found is None:
        return bundle
    data, metadata = found if isinstance(found, tuple) else (found, {})  # pyright: ignore[reportUnknownVariableType]
    return {**bundle, **data, "text/plain": repr(session)}, metadata  # pyright: ignore[reportUnknownVariableType]


def _stepper(session: Session[Any, Any]) -> Stepper | None:
    """The session's widget; None where there is no kernel, or widgets are not installed."""
    cell = _cell()
    if cell is None:
        return None
    try:
        from graphorch.debugger.notebook.widget import Stepper, steppers
    except ImportError:
        return None
    here, execution = cell
    before = steppers().get(here)
    if before is not None and before[1].session is not session and before[0] != execution:
        before[1].end("closed, since its cell was run again")
    stepper = before[1] if before is not None and before[1].session is session else Stepper(session)
    steppers()[here] = (execution, stepper)
    return stepper


def _cell() -> tuple[str, str] | None:
    """The cell that runs, and its execution; None outside of a kernel."""
    interactive: Any = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    parent: dict[str, Any] = kernel.get_parent()
    execution = str(parent.get("header", {}).get("msg_id", ""))
    return str(parent.get("metadata", {}).get("cellId") or execution), execution
