"""Display of a session in a notebook's cell: the stepper where widgets work, else static HTML."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.debugger.notebook.export import render_static_html
from graphorch.debugger.session import Session
from graphorch.render.notebook_picture import build_picture_bundle

if TYPE_CHECKING:
    from graphorch.debugger.notebook.widget import Stepper

Out = TypeVar("Out", bound=BaseModel, covariant=True)
State = TypeVar("State", bound=BaseModel, covariant=True, default=BaseModel)


class NotebookSession(Session[Out, State]):
    """A session that a notebook's cell shows as a stepper with buttons."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return build_bundle(self)

    def _display_(self) -> Any:
        """Return what marimo shows instead: a stepper, or HTML where widgets are not installed."""
        marimo: Any = import_module("marimo")
        if find_spec("anywidget") is None or not marimo.running_in_notebook():
            return marimo.Html(render_static_html(self))
        from graphorch.debugger.notebook.widget import Stepper

        return Stepper(self)


def build_bundle(session: Session[Any, Any]) -> Any:
    """Return the mime bundle of a session, for a page with a kernel and for one without.

    A cell that runs again closes the session that it showed before, if that was another one.
    """
    picture, sizes = build_picture_bundle(session.svg(), repr(session))
    bundle: dict[str, Any] = {**picture, "text/html": render_static_html(session)}
    stepper = _find_stepper(session)
    if stepper is None:
        return bundle, sizes
    widget: Any = stepper  # its own bundle is untyped, and depends on the version of anywidget
    shown: Any = widget._repr_mimebundle_()
    if shown is None:
        return bundle, sizes
    data, metadata = cast("tuple[Any, Any]", shown if isinstance(shown, tuple) else (shown, {}))
    return {**bundle, **data, "text/plain": repr(session)}, {**sizes, **metadata}


def _find_stepper(session: Session[Any, Any]) -> Stepper | None:
    """Return the widget of a session; None without a kernel, or if widgets are not installed."""
    cell = _current_cell()
    if cell is None:
        return None
    try:
        from graphorch.debugger.notebook.widget import Stepper, shown_steppers
    except ImportError:
        return None
    cell_id, execution = cell
    last_execution, shown = shown_steppers().get(cell_id, ("", []))
    stepper = None
    if last_execution != execution:
        # The cell runs again: it goes on with a session that it showed, and ends any other.
        for old in shown:
            if old.session is not session:
                old.end("closed, since its cell was run again")
        stepper = next((old for old in shown if old.session is session), None)
        shown = []
    if stepper is None:
        stepper = Stepper(session)
    else:
        stepper.show_now()
    shown_steppers()[cell_id] = execution, [*shown, stepper]
    return stepper


def _current_cell() -> tuple[str, str] | None:
    """Return the ids of the running cell and of its execution; None outside of a kernel."""
    interactive: Any = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    parent: dict[str, Any] = kernel.get_parent()
    execution = str(parent.get("header", {}).get("msg_id", ""))
    cell_id = str(parent.get("metadata", {}).get("cellId") or execution)
    return cell_id, execution
