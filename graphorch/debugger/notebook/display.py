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

    def _ipython_display_(self) -> None:
        """Show a picture that stays in the saved notebook, and a stepper, which hides it.

        A saved widget has no model when the notebook is opened again, and whatever stands beside it
        in one output is passed over, with or without trust. So they are two outputs.
        """
        stepper = _find_stepper(self)
        if stepper is None:
            raise NotImplementedError  # then IPython shows the mime bundle
        display: Any = import_module("IPython.display").display
        data, metadata = build_bundle(self)
        data["text/html"] = f'<div class="gs-static">{_STYLE}{data["text/html"]}</div>'
        display(data, metadata=metadata, raw=True)
        widget: Any = stepper  # its bundle is untyped, and depends on the version of anywidget
        shown: Any = widget._repr_mimebundle_()
        data, metadata = cast("tuple[Any, Any]", shown if isinstance(shown, tuple) else (shown, {}))
        display({**data, "text/plain": _WITHOUT_BUTTONS}, metadata=metadata, raw=True)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return build_bundle(self)

    def _display_(self) -> Any:
        """Return what marimo shows instead: a stepper, or HTML where widgets are not installed."""
        marimo: Any = import_module("marimo")
        if find_spec("anywidget") is None or not marimo.running_in_notebook():
            return marimo.Html(render_static_html(self))
        from graphorch.debugger.notebook.widget import Stepper

        return Stepper(self)


def build_bundle(session: Session[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the mime bundle of a session and its metadata, for a page without a kernel."""
    picture, sizes = build_picture_bundle(session.svg(), repr(session))
    return {**picture, "text/html": render_static_html(session)}, sizes


_WITHOUT_BUTTONS = "Run the cell for a stepper with buttons."
# Hides the message of a widget without a model; the stepper's own style sheet hides the picture.
_STYLE = (
    "<style>.jp-OutputArea-child:has(.gs-static) + .jp-OutputArea-child"
    ":has(> .jupyter-widgets:not(:has(*))){display:none}</style>"
)


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
